r"""A number answered by the OpenAI Realtime API. No code is needed: the gateway speaks its protocol.

    voice-gateway agents add Model --id agt_model --protocol openai-realtime \
        --endpoint "wss://api.openai.com/v1/realtime?model=gpt-realtime" \
        --option voice=marin --option greeting=true \
        --option instructions="You answer the telephone of a bakery."

The key goes into the endpoint's headers, over the API, which keeps it sealed and never returns it:

    curl -X PATCH http://127.0.0.1:8080/v1/agents/agt_model -H "Authorization: Bearer $KEY" \
        -H "Content-Type: application/merge-patch+json" -d '{"endpoints": [{"protocol": "openai-realtime",
        "url": "wss://api.openai.com/v1/realtime?model=gpt-realtime",
        "headers": {"Authorization": "Bearer sk-…"}, "options": {"voice": "marin", "greeting": "true"}}]}'

This file is a stand-in that speaks the same protocol without a model, so that all of it can be tried offline:
it says back each utterance once the caller has fallen silent, and is interrupted like a model. It was written
from the published reference; the real service was not called.

    .venv/bin/python examples/openai_realtime_agent.py       # listens on ws://127.0.0.1:8767/v1/realtime
    voice-gateway agents add Model --id agt_model --protocol openai-realtime \
        --endpoint ws://127.0.0.1:8767/v1/realtime
    voice-gateway numbers add +14155550153 --provider twilio --routing-agent agt_model
    voice-gateway call sip:+14155550153@127.0.0.1:5060 --play hello.wav --record heard.wav
"""

import base64
import itertools
import sys

from aiohttp import web

QUIET_FRAMES = 25
"""Half a second of silence ends an utterance."""

LOUD_CODES = 40
"""Codes of a frame that stand away from silence, in an utterance."""


def loud(frame: bytes) -> bool:
    """Whether 20 ms of µ-law hold speech: codes near 0xFF and 0x7F are near silence."""
    return sum(1 for code in frame if code & 0x7F < 0x70) >= LOUD_CODES


async def answer(request: web.Request) -> web.WebSocketResponse:
    call = web.WebSocketResponse()
    await call.prepare(request)
    await call.send_json({"type": "session.created", "session": {"type": "realtime"}})
    items = itertools.count(1)
    utterance, quiet = b"", 0
    async for message in call:
        event = message.json()
        if event["type"] == "session.update":
            await call.send_json({"type": "session.updated", "session": event["session"]})
        if event["type"] != "input_audio_buffer.append":
            continue
        frame = base64.b64decode(event["audio"])
        if loud(frame):
            if not utterance:
                await call.send_json({"type": "input_audio_buffer.speech_started"})
            utterance, quiet = utterance + frame, 0
        elif utterance:
            utterance, quiet = utterance + frame, quiet + 1
            if quiet == QUIET_FRAMES:
                delta = {"item_id": f"item_{next(items)}", "content_index": 0}
                delta["delta"] = base64.b64encode(utterance).decode()
                await call.send_json({"type": "response.output_audio.delta", **delta})
                utterance = b""
    return call


app = web.Application()
app.router.add_get("/v1/realtime", answer)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8767)
