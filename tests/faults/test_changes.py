"""Changes under faults: asked for until they are taken; what was lost is told, by the API's words and by calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from loadtests.faults import changes as module
from loadtests.faults.calls import Recorded
from loadtests.faults.changes import Changes, Routed, Routes, lost, served_otherwise

PAIRS = [Routed("agt_a", "agt_b"), Routed("agt_b", "agt_a")]


def routes() -> Routes:
    return Routes({"phn_1": PAIRS[0], "phn_2": PAIRS[1]}, {"agt_a": "sip:a-0@h", "agt_b": "sip:b-0@h"})


class Api:
    """Answers as it is told, and takes what it answers with 200."""

    def __init__(self, answers: Iterator[int | None]) -> None:
        self.answers = answers
        self.shown = routes()

    def patch(self, path: str, body: Mapping[str, Any]) -> int | None:
        status = next(self.answers)
        key = path.rpartition("/")[2]
        if status == 200 and "endpoints" in body:
            self.shown.endpoints[key] = body["endpoints"][0]["url"]
        elif status == 200:
            routing = body["inbound_routing"]
            self.shown.numbers[key] = Routed(routing["agent_id"], routing["fallback"]["agent_id"])
        return status


def changes(api: Api, seed: int = 1) -> Changes:
    return Changes(
        seed,
        api.patch,
        routes(),
        pairs=PAIRS,
        movable=["agt_a"],
        endpoint=lambda agent, version: f"sip:{agent}-{version}@h",
        places=7,
    )


def test_a_change_is_asked_for_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.0)
    api = Api(iter([None, 503, 429, 200] * 20))
    made = changes(api)
    for _ in range(20):
        made.make()
    assert (made.taken, made.repeated, made.refused) == (20, 60, [])
    assert not lost(made.routes, api.shown)
    assert made.routes.endpoints["agt_a"] != "sip:a-0@h"
    assert made.routes.endpoints["agt_b"] == "sip:b-0@h"  # it cannot be moved


def test_what_is_refused_was_not_taken() -> None:
    made = changes(Api(iter([422])))
    made.make()
    assert (made.taken, len(made.refused), made.routes) == (0, 1, routes())


def test_a_seed_is_a_row_of_changes() -> None:
    first, second = Api(iter([200] * 9)), Api(iter([200] * 9))
    for made in (changes(first, 5), changes(second, 5)):
        for _ in range(9):
            made.make()
    assert first.shown == second.shown != routes()


def test_what_the_api_does_not_say_is_lost() -> None:
    shown = routes()
    assert not lost(routes(), shown)
    shown.numbers["phn_1"] = PAIRS[1]
    del shown.endpoints["agt_b"]
    assert len(lost(routes(), shown)) == 2


def test_a_gateway_must_call_whom_the_routes_name_first() -> None:
    numbers = {"+1": "phn_1", "+2": "phn_2"}

    def called(number: str, *tried: str) -> Recorded:
        return Recorded("x", "y", "n1", "agent", tried, number)

    right = [called("+1", "sip:a-0@h", "sip:b-0@h"), called("+2", "sip:b-0@h")]
    assert not served_otherwise("n1", right, numbers, routes())
    assert len(served_otherwise("n1", right[:1], numbers, routes())) == 1
    old = [right[0], called("+2", "sip:b-old@h", "sip:b-0@h")]
    assert len(served_otherwise("n1", old, numbers, routes())) == 1
