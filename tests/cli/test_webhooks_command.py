"""`voice-gateway webhooks` and the emails of voicemails as a person types them, on the store itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.cli.shell import ShellWithin, config

EMAIL = """
[email]
host = "127.0.0.1"
port = 9
tls = "none"
sender = "voicemail@example.com"
to = "team@example.com"
"""

BODY = (
    b'{"event": "voicemail.created", "id": "evt_vm_1", "call_id": "1", "created_at": "2026-11-27T12:00:00.000Z",'
    b' "agent_id": null, "to_number": "+14155550100", "from_number": "", "carrier": "twilio",'
    b' "voicemail_id": "vm_1", "recording_key": "a.wav", "duration_seconds": 1.0, "speech_seconds": 1.0,'
    b' "too_short": false}'
)


def given_up(directory: Path, receiver: str, delivery_id: str) -> None:
    """Put a delivery that was given up into the store."""
    row: dict[str, Any] = {
        "id": delivery_id,
        "webhook_id": receiver,
        "event_id": "evt_vm_1",
        "event": "voicemail.created",
        "body": BODY.decode(),
        "status": "failed",
        "attempts": 11,
        "error": "answered 500",
        "created_at": "2026-11-27T12:00:00.000Z",
        "updated_at": "2026-11-27T12:00:00.000Z",
    }
    with sqlite3.connect(directory / "data" / "api.sqlite") as store:
        marks = ", ".join("?" for _ in row)
        store.execute(f"INSERT INTO deliveries ({', '.join(row)}) VALUES ({marks})", [*row.values()])
    store.close()


def test_a_webhook_from_its_making_to_what_did_not_arrive(tmp_path: Path) -> None:
    shell = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(config(tmp_path))})
    address = "https://hooks.example.com/voice"
    assert "name what it hears of" in shell.fails("webhooks", "add", "Call log", address)
    assert "did you mean" in shell.fails("webhooks", "add", "Call log", address, "--event", "call.endet")
    hook = shell.json("webhooks", "add", "Call log", address, "--event", "call.ended")
    assert hook["secret"].startswith("whsec_")
    events = ("--event", "call.ended", "--event", "voicemail.created")
    changed = shell.json("webhooks", "update", hook["id"], *events, "--status", "inactive")
    assert changed["events"] == ["call.ended", "voicemail.created"]
    assert "inactive" in shell.ok("webhooks", "list")
    assert address in shell.ok("webhooks", "get", hook["id"])
    given_up(tmp_path, hook["id"], "dlv_1")
    assert "answered 500" in shell.ok("webhooks", "deliveries", hook["id"], "--status", "failed")
    assert "name deliveries" in shell.fails("webhooks", "redeliver", hook["id"])
    assert shell.ok("webhooks", "redeliver", hook["id"], "--failed").startswith("1 deliveries")
    assert shell.json("webhooks", "deliveries", hook["id"], "--status", "failed") == {"items": []}
    assert shell.ok("webhooks", "redeliver", hook["id"], "dlv_1").startswith("1 deliveries")
    shell.ok("webhooks", "remove", hook["id"])
    assert "no webhook" in shell.fails("webhooks", "get", hook["id"])


def test_an_email_that_was_given_up_goes_out_again(tmp_path: Path) -> None:
    shell = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(config(tmp_path, EMAIL))})
    assert shell.json("voicemails", "emails") == {"items": []}
    given_up(tmp_path, "email", "dlv_1")
    shown = shell.ok("voicemails", "emails", "--status", "failed")
    assert "team@example.com" in shown
    assert "vm_1" in shown
    assert shell.ok("voicemails", "resend", "dlv_1") == "dlv_1 goes to team@example.com.\n"
    assert shell.json("voicemails", "emails", "--status", "failed") == {"items": []}
    assert "no email dlv_2" in shell.fails("voicemails", "resend", "dlv_2")
