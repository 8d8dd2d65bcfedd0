"""Voicemails by email, to a real SMTP server that wants TLS and a password, puts off, and refuses."""

from __future__ import annotations

import asyncio
import datetime
import email
import email.policy
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from api.email_sender import EmailSender, Mailbox, SendingFailedError, Voice, compose
from api.store.tables import DeliveryRow
from api.voicemail_emails import VoicemailEmails
from storage.local import LocalStore
from tests.api.conftest import Store
from tests.api.http.rig import Api, running_api
from tests.e2e.sipp import free_port

HOST = "127.0.0.1"
BOX = Mailbox(HOST, 0, "none", "", "", "voicemail@example.com", "team@example.com", 1_000_000)
VOICE = Voice(
    to="team@example.com",
    voicemail_id="vm_1",
    number="+14155550100",
    caller="+14155550111",
    created_at="2026-11-27T12:00:00Z",
    seconds=3.2,
    too_short=False,
    transcript="",
    audio=b"RIFFaudio",
    suffix="wav",
)


class Inbox:
    """What the server got. answers: to the next messages, before it takes any."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.answers: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.got.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 kept"


@contextmanager
def serving(inbox: Inbox, **options: Any) -> Iterator[int]:
    controller = Controller(inbox, hostname=HOST, port=free_port(HOST), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server shows, and what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "mail.pem"
    plain = serialization.NoEncryption()
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(file)
    return shown, ssl.create_default_context(cafile=str(file))


def may_come_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"right"), handled=False)


async def test_a_message_with_its_audio() -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        await EmailSender(replace(BOX, port=port)).send(VOICE)
    (got,) = inbox.got
    assert got["Subject"] == "Voicemail from +14155550111 for +14155550100"
    assert (got["From"], got["To"]) == ("voicemail@example.com", "team@example.com")
    (attached,) = got.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("audio/wav", "vm_1.wav")
    assert attached.get_content() == b"RIFFaudio"
    text = got.get_body()
    assert text is not None
    assert "Length:  3 s" in text.get_content()


async def test_starttls_and_a_password(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    shown, trusted = certificate
    inbox = Inbox()
    options = {"authenticator": may_come_in, "auth_required": True, "require_starttls": True}
    with serving(inbox, tls_context=shown, **options) as port:
        box = replace(BOX, port=port, tls="starttls", username="me", password="right")
        await EmailSender(box, trusted).send(VOICE)
        with pytest.raises(SendingFailedError, match=r"email\.password") as refused:
            await EmailSender(replace(box, password="wrong"), trusted).send(VOICE)
        assert refused.value.retryable
        assert "wrong" not in str(refused.value)
        with pytest.raises(SendingFailedError):  # nobody vouches for its certificate
            await EmailSender(box).send(VOICE)
    assert len(inbox.got) == 1
    assert "right" not in repr(box)


async def test_encrypted_from_the_first_byte(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    shown, trusted = certificate
    inbox = Inbox()
    with serving(inbox, ssl_context=shown) as port:
        await EmailSender(replace(BOX, port=port, tls="tls"), trusted).send(VOICE)
    assert len(inbox.got) == 1


async def test_what_a_server_refuses_is_told_apart() -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        sender = EmailSender(replace(BOX, port=port))
        inbox.answers = ["451 come back later", "554 no"]
        with pytest.raises(SendingFailedError, match="451") as greylisted:
            await sender.send(VOICE)
        with pytest.raises(SendingFailedError, match="554") as refused:
            await sender.send(VOICE)
    assert (greylisted.value.retryable, refused.value.retryable) == (True, False)
    with pytest.raises(SendingFailedError) as away:
        await sender.send(VOICE)
    assert away.value.retryable


@given(st.text(max_size=100), st.text(max_size=100))
def test_nobody_writes_headers_of_their_own(caller: str, number: str) -> None:
    hostile = replace(VOICE, caller=caller + "\r\nBcc: all@example.com", number=number)
    message = email.message_from_bytes(compose(hostile, BOX).as_bytes(), policy=email.policy.default)
    assert message["Bcc"] is None
    assert message["To"] == "team@example.com"


@pytest.fixture
async def api(store: Store, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path, database_url=store.url) as running:
        yield running


def emails_of(api: Api, port: int, clock: Callable[[], float], **changes: Any) -> VoicemailEmails:
    recordings = LocalStore(api.recordings)
    sender = EmailSender(replace(BOX, port=port, **changes))
    service = api.service
    emails = VoicemailEmails(
        service.database, recordings, sender, service.metrics, clock=clock, dice=lambda: 0.5
    )
    api.intake._takers = [*api.intake._takers, emails.take]
    return emails


async def rows(api: Api) -> list[tuple[str, int, str]]:
    query = select(DeliveryRow.status, DeliveryRow.attempts, DeliveryRow.error).order_by(DeliveryRow.seq)
    found = await api.service.database.read(lambda session: session.execute(query).all())
    return [(row[0], row[1], row[2]) for row in found]


async def test_from_the_box_to_the_inbox_through_greylisting(api: Api) -> None:
    inbox, now = Inbox(), [2e9]
    inbox.answers = ["450 greylisted"]
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: now[0])
        await api.voicemail("vm_1", audio=b"RIFFvoice")
        assert await emails.send_one()
        assert await rows(api) == [("pending", 1, "450 greylisted")]
        assert not await emails.send_one()
        now[0] += 6
        assert await emails.send_one()
        assert not await emails.send_one()
    assert await rows(api) == [("delivered", 2, "")]
    (attached,) = inbox.got[0].iter_attachments()
    assert attached.get_content() == b"RIFFvoice"


async def test_what_is_refused_for_good_is_given_up(api: Api) -> None:
    inbox = Inbox()
    inbox.answers = ["550 no such user"]
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: 2e9)
        await api.voicemail("vm_1")
        assert await emails.send_one()
        assert not await emails.send_one()
    assert await rows(api) == [("failed", 1, "550 no such user")]


async def test_audio_that_is_late_is_waited_for_and_large_audio_left_out(api: Api) -> None:
    inbox, now = Inbox(), [2e9]
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: now[0], max_attachment=4)
        await api.voicemail("vm_1", audio=b"RIFFvoice")
        assert await emails.send_one()
        assert not list(inbox.got[0].iter_attachments())
        await api.voicemail("vm_2")
        path = api.recordings / "2026-11-27" / "vm_2.wav"
        await asyncio.to_thread(path.unlink)
        for _ in range(4):
            assert await emails.send_one()
            now[0] += 100_000
    assert len(inbox.got) == 2
    assert [row[:2] for row in await rows(api)] == [("delivered", 1), ("delivered", 4)]


async def failed(api: Api) -> list[dict[str, Any]]:
    answer = await api.get("/v1/voicemail-emails?status=failed")
    assert answer.status == 200, answer
    return list(answer.body["items"])


async def test_what_was_given_up_is_listed_and_sent_again(api: Api) -> None:
    inbox = Inbox()
    inbox.answers = ["550 no such user"]
    api.service.email_box._mailbox = BOX
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: 2e9)
        await api.voicemail("vm_1")
        await api.voicemail("vm_2")
        assert await emails.send_one()
        assert await emails.send_one()
        [given_up] = await failed(api)
        assert (given_up["voicemail_id"], given_up["to"]) == ("vm_1", "team@example.com")
        assert (given_up["attempts"], given_up["error"]) == (1, "550 no such user")
        assert (await api.get("/v1/voicemail-emails")).body["total"] == 2
        again = await api.post(f"/v1/voicemail-emails/{given_up['id']}/resend")
        assert (again.status, again.body["status"], again.body["attempts"]) == (200, "pending", 0)
        assert await emails.send_one()
        assert not await failed(api)
    assert len(inbox.got) == 2
    assert (await api.post("/v1/voicemail-emails/dlv_none/resend")).status == 404
    api.service.email_box._mailbox = None
    assert (await api.post(f"/v1/voicemail-emails/{given_up['id']}/resend")).status == 503


async def test_a_number_may_have_an_address_of_its_own(api: Api) -> None:
    await api.agent("agt_sales")
    routing = {"agent_id": "agt_sales", "voicemail_email": "sales@example.com"}
    number = await api.number("+14155550100", inbound_routing=routing)
    inbox = Inbox()
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: 2e9, to="")
        await api.voicemail("vm_1")
        await api.voicemail("vm_2", to_number="+14155550199")  # nobody wants it
        assert await emails.send_one()
        assert not await emails.send_one()
        await api.voicemail("vm_3")
        path = f"/v1/phone-numbers/{number['id']}"
        await api.patch(path, {"inbound_routing": {"voicemail_email": None}})
        assert await emails.send_one()
    assert [message["To"] for message in inbox.got] == ["sales@example.com"]
    assert [row[0] for row in await rows(api)] == ["delivered", "failed"]
    for wrong in ("sales", "a@b, c@d", "a@b\nBcc: c@d", "<a@b>"):
        refused = await api.patch(path, {"inbound_routing": {"voicemail_email": wrong}})
        assert refused.status == 422, wrong


async def test_a_deleted_message_is_not_sent(api: Api) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        emails = emails_of(api, port, lambda: 2e9)
        await api.voicemail("vm_1")
        assert (await api.delete("/v1/voicemails/vm_1")).status == 204
        assert not await emails.send_one()
    assert not inbox.got
    assert await rows(api) == []
