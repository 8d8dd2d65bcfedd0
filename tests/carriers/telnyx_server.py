"""Telnyx's REST API v2 on loopback: numbers, orders, connections and profiles of one account.

Error codes are those of Telnyx's page on API errors, read 2026-11-27.
"""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.carriers.descriptions import Description
from tests.carriers.local_carrier import Asked, LocalCarrier, Refusal

API_KEY: Final = "KEY0123456789-a-local-telnyx-key"

_NOW: Final = "2026-11-27T12:00:00Z"
_DESCRIPTION: Final = Description("telnyx")
_ROOT: Final = "/v2"
_KEYS: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")


def telnyx_error(code: str, title: str, detail: str, pointer: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    error: dict[str, Any] = {"code": code, "title": title, "detail": detail}
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    return {"errors": [error]}


TOO_MANY: Final = telnyx_error(
    "10011", "Too many requests", "You have exceeded the allowed number of requests."
)
INTERNAL: Final = telnyx_error("10007", "Unexpected error", "An unexpected error occured.")


def refusal(status: int, code: str, title: str, detail: str, pointer: str | None = None) -> Refusal:
    """An error that the carrier answers with."""
    return Refusal(status, telnyx_error(code, title, detail, pointer))


@dataclass(slots=True)
class Sellable:
    """A number that can be bought. gone: somebody else was faster, which only the order finds out."""

    phone_number: str
    country: str = "US"
    kind: str = "local"
    region: str = "CA"
    locality: str = "SAN FRANCISCO"
    monthly_cost: str = "1.00000"
    gone: bool = False
    needs_requirements: bool = False


@dataclass(slots=True)
class TelnyxServer(LocalCarrier):
    """One account.

    order_looks: times that an order is looked at before it is no longer pending, as orders are asynchronous.
    The rest is what the account has, by id.
    """

    description: Description = _DESCRIPTION
    api_key: str = API_KEY
    order_looks: int = 0
    for_sale: list[Sellable] = field(default_factory=list)
    searched: set[str] = field(default_factory=set)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    credential_connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    fqdns: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    balance: str = "100.00"
    bought: int = 0
    _pending: dict[str, int] = field(default_factory=dict)
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1_300_000_000_000_000_001))

    # What tests arrange.

    def sell(self, *phone_numbers: str, **details: Any) -> None:
        """Have numbers on offer."""
        self.for_sale += [Sellable(each, **details) for each in phone_numbers]

    def own(self, phone_number: str, /, **fields: Any) -> str:
        """Have a number already; returns its id."""
        number = self._number(phone_number) | fields
        self.numbers[number["id"]] = number
        return str(number["id"])

    def connection(self, name: str, **fields: Any) -> str:
        """Have an FQDN connection already; returns its id."""
        made = self._connection({"connection_name": name}) | fields
        self.connections[made["id"]] = made
        return str(made["id"])

    def credential_connection(self, name: str) -> str:
        """Have a connection of the guide's sort already; returns its id."""
        made = {
            "id": self._id(),
            "record_type": "credential_connection",
            "connection_name": name,
            "active": True,
            "user_name": "guideuser",
            "created_at": _NOW,
            "updated_at": _NOW,
        }
        self.credential_connections[made["id"]] = made
        return str(made["id"])

    def fqdn(self, connection_id: str, host: str, port: int | None = 5060) -> str:
        """Have an FQDN already; returns its id."""
        made = self._fqdn(
            {"connection_id": connection_id, "fqdn": host, "port": port, "dns_record_type": "a"}
        )
        self.fqdns[made["id"]] = made
        return str(made["id"])

    def number(self, phone_number: str) -> dict[str, Any]:
        """A number that the account has. Raises StopIteration."""
        return next(each for each in self.numbers.values() if each["phone_number"] == phone_number)

    # What the protocol of all local carriers asks for.

    def path_of(self, request: web.Request) -> str:
        """The description has its paths without the version."""
        return request.path.removeprefix(_ROOT)

    def authorize(self, request: web.Request) -> None:
        """A bearer key."""
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            raise refusal(401, "10009", "Authentication failed", "The API key is not valid.")

    def invalid(self, faults: Sequence[str]) -> Refusal:
        """A parameter that is not as described."""
        return refusal(422, "10015", "Bad Request", faults[0])

    def not_found(self, path: str) -> Refusal:
        """Nothing is there."""
        return refusal(
            404, "10005", "Resource not found", f"The requested resource {path} could not be found."
        )

    def handlers(self) -> Mapping[str, Callable[[Asked], tuple[int, Any]]]:
        """See `LocalCarrier`."""
        return {
            "GET /available_phone_numbers": self._search,
            "POST /number_orders": self._order,
            "GET /number_orders/{id}": lambda a: (200, {"data": self._looked_at(self._find(self.orders, a))}),
            "GET /number_orders": self._list_orders,
            "GET /phone_numbers/{id}": lambda a: (200, {"data": self._find(self.numbers, a)}),
            "PATCH /phone_numbers/{id}": self._update_number,
            "DELETE /phone_numbers/{id}": self._release,
            "GET /phone_numbers": self._list_numbers,
            "POST /fqdn_connections": self._create_connection,
            "GET /fqdn_connections/{id}": lambda a: (200, {"data": self._find(self.connections, a)}),
            "PATCH /fqdn_connections/{id}": self._update_connection,
            "DELETE /fqdn_connections/{id}": self._delete(self.connections),
            "GET /fqdn_connections": self._list_connections,
            "POST /fqdns": self._create_fqdn,
            "PATCH /fqdns/{id}": self._update_fqdn,
            "DELETE /fqdns/{id}": self._delete(self.fqdns),
            "GET /fqdns": self._list_fqdns,
            "POST /outbound_voice_profiles": self._create_profile,
            "GET /outbound_voice_profiles/{id}": lambda a: (200, {"data": self._find(self.profiles, a)}),
            "PATCH /outbound_voice_profiles/{id}": self._update_profile,
            "GET /outbound_voice_profiles": self._list_profiles,
            "GET /credential_connections": self._list_credential_connections,
            "GET /credential_connections/{id}": lambda a: (
                200,
                {"data": self._find(self.credential_connections, a)},
            ),
            "GET /balance": self._balance,
        }

    # Numbers.

    def _search(self, asked: Asked) -> tuple[int, Any]:
        query = asked.query
        contains = query.get("filter[phone_number][contains]", "").upper().translate(_KEYS)
        pattern = re.escape(contains).replace(r"\*", "[0-9]")
        found = [
            each
            for each in self.for_sale
            if each.country == query.get("filter[country_code]", each.country)
            and each.kind == query.get("filter[phone_number_type]", each.kind)
            and each.phone_number[2:].startswith(query.get("filter[national_destination_code]", ""))
            and re.search(pattern, each.phone_number)
        ][: int(query.get("filter[limit]", 100))]
        self.searched |= {each.phone_number for each in found}
        return 200, {
            "data": [_available(each) for each in found],
            "meta": {"total_results": len(found), "best_effort_results": 0},
        }

    def _order(self, asked: Asked) -> tuple[int, Any]:
        body = asked.body
        wanted = [each["phone_number"] for each in body.get("phone_numbers", [])]
        offered = {each.phone_number: each for each in self.for_sale if each.phone_number in wanted}
        for number in wanted:
            if number not in offered or number not in self.searched:
                detail = f"{number} is not available; search for it again."
                raise refusal(
                    400, "10027", "Phone number not available", detail, "/phone_numbers/0/phone_number"
                )
        if float(self.balance) < float(offered[wanted[0]].monthly_cost):
            raise refusal(403, "20100", "Insufficient Funds", "You do not have enough funds for this order.")
        connection = body.get("connection_id")
        if connection is not None and connection not in self.connections | self.credential_connections:
            raise refusal(
                422, "10017", "Associated resource does not exist", "connection_id", "/connection_id"
            )
        order_id = str(uuid.uuid4())
        self.orders[order_id] = {
            "id": order_id,
            "record_type": "number_order",
            "status": "pending",
            "phone_numbers": [_ordered(each, offered[each].country) for each in wanted],
            "phone_numbers_count": len(wanted),
            "connection_id": connection,
            "customer_reference": body.get("customer_reference"),
            "requirements_met": not any(each.needs_requirements for each in offered.values()),
            "sub_number_orders_ids": [],
            "created_at": _NOW,
            "updated_at": _NOW,
        }
        self._pending[order_id] = self.order_looks
        self.hide(order_id)
        return 200, {"data": dict(self.orders[order_id])}

    def _looked_at(self, order: dict[str, Any]) -> dict[str, Any]:
        """An order goes on as it is looked at; with `order_looks` at zero it is through at the first look."""
        if order["status"] == "pending" and order["requirements_met"]:
            if self._pending[order["id"]] <= 0:
                self.settle(order["id"])
            self._pending[order["id"]] -= 1
        return order

    def settle(self, order_id: str) -> None:
        """Let an order succeed, or fail if a number of it is gone."""
        order = self.orders[order_id]
        wanted = {each["phone_number"] for each in order["phone_numbers"]}
        offers = [each for each in self.for_sale if each.phone_number in wanted]
        failed = len(offers) < len(wanted) or any(each.gone for each in offers)
        order["status"] = "failure" if failed else "success"
        for each in order["phone_numbers"]:
            each["status"] = order["status"]
        self.for_sale = [each for each in self.for_sale if each.phone_number not in wanted]
        if failed:
            return
        for number in wanted:
            made = self.own(number, connection_id=order["connection_id"])
            self.numbers[made]["customer_reference"] = order["customer_reference"]
            self.hide(made)
            self.bought += 1

    def _list_orders(self, asked: Asked) -> tuple[int, Any]:
        reference = asked.query.get("filter[customer_reference]")
        found = {
            each["id"]: self._looked_at(each)
            for each in self.orders.values()
            if reference in (None, each["customer_reference"])
        }
        return self._page(asked, {name: _listed(each) for name, each in found.items()})

    def _list_numbers(self, asked: Asked) -> tuple[int, Any]:
        query = asked.query
        wanted = query.get("filter[phone_number]", "").lstrip("+")
        found = {
            name: each
            for name, each in self.numbers.items()
            if wanted in each["phone_number"]
            and query.get("filter[connection_id]", each["connection_id"]) == each["connection_id"]
            and query.get("filter[customer_reference]", each["customer_reference"])
            == each["customer_reference"]
        }
        return self._page(asked, found)

    def _update_number(self, asked: Asked) -> tuple[int, Any]:
        number = self._find(self.numbers, asked)
        connection = asked.body.get("connection_id", number["connection_id"])
        known = self.connections | self.credential_connections
        if connection is not None and connection not in known:
            raise refusal(
                422, "10017", "Associated resource does not exist", "connection_id", "/connection_id"
            )
        number |= asked.body
        number["connection_name"] = known[connection]["connection_name"] if connection else None
        return 200, {"data": number}

    def _release(self, asked: Asked) -> tuple[int, Any]:
        number = self._find(self.numbers, asked)
        if number["deletion_lock_enabled"]:
            raise refusal(403, "10010", "Authorization failed", "The number has a deletion lock.")
        del self.numbers[number["id"]]
        shown = (
            "id",
            "record_type",
            "phone_number",
            "connection_id",
            "connection_name",
            "customer_reference",
        )
        return 200, {"data": {name: number[name] for name in shown} | {"status": "deleted"}}

    # Connections.

    def _create_connection(self, asked: Asked) -> tuple[int, Any]:
        name = asked.body["connection_name"]
        if any(each["connection_name"] == name for each in self.connections.values()):
            raise refusal(
                422, "10012", "Duplicate resource", "connection_name has been taken.", "/connection_name"
            )
        made = self._connection(asked.body)
        self.connections[made["id"]] = made
        self.hide(made["id"])
        return 201, {"data": made}

    def _update_connection(self, asked: Asked) -> tuple[int, Any]:
        connection = self._find(self.connections, asked)
        for name, value in asked.body.items():
            if isinstance(value, dict) and isinstance(connection.get(name), dict):
                connection[name] |= value
            else:
                connection[name] = value
        return 200, {"data": connection}

    def _list_connections(self, asked: Asked) -> tuple[int, Any]:
        part = asked.query.get("filter[connection_name][contains]", "").lower()
        found = {
            name: each for name, each in self.connections.items() if part in each["connection_name"].lower()
        }
        return self._page(asked, found)

    def _list_credential_connections(self, asked: Asked) -> tuple[int, Any]:
        return self._page(asked, self.credential_connections)

    def _create_fqdn(self, asked: Asked) -> tuple[int, Any]:
        body = asked.body
        if body["connection_id"] not in self.connections:
            raise refusal(
                422, "10017", "Associated resource does not exist", "connection_id", "/connection_id"
            )
        self._refuse_wrong_record(body)
        made = self._fqdn(body)
        self.fqdns[made["id"]] = made
        self.hide(made["id"])
        return 201, {"data": made}

    def _update_fqdn(self, asked: Asked) -> tuple[int, Any]:
        found = self._find(self.fqdns, asked)
        self._refuse_wrong_record(found | asked.body)
        found |= asked.body
        return 200, {"data": found}

    def _refuse_wrong_record(self, body: Mapping[str, Any]) -> None:
        """A port goes with an A record, none with SRV."""
        if (body["dns_record_type"] == "srv") != (body.get("port") is None):
            raise refusal(
                422, "10015", "Bad Request", "dns_record_type does not go with port", "/dns_record_type"
            )

    def _list_fqdns(self, asked: Asked) -> tuple[int, Any]:
        wanted = asked.query.get("filter[connection_id]")
        found = {name: each for name, each in self.fqdns.items() if wanted in (None, each["connection_id"])}
        return self._page(asked, found)

    def _create_profile(self, asked: Asked) -> tuple[int, Any]:
        made = {
            "id": self._id(),
            "record_type": "outbound_voice_profile",
            "enabled": True,
            "traffic_type": "conversational",
            "service_plan": "global",
            "connections_count": 0,
            "whitelisted_destinations": ["US", "CA"],
            "created_at": _NOW,
            "updated_at": _NOW,
        } | asked.body
        self.profiles[made["id"]] = made
        self.hide(made["id"])
        return 201, {"data": made}

    def _update_profile(self, asked: Asked) -> tuple[int, Any]:
        profile = self._find(self.profiles, asked)
        profile |= asked.body
        return 200, {"data": profile}

    def _list_profiles(self, asked: Asked) -> tuple[int, Any]:
        part = asked.query.get("filter[name][contains]", "").lower()
        return self._page(
            asked, {name: each for name, each in self.profiles.items() if part in each["name"].lower()}
        )

    def _balance(self, asked: Asked) -> tuple[int, Any]:
        data = {"record_type": "balance", "balance": self.balance, "credit_limit": "0.00", "currency": "USD"}
        return 200, {"data": data | {"available_credit": self.balance, "pending": "0.00"}}

    # What several need.

    def _delete(self, found: dict[str, dict[str, Any]]) -> Callable[[Asked], tuple[int, Any]]:
        return lambda asked: (200, {"data": found.pop(self._find(found, asked)["id"])})

    def _find(self, found: Mapping[str, dict[str, Any]], asked: Asked) -> dict[str, Any]:
        if asked.path["id"] not in found:
            raise self.not_found(asked.path["id"])
        return found[asked.path["id"]]

    def _page(self, asked: Asked, found: Mapping[str, Any]) -> tuple[int, Any]:
        identities = self.visible(list(found))
        size, page = int(asked.query.get("page[size]", 20)), int(asked.query.get("page[number]", 1))
        cut = identities[(page - 1) * size : page * size]
        meta = {
            "page_number": page,
            "page_size": size,
            "total_pages": -(-len(identities) // size),
            "total_results": len(identities),
        }
        return 200, {"data": [found[each] for each in cut], "meta": meta}

    def _id(self) -> str:
        return str(next(self._serial))

    def _number(self, phone_number: str) -> dict[str, Any]:
        return {
            "id": self._id(),
            "record_type": "phone_number",
            "phone_number": phone_number,
            "phone_number_type": "local",
            "country_iso_alpha2": "US",
            "status": "active",
            "tags": [],
            "connection_id": None,
            "connection_name": None,
            "customer_reference": None,
            "deletion_lock_enabled": False,
            "external_pin": None,
            "purchased_at": _NOW,
            "created_at": _NOW,
            "updated_at": _NOW,
        }

    def _connection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A connection with Telnyx's own settings for what is not given."""
        made = {
            "id": self._id(),
            "record_type": "fqdn_connection",
            "active": True,
            "transport_protocol": "UDP",
            "encrypted_media": None,
            "dtmf_type": "RFC 2833",
            "inbound": {},
            "outbound": {},
            "user_name": f"telnyx{next(self._serial) % 10_000}",
            "password": "made-by-telnyx-1A",
            "txt_name": "telnyx_verification",
            "txt_value": "abc",
            "txt_ttl": 3600,
            "created_at": _NOW,
            "updated_at": _NOW,
        } | dict(body)
        made["inbound"] = {
            "ani_number_format": "E.164-national",
            "dnis_number_format": "e164",
            "codecs": ["G722", "G711U", "G711A", "G729", "OPUS", "H.264"],
            "default_routing_method": "sequential",
            "sip_compact_headers_enabled": True,
            "sip_region": "US",
            "timeout_1xx_secs": 3,
            "timeout_2xx_secs": 90,
            "default_primary_fqdn_id": None,
            "default_secondary_fqdn_id": None,
            "default_tertiary_fqdn_id": None,
        } | body.get("inbound", {})
        made["outbound"] = {"ip_authentication_method": "ip-authentication"} | body.get("outbound", {})
        return made

    def _fqdn(self, body: Mapping[str, Any]) -> dict[str, Any]:
        made = {"id": self._id(), "record_type": "fqdn", "port": None, "created_at": _NOW, "updated_at": _NOW}
        return made | dict(body)


def _available(offer: Sellable) -> dict[str, Any]:
    return {
        "record_type": "available_phone_number",
        "phone_number": offer.phone_number,
        "vanity_format": "",
        "best_effort": False,
        "quickship": True,
        "reservable": True,
        "features": [{"name": "voice"}, {"name": "sms"}],
        "region_information": [
            {"region_type": "rate_center", "region_name": offer.locality},
            {"region_type": "state", "region_name": offer.region},
            {"region_type": "country_code", "region_name": offer.country},
        ],
        "cost_information": {
            "upfront_cost": "1.00000",
            "monthly_cost": offer.monthly_cost,
            "currency": "USD",
        },
    }


def _ordered(phone_number: str, country: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "record_type": "number_order_phone_number",
        "phone_number": phone_number,
        "phone_number_type": "local",
        "country_code": country,
        "regulatory_requirements": [],
        "requirements_met": True,
        "requirements_status": "approved",
        "status": "pending",
    }


def _listed(order: Mapping[str, Any]) -> dict[str, Any]:
    """An order in a list: of its numbers no more than this."""
    numbers = [{"id": each["id"], "phone_number": each["phone_number"]} for each in order["phone_numbers"]]
    return dict(order) | {"phone_numbers": numbers}
