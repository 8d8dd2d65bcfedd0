"""What setting carriers up, and looking after that, looks like in requests and responses."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from api.types import E164, END, Host, Secret, Short

MAX_WIRED: Final = 50
"""Numbers in one set-up: each is asked for, and attached, on its own."""

MAX_COUNTRIES: Final = 50
"""Asked about at once."""

Country = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z]{2}" + END,
        examples=["US"],
        extra={"fix": "write the country's two capital letters (ISO 3166), as in US"},
    ),
]


class SetupRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a carrier's account shall send its calls here.

    phone_numbers: to attach; unless given, the integration's own and those that refer to it.
    trunk_domain: for calls towards the carrier; unless given, the integration's `sip_trunk`, or one is made.
    auth_username, auth_password: digest credentials for those calls; unless given, those of a number's
        `provider_config`. Telnyx makes its own.
    countries: that shall be callable; what is not permitted is told, not switched on.
    remove_others: remove destinations of the same trunk that lead elsewhere.
    dry_run: tell the plan, and change nothing.
    """

    phone_numbers: Annotated[list[E164], Meta(max_length=MAX_WIRED)] | None = None
    trunk_domain: Host | None = None
    auth_username: Short | None = None
    auth_password: Secret | None = None
    countries: Annotated[list[Country], Meta(max_length=MAX_COUNTRIES)] = []
    remove_others: bool = False
    dry_run: bool = False


class SetupStep(Struct, frozen=True):
    """One difference, and what became of it. error: the carrier's words."""

    change: str
    detail: str
    status: Literal["planned", "done", "failed", "not tried"]
    error: str | None


class SetupResult(Struct, frozen=True):
    """What was done, or would be.

    complete: whether nothing is left to do; set it up again to go on after a failure.
    trunk_id: of the carrier's trunk or connection; null before there is one.
    trunk_domain: where calls towards the carrier go.
    destinations: where the carrier will send calls; notes: what else to know.
    """

    carrier: str
    dry_run: bool
    complete: bool
    trunk_id: str | None
    trunk_domain: str | None
    destinations: list[str]
    steps: list[SetupStep]
    notes: list[str]


class DoctorQuery(Struct, frozen=True, kw_only=True):
    """What to look at besides the trunk. countries: that shall be callable, with commas."""

    countries: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Z]{2}(,[A-Z]{2}){0,49}" + END,
                examples=["US,GB"],
                extra={"fix": "write countries' two capital letters with commas between, as in US,GB"},
            ),
        ]
        | None
    ) = None


class DoctorFinding(Struct, frozen=True):
    """Something that is not as it should be.

    grave: whether calls fail because of it; by_setup: whether set-up mends it.
    """

    check: str
    detail: str
    fix: str
    grave: bool
    by_setup: bool


class DoctorReport(Struct, frozen=True):
    """What is wrong between a carrier and here; nothing if `findings` is empty."""

    carrier: str
    healthy: bool
    phone_numbers: list[str]
    destinations: list[str]
    findings: list[DoctorFinding]
