from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.media import srtp
from gateway.media.port_pool import PortPool
from gateway.media.rtp import pack
from gateway.media.srtp import OLD_PACKETS, PROFILES, SealError, SrtpSeal
from gateway.sip.sdes import SUITES
from tests.media.test_port_pool import arrives, free_range

CM = "AES_CM_128_HMAC_SHA1_80"
OVERHEAD = {CM: 10, "AES_CM_128_HMAC_SHA1_32": 4, "AEAD_AES_128_GCM": 16, "AEAD_AES_256_GCM": 16}
REPORT = b"\x80\xc9\x00\x01" + bytes(4)


def rtp(number: int, ssrc: int = 1) -> bytes:
    return pack(0, number, 160 * number, ssrc, bytes(160))


def pair(suite: str = CM, key: bytes | None = None) -> tuple[SrtpSeal, SrtpSeal]:
    here, there = SrtpSeal(), SrtpSeal()
    key = key or bytes(range(SUITES[suite]))
    here.send_with(suite, key)
    there.receive_with(suite, key)
    return here, there


def test_the_suites_are_those_of_the_session_descriptions() -> None:
    assert PROFILES.keys() == SUITES.keys()


@pytest.mark.parametrize("suite", SUITES)
def test_there_and_back(suite: str) -> None:
    here, there = pair(suite)
    sealed = here.seal(rtp(1))
    assert len(sealed) == len(rtp(1)) + OVERHEAD[suite]
    assert sealed[12:172] != rtp(1)[12:]
    assert there.open(sealed) == rtp(1)
    assert there.open_rtcp(here.seal_rtcp(REPORT)) == REPORT


def test_what_was_not_sealed_for_us_is_counted_by_its_kind() -> None:
    here, there = pair()
    sealed = here.seal(rtp(1))
    assert there.open(sealed)
    assert there.open(sealed) == b""
    changed = bytearray(here.seal(rtp(2)))
    changed[20] ^= 1
    assert there.open(bytes(changed)) == b""
    assert there.open(rtp(3)) == b""
    assert there.open_rtcp(REPORT + bytes(14)) == b""
    assert (there.stats.dropped_replayed, there.stats.dropped_forged) == (1, 3)
    for noise in (b"", b"\r\n", bytes(11), bytes(2000)):
        assert there.open(noise) == there.open_rtcp(noise[:7]) == b""


def test_without_keys_nothing_passes() -> None:
    seal = SrtpSeal()
    assert seal.open(rtp(1)) == seal.open_rtcp(REPORT) == b""
    for leave in (seal.seal, seal.seal_rtcp):
        with pytest.raises(SealError):
            leave(rtp(1))


def test_a_packet_beyond_libsrtps_buffer_is_not_sent() -> None:
    here, _ = pair()
    with pytest.raises(SealError):
        here.seal(rtp(1) + bytes(1500))


def test_numbers_that_wrap_are_counted_on() -> None:
    here, there = pair()
    for number in range(65_530, 65_550):
        assert there.open(here.seal(rtp(number % 65_536))) == rtp(number % 65_536)


def test_the_same_keys_again_keep_their_state_and_new_ones_begin_anew() -> None:
    here, there = pair()
    sealed = here.seal(rtp(1))
    assert there.open(sealed)
    there.receive_with(CM, bytes(range(30)))
    assert there.open(sealed) == b""  # still known as a replay
    late = here.seal(rtp(2))
    here.send_with(CM, bytes(30))
    there.receive_with(CM, bytes(30))
    assert there.open(here.seal(rtp(3))) == rtp(3)
    assert there.open(late) == rtp(2)  # it was on its way when the keys changed
    for number in range(4, 4 + OLD_PACKETS):
        there.open(rtp(number))
    assert there.open(pair()[0].seal(rtp(2))) == b""


def test_a_peer_that_invents_sources_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srtp, "MAX_SOURCES", 3)
    here, there = pair()
    for ssrc in range(1, 4):
        assert there.open(here.seal(rtp(1, ssrc)))
    with pytest.raises(SealError, match="too many sources"):  # never the same key stream twice
        here.seal(rtp(1, 9))
    other, _ = pair()
    for ssrc in range(11, 14):
        assert there.open(other.seal(rtp(1, ssrc)))
    for ssrc in range(100, 200):  # nobody without the key can make us forget anything
        assert there.open(rtp(1, ssrc)) == b""
    assert there.stats.dropped_forged == 100


async def test_two_ports_hear_each_other_and_nobody_else() -> None:
    pools = [PortPool("127.0.0.1", *free_range(3)) for _ in range(2)]
    a, b = (pool.open() for pool in pools)
    keys = bytes(range(30)), bytes(range(1, 31))
    for port, (ours, theirs) in ((a, keys), (b, keys[::-1])):
        seal = SrtpSeal()
        port.watch_next(lambda packet: None)
        port.secure(seal)
        seal.send_with(CM, ours)
        seal.receive_with(CM, theirs)
    a.set_remote(*b.address)
    b.set_remote(*a.address)
    heard: list[bytes] = []
    reports: list[bytes] = []
    b.sink, b.rtcp_sink = heard.append, reports.append
    for number in range(3):
        a.send(rtp(number))
    a.send_rtcp(REPORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(100, 105):
            stranger.sendto(rtp(number), b.address)
    await arrives(lambda: len(heard) == 3 and len(reports) == 1 and b.stats.dropped_forged == 5)
    assert heard == [rtp(number) for number in range(3)]
    assert reports == [REPORT]
    assert b.stats.packets_in == a.stats.packets_out == 3
    a.secure(SrtpSeal())  # without a key nothing leaves
    a.send(rtp(9))
    a.send_rtcp(REPORT)
    assert a.stats.send_failures == 2
    await asyncio.sleep(0.01)
    assert len(heard) == 3
    for pool in pools:
        pool.close()
