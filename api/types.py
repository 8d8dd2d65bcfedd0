"""What requests and responses look like: the one description that validates, encodes and documents them.

A `Meta` with `extra={"fix": …}` says how to mend a field that breaks its rules.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from routing.endpoint_rules import MAX_CALLS, MAX_RANK
from routing.models import REGION_PATTERN

MAX_TEXT: Final = 2_000
"""Characters of a voicemail message: three minutes of speech."""

MAX_NAME: Final = 255
MAX_ENDPOINTS: Final = 32
"""Of one agent: more belong behind a load balancer."""

MAX_HEADERS: Final = 32
"""Of one endpoint's INVITE or handshake."""

MAX_HEADER: Final = 1_024
"""Characters of one header's value."""

MAX_OPTION: Final = 8_192
"""Characters of one option of a protocol: the longest are a model's instructions."""

MAX_PAGE: Final = 100
MAX_CURSOR_PAGE: Final = 1_000
MAX_OFFSET: Final = 100_000
"""Rows that an offset may skip, since the database walks over each; cursors go on from there."""

MAX_IMPORT: Final = 1_000
"""Numbers in one import request."""

MAX_SEARCH: Final = 50

END: Final = r"$(?!\n)"
"""The end of a pattern: Python's own `$` lets a line break follow."""

Provider = Literal["twilio", "telnyx", "sandbox", "other"]

Id = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}" + END,
        examples=["agt_sales"],
        extra={"fix": "use 1 to 64 letters, digits, hyphens, dots or underscores, as in agt_sales"},
    ),
]
E164 = Annotated[
    str,
    Meta(
        pattern=r"^\+[1-9][0-9]{1,14}" + END,
        description="E.164 with a plus.",
        examples=["+14155550100"],
        extra={"fix": "write it in E.164, with a plus and the country code, as in +14155550100"},
    ),
]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME,
        examples=["Sales Line"],
        extra={"fix": f"write 1 to {MAX_NAME} characters"},
    ),
]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_TEXT,
        description="May hold `{{caller}}`, `{{dialled}}` and `{{agent}}`.",
        examples=["Sorry, we missed you. Please leave a message."],
        extra={"fix": f"write 1 to {MAX_TEXT} characters, or null for the default"},
    ),
]
Host = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9<>._:\[\]-]{1,253}" + END,
        description="A domain or address, with a port if it is not 5060.",
        examples=["yourtrunk.pstn.twilio.com"],
        extra={"fix": "write the trunk's domain alone, as in yourtrunk.pstn.twilio.com"},
    ),
]
Secret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4_096,
        description="Encrypted at rest, never returned.",
        extra={"fix": "write 1 to 4096 characters"},
    ),
]
Short = Annotated[str, Meta(min_length=1, max_length=128, extra={"fix": "write 1 to 128 characters"})]


Recording = Literal["off", "voicemail", "all"]
Email = Annotated[
    str,
    Meta(
        # RFC 5321 §4.1.2 without quotes and address literals: nothing that could begin another header.
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}" + END,
        examples=["sales@example.com"],
        extra={"fix": "write one address, as in sales@example.com"},
    ),
]


class FallbackAgent(Struct, frozen=True):
    """Who takes the call when the primary routing agent is unavailable."""

    agent_id: Id


class InboundRoutingBody(Struct, frozen=True, omit_defaults=True):
    """Where inbound calls go. Without it a number is outbound-only.

    agent_id: overrides the number's own agent for inbound calls.
    voicemail_message: overrides the agent's default.
    voicemail: false answers 480 instead when no agent takes the call, so that the carrier fails over.
    answer_first: answers the caller at once, with ringback, then calls the agents: for those that are slow.
    recording: what of its calls is recorded: nothing, messages, or all; absent leaves it to the gateway.
    voicemail_greeting: audio that is played in place of the message, which is for the case that it is gone.
    voicemail_email: address that its messages are sent to, in place of the gateway's.
    """

    agent_id: Id | None = None
    fallback: FallbackAgent | None = None
    voicemail_message: Text | None = None
    voicemail: bool = True
    answer_first: bool = False
    recording: Recording | None = None
    voicemail_greeting: Id | None = None
    voicemail_email: Email | None = None


class ProviderConfig(Struct, frozen=True, omit_defaults=True):
    """The trunk for outbound calls.

    auth_username, auth_password: digest credentials.
    """

    trunk_address: Host | None = None
    auth_username: Short | None = None
    auth_password: Secret | None = None


class PhoneNumberUpdate(Struct, frozen=True, omit_defaults=True):
    """What of a number may be changed (RFC 7396: absent keeps, null removes)."""

    friendly_name: Name | None = None
    agent_id: Id | None = None
    status: Literal["active", "inactive"] = "active"
    inbound_routing: InboundRoutingBody | None = None
    provider_config: ProviderConfig | None = None
    credential_id: Id | None = None


class PhoneNumberCreate(PhoneNumberUpdate, frozen=True, omit_defaults=True, kw_only=True):
    """A number that you bring along.

    credential_id: the integration that it belongs to.
    """

    phone_number: E164
    provider: Provider


class PhoneNumberImport(PhoneNumberCreate, frozen=True, omit_defaults=True, kw_only=True):
    """One number of an import. id: made, unless given."""

    id: Id | None = None


NumberType = Literal["local", "toll_free", "mobile"]
Capability = Literal["voice", "sms", "mms", "fax"]

MAX_CAPABILITIES: Final = 4
"""There are no more."""


class PhoneNumberPurchase(Struct, frozen=True, omit_defaults=True):
    """A number to buy: a specific one, or the first that matches.

    credential_id: the integration whose account pays; `carriers.seller` unless given.
    type, capabilities: what the number must be, and be able to do besides voice.
    """

    phone_number: E164 | None = None
    country: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Z]{2}" + END,
                examples=["US"],
                extra={"fix": "write the country's two capital letters (ISO 3166), as in US"},
            ),
        ]
        | None
    ) = None
    area_code: (
        Annotated[
            str,
            Meta(pattern=r"^[0-9]{1,6}" + END, examples=["415"], extra={"fix": "write digits, as in 415"}),
        ]
        | None
    ) = None
    contains: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9A-Za-z*]{1,15}" + END,
                examples=["CAFE"],
                extra={"fix": "write up to 15 digits or letters"},
            ),
        ]
        | None
    ) = None
    type: NumberType | None = None
    capabilities: Annotated[list[Capability], Meta(max_length=MAX_CAPABILITIES)] = []
    credential_id: Id | None = None
    friendly_name: Name | None = None
    agent_id: Id | None = None
    inbound_routing: InboundRoutingBody | None = None


StepName = Literal["purchase", "trunk", "origination", "attachment", "permissions", "release"]
StepStatus = Literal["waiting", "running", "pending", "done", "failed"]


class ProvisioningStep(Struct, frozen=True, kw_only=True):
    """One thing that is done at a carrier.

    status:
        `waiting`  its turn has not come.
        `running`  the carrier is being asked.
        `pending`  the carrier works on it, or nobody knows yet what it did; it is looked at again.
        `failed`   the carrier refused or failed; it is tried again.
        `done`     it is as it should be.
    error: what the carrier said, or what is waited for; note: what to know about a step that is done.
    """

    step: StepName
    status: StepStatus = "waiting"
    started_at: str | None = None
    finished_at: str | None = None
    error: str | None = None
    note: str | None = None


class Provisioning(Struct, frozen=True):
    """How far a number is at its carrier.

    state:
        `buying`     the carrier may or may not have sold it; it takes no calls.
        `wiring`     it is ours, and its calls are being led here.
        `releasing`  it takes no calls any more; the carrier may or may not have taken it back.
        `finished`   nothing is left to do.
    attempts: that stood still one after the other; next_attempt_at: RFC 3339, null while one is being made.
    """

    state: Literal["buying", "wiring", "releasing", "finished"]
    steps: list[ProvisioningStep]
    attempts: int
    next_attempt_at: str | None


class ProviderConfigShown(Struct, frozen=True):
    """The trunk, without its password."""

    trunk_address: str | None
    auth_username: str | None
    auth_password_set: bool


class PhoneNumberShown(Struct, frozen=True):
    """A phone number.

    status: `inactive` numbers are refused with 404; `pending` until all is done at the carrier, `releasing`
    until it has taken the number back.
    provisioning: what is being done at the carrier, and how far it is; null if nothing is.
    purchased: whether deleting it releases it at the carrier.
    inbound_trunk_id, outbound_trunk_id: the carrier's, of a number that was bought here.
    """

    id: str
    phone_number: str
    friendly_name: str | None
    provider: str
    agent_id: str | None
    status: Literal["active", "inactive", "pending", "releasing"]
    provisioning: Provisioning | None
    purchased: bool
    inbound_trunk_id: str | None
    outbound_trunk_id: str | None
    dispatch_rule_id: str | None
    credential_id: str | None
    provider_config: ProviderConfigShown | None
    inbound_routing: InboundRoutingBody | None
    created_at: str
    updated_at: str
    version: int


class EndpointBody(Struct, frozen=True, omit_defaults=True):
    """One way to reach an agent.

    url: `sip:`, `sips:`, `ws:` or `wss:`; `;media=direct` on a SIP URL keeps audio away from the gateway.
    protocol: spoken on a WebSocket; `twilio` unless told.
    priority: lower is tried first; weight: share among equal priorities.
    max_calls: at once, at most; null for no limit.
    headers: of the INVITE or handshake. Values of those that look like secrets are not returned.
    auth_token: signs the handshake of a WebSocket as Twilio does (`X-Twilio-Signature`), and lets the agent
    end or move its calls by Twilio's REST requests. Not returned.
    options: of the protocol: telnyx has `encoding` and `sample_rate`, openai-realtime `format`, `voice`,
    `instructions` and `greeting`.
    region: where it is, as in the gateways' `node.region`: those of the same region try it before others of
    its priority; null: near to all.
    """

    url: Annotated[
        str,
        Meta(
            max_length=1_024,
            examples=["sip:bot@192.0.2.10:5060"],
            extra={"fix": "write sip:, sips:, ws: or wss: and an address, as in sip:bot@192.0.2.10:5060"},
        ),
    ]
    protocol: Literal["twilio", "telnyx", "openai-realtime"] | None = None
    priority: Annotated[int, Meta(ge=0, le=MAX_RANK, extra={"fix": f"write 0 to {MAX_RANK}"})] = 10
    weight: Annotated[int, Meta(ge=1, le=MAX_RANK, extra={"fix": f"write 1 to {MAX_RANK}"})] = 10
    max_calls: (
        Annotated[int, Meta(ge=0, le=MAX_CALLS, extra={"fix": f"write 0 to {MAX_CALLS}, or null"})] | None
    ) = None
    headers: Annotated[
        dict[str, Annotated[str, Meta(max_length=MAX_HEADER)]], Meta(max_length=MAX_HEADERS)
    ] = field(default_factory=dict)
    auth_token: Secret | None = None
    options: Annotated[
        dict[str, Annotated[str, Meta(max_length=MAX_OPTION)]], Meta(max_length=MAX_HEADERS)
    ] = field(default_factory=dict)
    region: (
        Annotated[
            str,
            Meta(
                pattern=f"^{REGION_PATTERN}" + END,
                examples=["eu-west"],
                extra={"fix": "write 1 to 32 small letters, digits and hyphens, as in eu-west"},
            ),
        ]
        | None
    ) = None


class AgentUpdate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of an agent may be changed (RFC 7396); `endpoints` are replaced as a whole.

    recording: what of calls meant for it is recorded, unless the number says; absent: as the gateway does.
    voicemail_greeting: audio that is played in place of its message, unless the number has its own.
    """

    name: Name
    endpoints: Annotated[list[EndpointBody], Meta(max_length=MAX_ENDPOINTS)] = field(default_factory=list)
    voicemail_message: Text | None = None
    recording: Recording | None = None
    voicemail_greeting: Id | None = None


class AgentCreate(AgentUpdate, frozen=True, omit_defaults=True, kw_only=True):
    """An agent. id: made, unless given."""

    id: Id | None = None


class EndpointShown(Struct, frozen=True):
    """One way to reach an agent."""

    url: str
    protocol: str | None
    priority: int
    weight: int
    max_calls: int | None
    headers: dict[str, str]
    auth_token: str | None
    options: dict[str, str]
    region: str | None


class AgentShown(Struct, frozen=True):
    """An agent: who takes calls, and where. numbers: how many refer to it."""

    id: str
    name: str
    endpoints: list[EndpointShown]
    voicemail_message: str | None
    recording: Recording | None
    voicemail_greeting: str | None
    numbers: int
    created_at: str
    updated_at: str
    version: int


class IntegrationMetadata(Struct, frozen=True, omit_defaults=True):
    """What belongs to the credentials.

    account_sid: of the carrier's account; sip_trunk: the trunk's domain.
    public_key: Telnyx's, for checking its webhooks; not secret.
    """

    account_sid: Short | None = None
    phone_number: E164 | None = None
    sip_trunk: Host | None = None
    public_key: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9+/]{43}=" + END,
                examples=["nzB5v1mVxFCb9bSzyAvMKCNiM0Y8yC7ZJYqXBUVJp3M="],
                extra={"fix": "copy it from the Telnyx portal: Account, Keys & credentials, Public key"},
            ),
        ]
        | None
    ) = None


class IntegrationUpdate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of an integration may be changed (RFC 7396)."""

    name: Name
    api_key: Secret
    metadata: IntegrationMetadata = field(default_factory=IntegrationMetadata)


class IntegrationCreate(IntegrationUpdate, frozen=True, omit_defaults=True, kw_only=True):
    """Credentials at a carrier."""

    provider: Literal["twilio", "telnyx"]


class IntegrationShown(Struct, frozen=True):
    """Credentials at a carrier, without the secret. masked_key: its last characters."""

    id: str
    name: str
    provider: str
    masked_key: str
    metadata: IntegrationMetadata
    created_at: str
    updated_at: str
    version: int


Time = Annotated[
    str,
    Meta(
        description="RFC 3339.",
        examples=["2026-11-23T12:00:00Z"],
        max_length=40,
        extra={"fix": "write RFC 3339, as in 2026-11-23T12:00:00Z"},
    ),
]


class ApiKeyCreate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key to make. expires_at: never, unless given."""

    name: Name
    scopes: Annotated[list[Literal["read", "write"]], Meta(min_length=1, max_length=2)] = field(
        default_factory=lambda: ["read", "write"]
    )
    expires_at: Time | None = None


class ApiKeyShown(Struct, frozen=True, kw_only=True):
    """A key, without its secret. prefix: its first characters."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class ApiKeyMade(ApiKeyShown, frozen=True, kw_only=True):
    """A key as it is shown once. key: what to send as `Authorization: Bearer …`."""

    key: str


class AvailableNumberShown(Struct, frozen=True):
    """A number that can be bought. Prices are null where the carrier tells none with its search."""

    phone_number: str
    country: str
    region: str | None
    locality: str | None
    type: str | None
    capabilities: list[str]
    monthly_price: str | None
    upfront_price: str | None
    currency: str | None


# Pages.


class Page(Struct, frozen=True):
    """Part of a list. total: of all that match."""

    total: int
    limit: int
    offset: int


class PhoneNumberPage(Page, frozen=True, kw_only=True):
    """Phone numbers, oldest first."""

    items: list[PhoneNumberShown]


class AgentPage(Page, frozen=True, kw_only=True):
    """Agents, oldest first."""

    items: list[AgentShown]


class IntegrationPage(Page, frozen=True, kw_only=True):
    """Integrations, oldest first."""

    items: list[IntegrationShown]


class ApiKeyPage(Page, frozen=True, kw_only=True):
    """API keys, oldest first."""

    items: list[ApiKeyShown]


class PhoneNumberCursorPage(Struct, frozen=True):
    """Phone numbers, oldest first. next_cursor: for the page after this one; null: there is none."""

    items: list[PhoneNumberShown]
    next_cursor: str | None
    has_more: bool
    limit: int


class AvailableNumbers(Struct, frozen=True):
    """Numbers that can be bought."""

    items: list[AvailableNumberShown]


# Imports.


class ImportRequest(Struct, frozen=True, omit_defaults=True):
    """Many numbers at once.

    items: each as for registering; faulty ones are reported and leave the others alone.
    on_conflict: what to do about a number that is registered already and differs.
    dry_run: tell what would happen, and change nothing.
    """

    items: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MAX_IMPORT)]
    on_conflict: Literal["error", "skip", "update"] = "error"
    dry_run: bool = False


class ImportFault(Struct, frozen=True):
    """What is wrong with one of the numbers. index: its place in `items`, from 0."""

    index: int
    field: str
    rule: str
    detail: str
    fix: str


class ImportResult(Struct, frozen=True):
    """What became of the numbers."""

    created: int
    updated: int
    unchanged: int
    skipped: int
    failed: int
    errors: list[ImportFault]


# Queries.

Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE, extra={"fix": f"write 1 to {MAX_PAGE}"})]
Offset = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_OFFSET,
        extra={"fix": f"write 0 to {MAX_OFFSET}; go further with GET /v1/phone-numbers/cursor"},
    ),
]


class PageQuery(Struct, frozen=True):
    """Which part of a list."""

    limit: Limit = 20
    offset: Offset = 0


class NumberFilters(Struct, frozen=True, kw_only=True):
    """Which numbers.

    agent_id: that refer to this agent, as their own, for routing or as fallback.
    updated_since: that changed then or later.
    """

    phone_number: E164 | None = None
    provider: Provider | None = None
    agent_id: Id | None = None
    status: Literal["active", "inactive", "pending", "releasing"] | None = None
    updated_since: Time | None = None


class NumberListQuery(NumberFilters, frozen=True, kw_only=True):
    """Which numbers, and which part of their list."""

    limit: Limit = 20
    offset: Offset = 0


class NumberCursorQuery(NumberFilters, frozen=True, kw_only=True):
    """Which numbers, and from where on. cursor: the `next_cursor` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=MAX_CURSOR_PAGE, extra={"fix": f"write 1 to {MAX_CURSOR_PAGE}"})] = (
        100
    )
    cursor: (
        Annotated[str, Meta(max_length=64, extra={"fix": "send next_cursor of the page before"})] | None
    ) = None


class AgentListQuery(PageQuery, frozen=True, kw_only=True):
    """Which agents. name: of exactly this name."""

    name: Name | None = None


class SearchQuery(Struct, frozen=True, kw_only=True):
    """Which numbers to look for at the carrier.

    contains: digits, or the letters that stand on their keys; `*` for any one digit.
    capabilities: what each can do besides voice, with commas between.
    credential_id: the integration whose account is asked; `carriers.seller` unless given.
    """

    country: Annotated[
        str,
        Meta(
            pattern=r"^[A-Z]{2}" + END,
            extra={"fix": "write the country's two capital letters (ISO 3166), as in US"},
        ),
    ] = "US"
    area_code: (
        Annotated[str, Meta(pattern=r"^[0-9]{1,6}" + END, extra={"fix": "write digits, as in 415"})] | None
    ) = None
    contains: (
        Annotated[
            str, Meta(pattern=r"^[0-9A-Za-z*]{1,15}" + END, extra={"fix": "write up to 15 digits or letters"})
        ]
        | None
    ) = None
    type: NumberType | None = None
    capabilities: (
        Annotated[
            str,
            Meta(
                pattern=r"^(voice|sms|mms|fax)(,(voice|sms|mms|fax)){0,3}" + END,
                examples=["voice,sms"],
                extra={"fix": "write voice, sms, mms, fax with commas between, as in voice,sms"},
            ),
        ]
        | None
    ) = None
    credential_id: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_SEARCH, extra={"fix": f"write 1 to {MAX_SEARCH}"})] = 10


class ForceQuery(Struct, frozen=True):
    """force: cut what refers to it."""

    force: bool = False
