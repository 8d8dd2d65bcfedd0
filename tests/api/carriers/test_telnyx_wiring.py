"""A Telnyx account is wired by its own SDK against a local Telnyx: planned, changed where it differs, resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.carriers.base import CarrierError
from api.carriers.telnyx_plan import Connection, Found, Fqdn, Number, findings, plan
from api.carriers.wiring import Desired, Node, Place, Wired, ensure
from tests.api.carriers.sdk_clients import telnyx_wiring
from tests.carriers.faults import Fault
from tests.carriers.telnyx_server import INTERNAL, TelnyxServer

NUMBER = "+14155550111"
FIRST = Node("voice.example.com", 5060)
SECOND = Node("voice2.example.com", 5060, priority=20)
DESIRED = Desired(Place((FIRST, SECOND)), (NUMBER,), countries=("US", "AE"))
KINDS = [
    "create outbound profile",
    "create connection",
    "add destination",
    "add destination",
    "order destinations",
    "attach number",
]
WRITES = {
    "create outbound profile": "POST /outbound_voice_profiles",
    "create connection": "POST /fqdn_connections",
    "add destination": "POST /fqdns",
    "order destinations": "PATCH /fqdn_connections/{id}",
    "attach number": "PATCH /phone_numbers/{id}",
}


def account() -> TelnyxServer:
    server = TelnyxServer()
    server.own(NUMBER, connection_id=server.credential_connection("OneInbox"))
    return server


def kinds(wired: Wired) -> list[str]:
    return [step.change.kind for step in wired.steps]


def assert_wired(server: TelnyxServer) -> None:
    """One connection that leads to both nodes in order, with the number on it."""
    (connection,) = server.connections.values()
    inbound: dict[str, Any] = connection["inbound"]
    assert (inbound["ani_number_format"], inbound["dnis_number_format"]) == ("+E.164", "+e164")
    assert inbound["timeout_1xx_secs"] >= 5 and inbound["timeout_2xx_secs"] >= 60
    assert inbound["codecs"] == ["G711U", "G711A"]
    assert connection["outbound"]["ip_authentication_method"] == "credential-authentication"
    assert connection["outbound"]["outbound_voice_profile_id"] in server.profiles
    hosts = {each["id"]: each["fqdn"] for each in server.fqdns.values()}
    ordered = [hosts[inbound[f"default_{rank}_fqdn_id"]] for rank in ("primary", "secondary")]
    assert ordered == ["voice.example.com", "voice2.example.com"]
    assert server.number(NUMBER)["connection_id"] == connection["id"]


async def test_a_dry_run_tells_and_changes_nothing():
    server = account()
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=True)
    assert kinds(wired) == KINDS
    assert {step.status for step in wired.steps} == {"planned"}
    assert server.changes() == []


async def test_why_it_is_no_credential_connection_is_told():
    server = account()
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=True)
        told = {step.change.kind: step.change.detail for step in wired.steps}
        assert "not the credential connection" in told["create connection"]
        assert "credential connection OneInbox" in told["attach number"]
        found = await wiring.examine(DESIRED)
    assert any("only reach a contact that has registered" in each.detail for each in found)


async def test_an_account_of_the_guide_is_wired_and_then_left_alone():
    server = account()
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        assert kinds(wired) == KINDS and not wired.failed
        assert wired.identity in server.connections
        assert_wired(server)
        assert any("user telnyx" in note for note in wired.notes)
        assert not any("made-by-telnyx" in note for note in wired.notes)
        changed = len(server.changes())
        again = await wiring.set_up(DESIRED, dry_run=False)
        assert again.steps == [] and again.identity == wired.identity
        assert len(server.changes()) == changed
        assert (await ensure(wiring, DESIRED)).identity == wired.identity
        assert [each.check for each in await wiring.examine(DESIRED)] == ["geo permission"]


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize(
    "fault",
    [Fault("refused", 500, INTERNAL), Fault("dropped"), Fault("answered", 500, INTERNAL)],
    ids=lambda f: f.kind,
)
async def test_a_step_that_fails_is_told_and_the_next_run_goes_on_from_there(kind: str, fault: Fault):
    server = account()
    server.fail(WRITES[kind], replace(fault))
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        broken = next(step for step in wired.steps if step.status != "done")
        assert broken.change.kind == kind and broken.status == "failed" and broken.error
        assert not (await wiring.set_up(DESIRED, dry_run=False)).failed
    assert_wired(server)
    assert len(server.fqdns) == 2 and len(server.profiles) == 1


async def test_what_was_made_and_is_not_listed_yet_is_not_made_twice():
    server = account()
    server.unseen = 2
    server.fail(WRITES["create connection"], Fault("dropped"))
    async with telnyx_wiring(server) as wiring:
        assert (await wiring.set_up(DESIRED, dry_run=False)).failed
        assert not (await wiring.set_up(DESIRED, dry_run=False)).failed
    assert_wired(server)


async def test_only_what_differs_is_changed():
    server = account()
    connection = server.connection("voice-gateway", inbound={"timeout_1xx_secs": 3, "timeout_2xx_secs": 300})
    server.connections[connection]["inbound"] |= {"default_routing_method": "sequential", "codecs": ["G711A"]}
    server.connections[connection]["outbound"] = {"outbound_voice_profile_id": "9"}
    server.profiles["9"] = {"id": "9", "name": "mine", "whitelisted_destinations": ["US"]}
    first = server.fqdn(connection, "voice.example.com")
    old = server.fqdn(connection, "old.example.net")
    server.connections[connection]["inbound"]["default_primary_fqdn_id"] = old
    async with telnyx_wiring(server) as wiring:
        desired = Desired(Place((FIRST,)), (NUMBER,))
        wired = await wiring.set_up(desired, dry_run=False)
        assert kinds(wired) == ["change connection", "order destinations", "attach number"]
        inbound = server.connections[connection]["inbound"]
        assert inbound["timeout_1xx_secs"] == 10 and inbound["timeout_2xx_secs"] == 300
        assert inbound["codecs"] == ["G711A"] and inbound["default_primary_fqdn_id"] == first
        removed = await wiring.set_up(replace(desired, remove_others=True), dry_run=False)
        assert kinds(removed) == ["remove destination"]
    assert list(server.fqdns) == [first]


async def test_a_node_without_a_name_is_refused_first():
    server = account()
    async with telnyx_wiring(server) as wiring:
        with pytest.raises(CarrierError, match="DNS name"):
            await wiring.set_up(Desired(Place((Node("192.0.2.10", 5060),))), dry_run=False)
    assert server.asked == []


async def test_more_nodes_than_a_connection_takes_are_told():
    server = account()
    nodes = tuple(Node(f"voice{index}.example.com", 5060) for index in range(5))
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(Desired(Place(nodes), (NUMBER,)), dry_run=False)
    (connection,) = server.connections.values()
    assert len(server.fqdns) == 3 and connection["inbound"]["default_routing_method"] == "round-robin"
    assert any("the last 2" in note for note in wired.notes)


INBOUND: dict[str, Any] = {
    "ani_number_format": "+E.164",
    "dnis_number_format": "+e164",
    "codecs": ["G711U", "G711A"],
    "timeout_1xx_secs": 10,
    "timeout_2xx_secs": 120,
    "default_routing_method": "sequential",
    "default_primary_fqdn_id": "1",
    "default_secondary_fqdn_id": "2",
}
CONNECTION = Connection(
    "7",
    "voice-gateway",
    inbound=INBOUND,
    profile="9",
    fqdns=(Fqdn("1", "voice.example.com", 5060), Fqdn("2", "voice2.example.com", 5060)),
)
FOUND = Found(CONNECTION, {NUMBER: Number("5", "7")}, "9", ("US", "AE"), {"8": "OneInbox"})


def inbound(**changed: Any) -> Found:
    return replace(FOUND, connection=replace(CONNECTION, inbound=INBOUND | changed))


@pytest.mark.parametrize(
    ("found", "check", "grave"),
    [
        (replace(FOUND, connection=None), "connection", True),
        (replace(FOUND, connection=replace(CONNECTION, active=False)), "connection inactive", True),
        (replace(FOUND, connection=replace(CONNECTION, fqdns=())), "destination", True),
        (inbound(default_primary_fqdn_id=None), "destination", True),
        (
            replace(
                FOUND,
                connection=replace(
                    CONNECTION,
                    fqdns=(*CONNECTION.fqdns, Fqdn("3", "old.example.net", 5060)),
                    inbound=INBOUND | {"default_primary_fqdn_id": "3"},
                ),
            ),
            "destination elsewhere",
            True,
        ),
        (inbound(dnis_number_format="sip_username"), "number format", True),
        (inbound(dnis_number_format="e164"), "number format", False),
        (inbound(timeout_1xx_secs=3), "1xx timeout", True),
        (inbound(timeout_2xx_secs=5), "answer timeout", True),
        (inbound(codecs=["G729"]), "codecs", True),
        (replace(FOUND, connection=replace(CONNECTION, encrypted=True)), "secure connection", True),
        (replace(FOUND, connection=replace(CONNECTION, transport="TLS")), "secure connection", True),
        (replace(FOUND, connection=replace(CONNECTION, profile=None)), "outbound profile", False),
        (replace(FOUND, numbers={}), "number", True),
        (replace(FOUND, numbers={NUMBER: Number("5", None)}), "number not attached", True),
        (replace(FOUND, numbers={NUMBER: Number("5", "8")}), "number not attached", True),
        (replace(FOUND, numbers={NUMBER: Number("5", "7", "purchase-pending")}), "number", True),
        (replace(FOUND, destinations=("US",)), "geo permission", False),
    ],
)
def test_drift_is_found_with_its_fix(found: Found, check: str, grave: bool):
    told = findings(DESIRED, found)
    assert any(each.check == check and each.grave == grave for each in told), told
    assert all(each.fix and each.detail for each in told)


def test_without_drift_nothing_is_found_or_planned():
    assert findings(DESIRED, FOUND) == []
    assert plan(DESIRED, FOUND) == []


async def test_a_destination_that_is_there_twice_is_there_once_afterwards():
    """A listing that was behind had us add it again."""
    server = account()
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        server.fqdn(wired.identity or "", FIRST.host, FIRST.port)
        again = await wiring.set_up(DESIRED, dry_run=False)
        assert kinds(again) == ["remove destination"]
        assert (await wiring.set_up(DESIRED, dry_run=False)).steps == []
    assert sorted(each["fqdn"] for each in server.fqdns.values()) == sorted([FIRST.host, SECOND.host])


async def test_what_a_new_profile_may_call_is_asked_and_not_guessed():
    server = account()
    async with telnyx_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        [told] = [note for note in wired.notes if "403" in note]
        assert "AE" in told and "US" not in told
        assert await wiring.shut(("US", "AE"), wired.identity or "") == ("AE",)
