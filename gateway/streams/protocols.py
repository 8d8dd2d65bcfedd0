"""The protocols by the names that endpoints use; a further one is one more file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.streams.openai_realtime import OpenAiRealtime
from gateway.streams.protocol import Start
from gateway.streams.telnyx import TelnyxStream
from gateway.streams.twilio import TwilioStream

DEFAULT: Final = "twilio"

PROTOCOLS: Final[Mapping[str, Start]] = {
    "twilio": TwilioStream,
    "telnyx": TelnyxStream,
    "openai-realtime": OpenAiRealtime,
}
