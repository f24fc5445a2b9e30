"""Running the repository's programs: as processes, as a user does, or in the test's own.

A process begins with seconds of imports. One test per program starts one; tests of what else the
program says run it here.
"""

import contextlib
import io
import os
import pathlib
import runpy
import subprocess
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).parents[2]
_ENVIRONMENT = {"PYTHONIOENCODING": "utf-8", "COLUMNS": "100", "MPLBACKEND": "agg"}
Finished = subprocess.CompletedProcess[str]


def start_python(
    *arguments: str,
    cwd: pathlib.Path = ROOT,
    stdin: int = subprocess.DEVNULL,
    **environment: str,
) -> Finished:
    """Run Python in a process, warnings being errors, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, **_ENVIRONMENT, **environment},
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def run_here(*arguments: str, cwd: pathlib.Path = ROOT, **environment: str) -> Finished:
    """Run a script, or `-m` and a module, as `start_python` does, but in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "stdin", io.StringIO()),  # which is no terminal
        mock.patch.object(sys, "argv", list(arguments[arguments[0] == "-m" :])),
        mock.patch.dict(os.environ, {**_ENVIRONMENT, **environment}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _exit_code(*arguments)
    return Finished(arguments, code, out.getvalue(), err.getvalue())


def _exit_code(first: str, *others: str) -> int:
    try:
        if first == "-m":
            sys.modules.pop(f"{others[0]}.__main__", None)  # runpy warns of one that is imported
            runpy.run_module(others[0], run_name="__main__")
        else:
            runpy.run_path(str(ROOT / first), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):  # as the interpreter does
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    return 0


def output_of(finished: Finished) -> str:
    """Return what a program printed that ended well and had nothing to complain of."""
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def complaint_of(finished: Finished, code: int = 1) -> str:
    """Return what a program said that refused its arguments or failed."""
    assert (finished.returncode, bool(finished.stderr)) == (code, True), finished.stderr
    return finished.stderr
