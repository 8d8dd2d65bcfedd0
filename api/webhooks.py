"""The operations on webhooks, and which of them hear of an event."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api.decoding import decode
from api.deliveries import due_text, secret_owner
from api.identifiers import new_id, timestamp
from api.merge import merge_patch
from api.operations import Operation, Reply, Request
from api.pages import page_of, total_of
from api.phone_numbers import check_patch
from api.problems import FieldError, Problem, invalid, not_found
from api.secret_box import SecretBox
from api.store.database import Database, Transaction
from api.store.tables import DeliveryRow, WebhookRow
from api.transcriptions import VoicemailTranscribed
from api.types import PageQuery
from api.webhook_sender import WebhookSender, url_fault
from api.webhook_types import (
    DeliveryPage,
    DeliveryQuery,
    DeliveryShown,
    WebhookCreate,
    WebhookMade,
    WebhookPage,
    WebhookShown,
    WebhookTested,
    WebhookUpdate,
)
from routing.call_events import CallEvent, VoicemailCreated

TAG: Final = "Webhooks"

IMMUTABLE: Final = frozenset({"id", "secret", "created_at", "updated_at", "version"})

MAX_WEBHOOKS: Final = 100
"""Of a store: each event of a call makes a row for every one that wants it."""

TEST_EVENT: Final = "webhook.test"

EXAMPLE: Final = {
    "name": "Call log",
    "url": "https://hooks.example.com/voice",
    "events": ["call.ended", "voicemail.created"],
}

INTERNAL: Final = frozenset({"recording_key", "speech_seconds"})
"""Fields of events that tell how things are kept here."""


class Webhooks:
    """Addresses that hear of events.

    Args:
        database: the store.
        box: seals their secrets.
        sender: tests them.

    """

    def __init__(self, database: Database, box: SecretBox, sender: WebhookSender) -> None:
        self._database = database
        self._box = box
        self._sender = sender

    def operations(self) -> list[Operation]:
        """What can be asked about webhooks."""
        one = "/v1/webhooks/{webhook_id}"
        return [
            Operation(
                id="createWebhook",
                method="POST",
                path="/v1/webhooks",
                summary="Create a webhook; its secret is shown this once",
                tag=TAG,
                scope="write",
                status=201,
                write=self.create,
                request=WebhookCreate,
                response=WebhookMade,
                problems=("too-many",),
                etag=True,
                example=EXAMPLE,
            ),
            Operation(
                id="listWebhooks",
                method="GET",
                path="/v1/webhooks",
                summary="List webhooks",
                tag=TAG,
                scope="read",
                read=self.list,
                query=PageQuery,
                response=WebhookPage,
            ),
            Operation(
                id="getWebhook",
                method="GET",
                path=one,
                summary="Get a webhook",
                tag=TAG,
                scope="read",
                read=self.get,
                response=WebhookShown,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="updateWebhook",
                method="PATCH",
                path=one,
                summary="Change a webhook (JSON Merge Patch)",
                tag=TAG,
                scope="write",
                write=self.update,
                request=WebhookUpdate,
                response=WebhookShown,
                problems=("not-found", "precondition-failed"),
                etag=True,
                example={"status": "inactive"},
            ),
            Operation(
                id="deleteWebhook",
                method="DELETE",
                path=one,
                summary="Delete a webhook and what is on its way there",
                tag=TAG,
                scope="write",
                status=204,
                write=self.delete,
                problems=("not-found", "precondition-failed"),
            ),
            Operation(
                id="testWebhook",
                method="POST",
                path=f"{one}/test",
                summary="Send a webhook.test event now, once, and tell what came of it",
                tag=TAG,
                scope="write",
                act=self.test,
                response=WebhookTested,
                problems=("not-found",),
            ),
            Operation(
                id="listWebhookDeliveries",
                method="GET",
                path=f"{one}/deliveries",
                summary="List a webhook's deliveries, newest first; status=failed: those that were given up",
                tag=TAG,
                scope="read",
                read=self.list_deliveries,
                lags=True,
                query=DeliveryQuery,
                response=DeliveryPage,
                problems=("not-found",),
            ),
            Operation(
                id="redeliver",
                method="POST",
                path=f"{one}/deliveries/{{delivery_id}}/redeliver",
                summary="Deliver an event again, with all its attempts",
                tag=TAG,
                scope="write",
                write=self.redeliver,
                response=DeliveryShown,
                problems=("not-found",),
            ),
        ]

    def create(self, tx: Transaction, request: Request) -> Reply:
        """Create a webhook."""
        body: WebhookCreate = request.body
        self._check(body)
        if total_of(tx.session, WebhookRow) >= MAX_WEBHOOKS:
            raise Problem("too-many", f"there are {MAX_WEBHOOKS} webhooks: delete one first")
        secret = f"whsec_{secrets.token_urlsafe(32)}"
        row = WebhookRow(id=new_id("whk"), created_at=tx.now, version=0)
        row.secret = self._box.seal(secret.encode(), secret_owner(row.id))
        tx.session.add(row)
        _fill(tx, row, body)
        tx.session.flush()
        made = WebhookMade(**msgspec.structs.asdict(_shown(row)), secret=secret)
        return Reply(made, _etag(row), {"Location": f"/v1/webhooks/{row.id}", "Cache-Control": "no-store"})

    def list(self, session: Session, request: Request) -> Reply:
        """List webhooks."""
        query: PageQuery = request.query
        return page_of(session, WebhookPage, WebhookRow, query, partial(map, _shown))

    def get(self, session: Session, request: Request) -> Reply:
        """Get a webhook."""
        row = _find(session, request)
        return Reply(_shown(row), _etag(row))

    def update(self, tx: Transaction, request: Request) -> Reply:
        """Change a webhook."""
        row = _find(tx.session, request)
        check_patch(request.body, WebhookUpdate, IMMUTABLE)
        present = {"name": row.name, "url": row.url, "events": row.events.split(), "status": row.status}
        update = decode(merge_patch(present, request.body), WebhookUpdate)
        self._check(update)
        request.check_unchanged(_etag(row))
        _fill(tx, row, update)
        return Reply(_shown(row), _etag(row))

    def delete(self, tx: Transaction, request: Request) -> Reply:
        """Delete a webhook."""
        row = _find(tx.session, request)
        request.check_unchanged(_etag(row))
        tx.session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == row.id))
        tx.session.delete(row)
        return Reply(None)

    async def test(self, request: Request) -> Reply:
        """Send a test."""
        row = await self._database.read(lambda session: _find(session, request))
        secret = self._box.open(row.secret, secret_owner(row.id)).decode()
        body = {"id": new_id("evt"), "event": TEST_EVENT, "webhook_id": row.id, "created_at": timestamp()}
        answer = await self._sender.send(
            row.url, secret, TEST_EVENT, new_id("dlv"), json.dumps(body).encode()
        )
        return Reply(WebhookTested(not answer.error, answer.status, answer.error))

    def list_deliveries(self, session: Session, request: Request) -> Reply:
        """List deliveries."""
        webhook = _find(session, request)
        query: DeliveryQuery = request.query
        where: list[Any] = [DeliveryRow.webhook_id == webhook.id]
        if query.status is not None:
            where.append(DeliveryRow.status == query.status)
        show = partial(map, _delivery)
        return page_of(session, DeliveryPage, DeliveryRow, query, show, *where, newest_first=True)

    def redeliver(self, tx: Transaction, request: Request) -> Reply:
        """Deliver again."""
        webhook = _find(tx.session, request)
        delivery_id = request.path["delivery_id"]
        row = tx.session.scalar(
            select(DeliveryRow).where(DeliveryRow.id == delivery_id, DeliveryRow.webhook_id == webhook.id)
        )
        if row is None:
            raise not_found("delivery", delivery_id)
        row.status, row.attempts, row.due_at, row.updated_at = "pending", 0, tx.accepted_at, tx.now
        return Reply(_delivery(row))

    def take(self, tx: Transaction, event: CallEvent) -> None:
        """Make a delivery of an event for each webhook that wants it."""
        body = payload(event)
        for webhook in tx.session.scalars(select(WebhookRow).where(WebhookRow.status == "active")):
            if body["event"] in webhook.events.split():
                tx.session.add(
                    DeliveryRow(
                        id=new_id("dlv"),
                        webhook_id=webhook.id,
                        event_id=event.id,
                        event=body["event"],
                        body=json.dumps(body, ensure_ascii=False),
                        status="pending",
                        attempts=0,
                        due_at=tx.accepted_at,
                        response_status=None,
                        error="",
                        created_at=tx.now,
                        updated_at=tx.now,
                    )
                )

    def reseal(self, row: WebhookRow) -> bool:
        """Seal a secret with the present key; tells whether it was another."""
        if self._box.is_current(row.secret):
            return False
        owner = secret_owner(row.id)
        row.secret = self._box.seal(self._box.open(row.secret, owner), owner)
        return True

    def _check(self, update: WebhookUpdate) -> None:
        fault = url_fault(update.url, allow_private=self._sender.allow_private)
        if fault:
            raise invalid(FieldError("url", "url", fault, "write it as https://hooks.example.com/voice"))


def payload(event: CallEvent) -> dict[str, Any]:
    """What a webhook is sent of an event."""
    told: dict[str, Any] = msgspec.to_builtins(event)
    body = {name: value for name, value in told.items() if name not in INTERNAL}
    if isinstance(event, VoicemailCreated | VoicemailTranscribed):
        body["audio_url"] = f"/v1/voicemails/{event.voicemail_id}/audio"
    return body


def _fill(tx: Transaction, row: WebhookRow, update: WebhookUpdate) -> None:
    row.name = update.name
    row.url = update.url
    row.events = " ".join(dict.fromkeys(update.events))
    row.status = update.status
    row.updated_at = tx.now
    row.version += 1


def _find(session: Session, request: Request) -> WebhookRow:
    webhook_id = request.path["webhook_id"]
    row = session.scalar(select(WebhookRow).where(WebhookRow.id == webhook_id))
    if row is None:
        raise not_found("webhook", webhook_id)
    return row


def _shown(row: WebhookRow) -> WebhookShown:
    return WebhookShown(
        id=row.id,
        name=row.name,
        url=row.url,
        events=row.events.split(),
        status="active" if row.status == "active" else "inactive",
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _delivery(row: DeliveryRow) -> DeliveryShown:
    status: Any = row.status
    return DeliveryShown(
        id=row.id,
        event_id=row.event_id,
        event=row.event,
        status=status,
        attempts=row.attempts,
        response_status=row.response_status,
        error=row.error,
        next_attempt_at=due_text(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _etag(row: WebhookRow) -> str:
    return f'"{row.id}.{row.version}"'
