"""Twilio's request that ends or moves a live call, for agents whose framework sends it.

``POST /2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}.json`` (Twilio, "Call resource: update a call"), with
the account SID of the path and the endpoint's `auth_token` as user and password; which account that is does
not matter, since agents take it from their own configuration. What is understood:
``Status=completed``; ``Twiml`` with one ``<Hangup/>``, or one ``<Dial>`` of a number of ours; and fields of
our own, ``AgentId`` and ``To``. GET tells of the call.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias
from xml.etree import ElementTree

import msgspec
from aiohttp import web

PATH: Final = "/2010-04-01/Accounts/{account}/Calls/{call}.json"

MAX_TWIML: Final = 4000
"""Characters, Twilio's own limit."""

UNKNOWN_CALL: Final = 20404
NOT_ALLOWED: Final = 20003
BAD_REQUEST: Final = 20001
"""Twilio's error codes."""


class Control(Protocol):
    """One live call that an agent has."""

    @property
    def account_sid(self) -> str:
        """As the agent was told."""

    @property
    def call_sid(self) -> str:
        """As the agent was told."""

    @property
    def caller(self) -> str:
        """Who calls."""

    @property
    def dialled(self) -> str:
        """Whom."""

    @property
    def token(self) -> str | None:
        """The password; None if nobody has one."""

    def hang_up(self) -> None:
        """End the call."""


class Calls(Protocol):
    """The live calls that agents on a WebSocket have."""

    def find(self, call_sid: str) -> Control | None:
        """The call of that SID."""

    def move(self, call_sid: str, *, agent_id: str | None, number: str | None) -> str | None:
        """Send a call on to an agent or a number of ours; why that cannot be, None if it is done."""


class _Refused(Exception):  # noqa: N818 - it is what happens, not an error of ours
    """status: of HTTP; code: Twilio's."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


Fields: TypeAlias = Mapping[str, str]


def install(app: web.Application, calls: Calls) -> None:
    """Serve the request."""

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            control = _admitted(request, calls)
            if request.method == "POST":
                form = await request.post()
                fields = {name: value for name, value in form.items() if isinstance(value, str)}
                status = _update(control, fields, calls)
            else:
                status = "in-progress"
            return _json(200, _shown(control, status))
        except _Refused as refused:
            return _json(
                refused.status, {"code": refused.code, "message": str(refused), "status": refused.status}
            )

    app.router.add_get(PATH, serve)
    app.router.add_post(PATH, serve)


def _admitted(request: web.Request, calls: Calls) -> Control:
    """The call that the request is about, if it may be."""
    account, call_sid = request.match_info["account"], request.match_info["call"]
    control = calls.find(call_sid)
    if control is None:
        raise _Refused(404, UNKNOWN_CALL, f"The requested resource {request.path} was not found")
    if control.token is None:
        raise _Refused(401, NOT_ALLOWED, "the agent's endpoint has no auth_token: set one to allow this")
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    expected = b"Basic " + base64.b64encode(f"{account}:{control.token}".encode())
    if not hmac.compare_digest(given, expected):
        raise _Refused(401, NOT_ALLOWED, "Authenticate: the user is the AccountSid, the password auth_token")
    return control


def _update(control: Control, fields: Fields, calls: Calls) -> str:
    """Do what is asked; the call's status afterwards."""
    agent_id, number = fields.get("AgentId"), fields.get("To")
    if twiml := fields.get("Twiml"):
        number = _dialled(twiml)
        if number is None:
            control.hang_up()
            return "completed"
    if fields.get("Status") in ("completed", "canceled"):
        control.hang_up()
        return "completed"
    if bool(agent_id) == bool(number):
        raise _Refused(
            400, BAD_REQUEST, "send Status=completed, Twiml, AgentId or To: a Url with TwiML is not fetched"
        )
    fault = calls.move(control.call_sid, agent_id=agent_id or None, number=number or None)
    if fault is not None:
        raise _Refused(400, BAD_REQUEST, fault)
    return "in-progress"


def _dialled(twiml: str) -> str | None:
    """The number that TwiML dials; None where it hangs up."""
    if len(twiml) > MAX_TWIML or "<!" in twiml:  # no document type, so nothing to be expanded
        raise _Refused(400, BAD_REQUEST, f"Twiml: at most {MAX_TWIML} characters, without <!…>")
    try:
        response = ElementTree.fromstring(twiml)  # noqa: S314 - short, and without a document type
    except ElementTree.ParseError as error:
        raise _Refused(400, BAD_REQUEST, f"Twiml: not XML: {error}") from None
    verbs = list(response)
    if response.tag == "Response" and len(verbs) == 1:
        verb = verbs[0]
        if verb.tag == "Hangup":
            return None
        nouns = list(verb)
        if verb.tag == "Dial" and (not nouns or [noun.tag for noun in nouns] == ["Number"]):
            number = (nouns[0].text if nouns else verb.text) or ""
            if number.strip():
                return number.strip()
    raise _Refused(
        400, BAD_REQUEST, "Twiml: a <Response> with one <Hangup/>, or one <Dial> with one number, no more"
    )


def _shown(control: Control, status: str) -> dict[str, object]:
    return {
        "sid": control.call_sid,
        "account_sid": control.account_sid,
        "status": status,
        "direction": "inbound",
        "from": control.caller,
        "to": control.dialled,
        "api_version": "2010-04-01",
    }


def _json(status: int, body: Mapping[str, object]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
