from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.conftest import Open

pytestmark = pytest.mark.xdist_group("browser")


def test_widgets(open_notebook: Open) -> None:
    n = open_notebook("a.ipynb", ["import ipywidgets as w\nb = w.Button(description='Go')\nb"])
    n.run(0)
    n.page.evaluate("() => { fetch('http://example.org/x').catch(() => null) }")
