"""Prometheus as a process, with this project's own configuration pointed at a gateway under test."""

from __future__ import annotations

import json
import math
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.gateway_process import wait_until
from tests.e2e.patience import PATIENCE
from tests.e2e.sipp import free_port, require
from tests.e2e.wire import Address

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "prometheus"
TARGET = "localhost:8080"
PACE = "15s"


class Prometheus:
    """A running Prometheus. Leaving the ``with`` block ends it."""

    def __init__(self, directory: Path, gateway: Address, *, pace: str = "1s") -> None:
        """Start it: the rules as they are, scraping and evaluating at that pace."""
        text = (CONFIGS / "prometheus.yml").read_text()
        assert text.count(PACE) == 2
        directory.mkdir()
        for rules in CONFIGS.glob("*.yml"):
            (directory / rules.name).write_text(rules.read_text())
        config = directory / "prometheus.yml"
        config.write_text(text.replace(PACE, pace))
        nodes = directory / "nodes.yml"
        assert TARGET in nodes.read_text()
        nodes.write_text(nodes.read_text().replace(TARGET, f"{gateway[0]}:{gateway[1]}"))
        self._address = f"127.0.0.1:{free_port('127.0.0.1')}"
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    require("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self._address}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_ready, "Prometheus is ready")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return bool(self.query("vector(1)"))
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query that have a value now; a ratio of nothing to nothing is none."""
        url = f"http://{self._address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            series = json.load(answer)["data"]["result"]
        return [each for each in series if not math.isnan(float(each["value"][1]))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)
