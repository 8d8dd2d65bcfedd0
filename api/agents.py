"""The operations on agents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.decoding import decode
from api.identifiers import new_id
from api.merge import merge_patch
from api.number_records import NumberRecords, greeting_fault, message_faults, unknown_greetings
from api.operations import Operation, Reply, Request
from api.pages import page_of
from api.phone_numbers import check_patch
from api.problems import FieldError, Problem, invalid, not_found
from api.secret_box import SecretBox
from api.store.database import Transaction
from api.store.tables import AgentRow, NumberAgentRow, NumberCountRow, NumberRow, OutboxRow
from api.types import (
    AgentCreate,
    AgentListQuery,
    AgentPage,
    AgentShown,
    AgentUpdate,
    EndpointBody,
    EndpointShown,
    ForceQuery,
)
from routing.cache import encode
from routing.endpoint_rules import WITHHELD, faults
from routing.models import Agent, Endpoint

TAG: Final = "Agents"

IMMUTABLE: Final = frozenset({"id", "created_at", "updated_at", "version", "numbers"})

SECRET_HEADER: Final = re.compile(
    r"authorization|cookie|token|secret|password|api.?key|signature", re.IGNORECASE
)
"""Headers whose values are not returned."""

LISTED: Final = 20
"""Numbers that a refusal names; the rest it counts."""

CUT_AT_ONCE: Final = 500
"""Numbers whose references are cut in one step."""

EXAMPLE: Final = {
    "name": "Sales agent",
    "endpoints": [{"url": "sip:bot@192.0.2.10:5060", "priority": 10, "weight": 10, "max_calls": 50}],
    "voicemail_message": "Sorry, we missed you. Please leave a message.",
}

_OUTBOX: Final = "outbox"

_decoder: Final = msgspec.json.Decoder(list[EndpointBody])


class Agents:
    """Who takes calls.

    Args:
        box: seals endpoints, whose headers may hold secrets.
        numbers: refer to agents.

    """

    def __init__(self, box: SecretBox, numbers: NumberRecords) -> None:
        self._box = box
        self._numbers = numbers

    def operations(self) -> list[Operation]:
        """What can be asked about agents."""
        one = "/v1/agents/{agent_id}"
        return [
            Operation(
                id="createAgent",
                method="POST",
                path="/v1/agents",
                summary="Create an agent",
                tag=TAG,
                scope="write",
                status=201,
                write=self.create,
                request=AgentCreate,
                response=AgentShown,
                problems=("id-exists",),
                etag=True,
                example=EXAMPLE,
            ),
            Operation(
                id="listAgents",
                method="GET",
                path="/v1/agents",
                summary="List agents",
                tag=TAG,
                scope="read",
                read=self.list,
                lags=True,
                query=AgentListQuery,
                response=AgentPage,
            ),
            Operation(
                id="getAgent",
                method="GET",
                path=one,
                summary="Get an agent",
                tag=TAG,
                scope="read",
                read=self.get,
                response=AgentShown,
                problems=("not-found",),
                etag=True,
            ),
            Operation(
                id="updateAgent",
                method="PATCH",
                path=one,
                summary="Change an agent (JSON Merge Patch); `endpoints` are replaced as a whole",
                tag=TAG,
                scope="write",
                write=self.update,
                request=AgentUpdate,
                response=AgentShown,
                problems=("not-found", "precondition-failed"),
                etag=True,
                example={"voicemail_message": None},
            ),
            Operation(
                id="deleteAgent",
                method="DELETE",
                path=one,
                summary="Delete an agent; refused while numbers refer to it, unless forced",
                tag=TAG,
                scope="write",
                status=204,
                write=self.delete,
                query=ForceQuery,
                problems=("not-found", "in-use", "precondition-failed"),
            ),
        ]

    def create(self, tx: Transaction, request: Request) -> Reply:
        """Create an agent."""
        body: AgentCreate = request.body
        _check(tx.session, body)
        if body.id is not None and _by_id(tx.session, body.id) is not None:
            raise Problem("id-exists", f"there is an agent {body.id} already: PATCH it, or choose another id")
        row = self.add(tx, body)
        return self._reply(tx.session, row, {"Location": f"/v1/agents/{row.id}"})

    def add(self, tx: Transaction, body: AgentCreate) -> AgentRow:
        """Insert an agent that is in order."""
        row = AgentRow(id=body.id or new_id("agt"), created_at=tx.now, version=0)
        tx.session.add(row)
        self._fill(tx, row, body)
        tx.session.flush()
        return row

    def list(self, session: Session, request: Request) -> Reply:
        """List agents."""
        query: AgentListQuery = request.query
        where = [] if query.name is None else [AgentRow.name == query.name]

        def show(rows: Sequence[AgentRow]) -> Iterator[AgentShown]:
            counts = _counts(session, [row.id for row in rows])
            return (self._shown(row, counts.get(row.id, 0)) for row in rows)

        return page_of(session, AgentPage, AgentRow, query, show, *where)

    def get(self, session: Session, request: Request) -> Reply:
        """Get an agent."""
        return self._reply(session, _find(session, request.path["agent_id"]))

    def update(self, tx: Transaction, request: Request) -> Reply:
        """Change an agent."""
        row = _find(tx.session, request.path["agent_id"])
        check_patch(request.body, AgentUpdate, IMMUTABLE)
        merged = merge_patch(msgspec.to_builtins(self._writable(row)), request.body)
        update = decode(merged, AgentUpdate)
        _check(tx.session, update)
        request.check_unchanged(_etag(row))
        self._fill(tx, row, update)
        return self._reply(tx.session, row)

    def delete(self, tx: Transaction, request: Request) -> Reply:
        """Delete an agent that nothing refers to, or cut what does."""
        row = _find(tx.session, request.path["agent_id"])
        request.check_unchanged(_etag(row))
        query: ForceQuery = request.query
        used = _counts(tx.session, [row.id]).get(row.id, 0)
        if used and not query.force:
            named = [
                {"id": number.id, "phone_number": number.phone_number}
                for number in _referring(tx.session, row.id, LISTED)
            ]
            detail = (
                f"{used} numbers refer to {row.id}: route them elsewhere first, or delete with ?force=true"
            )
            raise Problem("in-use", detail, extra={"numbers": named, "total": used})
        while numbers := _referring(tx.session, row.id, CUT_AT_ONCE):
            self._numbers.cut(tx, numbers, row.id)
        tx.session.delete(row)
        tx.session.flush()
        tx.route_changed("agent", row.id, None)
        return Reply(None)

    def reseal(self, row: AgentRow) -> bool:
        """Seal an agent's endpoints with the present key; tells whether it was another."""
        if self._box.is_current(row.endpoints):
            return False
        row.endpoints = self._box.seal(self._box.open(row.endpoints, _owner(row)), _owner(row))
        return True

    def published(self, sealed: bytes) -> bytes:
        """An agent as the routing cache holds it, encoded, from the outbox. Raises SecretKeyError."""
        return self._box.open(sealed, _OUTBOX)

    def reseal_published(self, row: OutboxRow) -> bool:
        """Seal what the outbox has of an agent with the present key; tells whether it was another."""
        if row.kind != "agent" or row.value is None or self._box.is_current(row.value):
            return False
        row.value = self._box.seal(self.published(row.value), _OUTBOX)
        return True

    def routed(self, row: AgentRow) -> Agent:
        """An agent as the routing cache holds it."""
        endpoints = tuple(Endpoint(**msgspec.structs.asdict(each)) for each in self._endpoints(row))
        recording: Any = row.recording
        return Agent(row.id, row.name, endpoints, row.voicemail_message, recording, row.voicemail_greeting)

    def silence(self, tx: Transaction, row: AgentRow) -> None:
        """Have an agent refer to no greeting any more."""
        self._fill(tx, row, msgspec.structs.replace(self._writable(row), voicemail_greeting=None))

    def _fill(self, tx: Transaction, row: AgentRow, update: AgentUpdate) -> None:
        row.name = update.name
        row.endpoints = self._box.seal(msgspec.json.encode(update.endpoints), _owner(row))
        row.voicemail_message = update.voicemail_message
        row.recording = update.recording
        row.voicemail_greeting = update.voicemail_greeting
        row.updated_at = tx.now
        row.version += 1
        # The outbox keeps what it is told for long, and headers may be secrets.
        tx.route_changed("agent", row.id, self._box.seal(encode(self.routed(row)), _OUTBOX))

    def _endpoints(self, row: AgentRow) -> Any:
        return _decoder.decode(self._box.open(row.endpoints, _owner(row)))

    def _writable(self, row: AgentRow) -> AgentUpdate:
        recording: Any = row.recording
        return AgentUpdate(
            name=row.name,
            endpoints=self._endpoints(row),
            voicemail_message=row.voicemail_message,
            recording=recording,
            voicemail_greeting=row.voicemail_greeting,
        )

    def _shown(self, row: AgentRow, numbers: int) -> AgentShown:
        recording: Any = row.recording
        return AgentShown(
            id=row.id,
            name=row.name,
            endpoints=[_endpoint_shown(each) for each in self._endpoints(row)],
            voicemail_message=row.voicemail_message,
            recording=recording,
            voicemail_greeting=row.voicemail_greeting,
            numbers=numbers,
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    def _reply(self, session: Session, row: AgentRow, headers: dict[str, str] | None = None) -> Reply:
        numbers = _counts(session, [row.id]).get(row.id, 0)
        return Reply(self._shown(row, numbers), _etag(row), headers or {})


def _endpoint_shown(endpoint: EndpointBody) -> EndpointShown:
    headers = {
        name: WITHHELD if SECRET_HEADER.search(name) else value for name, value in endpoint.headers.items()
    }
    return EndpointShown(
        url=endpoint.url,
        protocol=endpoint.protocol,
        priority=endpoint.priority,
        weight=endpoint.weight,
        max_calls=endpoint.max_calls,
        headers=headers,
        auth_token=None if endpoint.auth_token is None else WITHHELD,
        options=endpoint.options,
        region=endpoint.region,
    )


def _check(session: Session, update: AgentUpdate) -> None:
    """Refuse endpoints that make no sense, and what refers to nothing. Raises Problem."""
    errors = [*message_faults("voicemail_message", update.voicemail_message)]
    errors += [
        greeting_fault("voicemail_greeting", each)
        for each in unknown_greetings(session, [update.voicemail_greeting])
    ]
    for index, body in enumerate(update.endpoints):
        place = f"endpoints[{index}]"
        for field, fix in faults(Endpoint(**msgspec.structs.asdict(body))):
            errors.append(FieldError(f"{place}.{field}", "endpoint", "makes no sense", fix))
        for field, values in (("headers", body.headers.values()), ("auth_token", [body.auth_token])):
            if WITHHELD in values:
                fix = "send the real value, or leave endpoints out of the patch to keep them"
                detail = "is the mask of a value that is not returned"
                errors.append(FieldError(f"{place}.{field}", "masked", detail, fix))
    if errors:
        raise invalid(*errors)


def _by_id(session: Session, agent_id: str) -> AgentRow | None:
    return session.scalar(select(AgentRow).where(AgentRow.id == agent_id))


def _find(session: Session, agent_id: str) -> AgentRow:
    row = _by_id(session, agent_id)
    if row is None:
        raise not_found("agent", agent_id)
    return row


def _etag(row: AgentRow) -> str:
    return f'"{row.id}.{row.version}"'


def _counts(session: Session, agent_ids: list[str]) -> dict[str, int]:
    """How many numbers refer to each agent."""
    if not agent_ids:
        return {}
    table = NumberCountRow
    query = (
        select(table.agent_id, func.sum(table.count))
        .where(table.agent_id.in_(agent_ids))
        .group_by(table.agent_id)
    )
    return {agent_id: int(total) for agent_id, total in session.execute(query)}


def _referring(session: Session, agent_id: str, limit: int) -> list[NumberRow]:
    query = (
        select(NumberRow)
        .join(NumberAgentRow, NumberAgentRow.number_seq == NumberRow.seq)
        .where(NumberAgentRow.agent_id == agent_id)
        .order_by(NumberRow.seq)
        .limit(limit)
    )
    return list(session.scalars(query))


def _owner(row: AgentRow) -> str:
    return f"agent:{row.id}"
