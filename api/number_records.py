"""A phone number in the store, and all that has to change with it: references, counts, the route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import msgspec
from sqlalchemy import Table, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from api.identifiers import new_id, timestamp
from api.problems import FieldError
from api.provisioning_types import TAKES_CALLS, Progress, State, read, written
from api.secret_box import SecretBox
from api.store.database import Transaction
from api.store.tables import (
    AgentRow,
    GreetingRow,
    IntegrationRow,
    NumberAgentRow,
    NumberCountRow,
    NumberRow,
)
from api.types import (
    InboundRoutingBody,
    PhoneNumberCreate,
    PhoneNumberShown,
    PhoneNumberUpdate,
    ProviderConfig,
    ProviderConfigShown,
    Provisioning,
)
from routing import message_variables
from routing.cache import encode
from routing.models import Fallback, InboundRouting, PhoneNumber

ALL: Final = ""
"""In place of an agent's id: of all numbers."""

Status = Literal["active", "inactive"]


@dataclass(frozen=True, slots=True)
class Bought:
    """Of a number that a carrier is about to be asked for.

    account_id: the integration's; None for the sandbox; due_at: when somebody else may go on with it.
    """

    reference: str
    account_id: str | None
    progress: Progress
    due_at: float


Sort = tuple[str, str, str]
"""An agent's id or ALL, provider, status."""

_routing_decoder: Final = msgspec.json.Decoder(InboundRoutingBody)
_config_decoder: Final = msgspec.json.Decoder(ProviderConfig)


class NumberRecords:
    """Numbers, written and read.

    Args:
        box: seals the trunks' passwords.

    """

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def add(
        self,
        tx: Transaction,
        numbers: Sequence[PhoneNumberCreate],
        *,
        ids: Sequence[str | None] = (),
        bought: Bought | None = None,
    ) -> list[NumberRow]:
        """Insert numbers that are in order; ids: of each, made where there is none.

        bought: of a number that is being bought; without it they were brought along.
        """
        given = ids or [None] * len(numbers)
        rows = [
            NumberRow(
                id=number_id or new_id("phn"),
                phone_number=number.phone_number,
                provider=number.provider,
                provisioning=bought and "buying",
                reference=bought and bought.reference,
                account_id=bought and bought.account_id,
                progress=bought and written(bought.progress),
                due_at=bought and bought.due_at,
                created_at=tx.now,
                updated_at=tx.now,
                version=1,
            )
            for number, number_id in zip(numbers, given, strict=True)
        ]
        for row, number in zip(rows, numbers, strict=True):
            self._fill(row, number)
            if bought is not None:
                row.status = "pending"
        tx.session.add_all(rows)
        tx.session.flush()
        self._refer(tx, rows)
        count(tx, sorts_of(rows))
        for row in rows:
            self._route(tx, row)
        return rows

    def change(self, tx: Transaction, row: NumberRow, update: PhoneNumberUpdate) -> None:
        """Bring a number to what an update, merged already, says."""
        with Rewriting(self, tx, [row]):
            self._fill(row, update)

    def provision(
        self,
        tx: Transaction,
        row: NumberRow,
        state: State | None,
        progress: Progress,
        due_at: float | None = None,
    ) -> None:
        """Say how far a number is at its carrier; state: None once nothing is left to do there."""
        with Rewriting(self, tx, [row]):
            row.provisioning = state
            row.status = "active" if state is None else "releasing" if state == "releasing" else "pending"
            row.progress = written(progress)
            row.due_at = due_at

    def cut(self, tx: Transaction, rows: Sequence[NumberRow], agent_id: str) -> None:
        """Have numbers refer to an agent no more."""
        with Rewriting(self, tx, rows):
            for row in rows:
                row.agent_id = None if row.agent_id == agent_id else row.agent_id
                routing = routing_of(row)
                if routing is not None:
                    fallback = routing.fallback
                    kept = msgspec.structs.replace(
                        routing,
                        agent_id=None if routing.agent_id == agent_id else routing.agent_id,
                        fallback=None if fallback and fallback.agent_id == agent_id else fallback,
                    )
                    row.inbound_routing = msgspec.json.encode(kept).decode()

    def silence(self, tx: Transaction, rows: Sequence[NumberRow]) -> None:
        """Have numbers refer to no greeting any more."""
        with Rewriting(self, tx, rows):
            for row in rows:
                row.voicemail_greeting = None
                routing = routing_of(row)
                if routing is not None:
                    kept = msgspec.structs.replace(routing, voicemail_greeting=None)
                    row.inbound_routing = msgspec.json.encode(kept).decode()

    def remove(self, tx: Transaction, row: NumberRow) -> None:
        """Forget a number."""
        count(tx, {sort: -by for sort, by in sorts_of([row]).items()})
        tx.route_changed("number", row.phone_number, None)
        tx.session.delete(row)
        tx.session.flush()

    def writable(self, row: NumberRow) -> PhoneNumberUpdate:
        """What of a number can be changed, as it is."""
        return PhoneNumberUpdate(
            friendly_name=row.friendly_name,
            agent_id=row.agent_id,
            status=cast("Status", row.status),
            inbound_routing=routing_of(row),
            provider_config=self._config(row),
            credential_id=row.credential_id,
        )

    def shown(self, row: NumberRow) -> PhoneNumberShown:
        """A number as the API shows it."""
        config = self._config(row)
        progress = read(row.progress)
        return PhoneNumberShown(
            id=row.id,
            phone_number=row.phone_number,
            friendly_name=row.friendly_name,
            provider=row.provider,
            agent_id=row.agent_id,
            status=cast("Any", row.status),
            provisioning=None if row.provisioning is None else provisioning_of(row, progress),
            purchased=row.reference is not None,
            inbound_trunk_id=progress.trunk_id,
            outbound_trunk_id=progress.trunk_id,
            dispatch_rule_id=None,
            credential_id=row.credential_id,
            provider_config=None
            if config is None
            else ProviderConfigShown(
                trunk_address=config.trunk_address,
                auth_username=config.auth_username,
                auth_password_set=config.auth_password is not None,
            ),
            inbound_routing=routing_of(row),
            created_at=row.created_at,
            updated_at=row.updated_at,
            version=row.version,
        )

    def _fill(self, row: NumberRow, update: PhoneNumberUpdate) -> None:
        row.friendly_name = update.friendly_name
        row.agent_id = update.agent_id
        row.status = update.status
        row.credential_id = update.credential_id
        row.inbound_routing = row.voicemail_greeting = None
        if update.inbound_routing is not None:
            row.inbound_routing = msgspec.json.encode(update.inbound_routing).decode()
            row.voicemail_greeting = update.inbound_routing.voicemail_greeting
        row.provider_config = None
        if update.provider_config is not None:
            sealed = self._box.seal(msgspec.json.encode(update.provider_config), _owner(row))
            row.provider_config = sealed

    def _config(self, row: NumberRow) -> ProviderConfig | None:
        if row.provider_config is None:
            return None
        return _config_decoder.decode(self._box.open(row.provider_config, _owner(row)))

    def reseal(self, row: NumberRow) -> bool:
        """Seal the trunk's password with the present key; tells whether it was another."""
        if row.provider_config is None or self._box.is_current(row.provider_config):
            return False
        row.provider_config = self._box.seal(self._box.open(row.provider_config, _owner(row)), _owner(row))
        return True

    def _refer(self, tx: Transaction, rows: Iterable[NumberRow]) -> None:
        references = [
            {"agent_id": agent_id, "number_seq": row.seq} for row in rows for agent_id in agents_of(row)
        ]
        if references:
            tx.session.connection().execute(insert(cast("Table", NumberAgentRow.__table__)), references)

    def _route(self, tx: Transaction, row: NumberRow) -> None:
        # Told for every change, since the ETags of lists hang on it too.
        takes_calls = row.provisioning in TAKES_CALLS
        tx.route_changed("number", row.phone_number, encode(routed(row)) if takes_calls else None)


class Rewriting:
    """Numbers that are being changed: what depends on them follows at the end of the block."""

    def __init__(self, records: NumberRecords, tx: Transaction, rows: Sequence[NumberRow]) -> None:
        self._records = records
        self._tx = tx
        self._rows = rows
        self._counted: Counter[Sort] = Counter()
        self._agents: dict[int, set[str]] = {}

    def __enter__(self) -> None:
        self._counted = sorts_of(self._rows)
        self._agents = {row.seq: agents_of(row) for row in self._rows}

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            return  # the transaction is rolled back
        tx, rows = self._tx, self._rows
        for row in rows:
            row.updated_at = tx.now
            row.version += 1
        # Most changes leave agents and status alone, and then there is nothing to write about them.
        moved = [row for row in rows if agents_of(row) != self._agents[row.seq]]
        if moved:
            referred = NumberAgentRow.number_seq.in_([row.seq for row in moved])
            tx.session.execute(delete(NumberAgentRow).where(referred))
        tx.session.flush()
        self._records._refer(tx, moved)
        counted = sorts_of(rows)
        counted.subtract(self._counted)
        count(tx, counted)
        for row in rows:
            self._records._route(tx, row)


def routed(row: NumberRow) -> PhoneNumber:
    """A number as the routing cache holds it."""
    body = routing_of(row)
    routing = None
    if body is not None:
        routing = InboundRouting(
            agent_id=body.agent_id,
            fallback=Fallback(body.fallback.agent_id) if body.fallback else None,
            voicemail_message=body.voicemail_message,
            voicemail=body.voicemail,
            answer_first=body.answer_first,
            recording=body.recording,
            voicemail_greeting=body.voicemail_greeting,
        )
    return PhoneNumber(
        id=row.id,
        phone_number=row.phone_number,
        friendly_name=row.friendly_name,
        provider=row.provider,
        agent_id=row.agent_id,
        # msgspec leaves a default out only if it is the very same object; equal routes must be equal bytes.
        # One that is being wired takes calls too: the first may come before we have heard that it is.
        status="active" if row.status in {"active", "pending"} else "inactive",
        inbound_routing=routing,
        updated_at=row.updated_at,
    )


def provisioning_of(row: NumberRow, progress: Progress) -> Provisioning:
    """How far a number is at its carrier, as the API shows it."""
    due = None if progress.leased or row.due_at is None else datetime.fromtimestamp(row.due_at, UTC)
    return Provisioning(
        state=cast("Any", row.provisioning or "finished"),
        steps=progress.steps,
        attempts=progress.attempts,
        next_attempt_at=None if due is None else timestamp(due),
    )


def routing_of(row: NumberRow) -> InboundRoutingBody | None:
    """Where calls to a number go."""
    return None if row.inbound_routing is None else _routing_decoder.decode(row.inbound_routing)


def agents_of(row: NumberRow) -> set[str]:
    """Every agent that a number refers to."""
    return {agent_id for _, agent_id in references_of(row.agent_id, routing_of(row))}


def references_of(agent_id: str | None, routing: InboundRoutingBody | None) -> list[tuple[str, str]]:
    """Fields that refer to agents, and the agents."""
    fields = [("agent_id", agent_id)]
    if routing is not None:
        fallback = routing.fallback.agent_id if routing.fallback else None
        fields += [("inbound_routing.agent_id", routing.agent_id)]
        fields += [("inbound_routing.fallback.agent_id", fallback)]
    return [(field, each) for field, each in fields if each is not None]


def faults_of(
    session: Session, updates: Sequence[PhoneNumberUpdate], *, need_agent: bool = True
) -> list[list[FieldError]]:
    """What each update gets wrong about others: agents, integrations and greetings that do not exist.

    need_agent: whether routing without any agent is a fault.
    """
    named = {each for one in updates for _, each in references_of(one.agent_id, one.inbound_routing)}
    agents = set(session.scalars(select(AgentRow.id).where(AgentRow.id.in_(named)))) if named else set()
    credentials = {one.credential_id for one in updates if one.credential_id is not None}
    known = (
        set(session.scalars(select(IntegrationRow.id).where(IntegrationRow.id.in_(credentials))))
        if credentials
        else set()
    )
    routings = [one.inbound_routing for one in updates if one.inbound_routing is not None]
    silent = unknown_greetings(session, (each.voicemail_greeting for each in routings))
    return [
        [*_faults(one, agents, known, need_agent), *_voicemail_faults(one.inbound_routing, silent)]
        for one in updates
    ]


def unknown_greetings(session: Session, greeting_ids: Iterable[str | None]) -> set[str]:
    """Those of these greetings that do not exist."""
    named = {each for each in greeting_ids if each is not None}
    if not named:
        return set()
    return named - set(session.scalars(select(GreetingRow.id).where(GreetingRow.id.in_(named))))


def greeting_fault(field: str, greeting_id: str) -> FieldError:
    """What is wrong with a field that names a greeting that does not exist."""
    fix = "upload it with POST /v1/greetings, or take one that GET /v1/greetings lists"
    return FieldError(field, "reference", f"there is no greeting {greeting_id}", fix)


def message_faults(field: str, message: str | None) -> Iterable[FieldError]:
    """What is wrong with the variables of a voicemail message."""
    for detail, fix in message_variables.faults(message or ""):
        yield FieldError(field, "variable", detail, fix)


def _voicemail_faults(routing: InboundRoutingBody | None, silent: set[str]) -> Iterable[FieldError]:
    """silent: greetings that do not exist."""
    if routing is None:
        return
    yield from message_faults("inbound_routing.voicemail_message", routing.voicemail_message)
    if routing.voicemail_greeting in silent:
        yield greeting_fault("inbound_routing.voicemail_greeting", routing.voicemail_greeting)


def _faults(
    update: PhoneNumberUpdate, agents: set[str], credentials: set[str], need_agent: bool
) -> Iterable[FieldError]:
    for field, agent_id in references_of(update.agent_id, update.inbound_routing):
        if agent_id not in agents:
            fix = "create it with POST /v1/agents, or take one that GET /v1/agents lists"
            yield FieldError(field, "reference", f"there is no agent {agent_id}", fix)
    routing = update.inbound_routing
    if need_agent and routing is not None and routing.agent_id is None and update.agent_id is None:
        fix = "give it here, or give the number an agent_id, or leave inbound_routing out"
        yield FieldError("inbound_routing.agent_id", "required", "no agent would take the calls", fix)
    if update.credential_id is not None and update.credential_id not in credentials:
        fix = "create it with POST /v1/integrations, or take one that GET /v1/integrations lists"
        detail = f"there is no integration {update.credential_id}"
        yield FieldError("credential_id", "reference", detail, fix)


def sorts_of(rows: Iterable[NumberRow]) -> Counter[Sort]:
    """How many numbers there are of each sort that lists tell the total of."""
    return Counter(
        (agent_id, row.provider, row.status) for row in rows for agent_id in (ALL, *agents_of(row))
    )


def count(tx: Transaction, changes: Mapping[Sort, int]) -> None:
    """Keep the totals of lists true."""
    names = ("agent_id", "provider", "status")
    values = [dict(zip(names, sort, strict=True)) | {"count": by} for sort, by in changes.items() if by]
    if not values:
        return
    table = NumberCountRow.__table__
    connection = tx.session.connection()
    upsert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(table)
    statement = statement.on_conflict_do_update(
        index_elements=names, set_={"count": table.c.count + statement.excluded.count}
    )
    connection.execute(statement, values)


def _owner(row: NumberRow) -> str:
    return f"number:{row.id}"
