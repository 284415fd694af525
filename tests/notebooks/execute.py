"""Run the notebooks from top to bottom, each in a copy of its surroundings, and keep outputs that are fit to be shared.

python -m tests.notebooks.execute [NAME …]      writes them into notebooks/
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
DATABASE = "TURBOBATCH_POSTGRES"  # where a notebook looks for its database
PATIENCE = 300  # seconds that a cell may take


def read(path: Path) -> NotebookNode:
    """A notebook as it is."""
    import nbformat  # here and below: it takes seconds, which every process that collects tests would spend

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call, no-any-return]  # half of nbformat has types


def wants_database(path: Path) -> bool:
    """Whether a notebook has a journal in PostgreSQL."""
    return DATABASE in path.read_text(encoding="utf-8")


def executed(path: Path, folder: Path, database: str = "") -> NotebookNode:
    """The notebook after a run in an empty `folder`, which gets copies of notebooks/ and sample_data/.

    `database`: the URL of an empty PostgreSQL schema, for one that wants it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell ends with an error.
    """
    from nbclient import NotebookClient

    for name in ("notebooks", "sample_data"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("*.journal.db*", ".ipynb_checkpoints", "receipts-demo"),
        )
    secrets = [name for name in os.environ if name.startswith("TURBOSMTP_")]
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    environment |= {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": str(ROOT), DATABASE: database}
    notebook = read(folder / "notebooks" / path.name)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder / "notebooks")}},
        record_timing=False,
    )
    client.execute(env=environment)
    return notebook


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The same without what differs from machine to machine: kernels, timings, widgets' states."""
    import nbformat

    notebook.metadata = nbformat.from_dict(  # type: ignore[no-untyped-call]  # half of nbformat has types
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {})  # type: ignore[no-untyped-call]  # half of nbformat has types
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)  # it would refer to a kernel that is gone
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})  # type: ignore[no-untyped-call]  # half of nbformat has types
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Save a notebook."""
    import nbformat

    nbformat.validate(notebook)
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # half of nbformat has types


def shown(output: Any) -> tuple[str, ...]:
    """What kind of output it is: a stream by its name, anything else by its media types."""
    if output.output_type == "stream":
        return ("stream", output.name)
    return (output.output_type, *sorted(output.get("data", {})))


def text_of(cell: Any) -> str:
    """All that a cell's outputs say in plain text."""
    said = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(map(str, said))


def main(names: list[str]) -> None:
    """Execute the notebooks named, or all of them, and save them in their place."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.name in names or path.stem in names:
            with (
                tempfile.TemporaryDirectory() as folder,
                _database() if wants_database(path) else nullcontext("") as url,
            ):
                write(cleaned(executed(path, Path(folder), url)), path)


@contextmanager
def _database() -> Iterator[str]:
    """A PostgreSQL for one run."""
    from tests.database import Server

    server = Server()
    try:
        yield server.url
    finally:
        server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
