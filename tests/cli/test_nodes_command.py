"""`voice-gateway nodes`: the gateways as people and programs read them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.cli import nodes
from gateway.cli.api_client import ApiTarget
from routing.nodes import NodeShown

UP = NodeShown(
    name="a:5060",
    state="up",
    last_seen=0.5,
    version="1.0",
    started_at=0.0,
    address="192.0.2.1:5060",
    region="eu-west",
    calls=3,
    revision=7,
    behind=0,
    sync_age=0.2,
    incarnation="a1",
)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the gateway answers with."""
    items: list[Any] = []
    monkeypatch.setattr(nodes, "with_gateway", lambda target, work: {"items": items})
    return items


def shown(**fields: Any) -> Any:
    return msgspec.to_builtins(msgspec.structs.replace(UP, **fields))


def test_a_line_for_each_and_the_gone_are_counted(
    listed: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    listed += [shown(), shown(name="b:5060", state="gone", behind=4, sync_age=30.0, last_seen=61.0)]
    assert nodes.run(ApiTarget(None, None, None), as_json=False) == 1
    told = capsys.readouterr().out
    for text in ("a:5060", "current", "eu-west", "4 changes behind, 30 s old", "61 s ago", "1 gone"):
        assert text in told
    assert nodes.run(ApiTarget(None, None, None), as_json=True) == 1
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["items"]] == ["a:5060", "b:5060"]
    del listed[1]
    assert nodes.run(ApiTarget(None, None, None), as_json=False) == 0
    assert "gone" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "current"),
        ({"sync_age": None}, "none"),
        ({"behind": None}, "of another data set"),
        ({"behind": 2}, "2 changes behind"),
        ({"sync_age": 7.0}, "7 s old"),
    ],
)
def test_how_current_routes_are(fields: dict[str, Any], told: str) -> None:
    assert nodes.routes(shown(**fields)) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "0 min"), (59, "0 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_lengths_of_time(seconds: float, told: str) -> None:
    assert nodes.span(seconds) == told
