"""Where workers are forked: a process that has loaded everything, and has neither threads nor an event loop.

A worker that is forked is there at once, and shares the memory of what was loaded; one that is started
afresh loads for seconds, on a machine whose other workers have calls. The office itself cannot fork any more
once its event loop and threads run: what another thread holds would be held for ever in the child.

The office speaks to the nursery over a socket; when it ends, however it does, the nursery ends too, and its
workers hear of that by their lifeline: the reading end of a pipe that only the nursery keeps open.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

MAX_ORDER: Final = 64 * 1024
"""Bytes of what a worker is told; a few hundred are."""

FAILED: Final = 70
"""Exit status of a worker whose work raised (EX_SOFTWARE of sysexits.h)."""


class Started(Struct, frozen=True, tag="started"):
    """A worker was forked. number: of its order."""

    number: int
    pid: int


class Ended(Struct, frozen=True, tag="ended"):
    """A worker has ended. status: as `os.waitstatus_to_exitcode` has it: negative for a signal."""

    pid: int
    status: int


class Order(Struct, frozen=True):
    """Fork a worker. words: for its work."""

    number: int
    words: bytes


Work = Callable[[bytes, int], int]
"""What a worker does: given its words and its lifeline's descriptor; its exit status."""

_encode: Final = msgspec.msgpack.encode
_decode_order: Final = msgspec.msgpack.Decoder(Order)
_decode_news: Final = msgspec.msgpack.Decoder(Started | Ended)


class Child:
    """A worker that was forked.

    Attributes:
        pid: its process.
        ended: its exit status, once it has ended.

    """

    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self.ended = ended

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; none if it has ended."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class NurseryGone(Exception):  # noqa: N818 - it names what happened
    """The nursery has ended, and no worker can be started any more."""


class Nursery:
    """The office's end of it.

    Args:
        work: what each worker does; runs in the worker.

    """

    def __init__(self, work: Work) -> None:
        """Fork the nursery. To be called before there are threads, and an event loop that runs."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _be_nursery(theirs, work)
        theirs.close()
        self._socket.setblocking(False)
        self._orders = 0
        self._starting: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Listen to it, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    async def fork(self, words: bytes) -> Child:
        """Start a worker. Raises NurseryGone."""
        assert self._loop is not None, "not open"  # noqa: S101 - a mistake of ours
        self._orders += 1
        order = self._orders
        started: asyncio.Future[Child] = self._loop.create_future()
        self._starting[order] = started
        try:
            self._socket.send(_encode(Order(order, words)))
            return await started
        except OSError as error:
            raise NurseryGone(f"the nursery has ended: {error.strerror}") from None
        finally:
            self._starting.pop(order, None)

    async def close(self) -> None:
        """End it; its workers are to be ended before. Idempotent."""
        if self._loop is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
        self.abandon()
        if self.pid:
            pid, self.pid = self.pid, 0
            with suppress(ChildProcessError):
                await asyncio.to_thread(os.waitpid, pid, 0)

    def abandon(self) -> None:
        """Let it end by itself: for who was forked beside it, and for what could not start."""
        self._socket.close()

    def _read(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(MAX_ORDER)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            self._heard(_decode_news.decode(data))

    def _heard(self, news: Started | Ended) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        if isinstance(news, Started):
            child = self._children[news.pid] = Child(news.pid, self._loop.create_future())
            starting = self._starting.get(news.number)
            if starting is not None and not starting.done():
                starting.set_result(child)
            else:  # whoever wanted it has gone
                child.signal(signal.SIGKILL)
        elif (ended := self._children.pop(news.pid, None)) is not None:
            ended.ended.set_result(news.status)

    def _lost(self) -> None:
        """It is gone: whoever waits for a start is told; workers end by themselves, and nobody says when."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        self._loop.remove_reader(self._socket)
        for each in self._starting.values():
            if not each.done():
                each.set_exception(NurseryGone("the nursery has ended"))
        for child in self._children.values():
            child.ended.set_result(FAILED)
        self._children.clear()


def _be_nursery(office: socket.socket, work: Work) -> None:
    """Fork a worker for each order, and tell of their ends, until the office is gone. Never returns."""
    os.setsid()  # Ctrl-C in a terminal is for the office, which ends us in order
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    lifeline, held = os.pipe()
    with selectors.DefaultSelector() as ready:
        ready.register(office, selectors.EVENT_READ)
        ready.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fd == woken:
                    with suppress(BlockingIOError):
                        os.read(woken, 4096)
                    continue
                try:
                    data = office.recv(MAX_ORDER)
                except OSError:
                    data = b""
                if not data:
                    os._exit(0)
                order = _decode_order.decode(data)
                pid = os.fork()
                if pid == 0:
                    ready.close()
                    office.close()
                    for end in (woken, waking, held):
                        os.close(end)
                    _be_worker(order.words, lifeline, work)
                _tell(office, Started(order.number, pid))
            _bury(office)


def _bury(office: socket.socket) -> None:
    """Tell of every worker that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(office, Ended(pid, os.waitstatus_to_exitcode(status)))


def _tell(office: socket.socket, news: Started | Ended) -> None:
    with suppress(OSError):  # that it is gone is found by reading
        office.send(_encode(news))


def _be_worker(words: bytes, lifeline: int, work: Work) -> None:
    """Do the work, and end with its status. Never returns."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    status = FAILED
    try:
        status = work(words, lifeline)
    except BaseException:  # there is nobody behind us
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
