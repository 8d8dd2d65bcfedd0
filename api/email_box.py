"""The operations on voicemails' emails: list them, and send one that was given up again."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from api.deliveries import due_text
from api.email_sender import Mailbox
from api.email_types import EmailPage, EmailQuery, EmailShown
from api.operations import Operation, Reply, Request
from api.pages import page_of
from api.problems import Problem, not_found
from api.store.database import Database, Transaction
from api.store.tables import DeliveryRow
from api.voicemail_emails import recipient
from api.voicemail_errands import EMAIL, errand_of
from routing.call_events import VoicemailCreated, decode_event

TAG: Final = "Voicemails"


class EmailBox:
    """Emails on their way, gone, and given up.

    Args:
        database: the store.
        mailbox: where they go; None if none are sent.

    """

    def __init__(self, database: Database, mailbox: Mailbox | None) -> None:
        self._database = database
        self._mailbox = mailbox

    def operations(self) -> list[Operation]:
        """What can be asked about emails."""
        return [
            Operation(
                id="listVoicemailEmails",
                method="GET",
                path="/v1/voicemail-emails",
                summary="List voicemails' emails, newest first; status=failed: those that were given up",
                tag=TAG,
                scope="read",
                read=self.list,
                query=EmailQuery,
                response=EmailPage,
            ),
            Operation(
                id="resendVoicemailEmail",
                method="POST",
                path="/v1/voicemail-emails/{email_id}/resend",
                summary="Send an email again, with all its attempts",
                tag=TAG,
                scope="write",
                write=self.resend,
                response=EmailShown,
                problems=("not-found",),
            ),
        ]

    def list(self, session: Session, request: Request) -> Reply:
        """List emails."""
        query: EmailQuery = request.query
        where: list[Any] = [DeliveryRow.webhook_id == EMAIL]
        if query.status is not None:
            where.append(DeliveryRow.status == query.status)
        return page_of(
            session,
            EmailPage,
            DeliveryRow,
            query,
            lambda rows: (self._shown(session, row) for row in rows),
            *where,
            newest_first=True,
        )

    def resend(self, tx: Transaction, request: Request) -> Reply:
        """Send again."""
        email_id = request.path["email_id"]
        row = errand_of(tx.session, EMAIL, email_id)
        if row is None:
            raise not_found("email", email_id)
        if self._mailbox is None:
            raise Problem("unavailable", "email.host is not set: no email is sent from here")
        row.status, row.attempts, row.due_at, row.updated_at = "pending", 0, tx.accepted_at, tx.now
        return Reply(self._shown(tx.session, row))

    def _shown(self, session: Session, row: DeliveryRow) -> EmailShown:
        status: Any = row.status
        event = decode_event(row.body.encode())
        number = event.to_number if isinstance(event, VoicemailCreated) else ""
        default = self._mailbox.to if self._mailbox is not None else ""
        return EmailShown(
            id=row.id,
            voicemail_id=row.event_id.removeprefix("evt_"),
            to=recipient(session, number, default) or None,
            status=status,
            attempts=row.attempts,
            error=row.error,
            next_attempt_at=due_text(row),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
