"""The operations on phone numbers: register, list, get, change, delete, and their inbound routing."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.decoding import decode, plain, refuse_unknown
from api.merge import merge_patch
from api.number_lists import NumberLists
from api.number_records import NumberRecords, faults_of, routing_of
from api.operations import Operation, Reply, Request
from api.problems import FieldError, Problem, invalid, not_found
from api.store.database import Transaction
from api.store.tables import NumberRow
from api.types import (
    InboundRoutingBody,
    NumberCursorQuery,
    NumberListQuery,
    PhoneNumberCreate,
    PhoneNumberCursorPage,
    PhoneNumberPage,
    PhoneNumberShown,
    PhoneNumberUpdate,
)

TAG: Final = "Phone numbers"

IMMUTABLE: Final = frozenset({"id", "phone_number", "provider", "created_at", "updated_at", "version"})
"""Of a number that exists."""

EXAMPLE_ROUTING: Final = {
    "agent_id": "agt_sales",
    "fallback": {"agent_id": "agt_overflow"},
    "voicemail_message": "Sorry, we missed you. Please leave a message.",
}
EXAMPLE: Final = {
    "phone_number": "+14155550100",
    "friendly_name": "Sales Line",
    "provider": "twilio",
    "agent_id": "agt_sales",
    "provider_config": {
        "trunk_address": "yourtrunk.pstn.twilio.com",
        "auth_username": "oneinbox",
        "auth_password": "correct horse battery staple",
    },
    "inbound_routing": EXAMPLE_ROUTING,
}


class PhoneNumbers:
    """Numbers that are registered."""

    def __init__(self, records: NumberRecords) -> None:
        self._records = records
        self._lists = NumberLists(records)

    def operations(self) -> list[Operation]:
        """What can be asked about numbers, apart from buying and releasing them."""
        one = "/v1/phone-numbers/{phone_id}"
        return [
            Operation(
                id="registerPhoneNumber",
                method="POST",
                path="/v1/phone-numbers",
                summary="Register a number that you bring along",
                tag=TAG,
                scope="write",
                status=201,
                write=self.register,
                request=PhoneNumberCreate,
                response=PhoneNumberShown,
                problems=("number-exists",),
                etag=True,
                example=EXAMPLE,
            ),
            Operation(
                id="listPhoneNumbers",
                method="GET",
                path="/v1/phone-numbers",
                summary="List numbers, by offset",
                tag=TAG,
                scope="read",
                read=self._lists.page,
                lags=True,
                query=NumberListQuery,
                response=PhoneNumberPage,
                etag=True,
            ),
            Operation(
                id="listPhoneNumbersByCursor",
                method="GET",
                path="/v1/phone-numbers/cursor",
                summary="List numbers, by cursor: for large sets",
                tag=TAG,
                scope="read",
                read=self._lists.cursor_page,
                lags=True,
                query=NumberCursorQuery,
                response=PhoneNumberCursorPage,
            ),
            Operation(
                id="getPhoneNumber",
                method="GET",
                path=one,
                summary="Get a number's configuration",
                tag=TAG,
                scope="read",
                read=self.get,
                response=PhoneNumberShown,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="updatePhoneNumber",
                method="PATCH",
                path=one,
                summary="Change a number (JSON Merge Patch: absent keeps, null removes)",
                tag=TAG,
                scope="write",
                write=self.update,
                request=PhoneNumberUpdate,
                response=PhoneNumberShown,
                problems=("not-found", "in-progress", "precondition-failed"),
                etag=True,
                example={"inbound_routing": {"voicemail_message": "Updated voicemail message."}},
            ),
            Operation(
                id="getInboundRouting",
                method="GET",
                path=f"{one}/inbound-routing",
                summary="Get where calls to a number go",
                tag=TAG,
                scope="read",
                read=self.get_routing,
                response=InboundRoutingBody,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="setInboundRouting",
                method="POST",
                path=f"{one}/inbound-routing",
                summary="Say where calls to a number go; replaces what was there",
                tag=TAG,
                scope="write",
                status=201,
                write=self.set_routing,
                request=InboundRoutingBody,
                response=InboundRoutingBody,
                problems=("not-found", "in-progress", "precondition-failed"),
                etag=True,
                example=EXAMPLE_ROUTING,
            ),
            Operation(
                id="removeInboundRouting",
                method="DELETE",
                path=f"{one}/inbound-routing",
                summary="Make a number outbound-only",
                tag=TAG,
                scope="write",
                status=204,
                write=self.remove_routing,
                problems=("not-found", "in-progress", "precondition-failed"),
            ),
        ]

    def register(self, tx: Transaction, request: Request) -> Reply:
        """Register a number."""
        body: PhoneNumberCreate = request.body
        refuse_if_held(tx.session, body.phone_number)
        check(tx.session, body)
        [row] = self._records.add(tx, [body])
        return self._reply(row, headers={"Location": f"/v1/phone-numbers/{row.id}"})

    def get(self, session: Session, request: Request) -> Reply:
        """Get a number."""
        return self._reply(find(session, request.path["phone_id"]))

    def update(self, tx: Transaction, request: Request) -> Reply:
        """Change a number."""
        row = find(tx.session, request.path["phone_id"])
        patch = request.body
        check_patch(patch, PhoneNumberUpdate, IMMUTABLE)
        refuse_if_provisioning(row)
        merged = merge_patch(plain(self._records.writable(row)), patch)
        update = decode(merged, PhoneNumberUpdate)
        request.check_unchanged(etag_of(row))
        check(tx.session, update, need_agent="agent_id" in patch or "inbound_routing" in patch)
        self._records.change(tx, row, update)
        return self._reply(row)

    def get_routing(self, session: Session, request: Request) -> Reply:
        """Get where calls go."""
        row = find(session, request.path["phone_id"])
        routing = routing_of(row)
        if routing is None:
            detail = f"{row.id} has no inbound_routing: it is outbound-only; POST here to add it"
            raise Problem("not-found", detail)
        return Reply(routing, etag_of(row))

    def set_routing(self, tx: Transaction, request: Request) -> Reply:
        """Replace where calls go."""
        row = self._changeable(tx, request)
        routing: InboundRoutingBody = request.body
        merged = plain(self._records.writable(row)) | {"inbound_routing": plain(routing)}
        update = decode(merged, PhoneNumberUpdate)
        check(tx.session, update)
        self._records.change(tx, row, update)
        return Reply(routing, etag_of(row))

    def remove_routing(self, tx: Transaction, request: Request) -> Reply:
        """Have no calls go anywhere."""
        row = self._changeable(tx, request)
        merged = merge_patch(plain(self._records.writable(row)), {"inbound_routing": None})
        self._records.change(tx, row, decode(merged, PhoneNumberUpdate))
        return Reply(None)

    def _changeable(self, tx: Transaction, request: Request) -> NumberRow:
        row = find(tx.session, request.path["phone_id"])
        self._check_changeable(row, request)
        return row

    @staticmethod
    def _check_changeable(row: NumberRow, request: Request) -> None:
        request.check_unchanged(etag_of(row))
        refuse_if_provisioning(row)

    def _reply(self, row: NumberRow, headers: dict[str, str] | None = None) -> Reply:
        return Reply(self._records.shown(row), etag_of(row), headers or {})


def find(session: Session, phone_id: str) -> NumberRow:
    """The number of an id. Raises Problem."""
    row = session.scalar(select(NumberRow).where(NumberRow.id == phone_id))
    if row is None:
        raise not_found("phone number", phone_id)
    return row


def etag_of(row: NumberRow) -> str:
    """What changes whenever the number does."""
    return f'"{row.id}.{row.version}"'


def refuse_if_held(session: Session, phone_number: str) -> None:
    """Say who holds a number already. Raises Problem."""
    row = session.scalar(select(NumberRow).where(NumberRow.phone_number == phone_number))
    if row is not None:
        raise Problem(
            "number-exists",
            f"{phone_number} is registered already, as {row.id}: change that one, or delete it first",
            extra={"phone_number_id": row.id, "agent_id": row.agent_id},
        )


def refuse_if_provisioning(row: NumberRow) -> None:
    """Leave a number alone while its carrier is being asked. Raises Problem."""
    if row.provisioning is not None:
        doing = {"buying": "being bought", "wiring": "being wired", "releasing": "being released"}
        detail = f"{row.id} is {doing[row.provisioning]} at {row.provider}"
        raise Problem("in-progress", detail, headers={"Retry-After": "2"})


def check(session: Session, update: PhoneNumberUpdate, *, need_agent: bool = True) -> None:
    """Refuse what refers to nothing. Raises Problem."""
    [faults] = faults_of(session, [update], need_agent=need_agent)
    if faults:
        raise invalid(*faults)


def check_patch(patch: Any, kind: type, immutable: frozenset[str]) -> None:
    """Refuse a merge patch of fields that cannot be changed, or are not known. Raises Problem."""
    if not isinstance(patch, dict):
        raise invalid(
            FieldError("body", "type", "is no object", 'send an object, as in {"agent_id": "agt_1"}')
        )
    fixed = [
        FieldError(name, "immutable", "cannot be changed", "leave it out")
        for name in patch
        if name in immutable
    ]
    if fixed:
        raise invalid(*fixed)
    refuse_unknown(patch, kind)
