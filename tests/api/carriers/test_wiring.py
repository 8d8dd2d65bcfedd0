"""Nodes as they are written, and steps that build on each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.carriers.base import CarrierError
from api.carriers.wiring import Change, Node, carry_out


@pytest.mark.parametrize(
    ("text", "node", "uri"),
    [
        ("voice.example.com", Node("voice.example.com", 5060), "sip:voice.example.com:5060"),
        ("voice.example.com:5080", Node("voice.example.com", 5080), "sip:voice.example.com:5080"),
        ("a.example;transport=tls", Node("a.example", 5061, "tls"), "sip:a.example:5061;transport=tls"),
        ("a.example:5060;transport=tcp;priority=20;weight=5", Node("a.example", 5060, "tcp", 20, 5), None),
        ("[2001:db8::1]:5060", Node("[2001:db8::1]", 5060), "sip:[2001:db8::1]:5060"),
    ],
)
def test_a_node(text: str, node: Node, uri: str | None):
    assert Node.parse(text) == node
    assert uri is None or node.uri == uri


@pytest.mark.parametrize(
    "text",
    ["", "sip:a.example", "a.example:0", "a.example:99999", "a;transport=ws", "a;weight=0", "a;x=1", "a b"],
)
def test_what_is_no_node(text: str):
    with pytest.raises(ValueError, match=r"node|port|transport|priority|host"):
        Node.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_node_or_a_fault(text: str):
    try:
        node = Node.parse(text)
    except ValueError:
        return
    assert Node.parse(node.uri.removeprefix("sip:")).uri == node.uri


async def test_after_a_step_that_fails_the_others_are_not_tried():
    tried = []

    async def work(change: Change) -> None:
        tried.append(change.kind)
        if change.kind == "b":
            raise CarrierError("the carrier's words")

    plan = [Change(kind, "") for kind in "abc"]
    steps = await carry_out(plan, work, dry_run=False)
    assert [(step.status, step.error) for step in steps] == [
        ("done", None),
        ("failed", "the carrier's words"),
        ("not tried", None),
    ]
    assert tried == ["a", "b"]
    assert {step.status for step in await carry_out(plan, work, dry_run=True)} == {"planned"}
    assert tried == ["a", "b"]
