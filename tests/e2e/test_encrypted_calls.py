"""TLS and SRTP with stacks that are not ours: baresip as caller and as agent, openssl as anybody."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.e2e import audio
from tests.e2e.baresip import FREQUENCIES, Baresip, both_hear
from tests.e2e.exchange import HOST, Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import free_port, require

pytestmark = pytest.mark.e2e

PASSWORD = "a-password-of-a-trunk"
STRANGERS = f"""\
[[trunk]]
name = "pbx"
certificate_names = ["pbx.example.com"]

[[trunk]]
name = "office"
username = "baresip"
password = "{PASSWORD}"
"""


@dataclass
class Secure:
    """A gateway that speaks TLS, and what its peers need."""

    exchange: Exchange
    authority: Authority
    certificate: Path
    port: int

    def end(self) -> dict[str, Path]:
        """How a baresip speaks TLS."""
        return {
            "certificate": self.authority.issue(HOST, file="baresip.pem"),
            "authority": self.authority.file,
        }

    def uri(self, number: str) -> str:
        return f"sip:{number}@{HOST}:{self.port};transport=tls"

    def shake_hands(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """openssl s_client, as a peer from another address than any trunk's unless told otherwise."""
        command = [require("openssl"), "s_client", "-connect", f"{HOST}:{self.port}", *arguments]
        command += ["-CAfile", str(self.authority.file), "-verify_return_error"]
        return subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)

    @property
    def serial(self) -> str:
        """Of the certificate that is shown now."""
        shown = self.shake_hands().stdout
        begin, end = shown.index("-----BEGIN"), shown.index("-----END")
        return shown[begin:end]


@contextmanager
def running(directory: Path, *carriers: str) -> Iterator[Secure]:
    authority = Authority(directory)
    certificate = directory / "gateway.pem"
    shutil.copy(authority.issue(HOST, "localhost"), certificate)
    port = free_port(HOST)
    (directory / "strangers.toml").write_text(STRANGERS)
    exchange = Exchange(
        directory,
        admission={
            "carriers_files": [str(directory / name) for name in carriers],
            "digest_algorithms": ["MD5"],
        },
        sip={
            "tls_certificate": str(certificate),
            "tls_listen": [f"{HOST}:{port}"],
            "tls_client_ca": str(authority.file),
        },
        agents={"ca_file": str(authority.file), "probe_interval": 3600.0},
    )
    with exchange.gateway:
        yield Secure(exchange, authority, certificate, port)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """One that knows its peers' addresses, too."""
    with running(tmp_path_factory.mktemp("secure"), "carriers.toml", "strangers.toml") as secure:
        yield secure


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """One that knows nobody's address."""
    with running(tmp_path_factory.mktemp("strict"), "strangers.toml") as secure:
        yield secure


@pytest.mark.parametrize("agent_srtp", [True, False])
@pytest.mark.parametrize("caller_srtp", [True, False])
def test_each_leg_is_encrypted_by_itself(
    secure: Secure, tmp_path: Path, caller_srtp: bool, agent_srtp: bool
) -> None:
    gateway = secure.exchange.gateway
    rejected = gateway.metric("gateway_srtp_rejected_packets_total")
    with Baresip(tmp_path / "agent", audio.tone(620, 15), srtp=agent_srtp, **secure.end()) as agent:
        options = {"srtp": "required"} if agent_srtp else {}
        line = secure.exchange.line(agent.tls_uri, endpoint={"options": options})
        dials = secure.uri(line.number)
        with Baresip(
            tmp_path / "caller", audio.tone(440, 15), dials=dials, srtp=caller_srtp, **secure.end()
        ) as caller:
            both_hear(caller, agent)
    # baresip opens RTCP's way through a NAT, and says goodbye there, in the clear: those are not heard.
    assert gateway.metric("gateway_srtp_rejected_packets_total") - rejected <= 4
    assert "inline:" not in gateway.log


def test_keys_by_dtls_on_both_legs(secure: Secure, tmp_path: Path) -> None:
    """The caller offers, and the agent answers; RTCP has its own handshake."""
    gateway = secure.exchange.gateway
    with Baresip(tmp_path / "agent", audio.tone(620, 15), dtls=True) as agent:
        line = secure.exchange.line(agent.uri, endpoint={"options": {"srtp": "dtls"}})
        host, port = gateway.sip
        dials = f"sip:{line.number}@{host}:{port}"
        with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials, dtls=True) as caller:
            both_hear(caller, agent)
    wait_until(lambda: gateway.metric("gateway_dtls_handshakes_total", result="done") == 2, "both legs' end")
    assert gateway.metric("gateway_dtls_handshakes_total", result="failed") == 0


def test_an_agent_that_has_no_srtp_is_spoken_to_in_the_clear_if_that_may_be(
    secure: Secure, tmp_path: Path
) -> None:
    """baresip without `mediaenc` refuses RTP/SAVP with 488."""
    with Baresip(tmp_path / "agent", audio.tone(620, 15)) as agent:
        line = secure.exchange.line(agent.uri, endpoint={"options": {"srtp": "optional"}})
        dials = secure.uri(line.number)
        with Baresip(
            tmp_path / "caller", audio.tone(440, 15), dials=dials, srtp=True, **secure.end()
        ) as caller:
            caller.wait_for("incoming rtp")
            agent.wait_for("incoming rtp")
            time.sleep(1)
            agent.hang_up()
            caller.wait_for("session closed")
            assert audio.loudest_tone(caller.heard(), FREQUENCIES) == 620, caller.story


def test_the_voicemail_is_encrypted_too(secure: Secure, tmp_path: Path) -> None:
    line = secure.exchange.line(
        None, voicemail_message="You have reached the voicemail of the third witness."
    )
    dials = secure.uri(line.number)
    with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials, srtp=True, **secure.end()) as caller:
        caller.wait_for("incoming rtp")
        time.sleep(1.5)
        caller.hang_up()
        assert abs(caller.heard().astype(int)).max() > 1000, caller.story


def test_an_agent_whose_certificate_nobody_knows_gets_no_call(secure: Secure, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    end = {"certificate": stranger.issue(HOST), "authority": stranger.file}
    with Baresip(tmp_path / "agent", audio.tone(620, 15), **end) as agent:
        line = secure.exchange.line(agent.tls_uri, voicemail=False)
        with Baresip(
            tmp_path / "caller", audio.tone(440, 15), dials=secure.uri(line.number), **secure.end()
        ) as caller:
            caller.wait_for("480 Temp")
    wait_until(lambda: "certificate not trusted" in secure.exchange.gateway.log, "the reason in the log")


@pytest.mark.parametrize(("version", "taken"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_old_versions_of_tls_are_not_spoken(secure: Secure, version: str, taken: bool) -> None:
    done = secure.shake_hands(version, *(("-cipher", "ALL:@SECLEVEL=0") if not taken else ()))
    assert (done.returncode == 0) == taken, done.stderr
    if taken:
        assert "Verify return code: 0 (ok)" in done.stdout


def test_a_renewed_certificate_counts_at_once_and_a_broken_one_not(secure: Secure) -> None:
    gateway = secure.exchange.gateway
    before = secure.serial
    secure.certificate.write_text("half a certificate")
    gateway.reload()
    wait_until(
        lambda: gateway.metric("gateway_tls_certificate_reloads_total", result="failed") >= 1, "a complaint"
    )
    assert secure.serial == before
    shutil.copy(secure.authority.issue(HOST, "localhost", days=30, file="renewed.pem"), secure.certificate)
    gateway.reload()
    wait_until(lambda: secure.serial != before, "the new certificate")
    assert 29 * 86400 < gateway.metric("gateway_tls_certificate_expiry_seconds") < 30 * 86400


def carrier_of(secure: Secure, number: str) -> object:
    """Whose call to this number it was, once it is over."""

    def ended() -> list[dict[str, object]]:
        lines = (each for each in secure.exchange.gateway.log_lines() if each["event"] == "call ended")
        return [each for each in lines if each["dialled"] == number]

    wait_until(lambda: bool(ended()), "the call's line")
    return ended()[0]["carrier"]


def test_a_carrier_is_known_by_its_certificate_from_any_address(strict: Secure, tmp_path: Path) -> None:
    line = strict.exchange.line(None)
    end = {"certificate": strict.authority.issue("pbx.example.com"), "authority": strict.authority.file}
    dials = strict.uri(line.number)
    with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials, **end) as caller:
        caller.wait_for("Call established")
        caller.hang_up()
    assert carrier_of(strict, line.number) == "pbx"


def test_any_other_certificate_is_cut_off(strict: Secure, tmp_path: Path) -> None:
    line = strict.exchange.line(None)
    end = {"certificate": strict.authority.issue("other.example.com"), "authority": strict.authority.file}
    dials = strict.uri(line.number)
    with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials, **end) as caller:
        caller.wait_for("session closed")
        assert "Call established" not in caller.story


@pytest.mark.parametrize("password", [PASSWORD, "a-wrong-password"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_trunk_is_known_by_its_password_from_any_address(
    strict: Secure, tmp_path: Path, password: str, transport: str
) -> None:
    """baresip answers the challenge to its INVITE; ACK and BYE come without one."""
    line = strict.exchange.line(None)
    host, port = strict.exchange.gateway.sip
    dials = f"sip:{line.number}@{host}:{port};transport={transport}"
    end: dict[str, Path] = {}
    if transport == "tls":
        dials, end = strict.uri(line.number), strict.end()
    with Baresip(tmp_path / "caller", audio.tone(440, 15), dials=dials, password=password, **end) as caller:
        if password == PASSWORD:
            caller.wait_for("Call established")
            caller.hang_up()
            assert carrier_of(strict, line.number) == "office"
        else:
            caller.wait_for("session closed")
            assert "Call established" not in caller.story
    assert PASSWORD not in strict.exchange.gateway.log
