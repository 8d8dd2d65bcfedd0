"""What audio that ends here costs: codecs, resampling, concealment, and whole live sessions on real sockets.

    python loadtests/bench_audio.py [--calls 100 200 400] [--seconds 10] [--loop uvloop|asyncio]

First microseconds for each 20 ms frame, the best of several runs. Then live sessions as agents over
WebSocket use them: a process with the sessions alone, each with an agent behind it that says back what it
hears; another process plays the callers, every packet at its own moment. "late" counts frames that left more
than 5 ms after their beat. "timers": empty beats, with a timer for each or on one shared ticker.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing as mp
import time
from collections.abc import Callable
from functools import partial
from itertools import permutations
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from bench_relay import Peers

from gateway.media.codecs import LINEAR, PCMA, PCMU, available, pcm_frame_bytes
from gateway.media.comfort_noise import NoiseSource
from gateway.media.concealment import Concealer
from gateway.media.inband_dtmf import InbandDtmf
from gateway.media.pacer import Pacer
from gateway.media.playout import Playout
from gateway.media.port_pool import PortPool
from gateway.media.resampler import RATES, Resampler
from gateway.media.rtp import RtpPacket
from gateway.media.session import AudioSession
from gateway.media.tone_gate import ToneListener
from gateway.media.tones import tone

LATE = 0.005
FRAME = 0.02
RUNS, TURNS = 7, 300
ROW = "{:6} {:>12} {:7.1f} {:11.3f} {:8} {:8.3f} {:8.2f} {:8.1f} {:8.2f}"
FORMS = {
    "PCMU": PCMU,
    "PCMA": PCMA,
    "PCM16-8": LINEAR[8000],
    "PCM16-16": LINEAR[16000],
    "PCM16-24": LINEAR[24000],
}


def microseconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        for _ in range(TURNS):
            work()
        best = min(best, (time.process_time() - begun) / TURNS)
    return best * 1e6


def frames() -> None:
    print("codec, µs a frame            encode   decode   (PCM at its own rate)")
    for codec in available():
        rate = codec.sample_rate
        pcm = (
            Resampler(8000, rate).resample(tone((440.0, 1200.0), 0.1, -12))
            if rate != 8000
            else tone((440.0,), 1, -12)
        )
        pcm = pcm[: pcm_frame_bytes(rate)].ljust(pcm_frame_bytes(rate), b"\0")
        encoder, decoder = codec.encoder(rate), codec.decoder(rate)
        payload = encoder.encode(pcm)
        there, back = (
            microseconds(partial(encoder.encode, pcm)),
            microseconds(partial(decoder.decode, payload)),
        )
        print(f"  {codec.name:8} {rate:6} Hz        {there:8.1f} {back:8.1f}")
    print("resampling, µs a frame")
    for source, target in permutations(RATES, 2):
        pcm = bytes(pcm_frame_bytes(source))
        work = partial(Resampler(source, target).resample, pcm)
        print(f"  {source:6} to {target:6} Hz      {microseconds(work):8.1f}")
    pcm = tone((150.0, 300.0), 0.06, -12)
    concealer = Concealer(pcm, 8000, NoiseSource())
    frame = PCMU.encoder(8000).encode(pcm[:320])
    ear, listener = InbandDtmf(lambda key: None), ToneListener(PCMU, lambda key: None)
    playout = Playout({0: PCMU}, 8000, PCMU)
    beats = iter(range(1, 1 << 40))

    def beat() -> None:
        number = next(beats)
        playout.receive(RtpPacket(0, number & 0xFFFF, number * 160 & 0xFFFFFFFF, 1, frame), number * FRAME)
        playout.frame(number * FRAME + 0.001)

    rows: dict[str, Callable[[], object]] = {
        "jitter buffer and playout": beat,
        "first lost frame": lambda: Concealer(pcm, 8000, NoiseSource()).frame(160),
        "further lost frame": lambda: concealer.frame(160),
        "frame after a gap": lambda: concealer.blend(pcm[:320]),
        "keys: two tones": lambda: ear.hear(pcm[:320]),
        "keys: a quiet frame": partial(listener.hear, PCMU.silence),
        "keys: a voiced frame": partial(listener.hear, frame),
    }
    print("playout, µs a frame")
    for name, work in rows.items():
        print(f"  {name:26} {microseconds(work):8.1f}")


def resident() -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def sessions(pipe: Connection, loop: str, name: str) -> None:
    """Live sessions for the callers' addresses received; reports when told to stop."""

    async def serve() -> None:
        form = FORMS[name]
        pool = PortPool("127.0.0.1", linger=0)
        clock = asyncio.get_running_loop().time
        callers = pipe.recv()
        sent, late, worst = [0], [0], [0.0]
        gc.collect()
        before = resident()
        held = []
        for caller in callers:
            port: Any = pool.open()
            port.set_remote(*caller)
            session = AudioSession(port, "PCMU", live=True, form=form, rate=form.sample_rate, clock=clock)
            session.on_audio = session.push
            pacer, send = session._sender._pacer, port.send
            assert pacer is not None

            def timed(packet: bytes, pacer: Pacer = pacer, send: Callable[[bytes], None] = send) -> None:
                send(packet)
                behind = clock() - pacer.deadline
                sent[0] += 1
                late[0] += behind > LATE
                worst[0] = max(worst[0], behind)

            session._sender._send = timed
            held.append(session)
        pipe.send([session.port.address for session in held])
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        begun = time.process_time()
        await stop.wait()
        used = time.process_time() - begun
        grown = resident() - before
        concealed = sum(session.reception.concealed for session in held if session.reception)
        pipe.send((used, sent[0], late[0], worst[0], concealed, grown))
        pool.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(serve())


def measure(calls: int, seconds: float, loop: str, name: str) -> str:
    ours, theirs = mp.Pipe()
    process = mp.get_context("spawn").Process(target=sessions, args=(theirs, loop, name))
    process.start()
    peers = Peers((calls + 1) // 2)
    peers.ends = peers.ends[:calls]
    ours.send([end.getsockname() for end in peers.ends])
    targets = ours.recv()
    begun = time.monotonic()
    peers.talk(targets, seconds)
    elapsed = time.monotonic() - begun
    ours.send(None)
    used, sent, late, worst, concealed, grown = ours.recv()
    process.join()
    share = used / elapsed * 100
    return ROW.format(
        calls,
        name,
        share,
        share / calls,
        sent,
        late / sent * 100,
        worst * 1000,
        grown / calls,
        concealed / sent * 100,
    )


def timers(count: int, seconds: float, loop: str) -> None:
    """CPU of `count` empty beats of 20 ms: a timer each, or one ticker of 1 ms with a slot for each phase."""

    async def each_its_own() -> float:
        running = asyncio.get_running_loop()
        done = running.time() + seconds

        def beat(pacer: Pacer) -> None:
            now = running.time()
            while pacer.due(now):
                pacer.sent(now)
            if now < done:
                running.call_at(pacer.deadline, beat, pacer)

        begun = time.process_time()
        for number in range(count):
            pacer = Pacer(running.time() + FRAME * number / count)
            running.call_at(pacer.deadline, beat, pacer)
        await asyncio.sleep(seconds + 0.05)
        return time.process_time() - begun

    async def shared() -> float:
        running = asyncio.get_running_loop()
        slots: list[list[Pacer]] = [[] for _ in range(20)]
        start = running.time()
        for number in range(count):
            slots[number % 20].append(Pacer(start + 0.001 * (number % 20)))
        done = start + seconds

        def tick(number: int) -> None:
            now = running.time()
            for pacer in slots[number % 20]:
                while pacer.due(now):
                    pacer.sent(now)
            if now < done:
                running.call_at(start + (number + 1) * 0.001, tick, number + 1)

        begun = time.process_time()
        tick(0)
        await asyncio.sleep(seconds + 0.05)
        return time.process_time() - begun

    for name, work in (("a timer for each", each_its_own), ("one shared ticker", shared)):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
            used = runner.run(work())
        share = used / seconds * 100
        print(f"timers: {count} beats, {name:16} {share:5.1f} % CPU {share / count * 200:6.1f} µs each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, nargs="*", default=[100, 200, 400])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["PCMU", "PCMA", "PCM16-24"])
    options = parser.parse_args()
    frames()
    for count in options.calls:
        timers(count, min(options.seconds, 5), options.loop)
    print(f"{options.loop}, {options.seconds:g} s; callers speak PCMU; what an agent's form costs")
    print(" calls   agent form   CPU %  CPU %/call    sent   late %  worst ms kB/call concealed %")
    for name in options.forms:
        for calls in options.calls:
            print(measure(calls, options.seconds, options.loop, name), flush=True)


if __name__ == "__main__":
    main()
