"""`voice-gateway numbers|agents|keys` as a person types them, against the store and against an API that runs."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import (
    COMMAND,
    PATIENCE,
    Shell,
    ShellWithin,
    config,
    running_api,
)
from tests.e2e.gateway_process import wait_until


@pytest.fixture
def store(tmp_path: Path) -> Shell:
    """Commands on the store itself; nothing runs."""
    return ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(config(tmp_path))})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Shell]:
    """Commands to an API that runs."""
    with running_api(tmp_path) as shell:
        yield shell


@pytest.fixture(params=["store", "running"])
def shell(request: pytest.FixtureRequest) -> Shell:
    """Both ways."""
    made: Shell = request.getfixturevalue(request.param)
    return made


def test_a_number_from_the_cradle_to_the_grave(shell: Shell) -> None:
    shell.ok(
        "agents",
        "add",
        "Sales",
        "--id",
        "agt_sales",
        "--endpoint",
        "sip:a@127.0.0.1",
        "--endpoint",
        "sip:b@127.0.0.1",
    )
    shell.ok("agents", "add", "Overflow", "--id", "agt_overflow")
    added = shell.json(
        "numbers", "add", "+14155550100", "--provider", "twilio", "--routing-agent", "agt_sales"
    )
    assert added["inbound_routing"] == {"agent_id": "agt_sales"}
    routed = shell.json(
        "numbers", "route", "14155550100", "--fallback", "agt_overflow", "--voicemail-message", "Hello."
    )
    assert routed["inbound_routing"] == {
        "agent_id": "agt_sales",
        "fallback": {"agent_id": "agt_overflow"},
        "voicemail_message": "Hello.",
    }
    shown = shell.ok("numbers", "get", "+14155550100")
    assert "agt_sales → agt_overflow → voicemail" in shown
    listed = shell.ok("numbers", "list", "--agent", "agt_overflow")
    assert "+14155550100" in listed and "1 numbers" in listed
    cleared = shell.json(
        "numbers", "route", added["id"], "--no-fallback", "--default-voicemail", "--no-voicemail"
    )
    assert cleared["inbound_routing"] == {"agent_id": "agt_sales", "voicemail": False}
    assert shell.json("numbers", "route", added["id"], "--off")["inbound_routing"] is None
    assert "gone" in shell.ok("numbers", "remove", "--yes", "+14155550100")
    assert shell.json("numbers", "list")["total"] == 0


def test_a_number_that_was_bought_shows_what_was_done_at_its_carrier(running: Shell) -> None:
    bought = running.post("/v1/phone-numbers/purchase", {"country": "US", "area_code": "212"})
    shown = running.ok("numbers", "get", bought["phone_number"])
    assert "bought here" in shown and "✓ purchase" in shown and "done" in shown
    assert running.json("numbers", "list", "--status", "pending")["total"] == 0
    assert running.ok("numbers", "remove", bought["id"], "--yes") == f"{bought['id']} is gone.\n"


def test_agents(shell: Shell) -> None:
    added = shell.json(
        "agents", "add", "Sales", "--endpoint", "sip:a@127.0.0.1", "--endpoint", "sip:b@127.0.0.1"
    )
    assert [each["priority"] for each in added["endpoints"]] == [10, 20]
    changed = shell.json("agents", "update", added["id"], "--voicemail-message", "Hello.")
    assert (changed["voicemail_message"], len(changed["endpoints"])) == ("Hello.", 2)
    assert "sip:a@127.0.0.1, sip:b@127.0.0.1" in shell.ok("agents", "list")
    shell.ok("numbers", "add", "+14155550100", "--provider", "other", "--agent", added["id"])
    refused = shell.fails("agents", "remove", added["id"])
    assert "+14155550100" in refused and "force" in refused
    shell.ok("agents", "remove", added["id"], "--force")
    assert "no agent" in shell.fails("agents", "get", added["id"])


def test_keys(running: Shell) -> None:
    key = running.ok("keys", "create", "Dashboard", "--scope", "read", "--quiet").strip()
    assert key.startswith("oi_sk_")
    listed = running.ok("keys", "list")
    assert "Dashboard" in listed and key not in listed
    assert "scope write" in running.fails("agents", "add", "x", VOICE_GATEWAY_API_KEY=key)
    [made] = [each for each in running.json("keys", "list")["items"] if each["name"] == "Dashboard"]
    running.ok("keys", "revoke", made["id"])
    assert "VOICE_GATEWAY_API_KEY" in running.fails("agents", "list", VOICE_GATEWAY_API_KEY=key)


CSV = """\
phone_number,provider,friendly_name,routing_agent_id,fallback_agent_id,voicemail_message,voicemail
+14155550100,twilio,Sales,agt_a,,,
+14155550101,telnyx,"Two, lines",agt_a,agt_b,"Hello
again",false
+14155550102,twilio,,,,,

"""


@pytest.fixture
def agents(store: Shell) -> Shell:
    for agent_id in ("agt_a", "agt_b"):
        store.ok("agents", "add", agent_id, "--id", agent_id)
    return store


def test_import_csv(agents: Shell) -> None:
    (agents.directory / "numbers.csv").write_text(CSV)
    would = agents.ok("numbers", "import", "numbers.csv", "--dry-run")
    assert "would be: 3 created" in would
    assert agents.json("numbers", "list")["total"] == 0
    assert "3 created" in agents.ok("numbers", "import", "numbers.csv")
    items = agents.json("numbers", "list")["items"]
    assert items[1]["friendly_name"] == "Two, lines"
    assert items[1]["inbound_routing"] == {
        "agent_id": "agt_a",
        "fallback": {"agent_id": "agt_b"},
        "voicemail_message": "Hello\nagain",
        "voicemail": False,
    }
    assert items[2]["inbound_routing"] is None
    assert "3 unchanged" in agents.ok("numbers", "import", "-", stdin=CSV)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_import_csv_as_spreadsheets_write_it(agents: Shell, delimiter: str) -> None:
    text = CSV.replace(",", delimiter).replace("Two;", "Two").replace("Two\t", "Two").replace("\n", "\r\n")
    (agents.directory / "numbers.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "3 created" in agents.ok("numbers", "import", "numbers.csv")


def test_import_tells_each_fault_by_its_line_and_takes_the_rest(agents: Shell) -> None:
    text = (
        CSV.rstrip("\n")
        + "\n0815,twilio,,,,,\n+14155550103,twilio,,agt_x,,,\n+14155550104,twilio,,,,,maybe\n"
    )
    text += "+14155550105,twilio,a,b,c,d,e,f\n+14155550106,twilio,,,,,\n"
    (agents.directory / "numbers.csv").write_text(text)
    result = agents.run("numbers", "import", "numbers.csv")
    assert result.returncode == 1
    assert "4 created, 4 failed" in result.stdout
    told = {
        line.split(":")[1]: line for line in result.stderr.splitlines() if line.startswith("numbers.csv:")
    }
    assert told.keys() == {"6", "7", "8", "9"}
    assert "phone_number" in told["6"] and "+14155550100" in told["6"]
    assert "inbound_routing.agent_id" in told["7"] and "agt_x" in told["7"]
    assert "voicemail" in told["8"]
    assert "8 cells" in told["9"]
    again = agents.run("numbers", "import", "numbers.csv", "--json")
    assert [error["line"] for error in json.loads(again.stdout)["errors"]] == [8, 9, 6, 7]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("phone_number,providr", "did you mean provider?"),
        ("phone_number", "no column provider"),
        ("provider,phone_number,provider", "stands twice"),
    ],
)
def test_a_header_that_is_wrong(store: Shell, header: str, told: str) -> None:
    (store.directory / "numbers.csv").write_text(header + "\n")
    assert told in store.fails("numbers", "import", "numbers.csv")


def test_import_conflicts(agents: Shell) -> None:
    agents.ok("numbers", "import", "-", stdin=CSV)
    changed = CSV.replace("Sales", "Renamed")
    assert "1 failed" in agents.run("numbers", "import", "-", stdin=changed).stdout
    assert "1 skipped" in agents.ok("numbers", "import", "-", "--on-conflict", "skip", stdin=changed)
    assert "1 updated" in agents.ok("numbers", "import", "-", "--on-conflict", "update", stdin=changed)
    assert agents.json("numbers", "get", "+14155550100")["friendly_name"] == "Renamed"


@pytest.mark.parametrize("suffix", ["csv", "toml"])
def test_what_was_exported_is_imported_again(agents: Shell, tmp_path: Path, suffix: str) -> None:
    agents.ok("numbers", "import", "-", stdin=CSV)
    agents.ok("agents", "update", "agt_a", "--endpoint", "sip:a@127.0.0.1", "--voicemail-message", 'Say "hi"')
    before = agents.json("numbers", "list")["items"]
    told = agents.ok("numbers", "export", f"out.{suffix}")
    assert "3 numbers" in told
    other = tmp_path / "other"
    other.mkdir()
    empty = ShellWithin(other, {"VOICE_GATEWAY_CONFIG": str(config(other))})
    if suffix == "csv":
        for agent_id in ("agt_a", "agt_b"):
            empty.ok("agents", "add", agent_id, "--id", agent_id)
    assert "3 created" in empty.ok("numbers", "import", str(tmp_path / f"out.{suffix}"))
    ignored = {"created_at", "updated_at"}
    assert [
        {name: value for name, value in each.items() if name not in ignored}
        for each in empty.json("numbers", "list")["items"]
    ] == [{name: value for name, value in each.items() if name not in ignored} for each in before]
    if suffix == "toml":
        assert empty.json("agents", "get", "agt_a")["voicemail_message"] == 'Say "hi"'
        assert tomllib.loads((tmp_path / "out.toml").read_text())["numbers"][0]["id"] == before[0]["id"]


def test_export_to_a_pipe_that_closes(agents: Shell) -> None:
    rows = "".join(f"+1415555{index:04},twilio\n" for index in range(3000))
    agents.ok("numbers", "import", "-", stdin="phone_number,provider\n" + rows)
    assert json.loads(agents.ok("numbers", "export", "--format", "json"))[0]["phone_number"] == "+14155550000"
    exported = agents.ok("numbers", "export")
    assert len(list(csv.DictReader(exported.splitlines()))) == 3000
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {COMMAND} numbers export | head -2"],
        env={**os.environ, **agents.environ},
        cwd=agents.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (piped.returncode, piped.stderr) == (0, "")
    assert len(piped.stdout.splitlines()) == 2


def test_an_import_that_is_interrupted_says_how_far_it_came(agents: Shell) -> None:
    process = subprocess.Popen(
        [COMMAND, "numbers", "import", "-"],
        env={**os.environ, **agents.environ},
        cwd=agents.directory,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has it ignored, for us and so for what we start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write("phone_number,provider\n")
    process.stdin.write("".join(f"+1415555{index:04},twilio\n" for index in range(1500)))
    process.stdin.flush()
    wait_until(lambda: agents.json("numbers", "list")["total"] >= 1000, "the first batch is in", 30)
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    process.wait(PATIENCE)
    told = process.stderr.read()
    process.stdout.close()  # type: ignore[union-attr]
    process.stderr.close()
    assert process.returncode == 130, told
    assert "stopped after 1000 numbers" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("numbers", "get", "+14155550100"), "not registered"),
        (("numbers", "get", "phn_none"), "no phone number"),
        (("numbers", "add", "0815", "--provider", "twilio"), "E.164"),
        (("numbers", "route", "+14155550100"), "nothing to change"),
        (("numbers", "remove", "+14155550100"), "--yes"),
        (("numbers", "import", "none.csv"), "No such file"),
        (("numbers", "import", "none.xls"), ".csv"),
        (("agents", "list", "--url", "http://127.0.0.1:1"), "--key"),
        (("agents", "list", "--url", "http://127.0.0.1:1", "--key", "k"), "cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_one_line(store: Shell, arguments: tuple[str, ...], told: str) -> None:
    line = store.fails(*arguments)
    assert told in line
    assert len(line.splitlines()) == 1


def test_a_numbers_file_is_the_source_where_there_is_one(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text() + f'[routing]\nnumbers_file = "{tmp_path / "numbers.toml"}"\n')
    told = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(path)}).fails("numbers", "list")
    assert "numbers.toml" in told and "edit that file" in told


def test_the_first_key_of_a_store_that_a_command_makes_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'[data]\ndir = "{tmp_path / "data"}"\n')
    result = ShellWithin(tmp_path, {"VOICE_GATEWAY_CONFIG": str(path)}).run("numbers", "list", "--json")
    assert "oi_sk_" in result.stderr
    assert json.loads(result.stdout)["total"] == 0


def test_completion_is_offered(store: Shell) -> None:
    assert "--install-completion" in store.ok("--help")
