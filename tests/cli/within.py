"""Commands run within this process: starting an interpreter for each costs seconds."""

from __future__ import annotations

import contextlib
import io
import subprocess
from collections.abc import Iterator

import pytest
import structlog

from gateway.cli.main import main
from tests.cli.test_api_commands import Shell


class ShellWithin(Shell):
    """A `Shell` whose commands share this process."""

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, logging_as_before():
            for name, value in {**self.environ, **environ}.items():
                patch.setenv(name, value)
            patch.chdir(self.directory)
            patch.setattr("sys.argv", ["voice-gateway", *arguments])
            patch.setattr("sys.stdin", io.StringIO(stdin))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    main()
                    code = 0
                except SystemExit as ended:
                    code = ended.code if isinstance(ended.code, int) else 0
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def logging_as_before() -> Iterator[None]:
    before = structlog.get_config()
    try:
        yield
    finally:
        structlog.configure(**before)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> None:
    """A command's loop is its own: it may block."""
