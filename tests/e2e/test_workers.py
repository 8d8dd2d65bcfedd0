"""Two workers on one port, as real processes: calls of one source, a worker that is killed, an upgrade."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import sipp_load
from tests.e2e import carriers
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import Sipp, free_port
from tests.e2e.two_ends import ASKED_WITHIN, DIRECT, TwoEnds
from tests.e2e.wire import Dialog

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    exchange = Exchange(
        tmp_path_factory.mktemp("workers"),
        workers={"count": 2, "port": free_port("127.0.0.1"), "tls_port": 19_000},
    )
    with exchange.gateway:
        yield exchange


def asked(gateway: GatewayProcess, path: str) -> Any:
    """What the API says."""
    key = (gateway.data / "operator.key").read_text().strip()
    address = "http://{}:{}{}".format(*gateway.http, path)
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def slots(calls: Any) -> Counter[int]:
    """How many of these calls each worker has, or had."""
    return Counter(int(call["node"].rpartition("/")[2]) for call in calls["items"])


def pid_of(gateway: GatewayProcess, slot: int) -> int:
    lines = [line for line in gateway.log_lines() if line["event"] == "worker started"]
    return next(int(str(line["pid"])) for line in reversed(lines) if line["worker"] == slot)


def test_calls_of_one_source_port_reach_both_and_are_found_afterwards(
    workers: Exchange, tmp_path: Path
) -> None:
    with Sipp(tmp_path, "agent_answers", calls=30, ring=10) as agent:
        line = workers.line(agent.uri)
        arguments = ("-s", line.number, "-r", "20")
        gateway = workers.gateway
        caller = Sipp(
            tmp_path,
            "carrier_twilio",
            remote=gateway.sip,
            calls=30,
            arguments=arguments,
            talk=100,
            host=carriers.TWILIO_HOST,
        )
        with caller:
            caller.succeed()
        agent.succeed()
    wait_until(lambda: len(asked(gateway, "/v1/calls?limit=100")["items"]) == 30, "all calls are kept")
    shares = slots(asked(gateway, "/v1/calls?limit=100"))
    assert set(shares) == {1, 2}
    assert min(shares.values()) >= 5
    assert gateway.metric("gateway_calls_total", outcome="agent") == 30
    assert gateway.metric("gateway_sip_handed_messages_total", result="taken") > 5


def test_a_killed_worker_takes_nobody_elses_calls_with_it_and_its_own_go_on_where_they_can(
    workers: Exchange,
) -> None:
    gateway = workers.gateway
    calls: dict[tuple[int, str], list[tuple[TwoEnds, Dialog, Dialog]]] = {
        (slot, media): [] for slot in (1, 2) for media in ("", DIRECT)
    }
    with contextlib.ExitStack() as stack:
        while not (calls[1, ""] and calls[2, ""] and len(calls[1, DIRECT]) > 1):
            before = slots(asked(gateway, "/v1/calls/live"))
            media = DIRECT if calls[1, ""] and calls[2, ""] else ""
            ends = stack.enter_context(TwoEnds(workers, uri_suffix=media))
            dialogs = ends.connect()
            [slot] = slots(asked(gateway, "/v1/calls/live")) - before
            calls[slot, media].append((ends, *dialogs))
        new = stack.enter_context(TwoEnds(workers))
        time.sleep(0.6)  # the last one's state waits for the next write, which nothing outside shows
        os.kill(pid_of(gateway, 1), signal.SIGKILL)
        wait_until(lambda: gateway.metric("gateway_worker_restarts_total", worker="1") == 1, "it is missed")
        # A goodbye at once, by the shared port: whoever reads it has the call, or takes it over.
        gone, *others = calls[1, DIRECT]
        gone[0].hang_up(*gone[1:])
        assert gateway.get("/readyz")[0] == 200
        new.hang_up(*new.connect())
        # Those whose audio has died with the worker are told so; the others are asked, and go on.
        for _, caller, callee in calls[1, ""]:
            assert "cause=503" in caller.expect_bye(timeout=ASKED_WITHIN)["reason"]
            assert "cause=503" in callee.expect_bye(timeout=ASKED_WITHIN)["reason"]
        for ends, caller, callee in others:
            ends.both_asked(caller, callee)
        wait_until(lambda: gateway.metric("gateway_worker_up") == 2, "both are up", 30)
        left = [*others, *calls[2, ""], *calls[2, DIRECT]]
        assert slots(asked(gateway, "/v1/calls/live")).total() == len(left)
        for ends, caller, callee in left:
            ends.hang_up(caller, callee)
        for ends, *_ in (gone, *calls[1, ""], *left):  # nobody is told anything twice
            for peer in (ends.carrier, ends.agent):
                peer.receive_nothing(0.05)
    wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")
    assert gateway.metric("gateway_orphaned_calls_total", result="adopted") == len(calls[1, DIRECT])
    assert gateway.metric("gateway_orphaned_calls_total", result="ended") == len(calls[1, ""])
    assert gateway.metric("gateway_calls_total", outcome="agent") >= 30, "what it had counted stays counted"


def test_a_new_version_takes_over_under_load_and_no_call_is_lost(workers: Exchange, tmp_path: Path) -> None:
    """The last test of this file: the gateway of the others has ended then."""
    old = workers.gateway
    agent = sipp_load.agent(tmp_path)
    line = workers.line(agent.agent_uri)
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"SEQUENTIAL\n{line.number}\n")
    with contextlib.ExitStack() as stack:
        stack.callback(agent.stop)
        ends = stack.enter_context(TwoEnds(workers))
        dialogs = ends.connect()
        caller = sipp_load.caller(tmp_path, old.sip, numbers, rate=10, calls=5_000, talk_ms=500)
        stack.callback(caller.stop)
        new = stack.enter_context(old.successor(tmp_path))
        wait_until(
            lambda: set(slots(asked(new, "/v1/calls?limit=1000"))) >= {3, 4}, "new calls are theirs", 30
        )
        outcome = caller.stop()
        ends.hang_up(*dialogs)
        assert old.exit_code() == 0
        assert outcome.failed == 0
        assert outcome.succeeded > 10
        assert slots(asked(new, "/v1/calls?limit=1000")).keys() == {1, 2, 3, 4}
