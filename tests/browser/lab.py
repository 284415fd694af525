"""JupyterLab as a process of its own, and a notebook that is driven in it through a page of a real browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import turbobatch

if TYPE_CHECKING:
    from types import TracebackType

    from playwright.sync_api import Locator, Page

PATIENCE = 120.0  # seconds after which a test gives up; JupyterLab takes about ten to its first answer

_OPTIONS = (
    "--no-browser",
    "--allow-root",  # as containers do
    "--expose-app-in-browser",  # the page's commands, so that a test can wait for the kernel
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--IdentityProvider.token=",  # nobody but this machine can ask
    "--ServerApp.disable_check_xsrf=True",
    "--LabApp.extension_manager=readonly",
)
_SETTINGS = {
    # No news are fetched; every cell is in the page, also one that is scrolled away.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
_FOLDERS = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")


class JupyterLab:
    """A server with folders of its own, so that nothing of the user's is read or changed.

    Args:
        folder: an empty folder; notebooks go to its `work`.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.url = ""
        self._folder = folder
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.work.mkdir()
        for name, settings in _SETTINGS.items():
            path = self._folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "jupyterlab", *_OPTIONS, f"--ServerApp.root_dir={self.work}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.work, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)  # it ends its kernels, then itself
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # kernels leave when their parent is gone
            self._process.wait()

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask the server's own API; JSON or nothing comes back."""
        request = urllib.request.Request(f"{self.url}api/{path}", method=method)  # noqa: S310 - this machine's
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - this machine's
            content = answer.read()
        return json.loads(content) if content else None

    def end_kernels(self) -> None:
        """Shut down every kernel that a test has left."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "COV_CORE_"))}
        folders = {f"JUPYTER_{name}": str(self._folder / name.lower()) for name in _FOLDERS}
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(Path(turbobatch.__file__).parents[1]),
            "IPYTHONDIR": str(self._folder / "ipython"),
            "JUPYTERLAB_SETTINGS_DIR": str(self._folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._folder / "workspaces"),
            **folders,
            **kept,
        }

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, f"JupyterLab ended:\n{self._log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, f"JupyterLab doesn't answer:\n{self._log.read_text(errors='replace')}"
            for path in (self._folder / "runtime_dir").glob("jpserver-*.json"):
                try:
                    self.url = json.loads(path.read_text(encoding="utf-8"))["url"]
                    self.ask("status")
                except (ValueError, OSError):
                    break  # half-written, or not listening yet
                return
            time.sleep(0.05)


# The page's own view of its notebook; `kernel` is None until there is one.
_STATE = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    const kernel = context?.session?.kernel;
    return Boolean(context?.isReady && kernel?.status === "idle" && kernel?.connectionStatus === "connected");
}"""
# Not awaited: a dialog would hold the promise, and with it the test, for good.
_RUN = """index => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.deselectAll();
    notebook.activeCellIndex = index;
    window.cellHasRun = null;
    window.jupyterapp.commands.execute("notebook:run-cell").then(ok => { window.cellHasRun = Boolean(ok); });
}"""
_CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .flatMap((cell, index) => cell.model.type === "code" ? [index] : [])"""


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.goto(url)
        self.wait_for_kernel()
        self.code_cells: list[int] = page.evaluate(_CODE_CELLS)

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is idle and the page has a connection to it: a cell that is run before gets lost."""
        self.page.wait_for_function(_STATE, timeout=PATIENCE * 1000)

    def run(self, number: int) -> Locator:
        """Run a code cell to its end (they count from 0, prose doesn't) and return its output."""
        self.begin(number)
        self.page.wait_for_function("() => window.cellHasRun !== null", timeout=PATIENCE * 1000)
        output = self.output(number)
        assert self.page.evaluate("() => window.cellHasRun"), output.inner_text()
        return output

    def begin(self, number: int) -> None:
        """Run a code cell, and don't wait for its end."""
        self.wait_for_kernel()
        self.page.evaluate(_RUN, self.code_cells[number])

    def output(self, number: int) -> Locator:
        """What a code cell has shown."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.code_cells[number]).locator(".jp-Cell-outputArea")

    def restart_kernel(self) -> None:
        """Restart the kernel, as the menu does once it is confirmed."""
        before = self.page.evaluate("() => { window.hasRestarted = false; }")
        assert before is None
        self.page.evaluate(
            """() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()
                .then(() => { window.hasRestarted = true; }); }"""
        )
        self.page.wait_for_function("() => window.hasRestarted", timeout=PATIENCE * 1000)
        self.wait_for_kernel()

    def use_theme(self, *, dark: bool) -> None:
        """Switch JupyterLab to its light or dark theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate(
            "theme => { window.jupyterapp.commands.execute('apputils:change-theme', {theme}); }",
            name,
        )
        self.page.locator(f'body[data-jp-theme-name="{name}"]').wait_for(state="attached")
