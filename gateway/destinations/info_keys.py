"""Keys that a caller presses by INFO instead of by RTP, as a Telnyx connection can be set to."""

from __future__ import annotations

from gateway.sip.message import Request


def key_in(request: Request) -> str | None:
    """The key in an INFO: ``application/dtmf-relay`` (``Signal=#``) or ``application/dtmf`` (``#``).

    None if it is about something else.
    """
    content_type = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    text = request.body.decode("ascii", "replace").strip()
    if content_type == "application/dtmf":
        return text[:1] or None
    if content_type == "application/dtmf-relay":
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip().lower() == "signal":
                return value.strip()[:1] or None
    return None
