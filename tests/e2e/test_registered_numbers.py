"""Calls to numbers that the API was told of a moment ago, in one process with it, and in another."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from routing.redis_server import socket_path
from tests.e2e import carriers
from tests.e2e.api_client import KEY, ApiClient
from tests.e2e.exchange import CARRIERS, HOST, settings
from tests.e2e.gateway_process import GatewayProcess, to_toml, wait_until
from tests.e2e.sipp import Sipp, free_port, require

pytestmark = pytest.mark.e2e

MOMENT = 1.0
"""Seconds after which what was said must hold."""


@dataclass(frozen=True, slots=True)
class Office:
    """A gateway and the API that it follows."""

    gateway: GatewayProcess
    api: ApiClient
    directory: Path


@contextlib.contextmanager
def office(directory: Path, *, apart: bool = False) -> Iterator[Office]:
    """A gateway that serves the API, or a second process does."""
    sip, http = (HOST, free_port(HOST)), (HOST, free_port(HOST))
    whole = settings(directory, sip, http)
    del whole["routing"]
    (directory / "carriers.toml").write_text(CARRIERS)
    whole["api"] = {"bootstrap_key": KEY, "serve": not apart}
    if not apart:
        with GatewayProcess(directory, whole, sip=sip, http=http) as gateway:
            yield Office(gateway, ApiClient(http), directory)
        return
    other = (HOST, free_port(HOST))
    config = directory / "api.toml"
    config.write_text(to_toml(whole))
    command = [str(Path(sys.executable).with_name("voice-gateway")), "api", "--config", str(config)]
    with (directory / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--listen", f"{other[0]}:{other[1]}"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        with GatewayProcess(directory, whole, sip=sip, http=http) as gateway:
            yield Office(gateway, ApiClient(other), directory)
        process.terminate()
        assert process.wait(15) == 0, (directory / "api.log").read_text()
        assert "Traceback" not in (directory / "api.log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def call(
    place: Office, number: str, *, calls: int = 1, arguments: tuple[str, ...] = (), talk: int = 100
) -> Sipp:
    return Sipp(
        place.directory,
        "carrier_twilio",
        host=carriers.TWILIO_HOST,
        remote=place.gateway.sip,
        calls=calls,
        arguments=("-s", number, *arguments),
        talk=talk,
    )


@pytest.mark.parametrize("apart", [False, True], ids=["one process", "two processes"])
def test_a_number_is_answered_by_its_agent_and_after_a_patch_by_the_other(tmp_path: Path, apart: bool):
    with (
        office(tmp_path, apart=apart) as place,
        Sipp(tmp_path, "agent_answers", ring=0) as first,
        Sipp(tmp_path, "agent_answers", ring=0) as second,
    ):
        place.api.agent("agt_first", first.uri)
        place.api.agent("agt_second", second.uri)
        phone_id = place.api.number("+14155550111", "agt_first")
        time.sleep(MOMENT)
        with call(place, "+14155550111") as carrier:
            carrier.succeed()
            first.succeed()
        place.api.ask("PATCH", f"/phone-numbers/{phone_id}", {"inbound_routing": {"agent_id": "agt_second"}})
        time.sleep(MOMENT)
        with call(place, "+14155550111") as carrier:
            carrier.succeed()
            second.succeed()
        place.api.ask("DELETE", f"/phone-numbers/{phone_id}")
        time.sleep(MOMENT)
        with Sipp(
            tmp_path,
            "carrier_refused",
            host=carriers.TWILIO_HOST,
            remote=place.gateway.sip,
            arguments=("-s", "+14155550111"),
            status=404,
        ) as carrier:
            carrier.succeed()


CALLS, RATE = 200, 20


def test_no_call_fails_while_redis_is_flushed_again_and_again(tmp_path: Path):
    redis_cli = require("redis-cli")
    with (
        office(tmp_path) as place,
        Sipp(tmp_path, "agent_answers", ring=0, calls=CALLS) as agent,
    ):
        place.api.agent("agt_first", agent.uri)
        place.api.number("+14155550111", "agt_first")
        wait_until(lambda: place.gateway.metric("routing_numbers") == 1, "the number is routed")
        with call(place, "+14155550111", calls=CALLS, arguments=("-r", str(RATE))) as carrier:
            for flush in range(6):
                time.sleep(1.2)
                socket = str(socket_path(tmp_path / "data"))
                subprocess.run([redis_cli, "-s", socket, "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
                place.api.number(f"+1415555020{flush}", "agt_first")  # and routes go on changing
            carrier.succeed()
            agent.succeed()
        assert place.gateway.metric("gateway_calls_total", outcome="agent") == CALLS
        wait_until(lambda: place.gateway.metric("routing_numbers") == 7, "what changed meanwhile is routed")


def test_what_was_registered_is_there_after_a_restart_with_an_empty_redis(tmp_path: Path):
    with office(tmp_path) as place:
        place.api.agent("agt_first", "sip:nobody@127.0.0.1:9")
        place.api.number("+14155550111", "agt_first")
    for path in (tmp_path / "data").glob("*.rdb"):
        path.unlink()
    (tmp_path / "data" / "routes.snapshot").unlink(missing_ok=True)
    with office(tmp_path) as place:
        assert place.gateway.metric("routing_numbers") == 1
