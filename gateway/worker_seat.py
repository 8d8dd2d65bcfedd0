"""What a worker is told when it is forked, and what it makes of the configuration that all of them have.

What one process may do, N of them do together: the range of media ports, the rates of admission, the calls at
a time and the room for traces are divided. What is kept on disk stays where a single process keeps it, but
for what two processes would write over each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct
from pydantic import SecretStr

from gateway.config import Settings
from gateway.sip.addresses import format_address, parse_address
from gateway.sip.network import Address
from gateway.workers.slots import run_directory


class Order(Struct, frozen=True, kw_only=True):
    """What the office tells a worker.

    slot: which worker it is; members: all of its generation, in an order that all of them have.
    elders: slots of earlier versions that finish their calls; before: those of them that have new calls until
        they are told of us.
    restarted: the slot had a process before.
    redis_url: of the office's private Redis, empty if there is none.
    advertised_host: under which name carriers see us.
    events: whether anybody takes what is told of calls out of Redis; else the office wants to hear it.
    draining: no new calls, until the office says otherwise.
    """

    slot: int
    members: list[int]
    elders: list[int]
    before: list[int] = []
    restarted: bool
    redis_url: str
    advertised_host: str
    events: bool
    draining: bool


def encode_order(order: Order) -> bytes:
    """An order as it goes to the nursery."""
    return msgspec.msgpack.encode(order)


def decode_order(words: bytes) -> Order:
    """The same back."""
    return msgspec.msgpack.decode(words, type=Order)


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's place among the others.

    order: what it was told; directory: where the processes' sockets are.
    shared: addresses that all of them listen on; own, own_tls: those of this one alone.
    """

    order: Order
    directory: Path
    shared: Sequence[Address]
    own: Sequence[str]
    own_tls: Sequence[str]

    @property
    def slot(self) -> int:
        """Which worker this is."""
        return self.order.slot

    @property
    def position(self) -> int:
        """Among the workers of its generation, from 0."""
        return self.order.members.index(self.order.slot)

    @property
    def first(self) -> bool:
        """It does what one of them must do for all."""
        return self.position == 0

    def registers(self, carrier: str) -> bool:
        """Whether this worker is the one that has a carrier's account: each account has one."""
        return crc32(carrier.encode()) % len(self.order.members) == self.position


def seat(settings: Settings, order: Order, *, tls: bool) -> Seat:
    """The place of a worker; tls: whether carriers reach us by it."""
    listen = tuple(parse_address(text) for text in settings.sip.listen)
    tls_listen = tuple(parse_address(text) for text in settings.sip.tls_listen) if tls else ()
    workers, shift = settings.workers, order.slot - 1
    return Seat(
        order,
        run_directory(settings.data.dir),
        (*listen, *tls_listen),
        _own(listen, workers.port + shift),
        _own(tls_listen, workers.tls_port + shift),
    )


def settings_of(settings: Settings, order: Order) -> Settings:
    """The configuration of one worker out of that of all."""
    count, position = len(order.members), order.members.index(order.slot)
    sip, media, admission = settings.sip, settings.media, settings.admission
    low, high = _share(media.port_low, media.port_high, position, count)
    return settings.model_copy(
        update={
            "sip": sip.model_copy(
                update={
                    "advertised_host": order.advertised_host,
                    "discover_host": "",
                    "agent_listen": _shifted(sip.agent_listen, order.slot - 1),
                    "agent_tls_listen": _shifted(sip.agent_tls_listen, order.slot - 1),
                }
            ),
            "media": media.model_copy(update={"port_low": low, "port_high": high}),
            "admission": admission.model_copy(
                update={
                    "max_active_calls": admission.max_active_calls // count,
                    "source_requests_per_second": admission.source_requests_per_second / count,
                }
            ),
            "traces": settings.traces.model_copy(
                update={"max_total_bytes": settings.traces.max_total_bytes // count}
            ),
            "redis": settings.redis.model_copy(
                update={"url": SecretStr(order.redis_url)} if order.redis_url else {}
            ),
            "routing": settings.routing.model_copy(update={"numbers_file": None}),
            "api": settings.api.model_copy(update={"serve": False, "remote_url": ""}),
        }
    )


def _share(low: int, high: int, position: int, count: int) -> tuple[int, int]:
    """A worker's part of a range of ports, in whole pairs; the last one has what is left over."""
    low += low % 2
    pairs = (high - low + 1) // 2
    begin = low + 2 * (pairs * position // count)
    return begin, low + 2 * (pairs * (position + 1) // count) - 1


def _shifted(listen: Sequence[str], shift: int) -> tuple[str, ...]:
    """Addresses of this worker alone: those with a port of their own have one each."""
    shifted = []
    for text in listen:
        host, port = parse_address(text)
        shifted.append(format_address((host, port + shift if port else 0)))
    return tuple(shifted)


def _own(listen: Sequence[Address], port: int) -> tuple[str, ...]:
    """Each host once."""
    return tuple(dict.fromkeys(format_address((host, port)) for host, _ in listen))
