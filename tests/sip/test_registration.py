"""Registrations in virtual time: refreshed, refused, moved, taken back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.sip.account import Account
from gateway.sip.digest_client import DigestClient
from gateway.sip.flow import Flow
from gateway.sip.message import Response
from gateway.sip.message_headers import Headers
from gateway.sip.registration import MAX_PAUSE, PATIENCE, Registration
from gateway.sip.resolver import ResolveError
from gateway.sip.user_agent import Sender
from tests.simulation import virtual_time

ACCOUNT = Account("sip:registrar.example.com;transport=tls", "office", "secret")
WAYS = (Flow("tls", "192.0.2.1", 5061, 3, "r"), Flow("tls", "192.0.2.2", 5061, 3, "r"))

Answer = Callable[[Flow], Response | None]


def answer(status: int, **headers: str) -> Answer:
    items = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda flow: Response(status, "Whatever", Headers(items))


def silent(flow: Flow) -> None:
    return None


class Registrar:
    """Answers what it is told to; `asked` is (time, host, expires, Call-ID, CSeq, user)."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str, str | None, str, int, str | None]] = []
        self.ways: tuple[Flow, ...] | OSError = WAYS

    async def carrier_ways(self, uri: str) -> tuple[Flow, ...]:
        assert uri == ACCOUNT.registrar
        if isinstance(self.ways, OSError):
            raise self.ways
        return self.ways

    def account(self, username: str, password: str) -> DigestClient:
        return DigestClient(username, password, str)

    def register(
        self, uri: str, flow: Flow, *, sender: Sender, headers: Any, digest: Any, on_result: Any
    ) -> None:
        now = asyncio.get_running_loop().time()
        expires = dict(headers).get("Expires")
        self.asked.append((now, flow.host, expires, sender.call_id, sender.cseq, sender.user))
        assert sender.address == "<sip:office@registrar.example.com>"
        made = (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(flow)
        if made is not None:
            on_result(made, "response")


def run(registrar: Registrar, seconds: float) -> tuple[Registration, list[tuple[bool, str]]]:
    """Stay registered for so long, then leave."""
    states: list[tuple[bool, str]] = []
    found: list[Registration] = []

    async def scene() -> None:
        registration = Registration(registrar, ACCOUNT, lambda up, why: states.append((up, why)))
        found.append(registration)
        task = asyncio.create_task(registration.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual_time.run(scene())
    return found[0], states


def test_it_registers_refreshes_before_the_end_and_takes_back() -> None:
    registrar = Registrar(answer(200, Contact="<sip:office@198.51.100.1:5061>;expires=100"))
    registration, states = run(registrar, 170)
    times = [round(at) for at, *_ in registrar.asked]
    assert times == [0, 80, 160, 170]
    assert [expires for _, _, expires, *_ in registrar.asked] == ["600", "600", "600", "0"]
    assert len({call_id for _, _, _, call_id, _, _ in registrar.asked}) == 1
    numbers = [cseq for *_, cseq, _ in registrar.asked]
    assert numbers == sorted(set(numbers))
    assert {user for *_, user in registrar.asked} == {"office"}
    assert states == [(True, "")] * 3
    assert registration.hosts == {"192.0.2.1", "192.0.2.2"}
    assert not registration.up


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ({"Expires": "200"}, 200),
        ({}, 600),
        ({"Expires": "1"}, 30),
        ({"Expires": "nonsense"}, 600),
        ({"Contact": "<sip:other@192.0.2.7>;expires=50, <sip:office@198.51.100.1>;expires=90"}, 90),
    ],
)
def test_what_was_granted_is_believed(headers: dict[str, str], granted: int) -> None:
    registrar = Registrar(answer(200, **headers))
    run(registrar, granted * 0.8 + 1)
    assert round(registrar.asked[1][0]) == round(granted * 0.8)


def test_another_address_of_the_registrar_takes_over() -> None:
    def first_is_dead(flow: Flow) -> Response | None:
        return None if flow.host == "192.0.2.1" else answer(200, Expires="100")(flow)

    registrar = Registrar(first_is_dead)
    _, states = run(registrar, PATIENCE + 85)
    assert [host for _, host, *_ in registrar.asked] == ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"]
    assert states == [(True, "")] * 2


def test_failures_are_told_and_tried_again_more_and_more_slowly() -> None:
    registrar = Registrar(answer(503))
    registrar.ways = WAYS[:1]
    _, states = run(registrar, 2000)
    times = [at for at, *_ in registrar.asked]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    for number, pause in enumerate(pauses):
        longest = min(MAX_PAUSE, 2 * 2**number)
        assert longest / 2 <= pause <= longest
    assert set(states) == {(False, "192.0.2.1: 503 Whatever")}


def test_a_wrong_password_is_not_repeated_at_once() -> None:
    registrar = Registrar(answer(401))
    _, states = run(registrar, MAX_PAUSE / 2 - 1)
    assert len(registrar.asked) == len(WAYS)
    assert "username or password is wrong" in states[0][1]


def test_a_registrar_that_wants_longer_gets_it() -> None:
    registrar = Registrar(answer(423, Min_Expires="3600"), answer(200, Expires="3600"))
    run(registrar, 1)
    assert [expires for _, _, expires, *_ in registrar.asked] == ["600", "3600", "0"]


def test_a_name_that_leads_nowhere_is_a_failure_as_any() -> None:
    registrar = Registrar(silent)
    registrar.ways = ResolveError("registrar.example.com: no such name")
    registration, states = run(registrar, 1)
    assert states[0] == (False, "registrar.example.com: no such name")
    assert not registration.hosts


@pytest.mark.parametrize(
    ("status", "why"),
    [(200, None), (403, "403 Whatever"), (401, "401 Whatever: username or password is wrong")],
)
def test_a_question_changes_nothing(status: int, why: str | None) -> None:
    registrar = Registrar(answer(status))

    async def scene() -> str | None:
        return await Registration(registrar, ACCOUNT, lambda up, why: None).query()

    assert virtual_time.run(scene()) == why
    _, _, expires, _, _, user = registrar.asked[0]
    assert (expires, user) == (None, None)


def test_the_password_is_in_no_repr() -> None:
    assert "secret" not in repr(ACCOUNT)
