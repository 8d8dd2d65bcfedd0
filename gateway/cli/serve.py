"""`voice-gateway serve`."""

from __future__ import annotations

import sys

import uvloop

from gateway import app
from gateway.config import Settings
from gateway.demo.agent import DemoAgent
from gateway.telemetry import logs

DEMO_HINT = """
  voice-gateway is ready.

  Call       sip:+14155550100@{host}:{port}   answered by the demo agent, which greets and echoes you
             sip:+14155550199@{host}:{port}   its agents are down: voicemail answers
  Try it     voice-gateway call sip:+14155550100@{host}:{port} --record heard.wav
  Metrics    http://{web}/metrics
  Ready?     http://{web}/readyz

  Ctrl-C stops it.
"""


def run(settings: Settings, *, demo: bool) -> None:
    """Run until told to stop. Raises StartError."""
    logs.configure(settings.logs.level, settings.logs.format, mask=settings.logs.mask_personal_data)
    uvloop.run(_serve_demo(settings) if demo else app.serve(settings))


async def _serve_demo(settings: Settings) -> None:
    agent = DemoAgent(settings.demo.listen, settings.data.dir / "speech")
    await agent.start()
    try:
        await app.serve(settings, _say_what_to_dial)
    finally:
        await agent.stop()


def _say_what_to_dial(gateway: app.Gateway) -> None:
    host, port = gateway.sip.carrier_addresses[0]
    web = "{}:{}".format(*gateway.web.address)
    sys.stdout.write(DEMO_HINT.format(host=host, port=port, web=web))
    sys.stdout.flush()
