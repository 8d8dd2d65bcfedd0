from __future__ import annotations

from ipaddress import ip_network

from gateway.media.latch import MAX_CANDIDATES, SymmetricLatch
from gateway.media.rtp import pack

SDP = ("192.0.2.10", 4000)
NAT = ("198.51.100.7", 61000)
STRANGER = ("203.0.113.66", 5004)


def packet(sequence: int, ssrc: int = 1) -> bytes:
    return pack(0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc, b"x" * 160)


def expecting(address: tuple[str, int] = SDP) -> SymmetricLatch:
    latch = SymmetricLatch()
    latch.expect(*address)
    return latch


def test_the_address_of_the_sdp_is_the_first_target_and_is_believed_at_once() -> None:
    latch = expecting()
    assert latch.target == SDP
    assert latch.offer(packet(1), SDP) == (packet(1),)
    assert latch.accepted == SDP


def test_before_anybody_is_named_nobody_is_heard() -> None:
    """An agent's port is open while it rings, and strangers may find it."""
    latch = SymmetricLatch()
    for sequence in range(10):
        assert latch.offer(packet(sequence), STRANGER) is None
    latch.expect(*SDP)
    assert latch.offer(packet(1), SDP) == (packet(1),)


def test_another_address_is_believed_after_three_packets_in_sequence_and_none_is_lost() -> None:
    latch = expecting()
    assert latch.offer(packet(65534), NAT) == ()
    assert latch.offer(packet(65535), NAT) == ()
    assert latch.target == SDP
    assert latch.offer(packet(65536), NAT) == [packet(65534), packet(65535), packet(65536)]
    assert latch.accepted == latch.target == NAT


def test_packets_out_of_sequence_or_of_several_sources_never_latch() -> None:
    latch = expecting()
    for sequence in range(0, 100, 2):
        assert latch.offer(packet(sequence), NAT) == ()
    for sequence in range(200, 300):
        assert latch.offer(packet(sequence, ssrc=sequence), NAT) == ()
    assert latch.accepted is None


def test_once_latched_all_others_are_dropped() -> None:
    latch = expecting()
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    for sequence in range(100):
        assert latch.offer(packet(sequence), STRANGER) is None
    assert latch.target == NAT


def test_a_stranger_cannot_move_a_peer_that_the_sdp_named() -> None:
    latch = expecting()
    latch.offer(packet(1), SDP)
    for sequence in range(100):
        assert latch.offer(packet(sequence), STRANGER) is None
    assert latch.accepted == SDP


def test_the_address_of_the_sdp_takes_a_latch_back() -> None:
    latch = expecting()
    for sequence in range(3):
        latch.offer(packet(sequence), STRANGER)
    assert latch.target == STRANGER
    assert latch.offer(packet(9), SDP) == (packet(9),)
    assert latch.accepted == latch.target == SDP


def test_a_flood_of_strangers_does_not_keep_the_peer_out() -> None:
    latch = expecting()
    for sequence in range(3):
        for other in range(MAX_CANDIDATES - 1):
            latch.offer(packet(sequence * 7), ("203.0.113.66", 6000 + other))
        latch.offer(packet(sequence), NAT)
    assert latch.accepted == NAT


def test_many_sources_do_not_pile_up() -> None:
    latch = expecting()
    for port in range(1024, 3000):
        latch.offer(packet(1), ("203.0.113.66", port))
    assert len(latch._candidates) == MAX_CANDIDATES


def test_only_the_allowed_networks_may_latch() -> None:
    latch = SymmetricLatch([ip_network("198.51.100.0/24")])
    latch.expect(*SDP)
    for sequence in range(5):
        assert latch.offer(packet(sequence), STRANGER) is None
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    assert latch.accepted == NAT


def test_another_address_in_a_new_sdp_begins_anew() -> None:
    latch = expecting()
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    latch.expect("192.0.2.20", 4002)
    assert latch.accepted is None
    assert latch.target == ("192.0.2.20", 4002)
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    assert latch.target == NAT


def test_the_same_address_again_keeps_the_latch() -> None:
    """A session refresh must not send the audio of a caller behind a NAT into the void."""
    latch = expecting()
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    latch.expect(*SDP)
    assert latch.accepted == latch.target == NAT


def test_hold_stops_sending_but_not_hearing_and_resume_restores_it() -> None:
    for hold in (("0.0.0.0", 4000), ("192.0.2.10", 0), ("::", 9)):
        latch = expecting()
        for sequence in range(3):
            latch.offer(packet(sequence), NAT)
        latch.expect(*hold)
        assert latch.target is None
        assert latch.accepted == NAT
        latch.expect(*SDP)
        assert latch.target == NAT


def test_a_peer_heard_during_hold_is_not_sent_to() -> None:
    latch = expecting(("0.0.0.0", 4000))
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    assert latch.accepted == NAT
    assert latch.target is None


def test_a_host_name_is_learned_from_the_packets() -> None:
    latch = expecting(("media.example.com", 4000))
    assert latch.target is None
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    assert latch.target == NAT


def test_a_host_name_again_keeps_what_was_learned() -> None:
    latch = expecting(("media.example.com", 4000))
    for sequence in range(3):
        latch.offer(packet(sequence), NAT)
    latch.expect("media.example.com", 4000)
    assert latch.accepted == latch.target == NAT
    latch.expect("other.example.com", 4000)
    assert latch.accepted is latch.target is None


def test_nothing_is_sent_to_groups() -> None:
    assert expecting(("224.0.0.1", 4000)).target is None


def test_ipv6_is_compared_in_its_shortest_spelling() -> None:
    latch = expecting(("2001:DB8:0:0:0:0:0:1", 4000))
    assert latch.offer(packet(1), ("2001:db8::1", 4000)) == (packet(1),)
