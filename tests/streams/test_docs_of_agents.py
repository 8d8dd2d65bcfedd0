"""docs/agents.md shows what is really sent: each JSON of it has the shape of the protocol's own message."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.streams.protocol import StreamedCall
from gateway.streams.protocols import PROTOCOLS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "agents.md").read_text()
BLOCKS = re.findall(r"```json (twilio|telnyx|openai-realtime)-([\w.]+)\n(.*?)```", PAGE, re.DOTALL)
SIDS = [("X-Twilio-CallSid", "CA" + "0" * 32), ("X-Twilio-AccountSid", "AC" + "0" * 32)]
CALL = StreamedCall("7342eac70b5d605f", "+14155550142", "+14155550100", "agt_sales", "twilio", SIDS)
MADE = {
    "streamSid",
    "stream_id",
    "user_id",
    "call_control_id",
    "call_session_id",
    "occurred_at",
    "payload",
    "audio",
}
"""Fields whose values are made up by the page."""


def spoken(protocol: str) -> dict[str, Any]:
    """One message of each kind that the gateway sends."""
    stream = PROTOCOLS[protocol](CALL, {})
    texts = [*stream.opening(), stream.audio(b"\xff" * 8), *stream.key("5"), *stream.closing()]
    stream.receive(
        json.dumps({"type": "response.output_audio.delta", "item_id": "item_1", "delta": "//////8="})
    )
    stream.receive(
        json.dumps({"type": "response.output_audio.delta", "item_id": "item_1", "delta": "A" * 8000})
    )
    texts += stream.cleared([], 2400)
    messages = [json.loads(text) for text in texts]
    return {message.get("event", message.get("type")): message for message in messages}


def shape(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: shape(inner, name) for name, inner in value.items()}
    return type(value).__name__ if key in MADE else value


def test_every_protocol_is_shown():
    assert {protocol for protocol, _, _ in BLOCKS} == set(PROTOCOLS)
    for protocol in PROTOCOLS:
        shown = {kind for name, kind, _ in BLOCKS if name == protocol}
        sent = set(spoken(protocol)) - {"conversation.item.create", "response.create"}
        assert shown == sent


@pytest.mark.parametrize(("protocol", "kind", "text"), BLOCKS)
def test_what_is_shown_is_what_is_sent(protocol: str, kind: str, text: str):
    assert shape(json.loads(text)) == shape(spoken(protocol)[kind])
