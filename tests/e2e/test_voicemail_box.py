"""A caller whose agent is down leaves a message: in the box, fetched in parts, told by webhook."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e import audio, carriers
from tests.e2e.api_client import KEY, ApiClient
from tests.e2e.carriers import Call, audio_offer
from tests.e2e.exchange import CARRIERS, HOST, settings
from tests.e2e.gateway_process import GatewayProcess, wait_until
from tests.e2e.rtp import RtpPeer
from tests.e2e.sipp import free_port
from tests.e2e.wire import Dialog, Peer

pytestmark = pytest.mark.e2e

NUMBER = "+14155550177"
VOICE, GREETING = 700, 520


class Receiver(ThreadingHTTPServer):
    """Somebody's server for webhooks."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append((dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        super().__init__((HOST, 0), Handler)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def gateway_in(directory: Path) -> tuple[GatewayProcess, ApiClient]:
    """A gateway with the API, on the data that is there."""
    sip, http = (HOST, free_port(HOST)), (HOST, free_port(HOST))
    whole = settings(directory, sip, http)
    del whole["routing"]
    whole["api"] = {"bootstrap_key": KEY}
    whole["webhooks"] = {"allow_private": True}
    (directory / "carriers.toml").write_text(CARRIERS)
    return GatewayProcess(directory, whole, sip=sip, http=http), ApiClient(http)


def reach_voicemail(gateway: GatewayProcess, peer: Peer, sound: RtpPeer) -> Dialog:
    """Call until the recording runs and something was said."""
    call = Call(peer, gateway.sip, NUMBER, audio_offer(*sound.address, formats="0 101"))
    call.send()
    ok, dialog = call.answered(10)
    sound.connect(ok.rtp_address)
    recordings = gateway.data / "recordings"
    wait_until(lambda: any(recordings.rglob("*.wav")), "the recording has begun")
    sound.say(audio.tone(VOICE, 1.5))
    time.sleep(1.6)
    return dialog


def route(api: ApiClient) -> None:
    api.agent("agt_down", f"sip:agent@{HOST}:{free_port(HOST)}")
    body = {"agent_id": "agt_down", "voicemail_message": "Speak."}
    api.ask("POST", "/phone-numbers", {"phone_number": NUMBER, "provider": "twilio", "inbound_routing": body})


def the_message(api: ApiClient) -> dict[str, Any]:
    wait_until(lambda: api.ask("GET", "/voicemails")["total"] == 1, "the message is in the box")
    return dict(api.ask("GET", "/voicemails")["items"][0])


def fetch(api: ApiClient, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        api._root.removesuffix("/v1") + path, headers={"Authorization": f"Bearer {KEY}", **headers}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read()


def test_a_message_is_listed_fetched_in_parts_and_told_by_webhook(tmp_path: Path, receiver: Receiver):
    gateway, api = gateway_in(tmp_path)
    with gateway, Peer(carriers.TWILIO_HOST) as peer, RtpPeer() as sound:
        route(api)
        url = f"http://{HOST}:{receiver.server_address[1]}/hook"
        events = ["call.started", "call.ended", "voicemail.created"]
        hook = api.ask("POST", "/webhooks", {"name": "witness", "url": url, "events": events})
        reach_voicemail(gateway, peer, sound).hang_up()
        message = the_message(api)
        assert (message["phone_number"], message["agent_id"]) == (NUMBER, "agt_down")
        assert (message["too_short"], message["heard"]) == (False, False)
        assert message["from_number"] == carriers.CALLER
        status, whole = fetch(api, message["audio_url"])
        assert status == 200
        status, part = fetch(api, message["audio_url"], Range="bytes=44-1043")
        assert (status, part) == (206, whole[44:1044])
        samples, rate = soundfile.read(io.BytesIO(whole), dtype="int16")
        assert rate == audio.RATE
        assert audio.heard(np.asarray(samples), audio.tone(VOICE, 1.0))[0] > 0.95
        wait_until(lambda: len(receiver.heard) == 3, "the webhooks are there")
        told = {}
        for headers, body in receiver.heard:
            parts = dict(each.split("=", 1) for each in headers["Voice-Gateway-Signature"].split(","))
            signed = parts["t"].encode() + b"." + body
            assert hmac.new(hook["secret"].encode(), signed, hashlib.sha256).hexdigest() == parts["v1"]
            told[json.loads(body)["event"]] = json.loads(body)
        assert set(told) == set(events)
        assert told["voicemail.created"]["voicemail_id"] == message["id"]
        assert told["call.ended"]["outcome"] == "voicemail"
        assert api.ask("PATCH", f"/voicemails/{message['id']}", {"heard": True})["heard"] is True
        api.ask("DELETE", f"/voicemails/{message['id']}")
        assert not list((gateway.data / "recordings").rglob("*.wav"))


def test_a_message_survives_a_gateway_that_is_killed_while_it_records(tmp_path: Path):
    gateway, api = gateway_in(tmp_path)
    with Peer(carriers.TWILIO_HOST) as peer, RtpPeer() as sound:
        route(api)
        reach_voicemail(gateway, peer, sound)
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.exit_code()
    again, api = gateway_in(tmp_path)
    with again:
        message = the_message(api)
        assert message["phone_number"] == NUMBER
        assert message["duration_seconds"] > 0.5
        assert fetch(api, message["audio_url"])[0] == 200


def test_an_uploaded_greeting_is_what_callers_hear(tmp_path: Path):
    gateway, api = gateway_in(tmp_path)
    with gateway, Peer(carriers.TWILIO_HOST) as peer, RtpPeer() as sound:
        route(api)
        file = io.BytesIO()
        soundfile.write(file, audio.tone(GREETING, 1.0), audio.RATE, format="WAV")
        greeting = upload(api, file.getvalue())
        number = api.ask("GET", "/phone-numbers")["items"][0]["id"]
        patch = {"inbound_routing": {"voicemail_greeting": greeting}}
        api.ask("PATCH", f"/phone-numbers/{number}", patch)
        kept = gateway.data / "greetings"
        wait_until(lambda: any(kept.glob("*.wav")), "the gateway has fetched the greeting")
        reach_voicemail(gateway, peer, sound).hang_up()
        assert audio.heard(sound.heard(), audio.tone(GREETING, 0.9))[0] > 0.95
        wait_until(
            lambda: gateway.metric("gateway_voicemail_greetings_total", result="played") == 1, "counted"
        )


def upload(api: ApiClient, data: bytes) -> str:
    request = urllib.request.Request(
        f"{api._root}/greetings",
        method="POST",
        data=data,
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "audio/wav"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["id"])
