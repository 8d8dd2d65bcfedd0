"""A gateway with numbers that tests declare where they need them, each with agents of its own.

No two tests share an agent: what the gateway remembers of a failing endpoint must not colour the
next test. A new number is written to the numbers file and taken up on SIGHUP, as an operator would.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import carriers, edge
from tests.e2e.gateway_process import PROGRAM, GatewayProcess, Section, wait_until
from tests.e2e.sipp import free_port
from tests.e2e.wire import Address

HOST = "127.0.0.1"
MEDIA_PORTS = (30_000, 31_998)  # below the kernel's ephemeral range

CARRIERS = f"""\
[[trunk]]
name = "twilio"
sources = ["{carriers.TWILIO_HOST}/32"]
call_id_header = "X-Twilio-CallSid"
passed_headers = ["X-Twilio-"]
development = true

[[trunk]]
name = "telnyx"
sources = ["{carriers.TELNYX_HOST}/32", "{carriers.TELNYX_SECOND_HOST}/32"]
call_id_header = "X-Telnyx-Session-ID"
passed_headers = ["X-Telnyx-"]
development = true

[[trunk]]
name = "development"
sources = ["127.0.0.1/32"]
development = true
"""


def _inline(value: Any) -> str:
    """A TOML value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _tables(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """An array of TOML tables; nested values go inline."""
    return "\n".join(
        "\n".join([f"[[{name}]]", *(f"{key} = {_inline(value)}" for key, value in row.items()), ""])
        for row in rows
    )


def settings(directory: Path, sip: Address, http: Address) -> dict[str, dict[str, object]]:
    """What the gateway under test is told: short clocks, loopback, nothing shared with a neighbour."""
    return {
        "sip": {"listen": [f"{sip[0]}:{sip[1]}"]},
        "web": {"listen": f"{http[0]}:{http[1]}"},
        "data": {"dir": str(directory / "data")},
        "admission": {
            "carriers_files": [str(directory / "carriers.toml")],
            "trusted_proxies": [edge.HOST],
            "overload_delay": 10.0,  # the suite shares its machine, and asserts no absolute time
        },
        "routing": {"numbers_file": str(directory / "numbers.toml")},
        "agents": {"probe_interval": 3600.0},  # SIPp's scenarios expect no OPTIONS
        "dispatch": {"response_timeout": 1.0, "ring_timeout": 3.0},
        "media": {"port_low": MEDIA_PORTS[0], "port_high": MEDIA_PORTS[1]},
        "voicemail": {"max_seconds": 30, "silence_seconds": 2.0},
    }


@dataclass(frozen=True, slots=True)
class Line:
    """A number as the numbers file describes it, and the ids of its agents."""

    number: str
    primary: str
    fallback: str | None


class Exchange:
    """The numbers file of one gateway, and that gateway.

    passed: sockets that it is given instead of opening its own: SIP over UDP and TCP, and HTTP.
    """

    def __init__(
        self,
        directory: Path,
        *,
        program: Path = PROGRAM,
        passed: tuple[socket.socket, socket.socket, socket.socket] | None = None,
        **overrides: Section,
    ) -> None:
        self._directory = directory
        self._agents: list[dict[str, Any]] = []
        self._numbers: list[dict[str, Any]] = []
        self._suffixes = itertools.count()
        (directory / "carriers.toml").write_text(CARRIERS)
        self._add(None, None, {"status": "inactive"})  # no empty table: a gateway without routes is not ready
        self._write()
        self._passed = passed or ()
        sip, http = (HOST, free_port(HOST)), (HOST, free_port(HOST))
        if passed is not None:
            sip, http = passed[0].getsockname(), passed[2].getsockname()
        whole = settings(directory, sip, http)
        for section, values in overrides.items():
            whole.setdefault(section, {}).update(values)
        self._settings = whole
        self.gateway = GatewayProcess(
            directory, whole, sip=sip, http=http, patience=60.0, program=program, passed=self._passed
        )

    def start_again(self, **overrides: Section) -> GatewayProcess:
        """Another process of the same gateway, the first one having ended."""
        before = self.gateway
        for section, values in overrides.items():
            self._settings.setdefault(section, {}).update(values)
        self.gateway = GatewayProcess(
            self._directory,
            self._settings,
            sip=before.sip,
            http=before.http,
            patience=60.0,
            passed=self._passed,
        )
        return self.gateway

    def line(
        self,
        primary: str | Sequence[str] | None,
        fallback: str | Sequence[str] | None = None,
        *,
        max_calls: int | None = None,
        endpoint: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Line:
        """Add a number whose agents have these endpoint URLs, and return once the gateway routes it.

        max_calls: of each endpoint of the primary agent; None for no limit. endpoint: more keys of each.
        fields: more keys of the number, as in the numbers file; ``voicemail_message`` and ``voicemail``
        go into its ``inbound_routing``, and ``inbound_routing=None`` leaves it outbound-only.
        """
        more = {} if max_calls is None else {"max_calls": max_calls}
        line = self._add(primary, fallback, fields, more | (endpoint or {}))
        self._take_up()
        return line

    def load(self, rows: Sequence[tuple[str, str]]) -> None:
        """Many (number, endpoint URL) at once, one agent an endpoint."""
        agents = {url: f"agt_load_{i}" for i, url in enumerate(dict.fromkeys(url for _, url in rows))}
        for url, agent_id in agents.items():
            self._agents.append({"id": agent_id, "name": agent_id, "endpoints": [{"url": url}]})
        for i, (number, url) in enumerate(rows):
            routing = {"agent_id": agents[url]}
            self._numbers.append({"id": f"phn_load_{i}", "phone_number": number, "inbound_routing": routing})
        self._take_up()

    def unknown_number(self) -> str:
        """A number that nobody has."""
        return f"+1415555{9999 - next(self._suffixes):04d}"

    def _agent(
        self, role: str, suffix: str, urls: str | Sequence[str], more: dict[str, Any] | None = None
    ) -> str:
        listed = [urls] if isinstance(urls, str) else list(urls)
        endpoints = [{"url": url, "priority": 10 * (i + 1)} | (more or {}) for i, url in enumerate(listed)]
        agent_id = f"agt_{role}_{suffix}"
        self._agents.append({"id": agent_id, "name": f"{role} {suffix}", "endpoints": endpoints})
        return agent_id

    def _add(
        self,
        primary: str | Sequence[str] | None,
        fallback: str | Sequence[str] | None,
        fields: dict[str, Any],
        more: dict[str, Any] | None = None,
    ) -> Line:
        suffix = f"{100 + next(self._suffixes):04d}"  # from 555-0100 on, the numbers of nobody
        number = f"+1415555{suffix}"
        first = self._agent("primary", suffix, primary or "sip:nobody@127.0.0.1:9", more)
        second = self._agent("fallback", suffix, fallback) if fallback else None
        routing: dict[str, Any] = {"agent_id": first}
        if second:
            routing["fallback"] = {"agent_id": second}
        for key in ("voicemail_message", "voicemail", "answer_first"):
            if key in fields:
                routing[key] = fields.pop(key)
        row = {"id": f"phn_{suffix}", "phone_number": number, "agent_id": first, "inbound_routing": routing}
        row |= fields
        self._numbers.append({key: value for key, value in row.items() if value is not None})
        return Line(number, first, second)

    def _take_up(self) -> None:
        """Write the file, and wait until the gateway routes by it."""
        self._write()
        self.gateway.reload()
        count = len(self._numbers)
        wait_until(lambda: self.gateway.metric("routing_numbers") == count, f"{count} numbers are routed", 30)

    def _write(self) -> None:
        """All at once: a half-written file must never be read."""
        path = self._directory / "numbers.toml"
        draft = path.with_suffix(".draft")
        draft.write_text(_tables("agents", self._agents) + "\n" + _tables("numbers", self._numbers))
        draft.rename(path)
