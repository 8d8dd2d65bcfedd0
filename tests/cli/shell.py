"""Commands as a person types them; most run within this process: to start an interpreter for each costs seconds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.cli.main import main
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import free_port

COMMAND = Path(sys.executable).with_name("voice-gateway")
KEY = "oi_sk_the-key-of-the-command-tests"
PATIENCE = 60


class Shell:
    """Runs commands in a directory with a configuration of its own."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        self.directory = directory
        self.environ = environ

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environ, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def ok(self, *arguments: str, **options: str) -> str:
        result = self.run(*arguments, **options)
        assert result.returncode == 0, result
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def post(self, path: str, body: Any) -> Any:
        """What no command does, over HTTP."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        url = self.environ["VOICE_GATEWAY_URL"] + path
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def fails(self, *arguments: str, **options: str) -> str:
        """The one line that says why."""
        result = self.run(*arguments, **options)
        assert result.returncode == 1, result
        return result.stderr


def config(directory: Path, more: str = "") -> Path:
    path = directory / "gateway.toml"
    path.write_text(f'[data]\ndir = "{directory / "data"}"\n[api]\nbootstrap_key = "{KEY}"\n{more}')
    return path


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


@contextlib.contextmanager
def running_api(directory: Path, more: str = "") -> Iterator[ShellWithin]:
    """An API for as long as the block runs. more: of its configuration."""
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    log = directory / "api.log"
    path = str(config(directory, more))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [COMMAND, "api", "--config", path, "--listen", address], stdout=out, stderr=out
        )
    try:
        wait_until(lambda: b'"ready"' in log.read_bytes(), "the API is ready", 30)
        yield ShellWithin(directory, {"VOICE_GATEWAY_URL": f"http://{address}", "VOICE_GATEWAY_API_KEY": KEY})
    finally:
        process.terminate()
        process.wait(15)
