"""An agent that says back what it hears: the whole of Twilio Media Streams that an agent needs.

.venv/bin/python examples/echo_agent.py                  # listens on ws://127.0.0.1:8765/ws
voice-gateway agents add Echo --id agt_echo --endpoint ws://127.0.0.1:8765/ws
voice-gateway numbers add +14155550150 --provider twilio --routing-agent agt_echo
voice-gateway call sip:+14155550150@127.0.0.1:5060 --play hello.wav --record heard.wav
"""

import sys

from aiohttp import web


async def answer(request: web.Request) -> web.WebSocketResponse:
    call = web.WebSocketResponse()
    await call.prepare(request)
    async for message in call:
        event = message.json()
        if event["event"] == "media":
            said = {"payload": event["media"]["payload"]}
            await call.send_json({"event": "media", "streamSid": event["streamSid"], "media": said})
    return call


app = web.Application()
app.router.add_get("/ws", answer)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
