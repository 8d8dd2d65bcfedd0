"""Configuration: what is refused names the key and the nearest known one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError, Settings, keys, known_keys, load, variable
from gateway.redis_access import redis_place


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def test_defaults_are_valid_without_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).sip.listen == ("0.0.0.0:5060",)


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, '[sip]\nlisten = ["192.0.2.1:5060", "[::]:5060"]\n[drain]\ntimeout = 5\n')
    monkeypatch.setenv("VOICE_GATEWAY_DRAIN__TIMEOUT", "7")
    settings = load(path)
    assert settings.sip.listen == ("192.0.2.1:5060", "[::]:5060")
    assert settings.drain.timeout == 7


def test_lists_are_written_with_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_GATEWAY_ADMISSION__CARRIERS_FILES", "a.toml, b.toml")
    assert load().admission.carriers_files == ("a.toml", "b.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[sip]\nlissen = 'x'\n", "sip.lissen: no such key; did you mean sip.listen?"),
        ("[sipp]\nlisten = 'x'\n", "sipp: no such key; did you mean sip?"),
        ("[drain]\ntimeout = -1\n", "drain.timeout: input should be greater than or equal to 0"),
        ("[logs]\nlevel = 'loud'\n", "logs.level: input should be 'debug', 'info', 'warning' or 'error'"),
        ("[media]\nport_low = 20000\nport_high = 19000\n", "media.port_low: must be below media.port_high"),
        ("[speech]\nengine = 'http'\n", 'speech.url: needed with speech.engine = "http"'),
        ("[storage]\nurl = 's3://key:word@bucket'\n", "storage.url: keys do not belong into the URL"),
        ("[agents]\ndns_servers = '192.0.2.53'\n", 'agents.dns_servers: "192.0.2.53" has no port'),
        ("[admission]\ntrusted_proxies = 'edge'\n", 'admission.trusted_proxies: "edge" is not an address'),
        ("[storage]\naccess_key_id = 'k'\n", "storage.access_key_id: write both"),
        ("[voicemail]\ndefault_message = '{{me}}'\n", "voicemail.default_message: {{me}} is no variable"),
        ("[transcription]\nurl = 'api.openai.com'\n", "transcription.url: write it as https://host"),
        ("[transcription]\nlanguage = 'English'\n", "transcription.language: string should match pattern"),
        ("[email]\nhost = 'smtp'\nsender = 'a@b'\nto = 'a@b, c@d'\n", "email.to: write one address"),
        ("sip =\n", "Invalid value"),
    ],
)
def test_faults_name_the_key_and_the_fix(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[redis]\nurl = "http://u:hunter2@h"', "redis.url: write it as one of redis://"),
        ('[redis]\nurl = "redis+sentinel://u:hunter2@h"', "redis.url: after the Sentinels write /NAME"),
        ('[redis]\nca_file = "ca.pem"', "only of use with rediss"),
        ('[redis]\nurl = "redis://h"\ncertificate = "c.pem"', "only of use with rediss"),
        ('[redis]\nurl = "rediss://h"\nkey = "k.pem"', "redis.certificate: needed with redis.key"),
        ('[redis]\nurl = "redis://h"\nsentinel_password = "hunter2"', "only of use with redis+sentinel"),
        ('[node]\nregion = "EU West"', "node.region"),
        ('[api]\ndatabase_replica_urls = "postgresql://h/n"', "api.database_url: needed with"),
        (
            '[api]\ndatabase_url = "postgresql://h/n"\ndatabase_replica_urls = "'
            + "postgresql://h/n," * 17
            + '"',
            "name at most 16",
        ),
    ],
)
def test_what_many_nodes_need_is_checked_before_anything_starts(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text + "\n"), {})
    assert told in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_where_redis_is_and_as_whom_we_come(tmp_path: Path) -> None:
    text = """
[redis]
url = "rediss+sentinel://gw:hunter2@s1,s2/main"
ca_file = "ca.pem"
certificate = "own.pem"
sentinel_username = "sentinel"
sentinel_password = "hunter3"
"""
    place = redis_place(load(written(tmp_path, text), {}))
    assert (place.kind, place.name, place.files.key) == ("sentinel", "main", Path("own.pem"))
    assert (place.password, place.sentinel_password) == ("hunter2", "hunter3")
    assert "hunter" not in repr(place)
    private = redis_place(load(written(tmp_path, "[node]\nregion = 'eu-west'\n"), {}))
    assert private.kind == "single"
    assert private.shown.endswith("redis.sock")


def test_emails_may_go_to_numbers_addresses_alone(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "[email]\nhost = 'smtp'\nsender = 'a@b'\n"), {})
    assert settings.email.to == ""


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="VOICE_GATEWAY_CONFIG"):
        load(None, {"VOICE_GATEWAY_CONFIG": str(tmp_path / "absent.toml")})


def test_unknown_environment_variables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"VOICE_GATEWAY_SIP__LISEN.*did you mean VOICE_GATEWAY_SIP__LISTEN\?"
    ):
        load(None, {"VOICE_GATEWAY_SIP__LISEN": "x"})


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    settings = load(
        written(tmp_path, '[redis]\nurl = "redis://:hunter2@h"\n[speech]\napi_key = "hunter3"\n'), {}
    )
    assert "hunter" not in repr(settings)
    assert settings.redis.url.get_secret_value() == "redis://:hunter2@h"


def test_every_key_has_a_description_and_a_default() -> None:
    for name, section in keys().items():
        for key, field in section.model_fields.items():
            assert field.description, f"{name}.{key}"
            assert not field.is_required(), f"{name}.{key}"
    assert set(keys()) == set(Settings.model_fields)
    assert variable("sip.listen") in {variable(key) for key in known_keys()}


@pytest.mark.parametrize("name", ["gateway.toml", "demo.toml"])
def test_the_shipped_files_are_valid(name: str) -> None:
    assert load(Path(__file__).parents[2] / "configs" / name, {})
