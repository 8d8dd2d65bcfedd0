"""`voice-gateway serve`."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from pydantic import SecretStr

from gateway import app
from gateway.cli.first_key import FIRST_KEY
from gateway.config import Settings, shares_ports, take_listen_variables
from gateway.demo.agent import DemoAgent
from gateway.faults import StartError, file_fault
from gateway.passed_sockets import Held, held_sockets
from gateway.sip.addresses import AddressError, parse_address
from gateway.sip.listeners import ListenError
from gateway.speech.errors import SpeechError
from gateway.telemetry import logs

if TYPE_CHECKING:
    from gateway.api_service import ApiService

PROGRAM: Final = "voice-gateway"

DEMO_HINT: Final = """
  voice-gateway is ready.

  Call       sip:+14155550100@{host}:{port}   answered by the demo agent, which greets and echoes you
             sip:+14155550199@{host}:{port}   its agents are down: voicemail answers
  Try it     {command} call sip:+14155550100@{host}:{port} --record heard.wav
  API        http://{web}/docs
  API key    {key}
  Metrics    http://{web}/metrics
  Ready?     http://{web}/readyz

  Ctrl-C stops it.
"""


DEMO_KEY_FILE: Final = "demo-api-key"
"""In the data directory: the demo's key, so that each `make run` can show it."""


def run(settings: Settings, *, demo: bool) -> None:
    """Run until told to stop. Raises StartError."""
    if demo:
        settings = _with_demo_key(settings)
    held = held_sockets(settings, take_listen_variables())
    if shares_ports(settings):
        _run_office(settings, held, demo=demo)
        return
    writer = logs.configure(settings.logs.level, settings.logs.format, mask=settings.logs.mask_personal_data)
    try:
        uvloop.run(_serve_demo(settings, held) if demo else _serve_alone(settings, held))
    finally:
        writer.close()


def _run_office(settings: Settings, held: Held, *, demo: bool) -> None:
    """Run an office with its workers. Raises StartError."""
    from gateway import office
    from gateway.worker import make_work
    from gateway.workers.nursery import Nursery

    claimed = office.claim_slots(settings, held)
    nursery = Nursery(make_work(settings, held))  # before there are threads: the log's writer is one
    writer = logs.configure(settings.logs.level, settings.logs.format, mask=settings.logs.mask_personal_data)

    async def serve() -> None:
        leader = office.Office(settings, claimed, nursery, held)
        if not demo:
            await office.serve(leader, lambda led: _show_first_key(led.api, led.web.address))
            return
        where, key = parse_address(settings.sip.listen[0]), settings.api.bootstrap_key.get_secret_value()
        async with _demo_agent(settings):
            await office.serve(leader, lambda led: _say_what_to_dial(where, led.web.address, key))

    try:
        uvloop.run(serve())
    finally:
        nursery.abandon()
        writer.close()


async def _serve_alone(settings: Settings, held: Held) -> None:
    await app.serve(settings, lambda gateway: _show_first_key(gateway.api, gateway.web.address), held)


async def _serve_demo(settings: Settings, held: Held) -> None:
    key = settings.api.bootstrap_key.get_secret_value()
    async with _demo_agent(settings):
        await app.serve(
            settings,
            lambda gateway: _say_what_to_dial(gateway.sip.carrier_addresses[0], gateway.web.address, key),
            held,
        )


@asynccontextmanager
async def _demo_agent(settings: Settings) -> AsyncIterator[None]:
    """The built-in agent, for as long as the block runs. Raises StartError."""
    try:
        agent = DemoAgent(settings.demo.listen, settings.data.dir / "speech")
        await agent.start()
    except ListenError as error:
        # The endpoint names the key that a gateway has for its address; the agent's is another.
        raise StartError(f"demo.listen: {str(error).partition(': ')[2]}") from error
    except AddressError as error:
        raise StartError(f"demo.listen: {error}") from error
    except SpeechError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(file_fault(error)) from error
    try:
        yield
    finally:
        await agent.stop()


def _with_demo_key(settings: Settings) -> Settings:
    """The same with an API key that stays the same, unless it has one. Raises StartError."""
    if settings.api.bootstrap_key.get_secret_value():
        return settings
    path = settings.data.dir / DEMO_KEY_FILE
    try:
        settings.data.dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(0o600)
            path.write_text(f"oi_sk_{secrets.token_urlsafe(32)}\n")
        key = path.read_text().strip()
    except OSError as error:
        raise StartError(file_fault(error)) from error
    return settings.model_copy(
        update={"api": settings.api.model_copy(update={"bootstrap_key": SecretStr(key)})}
    )


def _show_first_key(api: ApiService | None, web: tuple[str, int]) -> None:
    """Show the key that this start made. Not in the log: logs are kept."""
    if api is not None and api.first_key is not None:
        sys.stderr.write(FIRST_KEY.format(key=api.first_key, web="{}:{}".format(*web)))
        sys.stderr.flush()


def _say_what_to_dial(sip: tuple[str, int], web: tuple[str, int], key: str) -> None:
    (host, port), at = sip, "{}:{}".format(*web)
    sys.stdout.write(DEMO_HINT.format(host=host, port=port, web=at, key=key, command=_command()))
    sys.stdout.flush()


def _command() -> str:
    """How this program was called, for people to call it again: in a fresh clone it is on nobody's path."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM or shutil.which(PROGRAM) == str(called):
        return PROGRAM
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
