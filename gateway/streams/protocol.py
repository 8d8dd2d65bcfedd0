"""What a media-stream protocol is: one value for each call, which reads and writes an agent's messages.

The gateway is the client, as a carrier is; the agent is a server that was written for the carrier. Nothing an
agent sends raises out of `receive`: what makes no sense becomes `NonsenseReceived`, and whoever has the
socket decides how much of that is too much.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, final

MAX_PARAMETERS: Final = 64
"""Custom parameters of a call: ours, and the carrier's own headers; what is beyond is left out."""

MAX_PARAMETER: Final = 1024
"""Characters of a custom parameter's value; carriers' headers are far shorter."""

FRAME_MS: Final = 20
"""Milliseconds of caller audio in one message, as carriers send it."""

_SID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class AudioForm:
    """How audio is written in messages.

    encoding: ``PCMU``, ``PCMA``, ``L16`` (network byte order, RFC 3551 §4.5.11) or ``PCM16`` (little-endian).
    rate: samples a second.
    """

    encoding: Literal["PCMU", "PCMA", "L16", "PCM16"]
    rate: int

    @property
    def bytes_a_sample(self) -> int:
        """One for the two laws of G.711, two for linear audio."""
        return 1 if self.encoding in ("PCMU", "PCMA") else 2


@dataclass(frozen=True, slots=True)
class StreamedCall:
    """What an agent is told of a call.

    call_id: ours; caller, dialled: E.164, or as the carrier wrote them.
    headers: the carrier's own, which agents get.
    """

    call_id: str
    caller: str
    dialled: str
    agent_id: str
    carrier: str
    headers: Sequence[tuple[str, str]] = ()

    @property
    def call_sid(self) -> str:
        """By Twilio's name for the call if it is Twilio's, else one of that form made from ours."""
        return self._sid("X-Twilio-CallSid", "CA")

    @property
    def account_sid(self) -> str:
        """Likewise of the account; the same for all calls that are not Twilio's."""
        return self._sid("X-Twilio-AccountSid", "AC", "voice-gateway")

    @property
    def parameters(self) -> dict[str, str]:
        """What is told beside the protocol's own fields."""
        found = {
            "call_id": self.call_id,
            "from_number": self.caller,
            "to_number": self.dialled,
            "agent_id": self.agent_id,
            "carrier": self.carrier,
        }
        for name, value in self.headers[: MAX_PARAMETERS - len(found)]:
            found.setdefault(name, value[:MAX_PARAMETER])
        return found

    def derived(self, purpose: str, digits: int = 32) -> str:
        """An identifier in hexadecimal digits, always the same for this call and purpose."""
        return hashlib.sha256(f"{purpose}:{self.call_id}".encode()).hexdigest()[:digits]

    def _sid(self, header: str, prefix: str, of: str | None = None) -> str:
        for name, value in self.headers:
            if name.lower() == header.lower() and value[:2] == prefix and _SID.fullmatch(value[2:]):
                return value
        return prefix + (self.derived(prefix) if of is None else hashlib.sha256(of.encode()).hexdigest()[:32])


@final
class AudioReceived:
    """The agent said something: any number of bytes in the protocol's `form`.

    Written out, and no dataclass: one is made for each of its frames, at a tenth of the price when compiled.
    """

    __slots__ = ("audio",)

    def __init__(self, audio: bytes) -> None:
        self.audio = audio

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AudioReceived) and other.audio == self.audio

    def __hash__(self) -> int:
        return hash(self.audio)

    def __repr__(self) -> str:
        return f"AudioReceived({len(self.audio)} bytes)"


@dataclass(frozen=True, slots=True)
class MarkReceived:
    """The agent wants to hear when everything before this has been played."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearReceived:
    """The agent wants silence at once: its caller has interrupted it."""


@dataclass(frozen=True, slots=True)
class GoodbyeReceived:
    """The agent ends the call."""


@dataclass(frozen=True, slots=True)
class NonsenseReceived:
    """A message that the protocol does not have. reason: fit for a log; never what was sent."""

    reason: str


StreamEvent: TypeAlias = AudioReceived | MarkReceived | ClearReceived | GoodbyeReceived | NonsenseReceived


class StreamProtocol(Protocol):
    """One call's conversation. Every method that writes gives whole messages in UTF-8, to be sent in order.

    Attributes:
        form: of audio, both ways.

    """

    form: AudioForm

    def opening(self) -> list[bytes]:
        """What comes first; nothing may be sent in between."""

    def audio(self, frame: bytes) -> bytes:
        """20 ms of the caller, in `form`."""

    def key(self, digit: str) -> list[bytes]:
        """The caller pressed a key."""

    def reached(self, name: str) -> list[bytes]:
        """Everything before this mark has been played."""

    def cleared(self, marks: Sequence[str], played: int) -> list[bytes]:
        """The queue was emptied.

        marks: those that had not been reached, in order.
        played: samples that the caller has heard since the beginning.
        """

    def closing(self) -> list[bytes]:
        """What comes last: the call is over."""

    def receive(self, text: str | bytes) -> list[StreamEvent]:
        """Read one message, as text or in UTF-8. Raises nothing."""


Start: TypeAlias = Callable[[StreamedCall, Mapping[str, str]], StreamProtocol]
"""Makes the protocol of one call; options: of the endpoint. Raises OptionError."""


class OptionError(Exception):
    """An endpoint's option makes no sense; the message names it and says what to write."""


def encoded(audio: bytes) -> bytes:
    """Audio as JSON carries it: base64 without line ends."""
    return binascii.b2a_base64(audio, newline=False)


def written(message: Mapping[str, object]) -> bytes:
    """A message as JSON."""
    return json.dumps(message).encode()


def decoded(text: str) -> bytes | None:
    """Bytes from base64; None if it is none."""
    try:
        return binascii.a2b_base64(text)
    except ValueError:  # binascii.Error, and characters beyond ASCII
        return None


def nonsense(reason: str) -> list[StreamEvent]:
    """The only event of a message that makes no sense."""
    return [NonsenseReceived(reason)]
