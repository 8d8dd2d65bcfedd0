"""Workers of one machine in memory: whoever reads a message, it ends where its call is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from zlib import crc32

import pytest

from gateway.sip.flow import Flow
from gateway.workers.marks import name_finder
from gateway.workers.steering import ASKING_SECONDS, MAX_STOOD_IN, Handed, Purpose, Steering

CARRIER = Flow("udp", "192.0.2.1", 5060, 1)
STRANGER = Flow("udp", "203.0.113.9", 5060, 1)


def message(method: str, call: str, tag: str = "", name: str = "") -> bytes:
    to = f"<sip:us>;tag={tag}" if tag else "<sip:us>"
    own = f"X-Name: {name}\r\n" if name else ""
    return f"{method} sip:us SIP/2.0\r\nTo: {to}\r\nCall-ID: {call}\r\n{own}\r\n".encode()


class Worker:
    """One of them, and what it was given; a call is known where its INVITE was taken."""

    def __init__(
        self,
        house: House,
        slot: int,
        members: Iterable[int],
        elders: Iterable[int] = (),
        before: Iterable[int] = (),
        *,
        restarted: bool = False,
    ) -> None:
        self.slot = slot
        self.taken: list[bytes] = []
        self.up = True
        self.results: Counter[str] = Counter()
        self.calls: set[bytes] = set()
        self.steering = Steering(
            slot,
            tuple(members),
            tuple(elders),
            tuple(before),
            deliver=self._deliver,
            hand=house.hand,
            knows=lambda data: data.split(b"\r\n")[2] in self.calls,
            name_of=name_finder(["X-Name"]),
            hears=lambda host: host == CARRIER.host,
            clock=lambda: house.now,
            restarted=restarted,
            on_handed=lambda result: self.results.update([result]),
        )

    def _deliver(self, data: bytes, flow: Flow) -> None:
        self.taken.append(data)
        if data.startswith(b"INVITE"):
            self.calls.add(data.split(b"\r\n")[2])


class House:
    """The machine."""

    def __init__(self, count: int = 2) -> None:
        self.now = 0.0
        self.workers: dict[int, Worker] = {}
        for slot in range(1, count + 1):
            self.add(slot, range(1, count + 1))

    def add(
        self,
        slot: int,
        members: Iterable[int],
        elders: Iterable[int] = (),
        before: Iterable[int] = (),
        *,
        restarted: bool = False,
    ) -> Worker:
        self.workers[slot] = Worker(self, slot, members, elders, before, restarted=restarted)
        return self.workers[slot]

    def hand(self, slot: int, handed: Handed) -> bool:
        worker = self.workers.get(slot)
        if worker is None or not worker.up:
            return False
        worker.steering.handed(handed)
        return True

    def holders(self, data: bytes) -> list[int]:
        return [slot for slot, worker in self.workers.items() for each in worker.taken if each == data]


def owned_by(slot: int, members: int = 2, *, number: int = 0) -> str:
    """A Call-ID that the rule gives to a slot of members 1, 2, …."""
    found = (f"call-{each}" for each in range(1000) if crc32(f"call-{each}".encode()) % members == slot - 1)
    return [next(found) for _ in range(number + 1)][-1]


def test_calls_of_one_address_are_spread_over_all_and_each_has_one_owner() -> None:
    house = House(4)
    for number in range(400):
        house.workers[2].steering.received(message("INVITE", f"c{number}"), CARRIER)
    shares = [len(worker.taken) for worker in house.workers.values()]
    assert sum(shares) == 400
    assert min(shares) > 70


@pytest.mark.parametrize("reader", [1, 2])
def test_repetitions_and_cancels_find_their_invite_whoever_reads_them(reader: int) -> None:
    house, call = House(), owned_by(2)
    for data in (message("INVITE", call), message("INVITE", call), message("CANCEL", call)):
        house.workers[reader].steering.received(data, CARRIER)
    assert [each[:6] for each in house.workers[2].taken] == [b"INVITE", b"INVITE", b"CANCEL"]
    assert house.workers[1].taken == []


def test_what_has_our_mark_goes_to_who_made_it_whatever_its_call_id() -> None:
    house, call = House(), owned_by(1)
    house.workers[1].steering.received(message("BYE", call, "0123456789abcdefw02"), CARRIER)
    assert len(house.workers[2].taken) == 1
    house.workers[2].up = False
    house.workers[1].steering.received(message("BYE", call, "0123456789abcdefw02"), CARRIER)
    assert len(house.workers[1].taken) == 1, "a 481 is better than silence"


def test_options_and_strangers_stay_where_they_came() -> None:
    house, call = House(), owned_by(2)
    house.workers[1].steering.received(message("OPTIONS", call), CARRIER)
    house.workers[1].steering.received(message("INVITE", call), STRANGER)
    assert len(house.workers[1].taken) == 2


def test_a_worker_that_is_not_there_is_stood_in_for_and_does_not_get_the_call_afterwards() -> None:
    house, call = House(), owned_by(2)
    house.workers[2].up = False
    house.workers[1].steering.received(message("INVITE", call), CARRIER)
    assert house.workers[1].results["stood_in"] == 1
    house.add(2, (1, 2), restarted=True)
    house.workers[1].steering.received(message("INVITE", call), CARRIER)  # the same socket reads it again
    house.workers[2].steering.received(message("INVITE", call), CARRIER)  # or, after a change, another one
    house.now = ASKING_SECONDS + 1
    house.workers[2].steering.received(message("CANCEL", call), CARRIER)
    assert len(house.workers[1].taken) == 4
    assert house.workers[2].taken == []


@pytest.mark.parametrize("reader", [1, 2])
@pytest.mark.parametrize("retry_reader", [1, 2])
def test_a_retry_under_another_call_id_finds_who_tries_the_call(reader: int, retry_reader: int) -> None:
    house = House()
    for number in range(8):
        first = message("INVITE", f"first-{number}", name=f"CA{number}")
        retry = message("INVITE", f"retry-{number}", name=f"CA{number}")
        house.workers[reader].steering.received(first, CARRIER)
        house.workers[retry_reader].steering.received(retry, CARRIER)
        assert house.holders(first) == house.holders(retry)
        for call in ("first", "retry"):
            cancel = message("CANCEL", f"{call}-{number}")
            house.workers[reader].steering.received(cancel, CARRIER)
            assert house.holders(cancel) == house.holders(first)
    assert min(len(worker.taken) for worker in house.workers.values()) > 0


def test_who_stands_in_for_a_worker_has_the_retries_too() -> None:
    house = House()
    name = next(f"CA{each}" for each in range(99) if crc32(f"CA{each}".encode()) % 2 == 1)
    house.workers[2].up = False
    house.workers[1].steering.received(message("INVITE", "first", name=name), CARRIER)
    house.workers[2].up = True
    house.workers[1].steering.received(message("INVITE", "retry", name=name), CARRIER)
    house.workers[1].steering.received(message("CANCEL", "first"), CARRIER)
    assert len(house.workers[1].taken) == 3


class TestTakenOver:
    """A call that worker 1 had is worker 2's; messages in its dialog still have the mark of worker 1."""

    BYE = message("BYE", "adopted", "0123456789abcdefw01")

    def house(self, count: int = 2) -> House:
        house = House(count)
        house.workers[2].calls.add(self.BYE.split(b"\r\n")[2])
        return house

    @pytest.mark.parametrize("reader", [1, 2, 3])
    @pytest.mark.parametrize("up", [True, False])
    def test_its_requests_find_it_whoever_reads_them(self, reader: int, *, up: bool) -> None:
        house = self.house(3)
        house.workers[1].up = up
        house.workers[reader].steering.received(self.BYE, CARRIER)
        assert house.holders(self.BYE) == [2]

    def test_who_is_there_no_more_is_stood_in_for_by_who_has_read_it(self) -> None:
        house = self.house(3)
        house.workers[2].calls.clear()
        house.workers[1].up = False
        house.workers[3].steering.received(self.BYE, CARRIER)
        assert house.holders(self.BYE) == [3], "which looks whether it may take the call over"

    @pytest.mark.parametrize("data", [message("ACK", "adopted", "0123456789abcdefw01")])
    def test_nobody_is_asked_about_what_is_not_answered(self, data: bytes) -> None:
        house = self.house()
        house.workers[1].steering.received(data, CARRIER)
        assert house.holders(data) == [1]
        assert not house.workers[1].results


def test_what_nobody_knows_comes_home() -> None:
    house, call = House(3), owned_by(2, 3)
    house.workers[1].steering.received(message("CANCEL", call), CARRIER)
    assert house.holders(message("CANCEL", call)) == [1], "which answers 481"
    house.add(2, (1, 2, 3), restarted=True)
    house.workers[3].steering.received(message("INVITE", call), CARRIER)
    assert house.holders(message("INVITE", call)) == [2]
    house.workers[1].up = house.workers[3].up = False
    house.workers[2].steering.received(message("INVITE", owned_by(2, 3, number=1)), CARRIER)
    assert len(house.workers[2].taken) == 2


def test_home_may_have_ended_meanwhile() -> None:
    house, call = House(), owned_by(2)
    owner = house.workers[2]
    owner.steering.received(message("CANCEL", call), CARRIER)
    assert house.holders(message("CANCEL", call)) == [2]
    asked: list[Handed] = []
    house.workers[1].steering.handed = asked.append  # type: ignore[method-assign]  # to answer late
    owner.steering.received(message("CANCEL", call), CARRIER)
    owner.up = False
    Steering.handed(house.workers[1].steering, asked[0])
    assert len(house.workers[1].taken) == 1


def test_those_remembered_as_stood_in_for_are_bounded() -> None:
    house = House()
    house.workers[2].up = False
    worker = house.workers[1]
    for number in range(2 * MAX_STOOD_IN + 1000):
        worker.steering.received(message("INVITE", f"c{number}"), CARRIER)
    assert len(worker.steering._stood_in) == MAX_STOOD_IN


class TestUpgrade:
    """Slots 1 and 2 are the old version, 3 and 4 the new one."""

    def house(self) -> House:
        house = House()
        self.before = message("INVITE", "before-a"), message("INVITE", "before-b")
        for data in self.before:
            house.workers[1].steering.received(data, CARRIER)
        for slot in (3, 4):
            house.add(slot, (3, 4), (1, 2))
        for slot in (1, 2):
            house.workers[slot].steering.retire((3, 4))
        return house

    def test_nothing_is_taken_twice_while_only_one_version_knows_of_the_other(self) -> None:
        """Sockets come to the port, and the kernel gives the same carrier's messages to another process."""
        house = House()
        for slot in (3, 4):
            house.add(slot, (3, 4), (1, 2), (1, 2))
        for number in range(20):
            for method in ("INVITE", "OPTIONS"):
                data = message(method, f"c{number}")
                house.workers[3 + number % 2].steering.received(data, CARRIER)
                assert set(house.holders(data)) <= {1, 2}
                house.workers[1 + number % 2].steering.received(data, CARRIER)  # again
            invite, cancel = message("INVITE", f"c{number}"), message("CANCEL", f"c{number}")
            [holder] = set(house.holders(invite))
            house.workers[4].steering.received(cancel, CARRIER)
            assert house.holders(cancel) == [holder]
        assert min(len(house.workers[slot].taken) for slot in (1, 2)) > 5
        assert not house.workers[3].steering.retired

    @pytest.mark.parametrize("told", [True, False])
    def test_who_is_given_what_is_new_knows_that_those_before_have_retired(self, *, told: bool) -> None:
        house = House()
        for slot in (3, 4):
            house.add(slot, (3, 4), (1, 2), (1, 2))
        for slot in (1, 2):
            house.workers[slot].steering.retire((3, 4))
        if told:
            for slot in (3, 4):
                house.workers[slot].steering.begin()
        for reader in (1, 2, 3, 4):
            for number in range(10):
                data = message("INVITE", f"c{reader}-{number}")
                house.workers[reader].steering.received(data, CARRIER)
                [holder] = house.holders(data)
                assert holder in (3, 4)

    def test_those_before_who_are_not_there_are_stood_in_for(self) -> None:
        house = House()
        house.add(3, (3,), (1, 2), (1, 2))
        house.workers[1].up = house.workers[2].up = False
        house.workers[3].steering.received(message("INVITE", "c"), CARRIER)
        assert house.holders(message("INVITE", "c")) == [3]

    @pytest.mark.parametrize("reader", [1, 2, 3, 4])
    def test_new_calls_go_to_the_new_version_whoever_reads_them(self, reader: int) -> None:
        house = self.house()
        for number in range(40):
            house.workers[reader].steering.received(message("INVITE", f"new-{number}"), CARRIER)
        assert len(house.workers[3].taken) + len(house.workers[4].taken) == 40
        assert min(len(house.workers[3].taken), len(house.workers[4].taken)) > 5

    @pytest.mark.parametrize("reader", [1, 2, 3, 4])
    def test_what_is_about_an_old_call_goes_to_the_old_version(self, reader: int) -> None:
        house = self.house()
        for number, data in enumerate(self.before):
            [holder] = house.holders(data)
            house.workers[reader].steering.received(data, CARRIER)
            assert house.holders(data) == [holder, holder]
            cancel = message("CANCEL", f"before-{'ab'[number]}")
            house.workers[reader].steering.received(cancel, CARRIER)
            assert house.holders(cancel) == [holder]

    @pytest.mark.parametrize("reader", [1, 3])
    def test_probes_are_answered_by_the_new_version(self, reader: int) -> None:
        house = self.house()
        house.workers[reader].steering.received(message("OPTIONS", "probe"), CARRIER)
        [holder] = house.holders(message("OPTIONS", "probe"))
        assert holder in (3, 4)

    @pytest.mark.parametrize("purpose", [Purpose.TAKE, Purpose.LAST])
    def test_what_was_on_its_way_to_the_old_version_goes_on_to_the_new_one(self, purpose: Purpose) -> None:
        house = self.house()
        data = message("INVITE", "late")
        house.workers[2].steering.handed(Handed(purpose, 2, (), CARRIER, data))
        [holder] = house.holders(data)
        assert holder in (3, 4)
        [known] = house.holders(self.before[0])
        house.workers[known].steering.handed(Handed(purpose, known, (), CARRIER, self.before[0]))
        assert house.holders(self.before[0]) == [known, known]

    def test_the_old_version_is_gone(self) -> None:
        house = self.house()
        house.workers[1].up = house.workers[2].up = False
        house.workers[3].steering.received(message("INVITE", "later"), CARRIER)
        assert len(house.holders(message("INVITE", "later"))) == 1
