"""A gateway that follows another deployment's API: its calls, while that one changes, stops and comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import carriers
from tests.e2e.api_client import KEY
from tests.e2e.exchange import CARRIERS, HOST, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.sipp import Sipp, free_port
from tests.e2e.test_registered_numbers import Office, office

pytestmark = pytest.mark.e2e

NUMBER = "+14155550111"

INTERVAL = 0.5


@contextlib.contextmanager
def follower(directory: Path, remote: Office) -> Iterator[GatewayProcess]:
    """A gateway whose routes come from the other one's API."""
    directory.mkdir(exist_ok=True)
    sip, http = (HOST, free_port(HOST)), (HOST, free_port(HOST))
    whole = settings(directory, sip, http)
    del whole["routing"]
    (directory / "carriers.toml").write_text(CARRIERS)
    url = f"http://{remote.gateway.http[0]}:{remote.gateway.http[1]}"
    whole["api"] = {"remote_url": url, "remote_key": KEY, "remote_interval": INTERVAL}
    with GatewayProcess(directory, whole, sip=sip, http=http) as gateway:
        yield gateway


def call(directory: Path, gateway: GatewayProcess) -> Sipp:
    return Sipp(
        directory,
        "carrier_twilio",
        host=carriers.TWILIO_HOST,
        remote=gateway.sip,
        arguments=("-s", NUMBER),
        talk=100,
    )


def test_calls_follow_a_remote_api_and_outlive_it(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    with (
        Sipp(tmp_path, "agent_answers", ring=0) as first,
        Sipp(tmp_path, "agent_answers", ring=0, calls=3) as second,
    ):
        with office(tmp_path / "remote") as remote:
            remote.api.agent("agt_first", first.uri)
            remote.api.agent("agt_second", second.uri)
            phone_id = remote.api.number(NUMBER, "agt_first")
            with follower(tmp_path / "node", remote) as gateway:
                wait_until(lambda: gateway.metric("routing_numbers") == 1, "the routes have come over")
                with call(tmp_path, gateway) as carrier:
                    carrier.succeed()
                first.succeed()
                changed = gateway.metric("routing_remote_looks_total", result="changed")
                remote.api.ask(
                    "PATCH", f"/phone-numbers/{phone_id}", {"inbound_routing": {"agent_id": "agt_second"}}
                )
                wait_until(
                    lambda: gateway.metric("routing_remote_looks_total", result="changed") > changed,
                    "the change has come over",
                )
                with call(tmp_path, gateway) as carrier:
                    carrier.succeed()
                remote.gateway.stop()
                wait_until(
                    lambda: gateway.metric("routing_remote_looks_total", result="error") > 0,
                    "it is noticed that the remote API is down",
                )
                with call(tmp_path, gateway) as carrier:
                    carrier.succeed()
                assert gateway.get("/readyz")[0] == 200
            with follower(tmp_path / "node", remote) as gateway:  # restarted while the API is down
                with call(tmp_path, gateway) as carrier:
                    carrier.succeed()
                log = gateway.log
            assert KEY not in log
        second.succeed()
