"""The tables, the same on SQLite and PostgreSQL.

Times are RFC 3339 texts in UTC with milliseconds, which sort as in time. Secrets are sealed
(`api.secret_box`). What a list is paged by is `seq`, which grows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Sequential = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of exactly this type."""


class Base(DeclarativeBase):
    """What migrations compare with."""


class AgentRow(Base):
    """An agent. endpoints: JSON, sealed, since their headers may hold bearer keys."""

    __tablename__ = "agents"

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    endpoints: Mapped[bytes] = mapped_column(LargeBinary)
    voicemail_message: Mapped[str | None] = mapped_column(Text)
    recording: Mapped[str | None] = mapped_column(String(16))
    voicemail_greeting: Mapped[str | None] = mapped_column(String(64), index=True)
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(Integer)


class NumberRow(Base):
    """A phone number.

    inbound_routing: JSON; provider_config: JSON, sealed.
    voicemail_greeting: the one of inbound_routing, once more, to be found by.
    status: `active` or `inactive`; `pending` and `releasing` while a carrier is asked.
    provisioning: `buying`, `wiring` or `releasing` while a carrier is asked; else none. It takes calls if
    none, and while it is wired, since the first may come before we have heard that it is.
    reference: by which the carrier knows our purchase; none for a number that was brought along.
    account_id: of the integration that it was bought with, whatever the number refers to later; none for the
    sandbox. progress: JSON, what was done at the carrier (`api.provisioning_types`).
    due_at: when somebody goes on with it, seconds since the epoch.
    """

    __tablename__ = "phone_numbers"
    __table_args__ = (
        Index("ix_phone_numbers_updated_at", "updated_at"),
        Index("ix_phone_numbers_provider", "provider", "seq"),
        Index("ix_phone_numbers_status", "status", "seq"),
        Index("ix_phone_numbers_provider_status", "provider", "status", "seq"),
        Index("ix_phone_numbers_credential_id", "credential_id"),
        Index("ix_phone_numbers_voicemail_greeting", "voicemail_greeting"),
        Index("ix_phone_numbers_account_id", "account_id"),
        Index(
            # Of the few alone: one of all numbers would be taken for a short way to those without.
            "ix_phone_numbers_provisioning",
            "seq",
            sqlite_where=text("provisioning IS NOT NULL"),
            postgresql_where=text("provisioning IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},  # a cursor must never meet a number again
    )

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    phone_number: Mapped[str] = mapped_column(String(16), unique=True)
    friendly_name: Mapped[str | None] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(String(16))
    agent_id: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    inbound_routing: Mapped[str | None] = mapped_column(Text)
    provider_config: Mapped[bytes | None] = mapped_column(LargeBinary)
    credential_id: Mapped[str | None] = mapped_column(String(64))
    voicemail_greeting: Mapped[str | None] = mapped_column(String(64))
    provisioning: Mapped[str | None] = mapped_column(String(16))
    reference: Mapped[str | None] = mapped_column(String(64), unique=True)
    account_id: Mapped[str | None] = mapped_column(String(64))
    progress: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[float | None] = mapped_column(Float(53))
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(Integer)


class NumberAgentRow(Base):
    """Which agents a number refers to, as its own, for routing or as fallback: one row for each."""

    __tablename__ = "phone_number_agents"

    agent_id: Mapped[str] = mapped_column(String(64), ForeignKey("agents.id"), primary_key=True)
    number_seq: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("phone_numbers.seq", ondelete="CASCADE"), primary_key=True, index=True
    )


class NumberCountRow(Base):
    """How many numbers there are of each sort, so that a total costs no counting.

    agent_id: of those that refer to this agent; empty: of all.
    """

    __tablename__ = "phone_number_counts"

    agent_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    provider: Mapped[str] = mapped_column(String(16), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class IntegrationRow(Base):
    """Credentials at a carrier. api_key: sealed; shown: what of it may be seen; details: JSON.

    wired_until: somebody is wiring the account, for so long at most; seconds since the epoch.
    """

    __tablename__ = "integrations"

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(String(16))
    api_key: Mapped[bytes] = mapped_column(LargeBinary)
    shown: Mapped[str] = mapped_column(String(16))
    details: Mapped[str] = mapped_column(Text)
    wired_until: Mapped[float | None] = mapped_column(Float(53))
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(Integer)


class ApiKeyRow(Base):
    """An API key. digest: its SHA-256; shown: its first characters; scopes: separated by spaces."""

    __tablename__ = "api_keys"

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    shown: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[str] = mapped_column(String(24))
    expires_at: Mapped[str | None] = mapped_column(String(24))
    revoked_at: Mapped[str | None] = mapped_column(String(24))
    last_used_at: Mapped[str | None] = mapped_column(String(24))


class IdempotencyRow(Base):
    """The answer to a request that may be sent again. reply: status, headers and body, sealed."""

    __tablename__ = "idempotency"

    api_key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    reply: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[str] = mapped_column(String(24), index=True)


class OutboxRow(Base):
    """A change of the routes, as it was committed, for the routing cache.

    key: E.164 of a number, id of an agent; value: as `routing.cache.encode` makes it, none if it is gone; an
        agent's is sealed.
    accepted_at: seconds since the epoch; mark: random, the same for all changes of one transaction.
    """

    __tablename__ = "outbox"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(8))
    key: Mapped[str] = mapped_column(String(64))
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    accepted_at: Mapped[float] = mapped_column(Float(53))
    mark: Mapped[str] = mapped_column(String(16))


class GreetingRow(Base):
    """Audio that voicemails begin with. size: bytes, of the audio as it is kept."""

    __tablename__ = "greetings"

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    duration_seconds: Mapped[float] = mapped_column(Float(53))
    size: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[str] = mapped_column(String(24))


class VoicemailRow(Base):
    """A message that a caller left.

    number, caller: as in `routing.call_events`; audio: the key of its recording.
    transcription: `pending`, `done` or `failed`; none if nobody writes it down. transcript: what was said.
    """

    __tablename__ = "voicemails"
    __table_args__ = (
        Index("ix_voicemails_number", "number", "seq"),
        Index("ix_voicemails_agent_id", "agent_id", "seq"),
        Index("ix_voicemails_created_at", "created_at"),
        {"sqlite_autoincrement": True},  # a cursor must never meet a message again
    )

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    number: Mapped[str] = mapped_column(String(64))
    caller: Mapped[str] = mapped_column(Text)
    call_id: Mapped[str] = mapped_column(String(64))
    carrier: Mapped[str] = mapped_column(Text)
    agent_id: Mapped[str | None] = mapped_column(String(64))
    audio: Mapped[str] = mapped_column(Text)
    duration_seconds: Mapped[float] = mapped_column(Float(53))
    too_short: Mapped[bool] = mapped_column(Boolean)
    heard: Mapped[bool] = mapped_column(Boolean)
    transcription: Mapped[str | None] = mapped_column(String(16))
    transcript: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(Integer)


class EventRow(Base):
    """An event that was taken in: it may come again, and happens once."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    taken_at: Mapped[str] = mapped_column(String(24), index=True)


class CallRow(Base):
    """A call that is over. body: all of it, as `routing.call_records` encodes it; the rest is to find it by.

    refused: nobody was tried.
    """

    __tablename__ = "calls"
    __table_args__ = (
        Index("ix_calls_number", "number", "seq"),
        Index("ix_calls_caller", "caller", "seq"),
        Index("ix_calls_carrier_call_id", "carrier_call_id"),
        Index("ix_calls_refused", "refused", "seq"),
        Index("ix_calls_started_at", "started_at"),
        {"sqlite_autoincrement": True},  # a cursor must never meet a call again
    )

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    started_at: Mapped[str] = mapped_column(String(24))
    number: Mapped[str] = mapped_column(Text)
    caller: Mapped[str] = mapped_column(Text)
    carrier: Mapped[str] = mapped_column(Text)
    carrier_call_id: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(24))
    refused: Mapped[bool] = mapped_column(Boolean)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class CallLegRow(Base):
    """A SIP leg of a call, to find the call by its Call-ID."""

    __tablename__ = "call_legs"

    sip_call_id: Mapped[str] = mapped_column(Text, primary_key=True)
    call_id: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class WebhookRow(Base):
    """An address that hears of events. events: separated by spaces; secret: sealed, signs what is sent."""

    __tablename__ = "webhooks"

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(Integer)


class DeliveryRow(Base):
    """One event for one receiver, until it has arrived or was given up.

    webhook_id: whose. body: what is sent, JSON.
    due_at: seconds since the epoch, of the next attempt; while one is under way, of the time at which it is
        taken for lost. None when there will be none.
    error: what became of the last attempt; empty if it arrived.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_webhook_id", "webhook_id", "seq"),
        Index("ix_deliveries_due_at", "due_at"),
        Index("ix_deliveries_event_id", "event_id"),
        UniqueConstraint("webhook_id", "event_id", name="uq_deliveries_event"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(Sequential, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    webhook_id: Mapped[str] = mapped_column(String(64))
    event_id: Mapped[str] = mapped_column(String(80))
    event: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[float | None] = mapped_column(Float(53))
    response_status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(String(24))
    updated_at: Mapped[str] = mapped_column(String(24))


class StateRow(Base):
    """One row, which every writer locks first: so revisions are consecutive in the order of commits.

    store_id: which store this is; revision: of the last change of the routes; mark: of that change.
    seeded: whether the first numbers and agents were taken from a file.
    key_check: something sealed, which a process with another secret key cannot open.
    """

    __tablename__ = "state"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    store_id: Mapped[str] = mapped_column(String(32))
    revision: Mapped[int] = mapped_column(BigInteger)
    mark: Mapped[str] = mapped_column(String(16))
    seeded: Mapped[bool] = mapped_column(Boolean)
    key_check: Mapped[bytes | None] = mapped_column(LargeBinary)
