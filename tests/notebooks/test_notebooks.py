"""The notebooks run as they stand, show what they say they show, and hold nothing that isn't meant to be shared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.notebooks.execute import NOTEBOOKS, ROOT, cleaned, executed, read, shown, text_of, wants_database

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("notebooks")  # one process imports what reads them, for seconds

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LIMIT = 100_000  # bytes of a notebook, outputs included

# What differs from one version of pandas to another: the marks of missing cells, the types of text and counts.
_PANDAS = re.compile(r"\b(NaN|None|NaT)\b|<NA>|, dtype: \S+")

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


@pytest.fixture(scope="session", autouse=True)
def _fonts() -> None:
    """matplotlib's list of fonts, which it makes when it is used first, and tells of in the cell that does."""
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True, capture_output=True)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[tuple[str, ...]]:
    """What kinds of output a cell has; a live widget isn't kept in a file, its text is."""
    return [tuple(kind for kind in shown(output) if "widget-view" not in kind) for output in cell.outputs]


def same(cell: Any) -> str:
    """A cell's text as any version of pandas may write it."""
    return " ".join(_PANDAS.sub("", text_of(cell)).split())


@pytest.mark.unmeasured
@every_notebook
def test_a_notebook_runs_and_shows_what_was_saved(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Without an account, without an error, without a word on stderr; the cells tagged `same` say the very same."""
    saved = code_of(read(path))
    database = request.getfixturevalue("database") if wants_database(path) else ""  # not started for the others
    fresh = code_of(cleaned(executed(path, tmp_path, database)))
    for before, after in zip(saved, fresh, strict=True):
        said = [output for output in after.outputs if output.output_type == "error" or output.get("name") == "stderr"]
        assert said == [], after.source
        assert kinds(before) == kinds(after), after.source
        if "same" in after.metadata.get("tags", []):
            assert same(before) == same(after)
    left = {item.name for item in tmp_path.iterdir()} | {item.name for item in (tmp_path / "notebooks").iterdir()}
    own = {"receipts-demo"}  # a folder for who reads it, in .gitignore
    assert left <= {"notebooks", "sample_data", "ipython", *own, *(item.name for item in PATHS)}


@every_notebook
def test_a_notebook_was_saved_after_a_run_from_top_to_bottom(path: Path) -> None:
    """In order and complete."""
    cells = code_of(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)


@every_notebook
def test_a_notebook_is_fit_to_be_shared(path: Path) -> None:
    """Small, without a machine's paths, timings and kernels, and without credentials."""
    raw = path.read_text(encoding="utf-8")
    assert len(raw.encode()) < LIMIT
    notebook = read(path)
    assert json.loads(json.dumps(cleaned(read(path)))) == json.loads(json.dumps(notebook))
    texts = "\n".join([cell.source for cell in notebook.cells] + [said(cell) for cell in code_of(notebook)])
    assert re.findall(r"(?<![\w.:/<}])/(?:tmp|home|root|Users|work|mnt|opt|var|usr|private)/[\w.-]*", texts) == []
    assert str(ROOT) not in raw
    assert re.findall(r"(?i)(?:secret|authpass|password)\W{1,4}(?!sandbox\b)[\w+/]{6,}", texts) == []


def said(cell: Any) -> str:
    """A cell's outputs as text, pictures aside."""
    bundles = [output.get("data", {"text": output.get("text", "")}) for output in cell.outputs]
    return "\n".join(str(value) for data in bundles for kind, value in data.items() if not kind.startswith("image/"))


@every_notebook
def test_a_notebook_is_linked(path: Path) -> None:
    """README names each."""
    assert f"notebooks/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_are_notebooks() -> None:
    """A glob that finds nothing would test nothing."""
    assert len(PATHS) >= 3
