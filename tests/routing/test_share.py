"""Thousands of schedules: places are never oversold beyond the documented bound, and all come back."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from routing.share import FULL_SECONDS, LIFETIME, RENEWAL, TRUSTED, Claim, Share
from tests.routing.ledger_model import LedgerModel

SCHEDULES = 2_400
STEPS = 80


@dataclass
class Gateway:
    """One of them, with a clock that starts anywhere and runs up to a fifth too fast or too slow."""

    owner: str
    share: Share
    offset: float
    rate: float
    cut: bool = False
    adrift: int = 0
    """Places that it had, at most, while the ledger could not tell it or had forgotten it."""

    def now(self, time: float) -> float:
        return self.offset + time * self.rate


@dataclass
class Message:
    sender: Gateway
    claim: Claim
    answer: tuple[int, int] | None = None


@dataclass
class World:
    seed: int
    faults: bool
    time: float = 0.0
    ledger: LedgerModel = field(default_factory=LedgerModel)
    on_the_way: list[Message] = field(default_factory=list)
    late: list[Message] = field(default_factory=list)
    """Claims that their senders have given up, and that may arrive all the same."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.limit = self.rng.choice((1, 2, 3, 5, 10))
        self.count = itertools.count()
        self.gateways = [self.gateway() for _ in range(self.rng.choice((1, 2, 3, 5)))]

    def gateway(self) -> Gateway:
        return Gateway(
            f"g{next(self.count)}",
            Share(self.limit, itertools.count(1)),
            self.rng.uniform(-1e6, 1e6),
            self.rng.uniform(0.8, 1.2),
        )

    def run(self) -> None:
        choices = [self.call, self.call, self.send, self.send, self.arrive, self.arrive, self.answer]
        choices += [self.answer, self.end, self.tick]
        if self.faults:
            choices += [self.lose, self.cut, self.crash, self.sleep, self.arrive_late]
        for _ in range(STEPS):
            self.rng.choice(choices)()
            self.check()
        self.settle()

    # What may happen.

    def call(self) -> None:
        gateway = self.rng.choice(self.gateways)
        share, now = gateway.share, gateway.now(self.time)
        if share.take_spare(now):
            return
        if gateway.cut:
            self.alone(gateway)
        elif now >= share.full_until:
            share.waiting += 1

    def send(self) -> None:
        gateway = self.rng.choice(self.gateways)
        claim = gateway.share.claim(gateway.now(self.time))
        if claim is not None:
            self.on_the_way.append(Message(gateway, claim))

    def arrive(self) -> None:
        waiting = [each for each in self.on_the_way if each.answer is None and not each.sender.cut]
        if waiting:
            message = self.rng.choice(waiting)
            self.forgotten()
            message.answer = self.ledger.claim(message.sender.owner, message.claim)

    def answer(self) -> None:
        waiting = [each for each in self.on_the_way if each.answer is not None and not each.sender.cut]
        if waiting:
            message = self.rng.choice(waiting)
            self.on_the_way.remove(message)
            assert message.answer is not None
            message.sender.share.answered(*message.answer, message.sender.now(self.time))

    def end(self) -> None:
        busy = [each for each in self.gateways if each.share.held]
        if busy:
            self.rng.choice(busy).share.give_back()

    def tick(self) -> None:
        """A while goes by, in which what is on the way arrives, and the background says what is due."""
        while any(not each.sender.cut for each in self.on_the_way):
            self.arrive()
            self.answer()
        passed = self.rng.uniform(0, RENEWAL / 2)
        self.time += passed
        self.ledger.now += passed
        self.forgotten()
        for gateway in self.gateways:  # as the background does
            gateway.share.look()
            if gateway.share.under_way is None and not gateway.cut:
                claim = gateway.share.claim(gateway.now(self.time))
                if claim is not None:
                    granted = self.ledger.claim(gateway.owner, claim)
                    gateway.share.answered(*granted, gateway.now(self.time))

    # Faults.

    def lose(self) -> None:
        if self.on_the_way:
            message = self.rng.choice(self.on_the_way)
            self.give_up(message)

    def give_up(self, message: Message) -> None:
        """Nobody knows whether it arrived, or will."""
        self.on_the_way.remove(message)
        self.late.append(message)
        share = message.sender.share
        share.unanswered()
        waiting, share.waiting = share.waiting, 0
        for _ in range(waiting):
            self.alone(message.sender)

    def arrive_late(self) -> None:
        if self.late:
            message = self.late.pop(self.rng.randrange(len(self.late)))
            self.forgotten()
            self.ledger.claim(message.sender.owner, message.claim)

    def cut(self) -> None:
        gateway = self.rng.choice(self.gateways)
        gateway.cut = not gateway.cut
        if gateway.cut:
            for message in [each for each in self.on_the_way if each.sender is gateway]:
                self.give_up(message)

    def crash(self) -> None:
        index = self.rng.randrange(len(self.gateways))
        dead = self.gateways[index]
        for message in [each for each in self.on_the_way if each.sender is dead]:
            self.on_the_way.remove(message)
            self.late.append(message)
        self.gateways[index] = self.gateway()

    def sleep(self) -> None:
        """Everybody stands still, or Redis's clock jumps ahead."""
        self.ledger.now += self.rng.uniform(0, 2 * LIFETIME)
        if self.rng.random() < 0.5:
            self.time += self.rng.uniform(0, 2 * LIFETIME)
        self.forgotten()

    # What is checked.

    def alone(self, gateway: Gateway) -> None:
        share, now = gateway.share, gateway.now(self.time)
        before = share.held
        gateways = len(self.gateways)
        if share.take_alone(gateways, now):
            part = -(-self.limit // gateways)
            trusted = share.granted if now < share.trusted_until else 0
            assert before < max(part, trusted), "more than our part"
            gateway.adrift = max(gateway.adrift, share.held)

    def forgotten(self) -> None:
        """Whoever lives and has places that the ledger does not count any more is adrift."""
        self.ledger.expire()
        for gateway in self.gateways:
            if gateway.owner not in self.ledger.owners:
                gateway.adrift = max(gateway.adrift, gateway.share.held, gateway.share.granted)

    def check(self) -> None:
        held = sum(each.share.held for each in self.gateways)
        assert all(each.share.held >= 0 and each.share.waiting >= 0 for each in self.gateways)
        bound = self.limit + sum(each.adrift for each in self.gateways)
        assert held <= bound, f"seed {self.seed}: {held} of {self.limit}, bound {bound}"
        if not self.faults:
            assert self.ledger.total <= self.limit

    def settle(self) -> None:
        """All calls end, the network heals: nothing is left anywhere."""
        for gateway in self.gateways:
            gateway.cut = False
            for message in [each for each in self.on_the_way if each.sender is gateway]:
                self.give_up(message)
            gateway.share.waiting = 0
            while gateway.share.held:
                gateway.share.give_back()
        self.late.clear()
        self.tick()
        self.tick()
        if not self.faults:
            assert self.ledger.total == 0, "at once, where nothing was lost or late"
        self.ledger.now += LIFETIME
        self.ledger.expire()
        assert self.ledger.total == 0
        for gateway in self.gateways:
            assert gateway.share.idle
            assert (gateway.share.held, gateway.share.granted) == (0, 0)


def test_without_faults_a_limit_is_a_limit() -> None:
    for seed in range(SCHEDULES // 3):
        World(seed, faults=False).run()


def test_whatever_fails_the_bound_holds_and_everything_comes_back() -> None:
    for seed in range(SCHEDULES):
        World(seed, faults=True).run()


@pytest.mark.parametrize(("limit", "gateways"), [(1, 3), (10, 3), (9, 3), (100, 7), (5, 1)])
def test_with_redis_away_everybody_has_an_equal_part(limit: int, gateways: int) -> None:
    shares = [Share(limit, itertools.count(1)) for _ in range(gateways)]
    taken = sum(share.take_alone(gateways, 0.0) for share in shares for _ in range(limit + 1))
    assert limit <= taken < limit + gateways, "all places are used, and one more each at most"


def test_a_place_is_asked_for_and_the_next_call_shares_the_next_question() -> None:
    share = Share(3, itertools.count(1))
    share.waiting = 2
    claim = share.claim(0.0)
    assert claim == Claim(1, 0, 2, 3, 0.0)
    share.waiting += 2
    assert share.claim(0.1) is None, "one claim at a time"
    assert share.answered(2, 2, 0.2) == (2, 0)
    claim = share.claim(0.2)
    assert claim is not None
    assert (claim.held, claim.wanted) == (2, 4)
    assert share.answered(3, 3, 0.3) == (1, 1)
    assert share.full_until == pytest.approx(0.3 + FULL_SECONDS)
    share.give_back()
    claim = share.claim(0.4)
    assert claim is not None
    assert (claim.held, claim.wanted) == (2, 2), "what is over is given back"


def test_a_spare_place_is_taken_without_asking_while_it_is_surely_ours() -> None:
    share = Share(2, itertools.count(1))
    share.waiting = 1
    share.claim(10.0)
    share.answered(1, 1, 10.1)
    share.give_back()
    assert share.take_spare(10.0 + TRUSTED - 0.01)
    share.give_back()
    assert not share.take_spare(10.0 + TRUSTED)


def test_what_was_in_use_lately_is_kept_unless_others_may_want_it() -> None:
    share = Share(10, itertools.count(1))
    share.waiting = 2
    share.claim(0.0)
    share.answered(2, 2, 0.0)
    assert not share.give_back()
    assert not share.give_back()
    share.look()
    assert share.claim(0.5) is None, "kept: two were in use since the last look"
    assert share.take_spare(0.6)
    share.look()
    claim = share.claim(1.0)
    assert claim is not None
    assert (claim.held, claim.wanted) == (1, 1), "one was, since then"
    share.answered(1, 9, 1.0)
    assert share.give_back(), "nine of ten are in use: at once"


def test_what_is_held_is_renewed_and_a_lost_answer_is_mended() -> None:
    share = Share(2, itertools.count(1))
    share.waiting = 1
    share.claim(0.0)
    share.answered(1, 1, 0.0)
    assert share.claim(RENEWAL - 0.1) is None
    assert share.claim(RENEWAL) is not None
    share.unanswered()
    assert share.granted == 1
    share.give_back()
    share.look()
    share.look()
    assert share.claim(RENEWAL + 0.1) is not None
    share.unanswered()
    assert share.granted == 0, "it may have been taken back"
    assert not share.take_spare(RENEWAL + 0.2)


def test_a_call_that_was_taken_over_counts_whatever_the_limit() -> None:
    share = Share(1, itertools.count(1))
    share.hold()
    share.hold()
    claim = share.claim(0.0)
    assert claim is not None
    assert LedgerModel().claim("one", claim) == (2, 2)
    share.answered(2, 2, 0.0)
    assert not share.take_spare(0.1)
