from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.conftest import Open

pytestmark = pytest.mark.xdist_group("browser")


def test_widgets(open_notebook: Open) -> None:
    n = open_notebook("a.ipynb", ["import ipywidgets as w\nimport turbobatch as tb; tb.Email(from_='a@b.example',to='c@d.example',subject='x')\nw.VBox([w.Label('x'*300), w.Button(description='long '*20), w.Text(description='a'), w.HTML('<b>a</b>')])"])
    n.run(0)
    n.run(0)
    from tests.browser.looks import faults_of
    print(faults_of(n, n.output(0), "x"))
