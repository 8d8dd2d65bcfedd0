"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.variables import CLIENT_VARIABLES

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file; $VOICE_GATEWAY_CONFIG, else configs/gateway.toml."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=CLIENT_VARIABLES["url"],
        help="A running API, e.g. http://127.0.0.1:8080; else the store of the configuration.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", envvar=CLIENT_VARIABLES["key"], help="API key for --url.", show_envvar=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="The API's JSON, for programs.")]


class Provider(StrEnum):
    """Whose number it is."""

    TWILIO = "twilio"
    TELNYX = "telnyx"
    SANDBOX = "sandbox"
    OTHER = "other"


GreetingOption = Annotated[
    str | None,
    typer.Option(help="Id of the audio that is played in place of the voicemail message."),
]


class Recording(StrEnum):
    """What of calls is recorded."""

    OFF = "off"
    VOICEMAIL = "voicemail"
    ALL = "all"


class Status(StrEnum):
    """Whether a number takes calls."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    PENDING = "pending"
    RELEASING = "releasing"


class Delivery(StrEnum):
    """What has become of an event on its way to a webhook, or of an email."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
