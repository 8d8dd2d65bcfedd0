"""`voice-gateway voicemails` as a person types it, on the store itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.shell import ShellWithin, config

COLUMNS = {
    "id": "vm_1",
    "number": "+14155550100",
    "caller": "+14155550111",
    "call_id": "1",
    "carrier": "twilio",
    "agent_id": "agt_sales",
    "audio": "2026-11-27/120000-1.wav",
    "duration_seconds": 3.25,
    "too_short": 0,
    "heard": 0,
    "created_at": "2026-11-27T12:00:00.000Z",
    "updated_at": "2026-11-27T12:00:04.000Z",
    "version": 1,
}


def test_a_message_from_the_list_to_its_end(tmp_path: Path) -> None:
    shell = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(config(tmp_path))})
    assert shell.json("voicemails", "list") == {"items": []}
    marks = ", ".join("?" for _ in COLUMNS)
    with sqlite3.connect(tmp_path / "data" / "api.sqlite") as store:
        store.execute(f"INSERT INTO voicemails ({', '.join(COLUMNS)}) VALUES ({marks})", [*COLUMNS.values()])
    store.close()
    recording = tmp_path / "data" / "recordings" / str(COLUMNS["audio"])
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"RIFFvoice")
    assert "+14155550111" in shell.ok("voicemails", "list", "--new")
    assert "missed by" in shell.ok("voicemails", "get", "vm_1")
    assert "9 bytes" in shell.ok("voicemails", "download", "vm_1", "heard.wav")
    assert (tmp_path / "heard.wav").read_bytes() == b"RIFFvoice"
    assert shell.ok("voicemails", "heard", "vm_1") == "vm_1 is heard.\n"
    assert shell.json("voicemails", "list", "--new") == {"items": []}
    assert shell.ok("voicemails", "delete", "vm_1") == "vm_1 is gone.\n"
    assert not recording.exists()
    assert "no voicemail vm_1" in shell.fails("voicemails", "get", "vm_1")
    assert "no voicemail vm_1" in shell.fails("voicemails", "download", "vm_1")
