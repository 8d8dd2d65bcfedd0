r"""A pipecat agent on pipecat's own Twilio transport, as pipecat's documentation has it for a Twilio number.

It needs no cloud: instead of speech recognition, a model and a voice it has one processor, which says back
what it hears and hangs up when the caller presses `#`. Put your own services in its place.

    python -m venv .venv-pipecat && .venv-pipecat/bin/pip install -r requirements/pipecat.lock
    export TWILIO_AUTH_TOKEN=some-token-of-yours GATEWAY=http://127.0.0.1:8080
    .venv-pipecat/bin/python examples/pipecat_agent.py       # listens on ws://127.0.0.1:8766/ws
    echo $TWILIO_AUTH_TOKEN | voice-gateway agents add Pipecat --id agt_pipecat \
        --endpoint ws://127.0.0.1:8766/ws --auth-token-stdin
    voice-gateway numbers add +14155550151 --provider twilio --routing-agent agt_pipecat
    voice-gateway call sip:+14155550151@127.0.0.1:5060 --play hello.wav --record heard.wav --dtmf "#"

`base_url` is all that differs from a bot behind Twilio: pipecat's automatic hang-up then comes to the
gateway, which ends the call. Numbers and the call's id stand in `call.body`: our `customParameters`.
"""

import os
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import EndTaskFrame, Frame, InputAudioRawFrame, InputDTMFFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport

app = FastAPI()


class Echo(FrameProcessor):
    """Says back what it hears; `#` ends the call."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels))
        elif isinstance(frame, InputDTMFFrame) and frame.button == KeypadEntry.POUND:
            await self.push_frame(EndTaskFrame(), FrameDirection.UPSTREAM)
        else:
            await self.push_frame(frame, direction)


@app.websocket("/ws")
async def answer(websocket: WebSocket) -> None:
    await websocket.accept()
    _, call = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=call["stream_id"],
        call_sid=call["call_id"],
        account_sid=os.environ.get("TWILIO_ACCOUNT_SID", "AC" + "0" * 32),
        auth_token=os.environ["TWILIO_AUTH_TOKEN"],
        base_url=os.environ.get("GATEWAY", "http://127.0.0.1:8080"),
    )
    parameters = FastAPIWebsocketParams(
        audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
    )
    transport = FastAPIWebsocketTransport(websocket=websocket, params=parameters)
    task = PipelineTask(
        Pipeline([transport.input(), Echo(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000),
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: object) -> None:
        await task.cancel()

    await PipelineRunner(handle_sigint=False).run(task)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8766
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
