"""A Twilio account is wired by its own SDK against a local Twilio: planned, changed where it differs, resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.carriers.base import CarrierError
from api.carriers.twilio_plan import Found, Trunk, Url, domain_of, findings, plan
from api.carriers.wiring import Desired, Node, Place, Wired, ensure
from tests.api.carriers.sdk_clients import twilio_wiring
from tests.carriers.faults import Fault
from tests.carriers.twilio_server import ACCOUNT_SID, INTERNAL, TwilioServer, twilio_error

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:twilio")

NUMBER = "+14155550111"
FIRST = Node("voice.example.com", 5060)
SECOND = Node("voice2.example.com", 5060, priority=20)
PASSWORD = "IWasAtTheGate2026"
DESIRED = Desired(
    Place((FIRST, SECOND)), (NUMBER,), username="gateway", password=PASSWORD, countries=("US", "IN")
)
KINDS = [
    "create trunk",
    "add origination",
    "add origination",
    "attach number",
    "create credential list",
    "create credential",
    "attach credential list",
]
WRITES = {
    "create trunk": "POST /v1/Trunks",
    "add origination": "POST /v1/Trunks/{TrunkSid}/OriginationUrls",
    "create credential list": "POST /2010-04-01/Accounts/{AccountSid}/SIP/CredentialLists.json",
    "create credential": (
        "POST /2010-04-01/Accounts/{AccountSid}/SIP/CredentialLists/{CredentialListSid}/Credentials.json"
    ),
    "attach credential list": "POST /v1/Trunks/{TrunkSid}/CredentialLists",
    "attach number": "POST /v1/Trunks/{TrunkSid}/PhoneNumbers",
}


def account() -> TwilioServer:
    server = TwilioServer()
    server.own(NUMBER)
    return server


def kinds(wired: Wired) -> list[str]:
    return [step.change.kind for step in wired.steps]


def assert_wired(server: TwilioServer) -> None:
    """One trunk that leads to both nodes, with the credentials and the number on it."""
    (trunk,) = server.trunks.values()
    assert trunk["friendly_name"] == "voice-gateway"
    assert trunk["domain_name"] == "voice-gateway-000000000001.pstn.twilio.com"
    urls = {each["sip_url"]: each for each in server.origination[trunk["sid"]].values()}
    told = {uri: (each["priority"], each["weight"], each["enabled"]) for uri, each in urls.items()}
    assert told == {
        "sip:voice.example.com:5060": (10, 10, True),
        "sip:voice2.example.com:5060": (20, 10, True),
    }
    assert server.number(NUMBER)["trunk_sid"] == trunk["sid"]
    assert server.passwords == {"gateway": PASSWORD}
    assert server.trunk_credentials[trunk["sid"]] == list(server.credential_lists)


async def test_a_dry_run_tells_and_changes_nothing():
    server = account()
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=True)
    assert kinds(wired) == KINDS
    assert {step.status for step in wired.steps} == {"planned"}
    assert server.changes() == []
    assert PASSWORD not in repr(wired) + repr(DESIRED)
    assert any("IN" in note and "403" in note for note in wired.notes)


async def test_an_empty_account_is_wired_and_then_left_alone():
    server = account()
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        assert kinds(wired) == KINDS and not wired.failed
        assert wired.identity in server.trunks
        assert_wired(server)
        changed = len(server.changes())
        again = await wiring.set_up(DESIRED, dry_run=False)
        assert again.steps == [] and again.identity == wired.identity
        assert len(server.changes()) == changed
        assert await wiring.examine(replace(DESIRED, countries=("US",))) == []
        assert (await ensure(wiring, DESIRED)).identity == wired.identity
        renewed = replace(DESIRED, password="AnotherOne2026", renew_password=True)
        assert kinds(await wiring.set_up(renewed, dry_run=False)) == ["set password"]
        assert server.passwords == {"gateway": "AnotherOne2026"}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize(
    "fault",
    [Fault("refused", 500, INTERNAL), Fault("dropped"), Fault("answered", 500, INTERNAL)],
    ids=lambda f: f.kind,
)
async def test_a_step_that_fails_is_told_and_the_next_run_goes_on_from_there(kind: str, fault: Fault):
    server = account()
    server.fail(WRITES[kind], replace(fault))
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        broken = next(step for step in wired.steps if step.status != "done")
        assert broken.change.kind == kind and broken.status == "failed" and broken.error
        assert PASSWORD not in str(wired)
        again = await wiring.set_up(DESIRED, dry_run=False)
        assert not again.failed
    assert_wired(server)


async def test_what_was_made_and_is_not_listed_yet_is_not_made_twice():
    server = account()
    server.unseen = 2
    server.fail(WRITES["create trunk"], Fault("dropped"))
    async with twilio_wiring(server) as wiring:
        assert (await wiring.set_up(DESIRED, dry_run=False)).failed
        assert not (await wiring.set_up(DESIRED, dry_run=False)).failed
    server.unseen = 0
    assert_wired(server)


async def test_only_what_differs_is_changed():
    server = account()
    trunk = server.trunk("voice-gateway", domain_name="voice-gateway-000000000001.pstn.twilio.com")
    right = server.originate(trunk, "sip:voice.example.com")  # the default port is left out
    wrong = server.originate(trunk, "sip:VOICE2.example.com:5060", enabled=False)
    other = server.originate(trunk, "sip:old.example.net:5060")
    server.numbers[next(iter(server.numbers))]["trunk_sid"] = trunk
    desired = Desired(DESIRED.place, (NUMBER,))
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(desired, dry_run=False)
        assert kinds(wired) == ["change origination"]
        assert any("old.example.net" in note for note in wired.notes)
        assert (
            server.origination[trunk][wrong]["enabled"] and server.origination[trunk][wrong]["priority"] == 20
        )
        assert other in server.origination[trunk]
        removed = await wiring.set_up(replace(desired, remove_others=True), dry_run=False)
        assert kinds(removed) == ["remove origination"]
    assert set(server.origination[trunk]) == {right, wrong}


async def test_the_trunk_that_the_integration_names_is_taken_whatever_it_is_called():
    server = account()
    trunk = server.trunk("OneInbox Trunk", domain_name="yourtrunk.pstn.twilio.com")
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(
            Desired(Place((FIRST,)), (NUMBER,), domain="yourtrunk.pstn.twilio.com"), dry_run=False
        )
    assert wired.identity == trunk and wired.domain == "yourtrunk.pstn.twilio.com"
    assert kinds(wired) == ["add origination", "attach number"]


async def test_a_domain_of_another_account_is_told():
    server = account()
    server.fail(
        WRITES["create trunk"], Fault("refused", 400, twilio_error(400, 21248, "Trunk Domain already taken"))
    )
    async with twilio_wiring(server) as wiring:
        with pytest.raises(CarrierError, match="another account"):
            await ensure(wiring, DESIRED)


async def test_a_password_that_twilio_would_refuse_keeps_no_call_from_coming():
    server = account()
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(replace(DESIRED, password="tooweak"), dry_run=False)
    assert [step.status for step in wired.steps] == ["done"] * 5 + ["failed", "not tried"]
    assert "12 characters" in (wired.steps[5].error or "")
    assert server.number(NUMBER)["trunk_sid"] == wired.identity


def test_the_domain_is_made_up_unless_it_is_a_real_one():
    made_up = "voice-gateway-000000000001.pstn.twilio.com"
    assert domain_of(replace(DESIRED, domain="<your_sip_trunk_domain>"), ACCOUNT_SID) == made_up
    assert domain_of(replace(DESIRED, domain="mine.pstn.twilio.com"), ACCOUNT_SID) == "mine.pstn.twilio.com"


TRUNK = Trunk(
    "TK1",
    "voice-gateway",
    "d.pstn.twilio.com",
    urls=(Url("OU1", FIRST.uri, 10, 10, True), Url("OU2", SECOND.uri, 20, 10, True)),
    credential_lists=("CL1",),
)
FOUND = Found(TRUNK, {NUMBER: ("PN1", "TK1")}, "CL1", {"gateway": "CR1"}, {"US": True, "IN": True})
ELSEWHERE = Url("OU3", "sip:old.example.net:5060", 5, 10, True)


@pytest.mark.parametrize(
    ("found", "check", "grave"),
    [
        (replace(FOUND, trunk=None), "trunk", True),
        (replace(FOUND, trunk=replace(TRUNK, urls=())), "origination", True),
        (replace(FOUND, trunk=replace(TRUNK, secure=True)), "secure trunk", True),
        (replace(FOUND, trunk=replace(TRUNK, urls=(*TRUNK.urls, ELSEWHERE))), "origination elsewhere", True),
        (
            replace(FOUND, trunk=replace(TRUNK, urls=(*TRUNK.urls, replace(ELSEWHERE, enabled=False)))),
            "origination elsewhere",
            False,
        ),
        (
            replace(FOUND, trunk=replace(TRUNK, urls=(TRUNK.urls[0], replace(TRUNK.urls[1], enabled=False)))),
            "origination disabled",
            True,
        ),
        (
            replace(FOUND, trunk=replace(TRUNK, urls=(replace(TRUNK.urls[0], weight=1), TRUNK.urls[1]))),
            "origination",
            False,
        ),
        (replace(FOUND, numbers={}), "number", True),
        (replace(FOUND, numbers={NUMBER: ("PN1", None)}), "number not attached", True),
        (replace(FOUND, numbers={NUMBER: ("PN1", "TK9")}), "number not attached", True),
        (replace(FOUND, usernames={}), "sip credentials", False),
        (replace(FOUND, trunk=replace(TRUNK, credential_lists=())), "sip credentials", False),
        (replace(FOUND, countries={"US": True, "IN": False}), "geo permission", False),
    ],
)
def test_drift_is_found_with_its_fix(found: Found, check: str, grave: bool):
    told = findings(DESIRED, found)
    assert any(each.check == check and each.grave == grave for each in told), told
    assert all(each.fix and each.detail for each in told)


def test_without_drift_nothing_is_found_or_planned():
    assert findings(DESIRED, FOUND) == []
    assert plan(DESIRED, FOUND, ACCOUNT_SID) == []


async def test_an_origination_uri_that_is_there_twice_is_there_once_afterwards():
    """A listing that was behind had us add it again."""
    server = account()
    async with twilio_wiring(server) as wiring:
        wired = await wiring.set_up(DESIRED, dry_run=False)
        server.originate(wired.identity or "", FIRST.uri)
        again = await wiring.set_up(DESIRED, dry_run=False)
        assert kinds(again) == ["remove origination"]
        assert (await wiring.set_up(DESIRED, dry_run=False)).steps == []
    urls = [each["sip_url"] for each in server.origination[wired.identity or ""].values()]
    assert sorted(urls) == sorted([FIRST.uri, SECOND.uri])


async def test_a_number_is_attached_by_its_sid_any_number_of_times():
    server = account()
    [sid] = server.numbers
    async with twilio_wiring(server) as wiring:
        trunk = server.trunk("voice-gateway")
        for _ in range(2):
            await wiring.attach(sid, trunk)
        assert server.numbers[sid]["trunk_sid"] == trunk
        assert await wiring.shut(("US", "IN"), trunk) == ("IN",)
