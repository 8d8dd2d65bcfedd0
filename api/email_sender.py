"""Sends a voicemail by email, over SMTP with a time limit for everything."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import make_msgid
from typing import Final, Literal

import aiosmtplib

ATTEMPT_SECONDS: Final = 60.0
"""For one message, from connecting to its acceptance; servers look through attachments."""

MAX_SHOWN: Final = 64
"""Characters of a number in a subject: what callers are called is whatever somebody wrote into a header."""

Tls = Literal["starttls", "tls", "none"]

_UNFIT: Final = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where mail goes, and how.

    tls: `starttls`, `tls` from the first byte, or `none`. username: empty for a server that asks for none.
    sender, to: addresses; `to` is empty if only numbers have one.
    max_attachment: bytes of audio; more stays in the box.
    """

    host: str
    port: int
    tls: Tls
    username: str
    password: str = field(repr=False)
    sender: str
    to: str
    max_attachment: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A message as its email tells it.

    to: address; transcript: empty if there is none; audio: None if it is not attached; suffix: of its file.
    """

    to: str
    voicemail_id: str
    number: str
    caller: str
    created_at: str
    seconds: float
    too_short: bool
    transcript: str
    audio: bytes | None
    suffix: str


class SendingFailedError(Exception):
    """The server did not take it. retryable: it may later."""

    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.retryable = retryable


class EmailSender:
    """Sends.

    Args:
        mailbox: where to.
        trusted: certificates; the system's unless given.

    """

    def __init__(self, mailbox: Mailbox, trusted: ssl.SSLContext | None = None) -> None:
        self.mailbox = mailbox
        self._trusted = trusted

    async def send(self, voice: Voice) -> None:
        """Send one message.

        Raises:
            SendingFailedError: saying whether trying again may help.

        """
        box = self.mailbox
        if self._trusted is None and box.tls != "none":
            self._trusted = await asyncio.to_thread(ssl.create_default_context)
        client = aiosmtplib.SMTP(
            hostname=box.host,
            port=box.port,
            local_hostname=box.sender.rpartition("@")[2],
            use_tls=box.tls == "tls",
            start_tls=box.tls == "starttls",
            tls_context=self._trusted if box.tls != "none" else None,
            timeout=ATTEMPT_SECONDS,
        )
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS), client:
                if box.username:
                    await client.login(box.username, box.password)
                await client.send_message(compose(voice, box))
        except aiosmtplib.SMTPAuthenticationError as error:
            text = f"email.username or email.password: the server refused them: {_told(error)}"
            raise SendingFailedError(text, retryable=True) from None  # until somebody corrects them
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            raise SendingFailedError(_told(first), retryable=first.code < 500) from None
        except aiosmtplib.SMTPResponseException as error:
            raise SendingFailedError(_told(error), retryable=error.code < 500) from None
        except TimeoutError:
            raise SendingFailedError(
                f"{box.host} did not take it in {ATTEMPT_SECONDS:.0f} s", retryable=True
            ) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise SendingFailedError(str(error)[:300] or type(error).__name__, retryable=True) from None


def compose(voice: Voice, box: Mailbox) -> EmailMessage:
    """The email of a message; what comes from outside cannot begin a header of its own."""
    caller = _shown(voice.caller) or "a withheld number"
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = box.sender
    message["To"] = voice.to
    message["Subject"] = f"Voicemail from {caller} for {_shown(voice.number)}"
    message["Message-ID"] = make_msgid(_shown(voice.voicemail_id), domain=box.sender.rpartition("@")[2])
    lines = [
        f"From:    {caller}",
        f"For:     {_shown(voice.number)}",
        f"When:    {_shown(voice.created_at)}",
        f"Length:  {voice.seconds:.0f} s" + (" (hardly any speech)" if voice.too_short else ""),
        f"Message: {_shown(voice.voicemail_id)}",
    ]
    if voice.transcript:
        lines += ["", voice.transcript]
    if voice.audio is None:
        lines += ["", "The audio is too large for an email, or not there: it is in the voicemail box."]
    message.set_content("\n".join(lines) + "\n")
    if voice.audio is not None:
        message.add_attachment(
            voice.audio,
            maintype="audio",
            subtype="ogg" if voice.suffix == "ogg" else "wav",
            filename=f"{_shown(voice.voicemail_id)}.{voice.suffix}",
        )
    return message


def _shown(text: str) -> str:
    return _UNFIT.sub("?", text)[:MAX_SHOWN]


def _told(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {_UNFIT.sub(' ', str(error.message))[:200]}"
