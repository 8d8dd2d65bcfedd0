"""Twilio's REST API on loopback: numbers, trunks, credentials and dialing permissions of one account.

Its three hosts (api, trunking, voice) have paths that never collide, so that one address serves them all.
Error codes and their causes are from twilio.com/docs/api/errors, read 2026-11-27.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.carriers.descriptions import Description
from tests.carriers.local_carrier import Asked, LocalCarrier, Refusal

ACCOUNT_SID: Final = "AC" + "0" * 31 + "1"
AUTH_TOKEN: Final = "a-local-twilio-auth-token"

_NOW: Final = "2026-11-27T12:00:00Z"
_NOW_2010: Final = "Fri, 27 Nov 2026 12:00:00 +0000"
_DESCRIPTION: Final = Description("twilio")
_KEYS: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")


def twilio_error(status: int, code: int, message: str) -> dict[str, Any]:
    """The body of an error."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more, "status": status}


TOO_MANY: Final = twilio_error(429, 20429, "Too Many Requests")
INTERNAL: Final = twilio_error(500, 20500, "Internal Server Error")
UNAVAILABLE: Final = twilio_error(503, 20503, "Service unavailable")


def refusal(status: int, code: int, message: str) -> Refusal:
    """An error that the carrier answers with."""
    return Refusal(status, twilio_error(status, code, message))


@dataclass(slots=True)
class Sellable:
    """A number that can be bought. kind: of the search that finds it; needs_bundle: by a regulation."""

    phone_number: str
    country: str = "US"
    kind: str = "Local"
    region: str | None = "CA"
    locality: str | None = "San Francisco"
    needs_bundle: bool = False


@dataclass(slots=True)
class TwilioServer(LocalCarrier):
    """One account. suspended: whether it may do nothing at all; the rest is what it has, by SID."""

    description: Description = _DESCRIPTION
    account_sid: str = ACCOUNT_SID
    auth_token: str = AUTH_TOKEN
    suspended: bool = False
    for_sale: list[Sellable] = field(default_factory=list)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    trunks: dict[str, dict[str, Any]] = field(default_factory=dict)
    origination: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    trunk_credentials: dict[str, list[str]] = field(default_factory=dict)
    credential_lists: dict[str, dict[str, Any]] = field(default_factory=dict)
    credentials: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    countries: dict[str, bool] = field(
        default_factory=lambda: {"US": True, "CA": True, "GB": False, "IN": False}
    )
    bought: int = 0
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(16))

    # What tests arrange.

    def sell(self, *phone_numbers: str, **details: Any) -> None:
        """Have numbers on offer."""
        self.for_sale += [Sellable(each, **details) for each in phone_numbers]

    def own(self, phone_number: str, /, **fields: Any) -> str:
        """Have a number already; returns its SID."""
        sid = self._sid("PN")
        self.numbers[sid] = self._number(sid, phone_number) | fields
        return sid

    def trunk(self, friendly_name: str, /, **fields: Any) -> str:
        """Have a trunk already; returns its SID."""
        sid = self._sid("TK")
        self.trunks[sid] = self._trunk(sid) | {"friendly_name": friendly_name} | fields
        self.origination[sid] = {}
        self.trunk_credentials[sid] = []
        return sid

    def originate(self, trunk_sid: str, sip_url: str, /, **fields: Any) -> str:
        """Have an origination URL already; returns its SID."""
        sid = self._sid("OU")
        self.origination[trunk_sid][sid] = {
            "sid": sid,
            "account_sid": self.account_sid,
            "trunk_sid": trunk_sid,
            "weight": 10,
            "priority": 10,
            "enabled": True,
            "friendly_name": "arranged",
            "sip_url": sip_url,
            "date_created": _NOW,
            "date_updated": _NOW,
            "url": f"https://trunking.twilio.com/v1/Trunks/{trunk_sid}/OriginationUrls/{sid}",
        } | fields
        return sid

    def number(self, phone_number: str) -> dict[str, Any]:
        """A number that the account has. Raises KeyError."""
        return next(each for each in self.numbers.values() if each["phone_number"] == phone_number)

    # What the protocol of all local carriers asks for.

    def authorize(self, request: web.Request) -> None:
        """HTTP Basic: account and token."""
        expected = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            raise refusal(401, 20003, "Authenticate")
        if self.suspended:
            raise refusal(401, 20005, "Account not active")

    def invalid(self, faults: Sequence[str]) -> Refusal:
        """A parameter that is not as described."""
        return refusal(400, 20001, faults[0])

    def not_found(self, path: str) -> Refusal:
        """Nothing is there."""
        return refusal(404, 20404, f"The requested resource {path} was not found")

    def handlers(self) -> Mapping[str, Callable[[Asked], tuple[int, Any]]]:
        """See `LocalCarrier`."""
        account = "/2010-04-01/Accounts/{AccountSid}"
        numbers, lists = f"{account}/IncomingPhoneNumbers", f"{account}/SIP/CredentialLists"
        trunk, countries = "/v1/Trunks/{TrunkSid}", "/v1/DialingPermissions/Countries"
        return {
            f"GET {account}/AvailablePhoneNumbers/{{CountryCode}}/Local.json": lambda a: self._search(
                a, "Local"
            ),
            f"GET {account}/AvailablePhoneNumbers/{{CountryCode}}/Mobile.json": lambda a: self._search(
                a, "Mobile"
            ),
            f"GET {account}/AvailablePhoneNumbers/{{CountryCode}}/TollFree.json": lambda a: self._search(
                a, "TollFree"
            ),
            "GET /2010-04-01/Accounts/{Sid}.json": self._account,
            f"GET {numbers}.json": self._list_numbers,
            f"POST {numbers}.json": self._buy,
            f"GET {numbers}/{{Sid}}.json": lambda a: (200, self._find(self.numbers, a)),
            f"POST {numbers}/{{Sid}}.json": self._update_number,
            f"DELETE {numbers}/{{Sid}}.json": self._release,
            f"GET {lists}.json": lambda a: self._page_2010(a, "credential_lists", self.credential_lists),
            f"POST {lists}.json": self._create_list,
            f"DELETE {lists}/{{Sid}}.json": self._delete_list,
            f"GET {lists}/{{CredentialListSid}}/Credentials.json": self._list_credentials,
            f"POST {lists}/{{CredentialListSid}}/Credentials.json": self._create_credential,
            f"POST {lists}/{{CredentialListSid}}/Credentials/{{Sid}}.json": self._update_credential,
            "GET /v1/Trunks": lambda a: self._page(a, "trunks", self.trunks),
            "POST /v1/Trunks": self._create_trunk,
            "GET /v1/Trunks/{Sid}": lambda a: (200, self._find(self.trunks, a)),
            "POST /v1/Trunks/{Sid}": self._update_trunk,
            "DELETE /v1/Trunks/{Sid}": self._delete_trunk,
            f"GET {trunk}/OriginationUrls": self._list_origination,
            f"POST {trunk}/OriginationUrls": self._create_origination,
            f"POST {trunk}/OriginationUrls/{{Sid}}": self._update_origination,
            f"DELETE {trunk}/OriginationUrls/{{Sid}}": self._delete_origination,
            f"GET {trunk}/PhoneNumbers": self._list_trunk_numbers,
            f"POST {trunk}/PhoneNumbers": self._attach,
            f"DELETE {trunk}/PhoneNumbers/{{Sid}}": self._detach,
            f"GET {trunk}/CredentialLists": self._list_trunk_credentials,
            f"POST {trunk}/CredentialLists": self._attach_list,
            f"DELETE {trunk}/CredentialLists/{{Sid}}": self._detach_list,
            f"GET {countries}": self._list_countries,
            f"GET {countries}/{{IsoCode}}": self._country,
        }

    # Numbers.

    def _account(self, asked: Asked) -> tuple[int, Any]:
        if asked.path["Sid"] != self.account_sid:
            raise self.not_found("/Accounts")
        return 200, {
            "sid": self.account_sid,
            "friendly_name": "local account",
            "status": "active",
            "type": "Full",
            "date_created": _NOW_2010,
            "date_updated": _NOW_2010,
            "uri": f"/2010-04-01/Accounts/{self.account_sid}.json",
        }

    def _search(self, asked: Asked, kind: str) -> tuple[int, Any]:
        query, country = asked.query, asked.path["CountryCode"]
        if not any(each.country == country for each in self.for_sale):
            raise self.not_found(f"/AvailablePhoneNumbers/{country}/{kind}.json")
        contains = re.escape(query.get("Contains", "").upper().translate(_KEYS)).replace(r"\*", "[0-9]")
        found = {
            each.phone_number: _available(each)
            for each in self.for_sale
            if each.country == country
            and each.kind == kind
            and each.phone_number[2:].startswith(query.get("AreaCode", ""))
            and re.search(contains, each.phone_number)
        }
        return self._page_2010(asked, "available_phone_numbers", found, hidden=False)

    def _list_numbers(self, asked: Asked) -> tuple[int, Any]:
        query = asked.query
        found = {
            sid: each
            for sid, each in self.numbers.items()
            if query.get("PhoneNumber", "").replace("*", "") in each["phone_number"]
            and query.get("FriendlyName", each["friendly_name"]) == each["friendly_name"]
        }
        return self._page_2010(asked, "incoming_phone_numbers", found)

    def _buy(self, asked: Asked) -> tuple[int, Any]:
        form: Mapping[str, str] = asked.body
        wanted, area = form.get("PhoneNumber"), form.get("AreaCode")
        if (wanted is None) == (area is None):
            raise refusal(400, 21404, "PhoneNumber or AreaCode is required")
        offered = [
            each
            for each in self.for_sale
            if each.phone_number == wanted or (area is not None and each.phone_number[2:].startswith(area))
        ]
        if not offered:
            raise refusal(400, 21422, f"{wanted or area} is not available.")
        if offered[0].needs_bundle and "BundleSid" not in form:
            raise refusal(400, 21649, "Bundle required: the number needs a Regulatory Bundle")
        if form.get("TrunkSid", next(iter(self.trunks), "")) not in self.trunks and "TrunkSid" in form:
            raise refusal(400, 21219, "TrunkSid is not a trunk of this account")
        self.for_sale.remove(offered[0])
        sid = self._sid("PN")
        number = self._number(sid, offered[0].phone_number)
        number["friendly_name"] = form.get("FriendlyName", number["friendly_name"])
        number["trunk_sid"] = form.get("TrunkSid")
        self.numbers[sid] = number
        self.bought += 1
        self.hide(sid)
        return 201, number

    def _update_number(self, asked: Asked) -> tuple[int, Any]:
        number = self._find(self.numbers, asked)
        form: Mapping[str, str] = asked.body or {}
        if form.get("TrunkSid") and form["TrunkSid"] not in self.trunks:
            raise refusal(400, 21219, "TrunkSid is not a trunk of this account")
        if "TrunkSid" in form:
            number["trunk_sid"] = form["TrunkSid"] or None
            number["voice_application_sid"] = None  # as the description says: the one voids the other
        number["friendly_name"] = form.get("FriendlyName", number["friendly_name"])
        return 200, number

    def _release(self, asked: Asked) -> tuple[int, Any]:
        number = self._find(self.numbers, asked)
        del self.numbers[number["sid"]]
        return 204, None

    # Trunks.

    def _create_trunk(self, asked: Asked) -> tuple[int, Any]:
        form: Mapping[str, str] = asked.body or {}
        self._refuse_taken_domain(form.get("DomainName"))
        sid = self.trunk("", **_trunk_fields(form))
        self.hide(sid)
        return 201, self.trunks[sid]

    def _update_trunk(self, asked: Asked) -> tuple[int, Any]:
        trunk = self._find(self.trunks, asked)
        form: Mapping[str, str] = asked.body or {}
        if form.get("DomainName") != trunk["domain_name"]:
            self._refuse_taken_domain(form.get("DomainName"))
        trunk |= _trunk_fields(form)
        return 200, trunk

    def _refuse_taken_domain(self, domain: str | None) -> None:
        if domain is not None and any(each["domain_name"] == domain for each in self.trunks.values()):
            raise refusal(400, 21248, "Trunk Domain already taken")

    def _delete_trunk(self, asked: Asked) -> tuple[int, Any]:
        del self.trunks[self._find(self.trunks, asked)["sid"]]
        return 204, None

    def _list_origination(self, asked: Asked) -> tuple[int, Any]:
        return self._page(asked, "origination_urls", self.origination[self._of_trunk(asked)])

    def _create_origination(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid = self._of_trunk(asked)
        sid = self.originate(trunk_sid, asked.body["SipUrl"], **_origination_fields(asked.body))
        self.hide(sid)
        return 201, self.origination[trunk_sid][sid]

    def _update_origination(self, asked: Asked) -> tuple[int, Any]:
        found = self._find(self.origination[self._of_trunk(asked)], asked)
        found |= _origination_fields(asked.body or {})
        return 200, found

    def _delete_origination(self, asked: Asked) -> tuple[int, Any]:
        urls = self.origination[self._of_trunk(asked)]
        del urls[self._find(urls, asked)["sid"]]
        return 204, None

    def _list_trunk_numbers(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid = self._of_trunk(asked)
        found = {sid: _on_trunk(each) for sid, each in self.numbers.items() if each["trunk_sid"] == trunk_sid}
        return self._page(asked, "phone_numbers", found)

    def _attach(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid = self._of_trunk(asked)
        number = self.numbers.get(asked.body["PhoneNumberSid"])
        if number is None:
            raise self.not_found("/PhoneNumbers")
        number["trunk_sid"] = trunk_sid
        return 201, _on_trunk(number)

    def _detach(self, asked: Asked) -> tuple[int, Any]:
        number = self._find(self.numbers, asked)
        if number["trunk_sid"] != self._of_trunk(asked):
            raise self.not_found("/PhoneNumbers")
        number["trunk_sid"] = None
        return 204, None

    # Credentials.

    def _create_list(self, asked: Asked) -> tuple[int, Any]:
        name = asked.body["FriendlyName"]
        if any(each["friendly_name"] == name for each in self.credential_lists.values()):
            raise refusal(400, 21240, "A Credential List with this FriendlyName already exists")
        sid = self._sid("CL")
        self.credential_lists[sid] = {
            "sid": sid,
            "account_sid": self.account_sid,
            "friendly_name": name,
            "date_created": _NOW_2010,
            "date_updated": _NOW_2010,
            "subresource_uris": {},
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/SIP/CredentialLists/{sid}.json",
        }
        self.credentials[sid] = {}
        self.hide(sid)
        return 201, self.credential_lists[sid]

    def _delete_list(self, asked: Asked) -> tuple[int, Any]:
        del self.credential_lists[self._find(self.credential_lists, asked)["sid"]]
        return 204, None

    def _list_credentials(self, asked: Asked) -> tuple[int, Any]:
        return self._page_2010(asked, "credentials", self.credentials[self._of_list(asked)])

    def _create_credential(self, asked: Asked) -> tuple[int, Any]:
        list_sid, username = self._of_list(asked), asked.body["Username"]
        if len(username) > 32 or any(
            each["username"] == username for each in self.credentials[list_sid].values()
        ):
            raise refusal(400, 21240, "Username is too long, or exists already")
        _refuse_weak(asked.body["Password"])
        sid = self._sid("CR")
        self.credentials[list_sid][sid] = {
            "sid": sid,
            "account_sid": self.account_sid,
            "credential_list_sid": list_sid,
            "username": username,
            "date_created": _NOW_2010,
            "date_updated": _NOW_2010,
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/SIP/CredentialLists/{list_sid}/Credentials/{sid}.json",
        }
        self.passwords[username] = asked.body["Password"]
        return 201, self.credentials[list_sid][sid]

    def _update_credential(self, asked: Asked) -> tuple[int, Any]:
        found = self._find(self.credentials[self._of_list(asked)], asked)
        _refuse_weak(asked.body["Password"])
        self.passwords[found["username"]] = asked.body["Password"]
        return 200, found

    def _list_trunk_credentials(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid = self._of_trunk(asked)
        found = {sid: self._mapped(trunk_sid, sid) for sid in self.trunk_credentials[trunk_sid]}
        return self._page(asked, "credential_lists", found)

    def _attach_list(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid, list_sid = self._of_trunk(asked), asked.body["CredentialListSid"]
        if list_sid not in self.credential_lists:
            raise self.not_found("/CredentialLists")
        if list_sid not in self.trunk_credentials[trunk_sid]:
            self.trunk_credentials[trunk_sid].append(list_sid)
        self.trunks[trunk_sid]["auth_type"] = "CREDENTIAL_LIST"
        return 201, self._mapped(trunk_sid, list_sid)

    def _detach_list(self, asked: Asked) -> tuple[int, Any]:
        trunk_sid = self._of_trunk(asked)
        if asked.path["Sid"] not in self.trunk_credentials[trunk_sid]:
            raise self.not_found("/CredentialLists")
        self.trunk_credentials[trunk_sid].remove(asked.path["Sid"])
        return 204, None

    def _mapped(self, trunk_sid: str, list_sid: str) -> dict[str, Any]:
        return {
            "sid": list_sid,
            "account_sid": self.account_sid,
            "trunk_sid": trunk_sid,
            "friendly_name": self.credential_lists[list_sid]["friendly_name"],
            "date_created": _NOW,
            "date_updated": _NOW,
            "url": f"https://trunking.twilio.com/v1/Trunks/{trunk_sid}/CredentialLists/{list_sid}",
        }

    # Dialing permissions.

    def _list_countries(self, asked: Asked) -> tuple[int, Any]:
        wanted = asked.query.get("IsoCode")
        found = {iso: self._permission(iso) for iso in self.countries if wanted in (None, iso)}
        return self._page(asked, "content", found)

    def _country(self, asked: Asked) -> tuple[int, Any]:
        if asked.path["IsoCode"] not in self.countries:
            raise self.not_found("/Countries")
        return 200, self._permission(asked.path["IsoCode"])

    def _permission(self, iso: str) -> dict[str, Any]:
        return {
            "iso_code": iso,
            "name": iso,
            "continent": "NORTH_AMERICA",
            "country_codes": ["+1"],
            "low_risk_numbers_enabled": self.countries[iso],
            "high_risk_special_numbers_enabled": False,
            "high_risk_tollfraud_numbers_enabled": False,
            "url": f"https://voice.twilio.com/v1/DialingPermissions/Countries/{iso}",
            "links": {},
        }

    # What several need.

    def _sid(self, prefix: str) -> str:
        return f"{prefix}{next(self._serial):032x}"

    def _find(self, found: Mapping[str, dict[str, Any]], asked: Asked) -> dict[str, Any]:
        if asked.path["Sid"] not in found:
            raise self.not_found(asked.path["Sid"])
        return found[asked.path["Sid"]]

    def _of_trunk(self, asked: Asked) -> str:
        if asked.path["TrunkSid"] not in self.trunks:
            raise self.not_found(f"/Trunks/{asked.path['TrunkSid']}")
        return asked.path["TrunkSid"]

    def _of_list(self, asked: Asked) -> str:
        if asked.path["CredentialListSid"] not in self.credential_lists:
            raise self.not_found("/CredentialLists")
        return asked.path["CredentialListSid"]

    def _page(self, asked: Asked, key: str, found: Mapping[str, Any]) -> tuple[int, Any]:
        """A page as the v1 APIs have it."""
        shown, size, page = self._cut(asked, found)
        url = f"{self.address}{asked.operation.split()[1]}".format(**asked.path)
        following = f"{url}?PageSize={size}&Page={page + 1}" if shown[1] else None
        meta = {
            "key": key,
            "page": page,
            "page_size": size,
            "url": f"{url}?PageSize={size}&Page={page}",
            "first_page_url": f"{url}?PageSize={size}&Page=0",
            "previous_page_url": None,
            "next_page_url": following,
        }
        return 200, {key: shown[0], "meta": meta}

    def _page_2010(
        self, asked: Asked, key: str, found: Mapping[str, Any], *, hidden: bool = True
    ) -> tuple[int, Any]:
        """A page as the API of 2010 has it."""
        shown, size, page = self._cut(asked, found, hidden=hidden)
        uri = asked.operation.split()[1].format(**asked.path)
        following = f"{uri}?PageSize={size}&Page={page + 1}" if shown[1] else None
        return 200, {
            key: shown[0],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + len(shown[0]),
            "uri": f"{uri}?PageSize={size}&Page={page}",
            "first_page_uri": f"{uri}?PageSize={size}&Page=0",
            "previous_page_uri": None,
            "next_page_uri": following,
        }

    def _cut(
        self, asked: Asked, found: Mapping[str, Any], *, hidden: bool = True
    ) -> tuple[tuple[list[Any], bool], int, int]:
        identities = self.visible(list(found)) if hidden else list(found)
        size, page = int(asked.query.get("PageSize", 50)), int(asked.query.get("Page", 0))
        cut = identities[page * size : (page + 1) * size]
        return ([found[each] for each in cut], len(identities) > (page + 1) * size), size, page

    def _number(self, sid: str, phone_number: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "account_sid": self.account_sid,
            "friendly_name": phone_number,
            "phone_number": phone_number,
            "trunk_sid": None,
            "voice_url": "https://demo.twilio.com/welcome/voice/",
            "voice_application_sid": None,
            "capabilities": {"voice": True, "SMS": True, "MMS": True, "fax": False},
            "address_requirements": "none",
            "origin": "twilio",
            "status": "in-use",
            "type": "local",
            "date_created": _NOW_2010,
            "date_updated": _NOW_2010,
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/IncomingPhoneNumbers/{sid}.json",
        }

    def _trunk(self, sid: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "account_sid": self.account_sid,
            "friendly_name": "",
            "domain_name": None,
            "secure": False,
            "disaster_recovery_url": None,
            "disaster_recovery_method": None,
            "recording": {"mode": "do-not-record", "trim": "do-not-trim"},
            "transfer_mode": "disable-all",
            "transfer_caller_id": "from-transferee",
            "cnam_lookup_enabled": False,
            "auth_type": "",
            "auth_type_set": [],
            "date_created": _NOW,
            "date_updated": _NOW,
            "url": f"https://trunking.twilio.com/v1/Trunks/{sid}",
            "links": {},
        }


def _available(offer: Sellable) -> dict[str, Any]:
    return {
        "friendly_name": offer.phone_number,
        "phone_number": offer.phone_number,
        "lata": "722",
        "locality": offer.locality,
        "rate_center": "SNFC CNTRL",
        "latitude": 37.78,
        "longitude": -122.41,
        "region": offer.region,
        "postal_code": "94105",
        "iso_country": offer.country,
        "address_requirements": "any" if offer.needs_bundle else "none",
        "beta": False,
        "capabilities": {"voice": True, "SMS": True, "MMS": True},
    }


def _on_trunk(number: Mapping[str, Any]) -> dict[str, Any]:
    """A number as the trunking API shows it."""
    shown = ("sid", "account_sid", "trunk_sid", "friendly_name", "phone_number", "address_requirements")
    return {name: number[name] for name in shown} | {
        "capabilities": {"voice": True, "SMS": True, "MMS": True},
        "date_created": _NOW,
        "date_updated": _NOW,
        "url": f"https://trunking.twilio.com/v1/Trunks/{number['trunk_sid']}/PhoneNumbers/{number['sid']}",
    }


def _trunk_fields(form: Mapping[str, str]) -> dict[str, Any]:
    names = {
        "FriendlyName": "friendly_name",
        "DomainName": "domain_name",
        "DisasterRecoveryUrl": "disaster_recovery_url",
        "DisasterRecoveryMethod": "disaster_recovery_method",
        "TransferMode": "transfer_mode",
        "TransferCallerId": "transfer_caller_id",
    }
    flags = {"Secure": "secure", "CnamLookupEnabled": "cnam_lookup_enabled"}
    fields: dict[str, Any] = {field: form[name] for name, field in names.items() if name in form}
    return fields | {field: form[name].lower() == "true" for name, field in flags.items() if name in form}


def _origination_fields(form: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, key, kind in (
        ("Weight", "weight", int),
        ("Priority", "priority", int),
        ("Enabled", "enabled", lambda text: text.lower() == "true"),
        ("FriendlyName", "friendly_name", str),
        ("SipUrl", "sip_url", str),
    ):
        if name in form:
            fields[key] = kind(form[name])
    return fields


def _refuse_weak(password: str) -> None:
    """Twelve characters, a digit, and both cases."""
    strong = len(password) >= 12 and re.search("[0-9]", password) and re.search("[a-z]", password)
    if not (strong and re.search("[A-Z]", password)):
        raise refusal(400, 21240, "Password must have 12 characters, a digit and mixed case")
