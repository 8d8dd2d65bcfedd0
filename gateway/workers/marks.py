"""Whose a SIP message is, by what we wrote into it: found in its bytes, without parsing.

Every tag and branch of ours ends in the slot of the worker that made it. A request inside a dialog brings our
tag back in its To, a response our branch in its topmost Via (RFC 3261 §12.2, §17.1.3): so both find their
worker, whichever process the kernel hands them to. What has no mark of ours is something new, or a CANCEL of
it.

A message that only looks marked costs nobody anything: it goes to a worker that does not know it, and says
so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from gateway.workers.slots import MAX_SLOTS

_MARK: Final = rb"[0-9a-f]{16}w([0-9a-f]{2})(?![0-9A-Za-z.!%*_+`'~-])"
"""A token of ours (`gateway.sip.endpoint.random_tokens`), and the slot. Hex digits first: the core reads
some."""

_TO_TAG: Final = re.compile(rb"\n(?:to|t)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=[ \t]*" + _MARK, re.IGNORECASE)
_BRANCH: Final = re.compile(
    rb"\n(?:via|v)[ \t]*:[^\r\n,]*;[ \t]*branch[ \t]*=[ \t]*z9hG4bK" + _MARK, re.IGNORECASE
)
_CALL_ID: Final = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)

_RESPONSE: Final = b"SIP/2.0 "
_END_OF_HEADERS: Final = b"\r\n\r\n"


def marked(tokens: Callable[[], str], slot: int) -> Callable[[], str]:
    """The same source of tokens, each with the mark of a slot."""
    mark = f"w{slot:02x}"
    return lambda: tokens() + mark


def slot_of(data: bytes) -> int | None:
    """The slot of the worker whose tag or branch a message brings back; None without one."""
    pattern = _BRANCH if data.startswith(_RESPONSE) else _TO_TAG
    found = pattern.search(data, 0, _end_of_headers(data))
    if found is None:
        return None
    slot = int(found[1], 16)
    return slot if 0 < slot <= MAX_SLOTS else None


def call_id_of(data: bytes) -> bytes:
    """The Call-ID of a message; empty without one."""
    found = _CALL_ID.search(data, 0, _end_of_headers(data))
    return b"" if found is None else found[1].rstrip()


def name_finder(headers: Iterable[str]) -> Callable[[bytes], bytes]:
    """What finds the name of an INVITE's call: the value of one of these headers, else its Call-ID.

    headers: in which carriers tell their own names of calls (`call_id_header` of a trunk). What a caller may
    put into one of them does no more than choose the worker, as a Call-ID of his choice would.
    """
    names = b"|".join(sorted({re.escape(header.encode()) for header in headers}))
    if not names:
        return call_id_of
    pattern = re.compile(rb"\n(?:" + names + rb")[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)

    def name_of(data: bytes) -> bytes:
        found = pattern.search(data, 0, _end_of_headers(data))
        return call_id_of(data) if found is None else found[1].rstrip()

    return name_of


def _end_of_headers(data: bytes) -> int:
    end = data.find(_END_OF_HEADERS)
    return len(data) if end < 0 else end
