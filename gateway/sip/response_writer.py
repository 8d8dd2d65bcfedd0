"""The responses to one request as text: what must be copied is copied once, as it was written."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.sip.flow import Flow
from gateway.sip.grammar import split_outside
from gateway.sip.message import Request
from gateway.sip.reasons import reason_phrase
from gateway.sip.request_writer import header_lines, one_line
from gateway.sip.response_path import stamped


class ResponseWriter:
    """Writes any number of responses to one request (RFC 3261 §8.2.6).

    Args:
        request: whose Via, From, To, Call-ID and CSeq every response repeats.
        source: where it came from, for `received` and `rport`.
        to_tag: our tag, added to a To that has none; not to a 100.

    """

    __slots__ = ("_head", "_record_route", "_tag", "_tail", "_timestamp")

    def __init__(self, request: Request, source: Flow, to_tag: str) -> None:
        vias: list[str] = []
        routes: list[str] = []
        from_ = to = call_id = cseq = timestamp = ""
        for name, value in request.headers.items():
            if name == "Via":
                vias.append(f"Via: {value}\r\n")
            elif name == "From":
                from_ = value
            elif name == "To":
                to = value
            elif name == "Call-ID":
                call_id = value
            elif name == "CSeq":
                cseq = value
            elif name == "Record-Route":
                routes.append(f"Record-Route: {value}\r\n")
            elif name == "Timestamp":
                timestamp = f"Timestamp: {value}\r\n"
        if (top := stamped(request.via, source)) is not None:
            first = vias[0][5:-2]
            rest = split_outside(first, ",")[1:] if "," in first else []
            vias[0] = f"Via: {', '.join([str(top), *rest])}\r\n"
        self._head = f"{''.join(vias)}From: {from_}\r\nTo: {to}"
        # Compared as text, since a malformed request is answered as well.
        tagged = ";tag=" in to.rpartition(">")[2].lower().replace(" ", "")
        self._tag = "" if tagged or not to_tag else f";tag={to_tag}"
        repeated = f"Call-ID: {call_id}\r\n" if call_id else ""  # a malformed request may have none
        self._tail = f"\r\n{repeated}CSeq: {cseq}\r\n"
        self._record_route = "".join(routes)
        self._timestamp = timestamp

    def write(
        self,
        status: int,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        forms_dialog: bool = False,
    ) -> bytes:
        """One response on the wire.

        reason: the usual phrase if None.
        forms_dialog: put Record-Route back, verbatim and in order (§12.1.1).
        """
        phrase = reason_phrase(status) if reason is None else one_line(reason)
        trying = status == 100
        head = (
            f"SIP/2.0 {status} {phrase}\r\n{self._head}{'' if trying else self._tag}{self._tail}"
            f"{self._record_route if forms_dialog else ''}{self._timestamp if trying else ''}"
            f"{header_lines(headers) if headers else ''}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("utf-8", "surrogateescape") + body
