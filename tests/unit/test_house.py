"""The house's own rules: which module may import which, what is public, what --help costs, what no file may say."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import turbobatch

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(turbobatch.__file__).parent
ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "numpy", "pyarrow", "requests", "pycurl", "jinja2", "matplotlib", "psycopg", "dask", "distributed")

# Each imports only from those before it. The command line comes last, since it starts the sandbox too.
ORDER = (
    "errors",
    "addresses",
    "mailboxes",
    "typos",
    "markup",
    "email",
    "sendapi",
    "recipients",
    "merge",
    "rates",
    "policy",
    "journal",
    "transport",
    "management",
    "client",
    "spill",
    "suppression",
    "units",
    "events",
    "clock",
    "engine",
    "feed",
    "plan",
    "run",
    "progress",
    "check",
    "validation",
    "frames",
    "arrow",
    "results",
    "delivery",
    "failures",
    "plots",
    "telling",
    "tally",
    "charts",
    "overview",
    "counting",
    "page",
    "delimited",
    "report",
    "audit",
    "summary",
    "preview",
    "trial",
    "settlement",
    "reconcile",
    "settings",
    "descriptors",
    "wording",
    "reported",
    "overlay",
    "corrections",
    "definition",
    "outcomes",
    "cluster",
    "campaign",
    "accessor",
    "console",
    "sandbox",
    "testing",
    "samples",
    "demo",
    "terminal",
    "sending",
    "cli",
)
FACE = {"__init__", "__main__", "_version"}  # the package's own doors

# Email.to_wire shows what would travel, and a notebook what arrives: shortcuts for people, which is why they import
# inside the method. Nothing that an Email is or does depends on them.
SHORTCUTS = {("email", "sendapi", "to_wire"), ("email", "preview", "_repr_html_")}

# The design's order of the modules that it names; the rest has found its place between them.
DESIGN = (
    "errors", "addresses", "email", "sendapi", "recipients", "merge", "rates", "policy", "journal", "transport",
    "client", "engine", "run", "progress", "results", "report", "audit", "settings", "campaign", "console", "sandbox",
    "testing",
)  # fmt: skip


def module_of(path: Path) -> str:
    """The module or subpackage right below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """Every import of the package's own modules, wherever it stands: (module, function around it, line)."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, str, int]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: imports are absolute"
                names = [f"{child.module}.{alias.name}" for alias in child.names]
            else:
                yield from walk(child, inside)
                continue
            for name in names:
                if name.startswith("turbobatch."):
                    yield name.split(".")[1], inside, child.lineno

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), "")


# Which module may import which


def test_every_module_has_its_place() -> None:
    """The order names what there is, and keeps the design's order of the modules that the design names."""
    there = {module_of(path) for path in PACKAGE.rglob("*.py")} - FACE
    assert there <= set(ORDER)
    assert len(set(ORDER)) == len(ORDER)
    assert [name for name in ORDER if name in DESIGN] == list(DESIGN)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    """A module imports only from modules above it, in functions and for types too."""
    module = module_of(path)
    if module in FACE:
        return
    above = {*ORDER[: ORDER.index(module)], module, "_version"}
    wrong = [
        f"{path.name}:{line}: {module} imports {name}"
        for name, function, line in imports(path)
        if name not in above and (module, name, function) not in SHORTCUTS
    ]
    assert wrong == []


def test_the_rule_would_be_noticed(tmp_path: Path) -> None:
    """An import is seen wherever it stands: at the top, in a function, for types only."""
    path = tmp_path / "module.py"
    path.write_text(
        "import turbobatch.run\nfrom turbobatch import audit\nif TYPE_CHECKING:\n    from turbobatch.cli import app\n"
        "class A:\n    def f(self):\n        async def g():\n            from turbobatch.sandbox.server import x\n",
        encoding="utf-8",
    )
    assert list(imports(path)) == [("run", "", 1), ("audit", "", 2), ("cli", "", 4), ("sandbox", "g", 8)]


def test_every_shortcut_is_taken() -> None:
    """An exception that nobody needs any more goes."""
    taken = {(module_of(path), name, function) for path in PACKAGE.rglob("*.py") for name, function, _ in imports(path)}
    assert taken >= SHORTCUTS


# What is public


def test_public_means_all() -> None:
    """`__all__`, the namespace and `dir()` agree; each name is there, sorted, and the same each time."""
    public = turbobatch.__all__
    assert public == sorted(public)
    assert dir(turbobatch) == public
    assert all(getattr(turbobatch, name) is getattr(turbobatch, name) for name in public)
    own = {name for name, value in vars(turbobatch).items() if not isinstance(value, ModuleType)}
    assert {name for name in own if not name.startswith("_")} - {"annotations", "import_module"} <= {
        *public, "ModuleType", "TYPE_CHECKING", "Any",
    }  # fmt: skip


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for types is what is imported when it is used."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(turbobatch.__all__)
    homes = {name: module for module, names in turbobatch._HOMES.items() for name in names}
    written = {
        alias.name: str(node.module).removeprefix("turbobatch.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert written == homes


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="module 'turbobatch' has no attribute 'Campain'"):
        turbobatch.Campain  # noqa: B018 - reading it is the test


@pytest.mark.parametrize(
    "first", ["import turbobatch.audit", "from turbobatch.audit import audit", "import turbobatch.demo"]
)
def test_a_function_named_like_its_module_stays_a_function(first: str) -> None:
    """`turbobatch.audit` is the function, whatever was imported before."""
    then = "import turbobatch as tb\nfrom turbobatch.audit import audit\nassert tb.audit is audit and callable(audit)"
    subprocess.run([sys.executable, "-c", f"{first}\n{then}"], check=True)


def test_the_version_is_the_packages() -> None:
    """One place tells it."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", turbobatch.__version__)
    assert importlib.import_module("turbobatch._version").__version__ == turbobatch.__version__


# What --help costs


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import turbobatch; dir(turbobatch)"),
        ("-m", "turbobatch", "--help"),
        (str(Path(sys.executable).with_name("turbobatch")), "send", "--help"),
        ("-c", "import turbobatch; turbobatch.Email, turbobatch.CampaignError, turbobatch.TurboClient"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: tuple[str, ...]) -> None:
    """Importing the package, or asking for help, takes none of the big libraries."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "turbobatch" in imported
    assert imported.isdisjoint(HEAVY)


# What no file may say


def texts() -> Iterator[tuple[Path, str]]:
    """The files that belong to the project, where they are text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not in a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            content = (ROOT / name).read_bytes()
            if b"\0" not in content:
                yield Path(name), content.decode(errors="replace")


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """Paths are relative, or made where they are used."""
    place = re.compile(r"(?<![\w.:/}])/(?:home|root|Users|work|mnt|opt|var/folders)/[\w.-]+")
    found = [f"{name}: {match[0]}" for name, text in texts() for match in place.finditer(text)]
    assert found == []


def test_modules_are_small() -> None:
    """A module has one subject and no more than 450 lines."""
    long = {path.name: lines for path in PACKAGE.rglob("*.py") if (lines := path.read_text().count("\n")) > 450}
    assert long == {}


def test_what_a_checker_is_told_to_pass_over_has_a_reason() -> None:
    """On the same line: `noqa: CODE - why`, `type: ignore[code]  # why`."""
    unexplained = re.compile(r"# (?:noqa(?!: [A-Z0-9, ]+ - \S)|type: ignore(?!\[[a-z, -]+\] +# ))")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts()
        if name.suffix == ".py"
        for number, line in enumerate(text.splitlines(), 1)
        if unexplained.search(line)
    ]
    assert found == []


@pytest.mark.unmeasured
def test_an_unmeasured_test_is_not_traced() -> None:
    """Nor are threads and processes that it starts."""
    assert getattr(threading.gettrace(), "__module__", None) != "coverage.collector"
    assert type(sys.gettrace()).__module__ != "coverage"
    assert not [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]
