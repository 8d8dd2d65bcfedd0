"""`voice-gateway serve`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

import uvloop

from gateway import app
from gateway.config import Settings
from gateway.demo.agent import DemoAgent
from gateway.sip.addresses import AddressError
from gateway.sip.listeners import ListenError
from gateway.speech.errors import SpeechError
from gateway.telemetry import logs

PROGRAM: Final = "voice-gateway"

DEMO_HINT: Final = """
  voice-gateway is ready.

  Call       sip:+14155550100@{host}:{port}   answered by the demo agent, which greets and echoes you
             sip:+14155550199@{host}:{port}   its agents are down: voicemail answers
  Try it     {command} call sip:+14155550100@{host}:{port} --record heard.wav
  Metrics    http://{web}/metrics
  Ready?     http://{web}/readyz

  Ctrl-C stops it.
"""


def run(settings: Settings, *, demo: bool) -> None:
    """Run until told to stop. Raises StartError."""
    writer = logs.configure(settings.logs.level, settings.logs.format, mask=settings.logs.mask_personal_data)
    try:
        uvloop.run(_serve_demo(settings) if demo else app.serve(settings))
    finally:
        writer.close()


async def _serve_demo(settings: Settings) -> None:
    try:
        agent = DemoAgent(settings.demo.listen, settings.data.dir / "speech")
        await agent.start()
    except ListenError as error:
        # The endpoint names the key that a gateway has for its address; the agent's is another.
        raise app.StartError(f"demo.listen: {str(error).partition(': ')[2]}") from error
    except AddressError as error:
        raise app.StartError(f"demo.listen: {error}") from error
    except SpeechError as error:
        raise app.StartError(str(error)) from error
    except OSError as error:
        raise app.StartError(f"{error.filename or 'data.dir'}: {error.strerror or error}") from error
    try:
        await app.serve(settings, _say_what_to_dial)
    finally:
        await agent.stop()


def _say_what_to_dial(gateway: app.Gateway) -> None:
    host, port = gateway.sip.carrier_addresses[0]
    web = "{}:{}".format(*gateway.web.address)
    sys.stdout.write(DEMO_HINT.format(host=host, port=port, web=web, command=_command()))
    sys.stdout.flush()


def _command() -> str:
    """How this program was called, for people to call it again: in a fresh clone it is on nobody's path."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM or shutil.which(PROGRAM) == str(called):
        return PROGRAM
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
