"""When reports are sent, what they say, and whom of the peer's are believed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.media.reception import PortStats
from gateway.media.rtcp import Compound, Report, ReportBlock, SenderInfo, middle, ntp_time
from gateway.media.rtcp_reporter import Reporter, report_interval
from gateway.media.rtp import pack

Run = Callable[..., Any]

THEIRS, OURS = 0xAAAA, 0xBBBB
EPOCH = 1_000_000.0


class Port:
    """What a reporter needs, with a way to send that tells who watches."""

    def __init__(self) -> None:
        self.stats = PortStats()
        self.sent_rtcp: list[bytes] = []
        self._seen: Callable[[bytes], None] | None = None

    def send_rtcp(self, packet: bytes) -> None:
        self.sent_rtcp.append(packet)

    def watch_next(self, seen: Callable[[bytes], None]) -> None:
        self._seen = seen

    def send(self, packet: bytes) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            seen(packet)
        self.stats.packets_out += 1


def reporting(port: Port, *, chance: float = 0.5) -> Reporter:
    loop = asyncio.get_running_loop()
    bits = itertools.count(1)
    return Reporter(
        port, clock=loop.time, ntp_offset=EPOCH, chance=lambda: chance, random_bits=lambda _: next(bits)
    )


async def speak(
    port: Port, packets: int, *, first: int = 0, skip: tuple[int, ...] = (), ssrc: int = THEIRS
) -> None:
    """Packets both ways, 20 ms apart; of the peer's, those to be skipped are lost."""
    now = asyncio.get_running_loop().time
    for number in range(first, first + packets):
        if number not in skip:
            port.stats.received(pack(0, number & 0xFFFF, number * 160, ssrc, bytes(160)), now())
        port.send(pack(0, number & 0xFFFF, number * 160, OURS, bytes(160)))
        await asyncio.sleep(0.02)


def sent(port: Port) -> list[Compound]:
    return [Compound.parse(packet) for packet in port.sent_rtcp]


def test_the_interval_is_five_seconds_shaken_and_half_of_it_at_first() -> None:
    assert report_interval(first=False, chance=0.0) == pytest.approx(2.052, abs=0.001)
    assert report_interval(first=False, chance=1.0) == pytest.approx(6.156, abs=0.001)
    assert report_interval(first=True, chance=0.5) == pytest.approx(2.052, abs=0.001)


def test_nobody_is_reported_to_before_media_flows_or_after_the_end(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await asyncio.sleep(30)
        reporter.leave()
        await asyncio.sleep(30)
        assert port.sent_rtcp == []

    run_virtual(scene())


def test_a_report_says_what_was_sent_and_what_came(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await speak(port, 400, skip=(10, 20, 300))
        reporter.stop()
        first, second = sent(port)
        assert first.cnames == ((OURS, f"{2:024x}"),)
        (report,) = first.reports
        assert report.ssrc == OURS
        assert report.sender is not None
        assert report.sender.packets == 104  # the first that is sent after 2.05 s
        assert report.sender.octets == 104 * 160
        assert report.sender.ntp >> 32 == 2_208_988_800 + EPOCH + 2
        assert report.sender.timestamp == 103 * 160
        (block,) = report.blocks
        assert (block.ssrc, block.lost, block.highest, block.last_report) == (THEIRS, 2, 103, 0)
        assert block.fraction_lost == 2 * 256 // 104
        (block,) = second.reports[0].blocks
        assert (block.lost, block.highest) == (3, 309)
        assert block.fraction_lost == 256 // 206

    run_virtual(scene())


def test_who_only_listens_sends_receiver_reports(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        port.stats.received(pack(0, 65535, 0, THEIRS, b""), 0.0)
        port.stats.received(pack(0, 0, 160, THEIRS, b""), 0.02)
        await asyncio.sleep(3)
        reporter.leave()
        report, goodbye = sent(port)
        assert report.reports[0].sender is None
        assert report.reports[0].ssrc == 1  # a random one of ours
        assert report.reports[0].blocks[0].highest == 0x10000
        assert goodbye.goodbyes == (1,)

    run_virtual(scene())


def test_after_two_quiet_reports_it_is_no_sender_any_more(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await speak(port, 110)
        await asyncio.sleep(14)
        reporter.stop()
        kinds = [compound.reports[0].sender is not None for compound in sent(port)]
        assert kinds == [True, True, True, False]
        assert {compound.reports[0].ssrc for compound in sent(port)} == {OURS}

    run_virtual(scene())


def test_another_source_on_our_side_is_counted_from_its_own_beginning(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await speak(port, 110)
        await asyncio.sleep(4)  # the next report is due and waits for a packet
        port.send(pack(0, 7, 99, 0xCCCC, bytes(160)))
        reporter.stop()
        first, second = sent(port)
        assert (first.reports[0].ssrc, second.reports[0].ssrc) == (OURS, 0xCCCC)
        assert second.reports[0].sender is not None
        assert second.reports[0].sender.packets == 111 - 104  # what was sent since the last report

    run_virtual(scene())


def answer(port: Port, *, to: Compound, delay: float, source: int = THEIRS, about: int = OURS) -> bytes:
    """The peer's report, `delay` seconds after it heard ours."""
    sender = to.reports[0].sender
    assert sender is not None
    block = ReportBlock(about, 0, 5, 100, 80, middle(sender.ntp), round(delay * 0x10000))
    return Compound((Report(source, SenderInfo(ntp_time(77.0), 0, 1, 160), (block,)),)).to_bytes()


def test_the_way_there_and_back_is_measured(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await speak(port, 110)
        (report,) = sent(port)
        at = asyncio.get_running_loop().time()
        ours_at = 103 * 0.02
        reporter.receive(answer(port, to=report, delay=at - ours_at - 0.080))
        assert port.stats.round_trip == pytest.approx(0.080, abs=0.001)
        assert port.stats.far_lost == 5
        assert port.stats.far_jitter == pytest.approx(0.01)
        await speak(port, 250, first=110)
        reporter.stop()
        (block,) = sent(port)[1].reports[0].blocks
        assert block.last_report == middle(ntp_time(77.0))
        assert block.delay / 0x10000 == pytest.approx(6.18 - at, abs=0.01)

    run_virtual(scene())


def test_lies_are_not_believed(run_virtual: Run) -> None:
    async def scene() -> None:
        port = Port()
        reporter = reporting(port)
        await speak(port, 110)
        (report,) = sent(port)
        reporter.receive(answer(port, to=report, delay=0, source=0x1234))  # not whom we receive
        reporter.receive(answer(port, to=report, delay=0, about=0x1234))  # not what we send
        assert (port.stats.round_trip, port.stats.far_lost) == (None, None)
        never = Compound((Report(OURS, SenderInfo(ntp_time(5.0), 0, 0, 0)),))
        reporter.receive(answer(port, to=never, delay=0))  # a report that we never sent
        late = answer(port, to=report, delay=60)  # would have come before it left
        reporter.receive(late)
        assert port.stats.round_trip is None
        reporter.receive(Compound((Report(THEIRS),), (), (THEIRS, OURS)).to_bytes())  # a goodbye ends nothing
        reporter.receive(b"\x80\xc9garbage")
        assert port.stats.dropped_invalid == 1
        await speak(port, 250, first=110)
        reporter.stop()
        assert len(port.sent_rtcp) == 2

    run_virtual(scene())
