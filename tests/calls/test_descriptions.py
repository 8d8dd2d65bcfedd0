"""What a caller is shown over a whole call: one session, the agreed codec, a hold answered as a hold."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.destinations.caller_audio import CallerAudio
from gateway.destinations.direction import on_hold, permitted
from gateway.media.ports import NoPortLeft
from gateway.sip.sdp import SdpError, SessionDescription, answer_offer, make_offer

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
HOST, AGENT = "192.0.2.1", "192.0.2.9"
OFFER = make_offer(HOST, 6000, session_id=1)


class NoPorts:
    in_use = 0

    def open(self, latch_ranges: object = None, *, ipv6: bool = False):
        raise NoPortLeft


def caller_audio(offer: bytes = OFFER) -> CallerAudio:
    return CallerAudio(offer, NoPorts(), session_id=1)


def origin(description: bytes) -> tuple[str, str, int]:
    parsed = SessionDescription.parse(description).origin
    return parsed.username, parsed.session_id, int(parsed.version)


def test_the_first_destination_s_description_passes_untouched():
    audio = caller_audio()
    audio.change_hands()
    description = make_offer(AGENT, 7000, session_id=77, version=3)
    assert audio.present(description, through_port=False) is description
    assert audio.shown is description


def test_later_ones_continue_the_session_that_the_caller_knows():
    audio = caller_audio()
    audio.present(make_offer(AGENT, 7000, session_id=77, version=3), through_port=False)
    audio.change_hands()
    versions = []
    for number in range(3):
        shown = audio.present(make_offer(AGENT, 7100 + number, session_id=5, version=9), through_port=True)
        assert origin(shown)[:2] == ("-", "77")
        assert SessionDescription.parse(shown).audio.rtp_address == (AGENT, 7100 + number)
        versions.append(origin(shown)[2])
    assert versions == [4, 5, 6]


@pytest.mark.parametrize("strange", [b"v=0\r\ns=-\r\n", b"v=0\no=- 1 x IN IP4 h\n", b"", b"o=", b"\no="])
def test_a_description_without_a_usable_origin_is_left_alone(strange: bytes):
    audio = caller_audio()
    audio.present(strange, through_port=False)
    audio.change_hands()
    assert audio.present(OFFER, through_port=False) == OFFER
    audio = caller_audio()
    audio.present(OFFER, through_port=False)
    audio.change_hands()
    if b"x IN" not in strange:
        assert audio.present(strange, through_port=False) == strange


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_nothing_in_a_description_raises(first: bytes, second: bytes):
    audio = caller_audio()
    audio.present(first, through_port=False)
    audio.change_hands()
    audio.present(second, through_port=False)


def test_once_something_was_shown_the_next_destination_gets_nothing_else():
    audio = caller_audio()
    assert audio.offer() is OFFER
    audio.present(answer_offer(OFFER, AGENT, 7000, supported=("PCMA",), session_id=2).sdp, through_port=True)
    found = SessionDescription.parse(audio.offer()).audio
    assert [codec.name for codec in found.codecs] == ["PCMA", "telephone-event"]


def test_an_offer_without_audio_opens_no_port():
    with pytest.raises(SdpError):
        caller_audio(OFFER.replace(b"m=audio", b"m=image")).open_port()
    with pytest.raises(NoPortLeft):
        caller_audio().open_port()


@pytest.mark.parametrize(("offered", "answered"), [*itertools.product(DIRECTIONS, DIRECTIONS)])
def test_an_answer_sends_and_receives_only_where_the_offer_permits(offered: str, answered: str):
    offer = make_offer(HOST, 6000, session_id=1, direction=offered)
    answer = make_offer(AGENT, 7000, session_id=2, direction=answered)
    result = SessionDescription.parse(permitted(answer, offer)).audio
    sends, receives = {"sendrecv", "sendonly"}, {"sendrecv", "recvonly"}
    assert (result.direction in sends) == (answered in sends and offered in receives)
    assert (result.direction in receives) == (answered in receives and offered in sends)
    assert result.rtp_address == (AGENT, 7000)


def test_the_old_way_of_holding_counts_as_hold():
    assert on_hold(make_offer("0.0.0.0", 6000, session_id=1))
    assert not on_hold(OFFER)
    mute = permitted(make_offer(AGENT, 7000, session_id=2), make_offer("0.0.0.0", 6000, session_id=1))
    assert SessionDescription.parse(mute).audio.direction == "recvonly"


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_two_descriptions_raise_nothing_but_their_own_error(answer: bytes, offer: bytes):
    with contextlib.suppress(SdpError):
        assert isinstance(permitted(answer, offer + b"a=sendonly"), bytes)
