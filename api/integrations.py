"""The operations on integrations: credentials at carriers, also known as credentials."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.decoding import decode
from api.identifiers import new_id
from api.merge import merge_patch
from api.number_records import NumberRecords, Rewriting
from api.operations import Operation, Reply, Request
from api.pages import page_of
from api.phone_numbers import check_patch
from api.problems import FieldError, Problem, invalid, not_found
from api.secret_box import SecretBox
from api.store.database import Transaction
from api.store.tables import IntegrationRow, NumberRow
from api.types import (
    ForceQuery,
    IntegrationCreate,
    IntegrationMetadata,
    IntegrationPage,
    IntegrationShown,
    IntegrationUpdate,
    PageQuery,
)

TAG: Final = "Integrations"

IMMUTABLE: Final = frozenset({"id", "provider", "masked_key", "created_at", "updated_at", "version"})

MASKED: Final = 4
"""Last characters of a secret that are shown, if it is long enough for that to tell nothing."""

MIN_LENGTH_SHOWN: Final = 16

LISTED: Final = 20
"""Numbers that a refusal names."""

CUT_AT_ONCE: Final = 500
"""Numbers whose references are cut in one step."""

EXAMPLE: Final = {
    "name": "My Twilio Account",
    "provider": "twilio",
    "api_key": "a-twilio-auth-token",
    "metadata": {
        "account_sid": "AC00000000000000000000000000000000",
        "phone_number": "+14155550100",
        "sip_trunk": "yourtrunk.pstn.twilio.com",
    },
}


class Integrations:
    """Credentials.

    Args:
        box: seals their secrets.
        numbers: refer to them.

    """

    def __init__(self, box: SecretBox, numbers: NumberRecords) -> None:
        self._box = box
        self._numbers = numbers

    def operations(self) -> list[Operation]:
        """What can be asked about integrations, under both names."""
        one = "/v1/integrations/{integration_id}"
        operations = [
            Operation(
                id="createIntegration",
                method="POST",
                path="/v1/integrations",
                summary="Store credentials of a carrier",
                tag=TAG,
                scope="write",
                status=201,
                write=self.create,
                request=IntegrationCreate,
                response=IntegrationShown,
                etag=True,
                example=EXAMPLE,
            ),
            Operation(
                id="listIntegrations",
                method="GET",
                path="/v1/integrations",
                summary="List integrations",
                tag=TAG,
                scope="read",
                read=self.list,
                query=PageQuery,
                response=IntegrationPage,
            ),
            Operation(
                id="getIntegration",
                method="GET",
                path=one,
                summary="Get an integration; its secret is masked",
                tag=TAG,
                scope="read",
                read=self.get,
                response=IntegrationShown,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="updateIntegration",
                method="PATCH",
                path=one,
                summary="Change an integration (JSON Merge Patch)",
                tag=TAG,
                scope="write",
                write=self.update,
                request=IntegrationUpdate,
                response=IntegrationShown,
                problems=("not-found", "in-use", "precondition-failed"),
                etag=True,
                example={"name": "Twilio, main account"},
            ),
            Operation(
                id="deleteIntegration",
                method="DELETE",
                path=one,
                summary="Delete an integration; refused if it pays for numbers; forced, if they refer to it",
                tag=TAG,
                scope="write",
                status=204,
                write=self.delete,
                query=ForceQuery,
                problems=("not-found", "in-use", "precondition-failed"),
            ),
        ]
        return operations + [_under_the_other_name(operation) for operation in operations]

    def create(self, tx: Transaction, request: Request) -> Reply:
        """Store credentials."""
        body: IntegrationCreate = request.body
        _check(body.provider, body)
        row = IntegrationRow(id=new_id("crd"), provider=body.provider, created_at=tx.now, version=0)
        tx.session.add(row)
        self._fill(tx, row, body)
        tx.session.flush()
        return Reply(_shown(row), _etag(row), {"Location": f"/v1/integrations/{row.id}"})

    def list(self, session: Session, request: Request) -> Reply:
        """List integrations."""
        query: PageQuery = request.query
        return page_of(session, IntegrationPage, IntegrationRow, query, partial(map, _shown))

    def get(self, session: Session, request: Request) -> Reply:
        """Get an integration."""
        row = _find(session, request)
        return Reply(_shown(row), _etag(row))

    def update(self, tx: Transaction, request: Request) -> Reply:
        """Change an integration."""
        row = _find(tx.session, request)
        check_patch(request.body, IntegrationUpdate, IMMUTABLE)
        present = IntegrationUpdate(name=row.name, api_key=self.api_key(row), metadata=_metadata(row))
        update = decode(merge_patch(msgspec.to_builtins(present), request.body), IntegrationUpdate)
        _check(row.provider, update)
        request.check_unchanged(_etag(row))
        if update.metadata.account_sid != _metadata(row).account_sid:
            _refuse_if_paying(tx.session, row)
        self._fill(tx, row, update)
        return Reply(_shown(row), _etag(row))

    def delete(self, tx: Transaction, request: Request) -> Reply:
        """Delete an integration that nothing refers to, or cut what does."""
        row = _find(tx.session, request)
        request.check_unchanged(_etag(row))
        _refuse_if_paying(tx.session, row)
        query: ForceQuery = request.query
        referring = select(NumberRow).where(NumberRow.credential_id == row.id).order_by(NumberRow.seq)
        numbers = list(tx.session.scalars(referring.limit(LISTED)))
        if numbers and not query.force:
            named = [{"id": number.id, "phone_number": number.phone_number} for number in numbers]
            detail = f"numbers refer to {row.id}: change them first, or delete with ?force=true"
            raise Problem("in-use", detail, extra={"numbers": named})
        while numbers := list(tx.session.scalars(referring.limit(CUT_AT_ONCE))):
            with Rewriting(self._numbers, tx, numbers):
                for number in numbers:
                    number.credential_id = None
        tx.session.delete(row)
        return Reply(None)

    def api_key(self, row: IntegrationRow) -> str:
        """The secret, for talking to the carrier."""
        return self._box.open(row.api_key, _owner(row)).decode()

    def reseal(self, row: IntegrationRow) -> bool:
        """Seal a secret with the present key; tells whether it was another."""
        if self._box.is_current(row.api_key):
            return False
        row.api_key = self._box.seal(self.api_key(row).encode(), _owner(row))
        return True

    def _fill(self, tx: Transaction, row: IntegrationRow, update: IntegrationUpdate) -> None:
        row.name = update.name
        row.api_key = self._box.seal(update.api_key.encode(), _owner(row))
        row.shown = update.api_key[-MASKED:] if len(update.api_key) >= MIN_LENGTH_SHOWN else ""
        row.details = msgspec.json.encode(update.metadata).decode()
        row.updated_at = tx.now
        row.version += 1


def _under_the_other_name(operation: Operation) -> Operation:
    return replace(
        operation,
        id=operation.id.replace("Integration", "Credential"),
        path=operation.path.replace("integrations", "credentials"),
        tag="Integrations, as credentials",
    )


def _check(provider: str, update: IntegrationUpdate) -> None:
    """Refuse what the carrier could not work with. Raises Problem."""
    if provider == "twilio" and update.metadata.account_sid is None:
        fix = "copy the Account SID (AC…) from the Twilio Console"
        raise invalid(FieldError("metadata.account_sid", "required", "Twilio needs it beside the token", fix))


def _refuse_if_paying(session: Session, row: IntegrationRow) -> None:
    """Keep the account that numbers were bought with: no other could release them. Raises Problem."""
    bought = select(NumberRow).where(NumberRow.account_id == row.id).order_by(NumberRow.seq).limit(LISTED)
    numbers = list(session.scalars(bought))
    if numbers:
        named = [{"id": number.id, "phone_number": number.phone_number} for number in numbers]
        detail = f"{row.id} pays for numbers, and only it can release them: delete those first"
        raise Problem("in-use", detail, extra={"numbers": named})


def _find(session: Session, request: Request) -> IntegrationRow:
    integration_id = request.path["integration_id"]
    row = session.scalar(select(IntegrationRow).where(IntegrationRow.id == integration_id))
    if row is None:
        raise not_found("integration", integration_id)
    return row


def _metadata(row: IntegrationRow) -> IntegrationMetadata:
    return msgspec.json.decode(row.details, type=IntegrationMetadata)


def _shown(row: IntegrationRow) -> IntegrationShown:
    return IntegrationShown(
        id=row.id,
        name=row.name,
        provider=row.provider,
        masked_key=f"••••{row.shown}",
        metadata=_metadata(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def _etag(row: IntegrationRow) -> str:
    return f'"{row.id}.{row.version}"'


def _owner(row: IntegrationRow) -> str:
    return f"integration:{row.id}"
