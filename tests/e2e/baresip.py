"""baresip without a terminal: a second, unrelated SIP and RTP stack that says a WAV and keeps what it hears.

baresip 1.0 as Debian ships it (package baresip-core). ``sndfile`` writes what is decoded to
``dump-…-dec.wav``; ``aubridge`` stands in for a loudspeaker, since a player must exist.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from tests.e2e.audio import RATE, Samples, loudest_tone
from tests.e2e.patience import PATIENCE
from tests.e2e.sipp import free_port, require

FREQUENCIES = range(400, 700, 20)
"""Among which tones that somebody hears are looked for."""

_MODULES = Path("/usr/lib/baresip/modules")
_CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
net_interface {host}
audio_source aufile,{directory}/says.wav
audio_player aubridge,{port}
audio_srate 8000-48000
audio_channels 1-2
ausrc_srate 8000
auplay_srate 8000
jitter_buffer_delay 1-5
rtp_ports {rtp_port}-{rtp_last}
module_path {modules}
module g711.so
module g722.so
module l16.so
module opus.so
module srtp.so
module dtls_srtp.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
snd_path {directory}
"""


class Baresip:
    """A running baresip with one account, which answers by itself, or dials when told to at the start."""

    def __init__(
        self,
        directory: Path,
        says: Samples,
        *,
        codec: str = "PCMU",
        dials: str | None = None,
        certificate: Path | None = None,
        authority: Path | None = None,
        srtp: bool = False,
        dtls: bool = False,
        host: str = "127.0.0.1",
        password: str = "",
    ) -> None:
        """Start it.

        says: what it speaks; it must last as long as the call, for the file is not repeated.
        codec: as baresip names it, the only one it speaks; without a rate 8000 Hz, mono.
        dials: the URI to call at once; None waits for a call and answers it.
        certificate: in one file with its key; with it and the authority that it believes, baresip speaks TLS,
            one port above the other.
        host: its address.
        password: by which the account "baresip" says who it is when it is asked.
        srtp: whether its audio is encrypted (SDES), and nothing else accepted; dtls: likewise by DTLS.
        """
        port = free_port(host)
        codec = codec if "/" in codec else f"{codec}/8000/1"
        rtp_port = free_port(host) & ~1
        directory.mkdir()
        channels = int(codec.rpartition("/")[2])
        soundfile.write(directory / "says.wav", np.stack([says] * channels, axis=1), RATE, subtype="PCM_16")
        (directory / "config").write_text(
            _CONFIG.format(
                host=host,
                port=port,
                directory=directory,
                modules=_MODULES,
                rtp_port=rtp_port,
                rtp_last=rtp_port + 20,
            )
        )
        if certificate is not None:
            with (directory / "config").open("a") as config:
                config.write(
                    f"sip_certificate {certificate}\nsip_cafile {authority}\nsip_verify_server yes\n"
                )
        transport = "tls" if certificate is not None else "udp"
        account = f"<sip:baresip@{host}:{port};transport={transport}>;regint=0;answermode=auto"
        account += f";auth_user=baresip;auth_pass={password}" if password else ""
        encryption = ";mediaenc=srtp-mand" if srtp else ";mediaenc=dtls_srtp" if dtls else ""
        account += f";audio_codecs={codec}{encryption}\n"
        (directory / "accounts").write_text(account)
        self.uri = f"sip:baresip@{host}:{port}"
        self.tls_uri = f"sip:baresip@{host}:{port + 1};transport=tls"
        self._directory = directory
        self._log = directory / "log"
        command = [require("baresip"), "-f", str(directory), "-t", "60"]
        command += ["-e", f"/dial {dials}"] if dials else []
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=directory
            )
        self.wait_for("baresip is ready")

    @property
    def story(self) -> str:
        """Its own log, for the report of a failing test."""
        return f"— baresip —\n{self._log.read_text(errors='replace')}"

    def wait_for(self, words: str, timeout: float = PATIENCE) -> None:
        """Wait until its log says so."""
        deadline = time.monotonic() + timeout
        while words not in self._log.read_text(errors="replace"):
            assert time.monotonic() < deadline, f"baresip never said {words!r}\n{self.story}"
            assert self._process.poll() is None, f"baresip ended\n{self.story}"
            time.sleep(0.05)

    def hang_up(self) -> None:
        """Leave properly: SIGTERM makes baresip send its BYE and end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def heard(self) -> Samples:
        """What it decoded so far; complete after ``hang_up``."""
        tracks = sorted(self._directory.glob("dump-*-dec.wav"))
        assert tracks, f"baresip heard nothing\n{self.story}"
        samples, rate = soundfile.read(tracks[-1], dtype="int16", always_2d=True)
        assert rate % RATE == 0
        return np.asarray(samples[:: rate // RATE, 0], dtype=np.int16)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.hang_up()


def both_hear(caller: Baresip, agent: Baresip) -> None:
    """A second of talk, the caller's goodbye, and each has heard the other's tone: 440 Hz, and the agent's 620."""
    caller.wait_for("incoming rtp")
    agent.wait_for("incoming rtp")
    time.sleep(1)
    caller.hang_up()
    agent.wait_for("session closed")
    agent.hang_up()
    assert loudest_tone(caller.heard(), FREQUENCIES) == 620, caller.story
    assert loudest_tone(agent.heard(), FREQUENCIES) == 440, agent.story
