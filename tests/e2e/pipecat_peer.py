"""Run by pipecat's own Python: an agent made of nothing but pipecat's parser and serializers.

It says back what it hears, in frames of 20 ms; on key 1 it interrupts itself. What it understood is written to
the file named by its second argument when a call is over: what the parser said, the keys, and the audio.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer

app = FastAPI()


def serializer(kind: str, call: Any) -> Any:
    if kind == "twilio":
        params = TwilioFrameSerializer.InputParams(auto_hang_up=False)
        return TwilioFrameSerializer(call["stream_id"], params=params)
    encoding = call.outbound_encoding
    params = TelnyxFrameSerializer.InputParams(
        inbound_encoding=encoding, outbound_encoding=encoding, auto_hang_up=False
    )
    return TelnyxFrameSerializer(call["stream_id"], encoding, encoding, params=params)


@app.websocket("/ws")
async def answer(websocket: WebSocket) -> None:
    await websocket.accept()
    kind, call = await parse_telephony_websocket(websocket)
    ours = serializer(kind, call)
    await ours.setup(StartFrame(audio_in_sample_rate=8000, audio_out_sample_rate=8000))
    heard, keys = b"", ""
    try:
        while True:
            frame = await ours.deserialize(await websocket.receive_text())
            if isinstance(frame, InputAudioRawFrame):
                heard += frame.audio
                said = await ours.serialize(OutputAudioRawFrame(frame.audio, 8000, 1))
                await websocket.send_text(said)
            elif isinstance(frame, InputDTMFFrame):
                keys += frame.button.value
                if keys == "1":
                    await websocket.send_text(await ours.serialize(InterruptionFrame()))
    except (WebSocketDisconnect, RuntimeError):
        pass
    told = {"kind": kind, "call": call.model_dump(mode="json"), "keys": keys}
    write(Path(sys.argv[2]), told | {"audio": base64.b64encode(heard).decode()})


def write(path: Path, told: dict[str, Any]) -> None:
    """All at once."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(told))
    draft.rename(path)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
