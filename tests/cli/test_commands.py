"""The commands as a person types them: one clear line where something is wrong."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import Shell, ShellWithin

ROOT = Path(__file__).parents[2]

CARRIERS = '[[trunk]]\nname = "loopback"\nsources = ["127.0.0.0/8"]\ndevelopment = true\n'
NUMBERS = """\
[[agents]]
id = "agt_a"
endpoints = [{ url = "sip:a@127.0.0.1:9" }]

[[numbers]]
phone_number = "+14155550100"
inbound_routing = { agent_id = "agt_a" }

[[numbers]]
phone_number = "+14155550101"
agent_id = "agt_a"
"""


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return ShellWithin(cwd, {}).run(*arguments, **environ)


def run_apart(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    return Shell(cwd, {}).run(*arguments, **environ)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "carriers.toml").write_text(CARRIERS)
    (tmp_path / "numbers.toml").write_text(NUMBERS)
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[sip]\nlisten = ["127.0.0.1:{free_port()}"]\nagent_listen = ["127.0.0.1:0"]\n'
        f'[web]\nlisten = "127.0.0.1:{free_port()}"\n[media]\nbind = "127.0.0.1"\n'
        '[admission]\ncarriers_files = ["carriers.toml"]\n[routing]\nnumbers_file = "numbers.toml"\n'
    )
    return path


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def test_a_taken_sip_port_is_one_line(config: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = one_line(
            run_apart("serve", "-c", str(config), cwd=config.parent, VOICE_GATEWAY_SIP__LISTEN=address)
        )
    assert "sip.listen" in line and address in line


def test_a_taken_web_port_is_one_line(config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = one_line(run("serve", "-c", str(config), cwd=config.parent, VOICE_GATEWAY_WEB__LISTEN=address))
    assert "web.listen" in line and address in line


def test_a_missing_redis_server_is_one_line(config: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    line = one_line(run("serve", "-c", str(config), cwd=config.parent, PATH=str(empty)))
    assert "redis.url" in line and "redis-server" in line


def test_a_broken_config_is_one_line(config: Path) -> None:
    config.write_text("[sip]\nlissen = 1\n")
    assert "did you mean sip.listen?" in one_line(run("serve", "-c", str(config), cwd=config.parent))


def test_a_broken_numbers_file_names_its_line(config: Path) -> None:
    (config.parent / "numbers.toml").write_text('[[numbers]]\nphone_number = "4155550100"\n')
    line = one_line(run("serve", "-c", str(config), cwd=config.parent))
    assert "numbers.toml:2" in line and "E.164" in line


def test_a_broken_carriers_file_names_entry_and_field(config: Path) -> None:
    (config.parent / "carriers.toml").write_text('[[trunk]]\nname = "a"\nsources = ["192.0.2.1/24"]\n')
    line = one_line(run("serve", "-c", str(config), cwd=config.parent))
    assert 'trunk "a": sources' in line and "192.0.2.0/24" in line


@pytest.mark.parametrize(
    ("number", "source", "status", "told"),
    [
        ("+14155550100", "127.0.0.1", 0, "agent agt_a"),
        ("(415) 555-0100", "127.0.0.1", 0, "+14155550100"),
        ("+14155550100", "192.0.2.1", 1, "no carrier's address list"),
        ("+14155550101", "127.0.0.1", 1, "outbound-only"),
        ("+14155550102", "127.0.0.1", 1, "number not known"),
    ],
)
def test_explain_says_what_would_happen(
    config: Path, number: str, source: str, status: int, told: str
) -> None:
    result = run("explain", number, "--from", source, "-c", str(config), cwd=config.parent)
    assert result.returncode == status, result
    assert told in result.stdout


def test_explain_refuses_what_is_no_address(config: Path) -> None:
    result = run("explain", "+14155550100", "--from", "nowhere", "-c", str(config), cwd=config.parent)
    assert "--from nowhere: not an IP address" in one_line(result)


def test_check_gives_a_line_and_a_fix_for_each_fault(config: Path) -> None:
    result = run("check", "-c", str(config), cwd=config.parent)
    assert result.returncode == 1  # the agent is down
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("✗")] == [
        line for line in lines if "agt_a at sip:a@127.0.0.1:9" in line
    ]
    assert sum(line.strip().startswith("fix:") for line in lines) == 1
    for what in (
        "configuration",
        "data.dir",
        "sip.listen",
        "web.listen",
        "carriers",
        "redis",
        "speech",
        "numbers",
    ):
        assert any(line.startswith(f"✓ {what}") for line in lines), what


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_waiting_sound_that_is_not_there_is_named(config: Path, command: str) -> None:
    sound = str(config.parent / "missing.wav")
    result = run(command, "-c", str(config), cwd=config.parent, VOICE_GATEWAY_MEDIA__WAITING_SOUND=sound)
    assert result.returncode != 0
    assert "media.waiting_sound" in result.stdout + result.stderr
    assert "missing.wav" in result.stdout + result.stderr


API_LINES = {
    "a store to be made": ("serve = true", "✓ api", "made at the first start"),
    "a database that is not there": (
        'database_url = "postgresql+asyncpg://someone:secret-word@127.0.0.1:9/none"',
        "✗ api",
        "cannot be reached",
    ),
    "a key that is none": ('secret_key = "short"', "✗ api", "openssl rand"),
    "a remote API that is down": (
        'remote_url = "http://127.0.0.1:9"\nremote_key = "oi_sk_secret-word"',
        "✗ api.remote_url",
        "127.0.0.1:9",
    ),
}


@pytest.mark.parametrize("what", API_LINES)
def test_check_tells_where_routes_come_from(config: Path, what: str) -> None:
    section, begins, told = API_LINES[what]
    written = "".join(
        line for line in config.read_text().splitlines(keepends=True) if "numbers_file" not in line
    )
    config.write_text(f"{written}\n[api]\n{section}\n")
    result = run("check", "-c", str(config), cwd=config.parent)
    [line] = [line for line in result.stdout.splitlines() if line.startswith(begins)]
    assert told in line
    assert "secret-word" not in result.stdout + result.stderr


def test_call_to_nobody_fails_with_its_reason(tmp_path: Path) -> None:
    result = run("call", f"sip:nobody@127.0.0.1:{free_port()}", cwd=tmp_path)
    assert result.returncode == 1
    assert "INVITE" in result.stdout
    assert "result     503" in result.stdout
    assert "ended by" not in result.stdout


def test_call_refuses_what_leads_nowhere(tmp_path: Path) -> None:
    assert "tel:+14155550100" in one_line(run("call", "tel:+14155550100", cwd=tmp_path))
    missing = run("call", "sip:a@127.0.0.1:9", "--play", "absent.wav", cwd=tmp_path)
    assert "--play absent.wav" in one_line(missing)
