"""`voice-gateway greetings` as a person types it, on the store itself."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

from tests.cli.shell import ShellWithin, config


def test_a_greeting_from_its_file_to_its_end(tmp_path: Path) -> None:
    shell = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(config(tmp_path))})
    with wave.open(str(tmp_path / "Closed on Sundays.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 3))) for n in range(8000)))
    greeting = shell.json("greetings", "upload", "Closed on Sundays.wav")
    assert (greeting["name"], greeting["duration_seconds"]) == ("Closed on Sundays", 1.0)
    assert "Closed on Sundays" in shell.ok("greetings", "list")
    assert greeting["id"] in shell.ok("greetings", "get", greeting["id"])
    assert "16044 bytes" in shell.ok("greetings", "download", greeting["id"], "heard.wav")
    shell.ok("agents", "add", "Sales", "--id", "agt_sales", "--voicemail-greeting", greeting["id"])
    shown = shell.json("agents", "update", "agt_sales", "--recording", "all")
    assert (shown["recording"], shown["voicemail_greeting"]) == ("all", greeting["id"])
    assert "agt_sales" in shell.fails("greetings", "delete", greeting["id"])
    shell.ok("agents", "update", "agt_sales", "--no-greeting", "--default-recording")
    assert shell.ok("greetings", "delete", greeting["id"]) == f"{greeting['id']} is gone.\n"
    (tmp_path / "notes.wav").write_text("no audio")
    assert "send a WAV, Ogg" in shell.fails("greetings", "upload", "notes.wav")
    assert "No such file" in shell.fails("greetings", "upload", "nowhere.wav")
