"""SRTP on each leg by itself: who is offered what, which keys are agreed on, and what is never said."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.destinations.dtls_keys import OTHERWISE, DtlsKeys
from gateway.destinations.leg_security import UNACCEPTABLE, LegSecurity
from gateway.destinations.sdes_keys import IN_THE_CLEAR, NO_SUITE, SdesKeys
from gateway.media.dtls import identity
from gateway.media.srtp import SrtpSeal
from gateway.sip.dtls_setup import NO_FINGERPRINT, Fingerprint, Setup, by_dtls, read_end, with_end
from gateway.sip.sdes import SUITES, Crypto, offered_keys, secured
from gateway.sip.secure_profiles import cleared
from routing.endpoint_rules import faults
from routing.models import Endpoint
from tests.calls.rig import Rig, in_virtual_time

CM = "AES_CM_128_HMAC_SHA1_80"
GCM = "AEAD_AES_128_GCM"
PLAIN = (
    b"v=0\r\no=- 1 1 IN IP4 10.2.0.1\r\ns=-\r\nc=IN IP4 10.2.0.1\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)
THEIRS = Crypto(1, CM, b"t" * 30)


def numbered_keys() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda length: bytes([next(numbers)]) * length


class Port:
    """Takes a seal, and shows with which keys it works."""

    seal: SrtpSeal

    def secure(self, seal: SrtpSeal) -> None:
        self.seal = seal

    @property
    def keys(self) -> tuple[bytes | None, bytes | None]:
        return tuple(each and each.key[1] for each in (self.seal._out, self.seal._in))  # type: ignore[return-value]


@pytest.fixture
def leg() -> LegSecurity:
    return LegSecurity(lambda: SdesKeys(numbered_keys()))


@pytest.fixture
def port(leg: LegSecurity) -> Port:
    port = Port()
    leg.attach(port)  # type: ignore[arg-type]
    return port


def answered(leg: LegSecurity, *offered: Crypto) -> Crypto:
    assert leg.offer_came(secured(PLAIN, offered)) == PLAIN
    (ours,) = offered_keys(leg.leaves(PLAIN, offer=False))
    return ours


def test_the_first_suite_that_we_speak_is_taken_and_the_tag_repeated(leg: LegSecurity, port: Port) -> None:
    ours = answered(leg, Crypto(4, GCM, b"g" * 28), THEIRS)
    assert (ours.tag, ours.suite) == (4, GCM)
    assert port.keys == (ours.key, b"g" * 28)


def test_early_media_and_the_answer_say_the_same(leg: LegSecurity, port: Port) -> None:
    early = answered(leg, THEIRS)
    (late,) = offered_keys(leg.leaves(PLAIN, offer=False))
    assert late == early


def test_a_refresh_keeps_the_keys_and_new_ones_are_answered_with_new_ones(
    leg: LegSecurity, port: Port
) -> None:
    first = answered(leg, THEIRS)
    again = answered(leg, Crypto(9, CM, THEIRS.key))
    assert (again.tag, again.key) == (9, first.key)
    rekeyed = answered(leg, Crypto(1, CM, b"u" * 30))
    assert rekeyed.key != first.key
    assert port.keys == (rekeyed.key, b"u" * 30)


def test_we_offer_every_suite_with_a_key_of_its_own_and_the_answer_chooses(
    leg: LegSecurity, port: Port
) -> None:
    offered = offered_keys(leg.leaves(PLAIN, offer=True))
    assert [each.suite for each in offered] == list(SUITES)
    assert len({each.key for each in offered}) == len(SUITES)
    answer = Crypto(offered[1].tag, offered[1].suite, b"a" * len(offered[1].key))
    assert leg._answer_came(secured(PLAIN, [answer])) == PLAIN
    assert port.keys == (offered[1].key, answer.key)
    assert offered_keys(leg.leaves(PLAIN, offer=True)) == [offered[1]]  # nothing has changed


@pytest.mark.parametrize(
    ("offer", "fault"),
    [
        (PLAIN, IN_THE_CLEAR),
        (PLAIN.replace(b"RTP/AVP", b"RTP/SAVP"), NO_SUITE),
        (PLAIN.replace(b"RTP/AVP", b"UDP/TLS/RTP/SAVP") + b"a=fingerprint:sha-256 AA\r\n", NO_FINGERPRINT),
        (secured(PLAIN, [Crypto(1, "F8_128_HMAC_SHA1_80", bytes(30))]), NO_SUITE),
        (b"m=audio\r\n", "Bad media line in the session description"),
    ],
)
def test_what_cannot_be_agreed_to_has_no_audio(leg: LegSecurity, offer: bytes, fault: str) -> None:
    assert leg.offer_came(offer) == UNACCEPTABLE
    assert leg.fault == fault


def test_an_answer_with_another_suite_is_none(leg: LegSecurity) -> None:
    leg.leaves(PLAIN, offer=True)
    assert leg._answer_came(secured(PLAIN, [Crypto(2, CM, bytes(30))])) == UNACCEPTABLE
    assert "another SRTP suite" in leg.fault


def test_keys_are_in_no_repr(leg: LegSecurity) -> None:
    ours = answered(leg, THEIRS)
    assert repr(ours.key) not in repr(vars_of(leg))


def vars_of(leg: LegSecurity) -> dict[str, Any]:
    return {name: getattr(leg, name) for name in leg.__slots__ if name != "as_it_came"}


# Whole calls.


def secure(body: bytes, key: Crypto = THEIRS) -> bytes:
    return secured(body, [key])


def answering_securely(leg: Any) -> None:
    (first, *_) = offered_keys(leg.request.body)
    leg.answer(secured(cleared(leg.request.body), [Crypto(first.tag, first.suite, b"g" * len(first.key))]))


@in_virtual_time
async def test_a_secure_caller_talks_to_an_agent_in_the_clear(rig: Rig) -> None:
    agent = await rig.agent(lambda leg: leg.answer(agent.sdp()))
    rig.line(agent)
    leg = rig.dial(body=secure(rig.caller.sdp(6000)))
    await asyncio.sleep(1)
    answer = rig.caller.response(200).body
    assert b"RTP/SAVP" in answer
    assert [(each.tag, each.suite) for each in offered_keys(answer)] == [(1, CM)]
    assert b"SAVP" not in agent.invite.body
    assert b"crypto" not in agent.invite.body
    leg.reinvite(secure(rig.caller.sdp(6000)).replace(b"a=sendrecv", b"a=sendonly"))
    await asyncio.sleep(1)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"


@in_virtual_time
async def test_an_agent_is_offered_srtp_whatever_the_caller_has(rig: Rig) -> None:
    agent = await rig.agent(answering_securely)
    rig.line(agent, options={"srtp": "required"})
    leg = rig.dial(body=rig.caller.sdp(6000))
    await asyncio.sleep(1)
    assert len(offered_keys(agent.invite.body)) == len(SUITES)
    assert b"m=audio " in agent.invite.body
    answer = rig.caller.response(200).body
    assert b"RTP/AVP" in answer
    assert b"crypto" not in answer
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"


@pytest.mark.parametrize(("policy", "role"), [("optional", "agent"), ("required", "fallback")])
@in_virtual_time
async def test_an_agent_without_srtp(rig: Rig, policy: str, role: str) -> None:
    """One that may be spoken to in the clear is asked again; the other's call moves on."""

    def clear_only(leg: Any) -> None:
        if b"SAVP" in leg.request.body:
            leg.refuse(488)
        else:
            leg.answer(plain.sdp())

    plain = await rig.agent(clear_only)
    other = await rig.agent(answering_securely)
    rig.line(plain, other, options={"srtp": policy})
    leg = rig.dial(body=rig.caller.sdp(6000))
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == 200
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == role


@in_virtual_time
async def test_a_secure_offer_is_never_answered_in_the_clear_by_an_agent(rig: Rig) -> None:
    clear = await rig.agent(lambda leg: leg.answer(clear.sdp()))
    other = await rig.agent(answering_securely)
    rig.line(clear, other, options={"srtp": "required"})
    leg = rig.dial(body=rig.caller.sdp(6000))
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == 200
    assert clear.kinds()[-1] == "HungUp"
    leg.hangup()
    await asyncio.sleep(1)
    assert IN_THE_CLEAR in rig.record.tried[0].answer


@pytest.mark.parametrize(
    ("policy", "offers_secure", "status"),
    [("off", True, 488), ("off", False, 200), ("required", True, 200), ("required", False, 488)],
)
@in_virtual_time
async def test_a_carriers_policy(rig: Rig, policy: str, offers_secure: bool, status: int) -> None:
    agent = await rig.agent(lambda leg: leg.answer(agent.sdp()))
    rig.line(agent)
    rig.carrier = replace(rig.carrier, srtp=policy)  # type: ignore[arg-type]
    body = rig.caller.sdp(6000)
    rig.dial(body=secure(body) if offers_secure else body)
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == status


@in_virtual_time
async def test_a_caller_who_must_be_secure_and_makes_no_offer_gets_one(rig: Rig) -> None:
    agent = await rig.agent(lambda leg: leg.answer(agent.sdp()))
    rig.line(agent)
    rig.carrier = replace(rig.carrier, srtp="required")
    leg = rig.dial(body=b"")
    leg.guard = LegSecurity()
    await asyncio.sleep(1)
    assert [each.suite for each in offered_keys(leg.guard.as_it_came)] == list(SUITES)
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "agent"


@in_virtual_time
async def test_the_voicemail_answers_securely(rig: Rig) -> None:
    rig.line()
    leg = rig.dial(body=secure(rig.caller.sdp(6000)))
    await asyncio.sleep(1)
    assert len(offered_keys(rig.caller.response(200).body)) == 1
    leg.hangup()
    await asyncio.sleep(1)
    assert rig.record.outcome == "voicemail"


@in_virtual_time
async def test_keys_pass_untouched_where_audio_is_direct(rig: Rig) -> None:
    agent = await rig.agent(answering_securely)
    rig.line(agent, parameters=";media=direct")
    rig.dial(body=secure(rig.caller.sdp(6000)))
    await asyncio.sleep(1)
    assert offered_keys(agent.invite.body) == [THEIRS]
    assert offered_keys(rig.caller.response(200).body) == [Crypto(1, CM, b"g" * 30)]


def test_options_of_sip_endpoints_are_checked() -> None:
    assert not list(faults(Endpoint("sip:a@b", options={"srtp": "optional"})))
    ((field, text),) = faults(Endpoint("sip:a@b", options={"srtp": "maybe"}))
    assert (field, text) == ("options", "srtp must be one of off, optional, required, dtls")
    ((_, text),) = faults(Endpoint("sip:a@b", options={"voice": "alto"}))
    assert "no option of SIP" in text


# Keys by DTLS.


def dtls(setup: Setup, digest: int = 0, body: bytes = PLAIN) -> bytes:
    return with_end(body, Fingerprint("sha-256", bytes([digest]) * 32), setup)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("actpass", "passive"), ("active", "passive"), ("passive", "active")]
)
async def test_an_offer_by_dtls_is_answered_so_and_the_peer_begins_if_it_may(
    theirs: Setup, ours: Setup
) -> None:
    leg = LegSecurity()
    assert leg.offer_came(dtls(theirs)) == PLAIN
    answer = leg.leaves(PLAIN, offer=False)
    end = read_end(answer)
    assert end.setup == ours
    assert [each.digest for each in end.fingerprints] == [identity().digest]
    assert b"UDP/TLS/RTP/SAVP" in answer
    assert leg.offer_came(dtls("actpass")) == PLAIN  # who begins stays as it was
    assert read_end(leg.leaves(PLAIN, offer=False)).setup == ours


async def test_an_offer_of_ours_by_dtls_leaves_it_to_the_peer_who_begins() -> None:
    leg = LegSecurity(DtlsKeys)
    assert read_end(leg.leaves(PLAIN, offer=True)).setup == "actpass"
    assert leg._answer_came(dtls("active")) == PLAIN
    assert leg._answer_came(secured(PLAIN, [THEIRS])) == UNACCEPTABLE
    assert leg.fault == OTHERWISE
    assert leg._answer_came(PLAIN) == UNACCEPTABLE


async def test_a_session_by_dtls_is_not_changed_to_one_with_keys_in_it_nor_the_other_way() -> None:
    leg = LegSecurity()
    assert leg.offer_came(dtls("actpass")) == PLAIN
    assert leg.offer_came(secured(PLAIN, [THEIRS])) == UNACCEPTABLE
    other = LegSecurity()
    assert other.offer_came(secured(PLAIN, [THEIRS])) == PLAIN
    assert other.offer_came(dtls("actpass")) == UNACCEPTABLE


@pytest.mark.parametrize(("policy", "status"), [("off", 488), ("optional", 200), ("required", 200)])
@in_virtual_time
async def test_a_carriers_policy_holds_for_dtls(rig: Rig, policy: str, status: int) -> None:
    agent = await rig.agent(lambda leg: leg.answer(agent.sdp()))
    rig.line(agent)
    rig.carrier = replace(rig.carrier, srtp=policy)  # type: ignore[arg-type]
    leg = rig.dial(body=dtls("actpass", body=rig.caller.sdp(6000)))
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == status
    if status == 200:
        assert b"UDP/TLS" not in agent.invite.body
        assert read_end(rig.caller.response(200).body).setup == "passive"
    leg.hangup()
    await asyncio.sleep(1)


@in_virtual_time
async def test_an_agent_is_offered_dtls_and_one_that_answers_in_the_clear_counts_as_failed(rig: Rig) -> None:
    clear = await rig.agent(lambda leg: leg.answer(clear.sdp()))
    other = await rig.agent(lambda leg: leg.answer(dtls("active", body=other.sdp())))
    rig.line(clear, other, options={"srtp": "dtls"})
    leg = rig.dial(body=rig.caller.sdp(6000))
    await asyncio.sleep(1)
    assert rig.caller.statuses()[-1] == 200
    assert by_dtls(other.invite.body)
    assert b"RTP/AVP" in rig.caller.response(200).body
    leg.hangup()
    await asyncio.sleep(1)
    assert OTHERWISE in rig.record.tried[0].answer
