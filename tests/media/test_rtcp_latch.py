"""Whose RTCP is heard: the same game as for RTP, with what a liar could try."""

from __future__ import annotations

from gateway.media.rtcp_latch import RtcpLatch

SDP = ("192.0.2.10", 4000)
NAMED = ("192.0.2.10", 4001)
OTHER_PORT = ("192.0.2.10", 53020)
NAT = ("198.51.100.7", 61000)
NAT_RTCP = ("198.51.100.7", 61007)
STRANGER = ("203.0.113.66", 5005)


def expecting() -> RtcpLatch:
    latch = RtcpLatch()
    latch.expect(NAMED)
    return latch


def test_the_address_of_the_sdp_is_the_target_and_is_believed_at_once() -> None:
    latch = expecting()
    assert latch.target == NAMED
    assert latch.offer(NAMED, SDP)
    assert latch.accepted == NAMED


def test_a_stranger_is_never_heard_before_or_after() -> None:
    latch = expecting()
    assert not latch.offer(STRANGER, SDP)
    assert latch.target == NAMED
    latch.offer(NAMED, SDP)
    assert not latch.offer(STRANGER, SDP)
    assert latch.target == NAMED


def test_another_port_of_the_peers_host_may_be_first_and_is_then_the_only_one() -> None:
    latch = expecting()
    assert latch.offer(OTHER_PORT, SDP)
    assert latch.target == OTHER_PORT
    assert not latch.offer(("192.0.2.10", 9), SDP)
    assert latch.target == OTHER_PORT


def test_the_address_of_the_sdp_takes_it_back() -> None:
    latch = expecting()
    latch.offer(OTHER_PORT, SDP)
    assert latch.offer(NAMED, SDP)
    assert latch.target == NAMED
    assert not latch.offer(OTHER_PORT, SDP)


def test_behind_a_nat_nothing_is_sent_until_the_peers_own_has_shown_where_to() -> None:
    latch = expecting()
    latch.rtp_latched(NAT, SDP)
    assert latch.target is None
    assert latch.offer(NAT_RTCP, NAT)
    assert latch.target == NAT_RTCP


def test_what_came_with_a_strangers_rtp_goes_with_it() -> None:
    latch = expecting()
    latch.rtp_latched(STRANGER, SDP)
    assert latch.offer(STRANGER, STRANGER)
    latch.rtp_latched(SDP, SDP)  # the true peer spoke and took the latch back
    assert latch.target == NAMED
    assert not latch.offer(STRANGER, SDP)


def test_hold_stops_sending_and_resume_restores_it() -> None:
    latch = expecting()
    latch.offer(OTHER_PORT, SDP)
    latch.expect(None, held=True)
    assert latch.target is None
    assert latch.offer(OTHER_PORT, SDP)
    assert latch.target is None
    latch.expect(NAMED)
    assert latch.target == OTHER_PORT


def test_another_address_in_a_new_sdp_begins_anew() -> None:
    latch = expecting()
    latch.offer(OTHER_PORT, SDP)
    latch.expect(("192.0.2.20", 4003))
    assert (latch.accepted, latch.target) == (None, ("192.0.2.20", 4003))
    assert not latch.offer(OTHER_PORT, ("192.0.2.20", 4002))
