"""The responses to one request as text: what must be copied is copied once, as it was written."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.sip.flow import Flow
from gateway.sip.grammar import split_outside
from gateway.sip.message import Request
from gateway.sip.reasons import reason_phrase
from gateway.sip.request_writer import header_lines, one_line
from gateway.sip.response_path import stamped

CRLF_VIA = "\r\nVia: "
"""Between two Via values."""


class ResponseWriter:
    """Writes any number of responses to one request (RFC 3261 §8.2.6).

    Args:
        request: whose Via, From, To, Call-ID and CSeq every response repeats.
        source: where it came from, for `received` and `rport`.
        to_tag: our tag, added to a To that has none; not to a 100.

    """

    __slots__ = ("_head", "_record_route", "_tag", "_tail", "_timestamp")

    def __init__(self, request: Request, source: Flow, to_tag: str) -> None:
        headers = request.headers
        get = headers.first.get
        vias = headers.get_all("Via")
        if (top := stamped(request.via, source)) is not None:
            rest = split_outside(vias[0], ",")[1:] if "," in vias[0] else []
            vias[0] = ", ".join([str(top), *rest])
        to, call_id = get("To", ""), get("Call-ID", "")
        self._head = f"Via: {CRLF_VIA.join(vias)}\r\nFrom: {get('From', '')}\r\nTo: {to}"
        # Compared as text, since a malformed request is answered as well.
        tagged = ";tag=" in to.rpartition(">")[2].lower().replace(" ", "")
        self._tag = "" if tagged or not to_tag else f";tag={to_tag}"
        repeated = f"Call-ID: {call_id}\r\n" if call_id else ""  # a malformed request may have none
        self._tail = f"\r\n{repeated}CSeq: {get('CSeq', '')}\r\n"
        routes = headers.get_all("Record-Route")
        self._record_route = "".join([f"Record-Route: {route}\r\n" for route in routes]) if routes else ""
        timestamp = get("Timestamp")
        self._timestamp = "" if timestamp is None else f"Timestamp: {timestamp}\r\n"

    def write(
        self,
        status: int,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        lines: str = "",
        forms_dialog: bool = False,
    ) -> bytes:
        """One response on the wire.

        reason: the usual phrase if None.
        lines: headers that are written already, each with its line end; they go before `headers`.
        forms_dialog: put Record-Route back, verbatim and in order (§12.1.1).
        """
        phrase = reason_phrase(status) if reason is None else one_line(reason)
        trying = status == 100
        head = (
            f"SIP/2.0 {status} {phrase}\r\n{self._head}{'' if trying else self._tag}{self._tail}"
            f"{self._record_route if forms_dialog else ''}{self._timestamp if trying else ''}"
            f"{lines}{header_lines(headers) if headers else ''}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("utf-8", "surrogateescape") + body
