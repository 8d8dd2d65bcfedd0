"""Configuration: one object, validated once; nothing else reads the environment.

A TOML file, and every key also as an environment variable `VOICE_GATEWAY_<SECTION>__<KEY>`, which
wins over the file. Unknown keys are errors that name the nearest known one: a typing mistake must not
become a default.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.admission.trusted_proxies import TrustedProxies, TrustedProxiesError
from gateway.faults import ConfigError
from gateway.media.rtpengine import EngineAddress
from gateway.sip.addresses import AddressError, parse_address
from gateway.variables import CLIENT_VARIABLES, ENV_FILE, ENV_PREFIX
from gateway.workers.slots import MAX_SLOTS, MAX_WORKERS
from routing import message_variables
from routing.models import REGION_PATTERN
from routing.redis_place import RedisUrlError, TlsFiles, parse_place
from storage.opening import StorageUrlError, parse_url

__all__ = ["ConfigError", "Settings", "load"]

DEFAULT_FILE = Path("configs/gateway.toml")

MAX_REPLICAS = 16
"""Of the store: each has eight connections, and is asked every second how far it is."""

MIN_KEY = 8
MAX_KEY = 256
"""Characters of an API key."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list in TOML; in the environment, and for a list of one, a text with commas."""


Algorithms = Annotated[tuple[Literal["SHA-256", "MD5"], ...], NoDecode, BeforeValidator(_split)]


def _cores(value: object) -> object:
    if value != "auto":
        return value
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


class Section(BaseModel):
    """A section of the file: closed, so that unknown keys are found, and never changed after start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sip(Section):
    """Signalling."""

    listen: Texts = Field(
        default=("0.0.0.0:5060",),
        description="Where carriers reach us, UDP and TCP; IPv6 as `[::]:5060`.",
    )
    agent_listen: Texts = Field(
        default=("0.0.0.0:0",),
        description="Where agents reach us; port 0 takes a free one. IPv6 agents need a `[::]:0` as well.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description=(
            "Certificate chain (PEM) for SIP over TLS; empty: no TLS for carriers. Read again when it changes"
            " and on SIGHUP; connections that are open go on."
        ),
    )
    tls_key: Path | None = Field(
        default=None, description="Its private key (PEM, not encrypted); empty: in the same file."
    )
    tls_listen: Texts = Field(
        default=("0.0.0.0:5061",),
        description="Where carriers reach us over TLS, once there is a certificate; IPv6 as `[::]:5061`.",
    )
    tls_client_ca: Path | None = Field(
        default=None,
        description=(
            "Certificates (PEM) that vouch for carriers: with it, TLS clients are asked for a certificate,"
            " and a trunk's `certificate_names` tell whose it is. Empty: nobody is asked."
        ),
    )
    agent_tls_listen: Texts = Field(
        default=("0.0.0.0:0",),
        description=(
            "Our end of TLS towards agents; port 0 takes a free one. Agents can connect there, too, once"
            " there is a certificate. IPv6 agents need a `[::]:0` as well."
        ),
    )
    advertised_host: str = Field(
        default="",
        description=(
            "Public name or address for Via and Contact; empty means the local address that faces the peer."
        ),
    )
    discover_host: str = Field(
        default="",
        pattern=r"^(stun:.{1,255}|aws|gcp|azure)?$",
        description=(
            "Who is asked for our public address at the start, when `advertised_host` is empty:"
            " `stun:HOST` or `stun:HOST:PORT`, a STUN server on the internet; `aws`, `gcp` or `azure`, the"
            " cloud's own metadata. Empty asks nobody."
        ),
    )
    domain: str = Field(default="voice-gateway.invalid", description="Host part of our From towards agents.")
    session_expires: int = Field(
        default=1800,
        ge=0,
        le=86_400,
        description=(
            "Seconds within which callers and agents must show that they are still there (session timers,"
            " RFC 4028); half of it is the time between our refreshes. 0: only where the peer asks."
        ),
    )
    min_session_expires: int = Field(
        default=90,
        ge=90,
        le=86_400,
        description="Session timers shorter than these seconds are refused: 422.",
    )
    reliable_provisionals: Literal["off", "required", "supported"] = Field(
        default="required",
        description=(
            "When callers must confirm a 180 or 183 (100rel, RFC 3262): never (a call that requires it gets"
            " 420), if they require it, or whenever they can. Agents' are confirmed unless `off`."
        ),
    )
    max_connections: int = Field(default=512, ge=1, description="TCP and TLS connections at most, each.")
    max_connections_per_source: int = Field(
        default=128, ge=1, description="TCP and TLS connections from one address at most, each."
    )
    idle_timeout: float = Field(
        default=600.0, gt=0, description="Seconds after which a silent TCP connection is closed."
    )


class Workers(Section):
    """Processes that answer calls on one machine."""

    count: Annotated[int, BeforeValidator(_cores)] = Field(
        default=1,
        ge=1,
        le=MAX_WORKERS,
        description=(
            "Processes that share `sip.listen`, one for a core; `auto`: as many as there are cores. With 1"
            " the gateway is one process."
        ),
    )
    port: int = Field(
        default=5100,
        ge=1024,
        le=65_535 - MAX_SLOTS,
        description=(
            "First of the ports of their own, UDP and TCP, one for each worker and as many again during an"
            " upgrade: Contact names them, so carriers must reach them."
        ),
    )
    tls_port: int = Field(
        default=5200,
        ge=1024,
        le=65_535 - MAX_SLOTS,
        description="The same for SIP over TLS, once there is a certificate.",
    )
    takeover: bool = Field(
        default=False,
        description=(
            "Let a new version, started beside this one, take over its ports without losing a call, with one"
            " worker as well; with more it always may."
        ),
    )


class Web(Section):
    """HTTP: metrics and health."""

    listen: str = Field(
        default="127.0.0.1:8080", description="Address and port of /metrics, /healthz and /readyz."
    )
    console: bool = Field(default=True, description="Serve the console at /console; it asks for an API key.")


class Data(Section):
    """What is kept on disk."""

    dir: Path = Field(
        default=Path("data"),
        description="Embedded Redis, recordings, speech cache, last snapshot of the routes.",
    )


class Node(Section):
    """One gateway among others."""

    region: str = Field(
        default="",
        pattern=f"^({REGION_PATTERN})?$",
        description=(
            "Where it is, e.g. `eu-west`: agents' endpoints of the same region are preferred. Empty: nowhere"
            " in particular."
        ),
    )


class Redis(Section):
    """What gateways share: routes, who there is, places at agents."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "`redis://user:password@host:6379/0`, `rediss://…` over TLS, `unix:///path`;"
            " `redis+sentinel://user:password@s1:26379,s2,s3/NAME/0`; `redis+cluster://c1:6379,c2:6379`; both"
            " also as `rediss+…`. Empty starts a private redis-server."
        ),
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) that vouch for Redis and Sentinels, beside the system's.",
    )
    certificate: Path | None = Field(
        default=None, description="Certificate (PEM) that we show to Redis; empty: none."
    )
    key: Path | None = Field(
        default=None, description="Its private key (PEM, not encrypted); empty: in the same file."
    )
    sentinel_username: str = Field(default="", description="Our user at Sentinels, if they have users.")
    sentinel_password: SecretStr = Field(
        default=SecretStr(""), description="Our password at Sentinels; that at Redis stands in the URL."
    )

    @property
    def tls_files(self) -> TlsFiles:
        """As `routing.redis_place` takes them."""
        return TlsFiles(self.ca_file, self.certificate, self.key or self.certificate)


class Routing(Section):
    """Numbers and agents."""

    numbers_file: Path | None = Field(
        default=None,
        description=(
            "Numbers and agents from a file instead of the API, which is not served then; reloaded when it"
            " changes and on SIGHUP."
        ),
    )
    reload_interval: float = Field(default=1.0, gt=0, description="Seconds between looks at the file.")


class Api(Section):
    """The phone-number API, or another deployment of it."""

    serve: bool = Field(
        default=True,
        description=(
            "Serve it from this process, at `web.listen`. False: `voice-gateway api` does, or others fill"
            " Redis."
        ),
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "`postgresql+asyncpg://user:password@host/name` for many nodes;"
            " empty means SQLite in the data directory."
        ),
    )
    database_replica_urls: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "Reading replicas of that PostgreSQL, as `database_url`, with commas between: lists are read from"
            " those that are at most 5 s behind. Empty: none."
        ),
    )
    bootstrap_key: SecretStr = Field(
        default=SecretStr(""),
        description="An API key that always exists; empty: one is made at the first start, and printed once.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "Encrypts secrets in the store: 32 bytes in base64; several with commas, the first one encrypts."
            " Empty means `api.key` in the data directory, made at the first start."
        ),
    )
    seed_file: Path | None = Field(
        default=None,
        description="A numbers file that fills an empty store, once; then the API is the source.",
    )
    rate_limit: float = Field(
        default=200.0, gt=0, description="Requests a second for each API key, in bursts of twice as many."
    )
    verify_interval: float = Field(
        default=300.0, gt=0, description="Seconds between comparisons of all routes in Redis with the store."
    )
    remote_url: str = Field(
        default="",
        description=(
            "Another deployment of this API, e.g. `https://api.example.com`: routes come from there, and none"
            " is served here."
        ),
    )
    remote_key: SecretStr = Field(
        default=SecretStr(""), description="The API key for it; scope `read` is enough."
    )
    remote_interval: float = Field(
        default=5.0, gt=0, description="Seconds between looks at the remote API, more or less."
    )

    remote_deletion_limit: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description=(
            "Share of the routes that may vanish from one look at the remote API to the next; more is taken"
            " for its mistake, and nothing is deleted. 1 believes anything."
        ),
    )

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """Each by itself."""
        listed = self.database_replica_urls.get_secret_value().split(",")
        return tuple(each.strip() for each in listed if each.strip())


class Carriers(Section):
    """What carriers are told about this deployment, and where their APIs are."""

    nodes: Texts = Field(
        default=(),
        description=(
            "Where carriers reach the nodes, for `voice-gateway carriers setup`: `host`, `host:port`, with"
            " `;transport=tcp`, `;priority=10`, `;weight=10` behind. Empty means `sip.advertised_host`, and"
            " the port of `sip.listen`."
        ),
    )
    seller: str = Field(
        default="sandbox",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description=(
            "Whom numbers are bought from, unless a request names an integration: `sandbox`, a carrier of"
            " this project with fictional numbers; `twilio` or `telnyx`, whose only integration pays; or"
            " an integration's id."
        ),
    )
    public_url: str = Field(
        default="",
        description=(
            "Where carriers reach the API for webhooks, e.g. `https://api.example.com`: Twilio signs this"
            " address. Empty means the one that a request names, which a proxy may change."
        ),
    )
    twilio_url: str = Field(default="", description="Where Twilio's API is; empty means at Twilio.")
    telnyx_url: str = Field(default="", description="Where Telnyx's API is; empty means at Telnyx.")


class Admission(Section):
    """Who may call, and how much."""

    carriers_files: Texts = Field(
        default=("configs/carriers.toml",), description="Files with carriers' and trunks' source addresses."
    )
    stir_roots: Path | None = Field(
        default=None,
        description=(
            "Certificates (PEM) of the authorities that vouch for callers' PASSporTs (STIR/SHAKEN), for"
            ' trunks with `identity = "record"` or `"require"`; without it nobody is verified.'
        ),
    )
    digest_algorithms: Algorithms = Field(
        default=("SHA-256", "MD5"),
        min_length=1,
        description=(
            "What callers with a password are asked for, best first. Some clients (baresip 1, for one) give"
            " up when they are offered SHA-256: `MD5` alone lets them in."
        ),
    )
    reject_unknown: bool = Field(
        default=False, description="Answer 403 to unknown sources instead of silence."
    )
    trusted_proxies: Texts = Field(
        default=(),
        description=(
            "Addresses or networks of edge proxies of yours (`configs/kamailio`): calls through them are"
            " admitted by the address that their `X-Edge-Source` header names. A proxy that lets a caller's"
            " own header of that name through lets everybody in."
        ),
    )
    max_active_calls: int = Field(default=5000, ge=1, description="Calls at once; more are answered 503.")
    carrier_calls_per_second: float = Field(
        default=1000.0,
        gt=0,
        description=(
            "New calls a second from one carrier, in bursts of two seconds; more are answered 503. An entry's"
            " `calls_per_second` decides for its carrier."
        ),
    )
    source_requests_per_second: float = Field(
        default=1000.0,
        gt=0,
        description=(
            "New requests (calls, OPTIONS, …) a second from one admitted address, in bursts of two seconds;"
            " more are refused before they are looked at. What belongs to a call under way is not counted."
        ),
    )
    overload_delay: float = Field(
        default=0.4,
        gt=0,
        description=(
            "Seconds that messages may wait for this process; beyond it a growing share of new calls is"
            " answered 503, until it is well again. After 0.5 s peers send everything again."
        ),
    )


class Dispatch(Section):
    """The plan's clocks."""

    response_timeout: float = Field(
        default=2.0, gt=0, description="Seconds until an agent must have sent any response."
    )
    ring_timeout: float = Field(default=20.0, gt=0, description="Seconds until an agent must have answered.")
    first_audio_timeout: float = Field(
        default=0.0,
        ge=0,
        description=(
            "Seconds within which an agent on a WebSocket must have said something, else its call moves on."
            " 0: never, since many agents wait for the caller to speak."
        ),
    )
    max_call_duration: float = Field(
        default=14_400.0, gt=0, description="Seconds after which a call is ended."
    )


class Transfer(Section):
    """Where agents may send their callers by REFER."""

    scope: Literal["off", "own", "any"] = Field(
        default="own",
        description=(
            "`own`: to agents (`sip:agt_…@anything`) and numbers of this gateway, and to agents' SIP"
            " endpoints; `any`: to any SIP URI; `off`: nowhere."
        ),
    )
    hosts: Texts = Field(
        default=(),
        description="Hosts of SIP URIs that are allowed besides `own`; `*.example.com` for all below it.",
    )


class Agents(Section):
    """Agents in general."""

    trusted_hosts: Texts = Field(
        default=(),
        description=(
            "Hosts of SIP endpoints that learn a caller's number even when it is withheld, as"
            " P-Asserted-Identity (RFC 3325); `*.example.com` for all below it. Others see `anonymous`."
        ),
    )
    endpoint_template: str | None = Field(
        default=None,
        description="Endpoint of agents that nothing describes, e.g. `sip:{agent_id}@agents.internal`.",
    )
    ca_file: Path | None = Field(
        default=None,
        description=(
            "Certificates (PEM) that are trusted at `wss:` and `sips:` endpoints besides the system's own."
        ),
    )
    dns_servers: Texts = Field(
        default=(),
        description=(
            "DNS servers for agents' host names, as `192.0.2.53:53`; empty means the machine's own"
            " (/etc/resolv.conf). /etc/hosts goes before them."
        ),
    )
    failures_to_open: int = Field(
        default=3, ge=1, description="Failures in a row after which an endpoint is left alone."
    )
    probe_interval: float = Field(
        default=10.0,
        gt=0,
        description="Seconds between probes of an endpoint: OPTIONS over SIP, a connection for a WebSocket.",
    )


class Media(Section):
    """Audio."""

    bind: str = Field(default="0.0.0.0", description="Local address of RTP ports.")  # noqa: S104 - carriers reach it
    advertised_host: str = Field(
        default="", description="Public address for SDP; empty means the local address that faces the peer."
    )
    bind6: str = Field(
        default="",
        pattern=r"^([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)?$",
        description=(
            "Local IPv6 address of RTP ports beside `bind`, e.g. `::`: callers and agents that are reached"
            " over IPv6 get a port of it. Empty: none."
        ),
    )
    advertised_host6: str = Field(
        default="",
        description="IPv6 address for SDP with `bind6`; empty means the local address that faces the peer.",
    )
    engine: Literal["own", "rtpengine"] = Field(
        default="own",
        description=(
            "Who relays audio between carriers and SIP agents: `own` ports, or `rtpengine`, which takes the"
            " packets off this process. Voicemail, agents over WebSocket, recordings and SRTP are always our"
            " own; with `rtpengine` nothing is transcoded. `docs/rtpengine.md`."
        ),
    )
    rtpengine: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description=(
            "Where instances of rtpengine listen for its ng protocol, `host:port`; `*weight` behind it for"
            " another share of calls than 1. UDP, in a network that only you can reach: it has no password."
        ),
    )
    rtpengine_timeout: float = Field(
        default=0.5,
        ge=0.05,
        le=5,
        description="Seconds for an answer of an instance; a call asks at most three, one after the other.",
    )
    rtpengine_fallback: bool = Field(
        default=True,
        description=(
            "Relay calls by our own ports while no instance takes them; false: 503, so that the carrier"
            " goes to another node."
        ),
    )
    port_low: int = Field(default=16_384, ge=1024, le=65_534, description="First RTP port.")
    port_high: int = Field(default=32_766, ge=1024, le=65_534, description="Last RTP port.")
    agent_silence_timeout: float = Field(
        default=60.0,
        ge=0,
        description=(
            "Seconds without RTP after which an agent is taken for dead and its call moves on; 0 never."
            " Agents that send nothing while they listen need more."
        ),
    )
    caller_silence_timeout: float = Field(
        default=300.0,
        ge=0,
        description="Seconds without RTP from the caller after which the call is ended; 0: never.",
    )
    agent_prefill: float = Field(
        default=0.16,
        ge=0.04,
        le=0.4,
        description=(
            "Seconds that what an agent says over a WebSocket is held back at first, so a late chunk tears"
            " no hole; learned from each agent's beat afterwards."
        ),
    )
    transcoding: bool = Field(
        default=True,
        description=(
            "Offer SIP agents G.711, G.722, L16 (and Opus with the extra) behind the caller's own codecs, and"
            " transcode where they take one of those. With direct media never."
        ),
    )
    waiting_sound: str = Field(
        default="ringback",
        min_length=1,
        description=(
            "What a caller who is answered already hears while an agent is being reached: `ringback`,"
            " `silence` (the faint noise of a line), or an audio file, repeated."
        ),
    )
    ringback_country: str = Field(
        default="",
        pattern=r"^([A-Z]{2})?$",
        description="Whose ringback tone, as ISO 3166 code; empty means that of the carrier's country.",
    )
    early_media: bool = Field(
        default=False,
        description=(
            "Let callers hear `waiting_sound` before they are answered (183 with a session description), in"
            " place of a 180 and the carrier's own ringback; a carrier's `early_media` decides for its calls."
        ),
    )

    @field_validator("rtpengine")
    @classmethod
    def _instances(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            EngineAddress.parse(each)
        return value

    @model_validator(mode="after")
    def _has_instances(self) -> Self:
        if self.engine == "rtpengine" and not self.rtpengine:
            raise ValueError("engine: rtpengine wants at least one instance in media.rtpengine")
        return self


class Voicemail(Section):
    """The voicemail box."""

    default_message: str = Field(
        "Sorry, we cannot take your call right now. Please leave a message after the tone.",
        description=(
            "Spoken when neither the number nor its agent has a message; may hold `{{caller}}`, `{{dialled}}`"
            " and `{{agent}}`."
        ),
    )
    withheld_caller: str = Field(
        default="an unknown caller",
        min_length=1,
        description="Spoken in place of `{{caller}}` when there is no number to read out.",
    )
    directory: Path | None = Field(
        default=None,
        description=(
            "Where recordings are written on this machine, and stay unless `storage.url` names another place;"
            " empty means `recordings` in the data directory."
        ),
    )
    max_seconds: float = Field(default=180.0, gt=0, description="Longest recording.")
    silence_seconds: float = Field(default=10.0, gt=0, description="Seconds of silence that end a recording.")
    finish_key: str = Field(
        default="#", pattern=r"^[0-9*#A-D]?$", description="Key that ends a recording; empty for none."
    )
    min_seconds: float = Field(
        default=1.0,
        ge=0,
        description="Seconds of voice below which a message is marked as too short: the caller hung up.",
    )


class Recording(Section):
    """Recording of calls and messages."""

    policy: Literal["off", "voicemail", "all"] = Field(
        default="voicemail",
        description=(
            "What is recorded unless the number or its agent says otherwise: nothing (voicemail speaks its"
            " message and says goodbye), messages in the voicemail, or whole calls as well."
        ),
    )
    consent_tone: Literal["off", "tone", "repeat"] = Field(
        default="off",
        description="A tone that both sides hear while a whole call is recorded: none, at the start, or again"
        " and again.",
    )
    consent_message: str = Field(
        default="",
        description=(
            "Spoken to a caller whose whole call is recorded, who is answered for it, before any agent is"
            " tried; a call that it cannot be spoken to is not recorded. Empty: none."
        ),
    )
    consent_interval: float = Field(default=15.0, ge=2, description="Seconds between the tones of `repeat`.")
    format: Literal["wav", "ogg"] = Field(
        default="wav",
        description="What whole calls are kept as; `ogg` (Opus) has a tenth of the size. Messages stay WAV.",
    )
    retention_days: float = Field(
        default=0.0, ge=0, description="Days after which recordings are deleted; 0: never."
    )
    max_total_bytes: int = Field(
        default=0, ge=0, description="Room for recordings; beyond it the oldest are deleted. 0: no limit."
    )
    min_free_bytes: int = Field(
        default=536_870_912,
        ge=0,
        description="Free space on the disk below which nothing is recorded; calls go on.",
    )


class History(Section):
    """What is remembered of calls that are over."""

    max_calls: int = Field(
        default=100_000,
        ge=0,
        le=10_000_000,
        description="Calls that are remembered, in the API's store, else in the data directory; 0: none.",
    )
    retention_days: float = Field(
        default=30.0, ge=0, description="Days after which a call is forgotten; 0: never."
    )


class Traces(Section):
    """What went over the wire for each call, on this machine's disk; secrets starred out."""

    max_total_bytes: int = Field(
        default=536_870_912,
        ge=0,
        description=(
            "Room for SIP messages in the data directory, 10 kB a call; the oldest go. 0: none is kept."
        ),
    )
    rtp: bool = Field(
        default=False,
        description=(
            "Keep the heads of RTP packets, too, the first minute of each call, in as much room again:"
            " captures then show its audio. For looking into trouble: it costs something for each packet."
        ),
    )


class Tracing(Section):
    """Calls for OpenTelemetry, SIP messages for Homer. Off unless a destination is named."""

    otlp_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description=(
            "A collector's OTLP port for HTTP, e.g. `http://127.0.0.1:4318`: each call is a trace there, its"
            " id a header `traceparent` for agents. Empty traces nothing."
        ),
    )
    otlp_authorization: SecretStr = Field(
        default=SecretStr(""), description="Sent to it as `Authorization`, e.g. `Bearer …`; empty: nothing."
    )
    share: float = Field(default=1.0, ge=0, le=1, description="Of the calls that are traced.")
    hep_address: str = Field(
        default="",
        description=(
            "Where Homer takes HEP version 3 over UDP, `host:port`: every SIP message goes there, secrets"
            " starred out, telephone numbers as they are. Empty sends none."
        ),
    )
    hep_agent_id: int = Field(
        default=2001, ge=0, le=4_294_967_295, description="Who we are to Homer; one for each node."
    )
    hep_password: SecretStr = Field(default=SecretStr(""), description="Homer's, if it wants one.")


class Webhooks(Section):
    """Events for addresses that `POST /v1/webhooks` names."""

    allow_private: bool = Field(
        default=False,
        description=(
            "Send also to addresses that are not on the public internet: whoever may make webhooks then"
            " reaches what this machine reaches."
        ),
    )


class Email(Section):
    """Voicemails by email, with their audio."""

    host: str = Field(default="", description="The SMTP server; empty sends no email.")
    port: int = Field(default=587, ge=1, le=65_535, description="587 with `starttls`, 465 with `tls`.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection is encrypted; `none` only within this machine."
    )
    username: str = Field(default="", description="At the server; empty if it asks for none.")
    password: SecretStr = Field(default=SecretStr(""), description="Its password.")
    sender: str = Field(default="", description="Address that emails are from.")
    to: str = Field(
        default="",
        description=(
            "Address that voicemails are sent to, unless their number has a `voicemail_email`; empty: only"
            " those are sent."
        ),
    )
    max_attachment_bytes: int = Field(
        default=10_485_760, ge=0, description="Audio beyond that is not attached, but stays in the box."
    )


class Transcription(Section):
    """Voicemails written down by an OpenAI-compatible endpoint: what callers say leaves this machine."""

    url: str = Field(
        default="",
        description=(
            "The server, to which `/v1/audio/transcriptions` is added, e.g. `https://api.openai.com`; empty"
            " writes nothing down."
        ),
    )
    api_key: SecretStr = Field(default=SecretStr(""), description="The bearer key.")
    model: str = Field(default="whisper-1", min_length=1, description="The model's name.")
    language: str = Field(
        default="",
        pattern=r"^([a-z]{2,3})?$",
        description="What callers speak, as ISO 639 code; empty lets the server find out.",
    )
    timeout: float = Field(
        default=60.0, gt=0, le=600, description="Seconds that the server may take for one message."
    )


class Storage(Section):
    """Where finished recordings are kept."""

    url: str = Field(
        default="",
        description=(
            "`s3://bucket/prefix?endpoint=https://…&region=…` for AWS S3 and what is compatible with it, or"
            " `file:///directory`; empty keeps them in `voicemail.directory`."
        ),
    )
    access_key_id: str = Field(
        default="", description="Of the S3 user; empty: AWS's own chain (environment, role of the machine)."
    )
    secret_access_key: SecretStr = Field(default=SecretStr(""), description="Its secret.")


class Speech(Section):
    """Text to audio."""

    engine: Literal["espeak", "flite", "http"] = Field(
        default="espeak", description="What speaks voicemail messages."
    )
    voice: str = Field(default="", description="The engine's voice; empty means its default.")
    url: str = Field(
        default="",
        description="`http`: an OpenAI-compatible server, to which `/v1/audio/speech` is added.",
    )
    model: str = Field(default="tts-1", description="`http`: the model's name.")
    api_key: SecretStr = Field(default=SecretStr(""), description="`http`: the bearer key.")
    timeout: float = Field(default=10.0, gt=0, description="Seconds that one rendering may take.")


class Continuity(Section):
    """What becomes of established calls when their gateway dies."""

    enabled: bool = Field(
        default=True,
        description=(
            "Keep a small record of each established call in Redis, and take over the calls of gateways that"
            " died: those with direct media go on, others are ended in order."
        ),
    )
    lease: float = Field(
        default=6.0,
        ge=3,
        le=300,
        description=(
            "Seconds without a sign of life in Redis after which another gateway may take our calls over, two"
            " seconds later. The same gateway started again on its `data.dir` does at once."
        ),
    )


class Drain(Section):
    """Shutdown."""

    timeout: float = Field(
        default=60.0, ge=0, description="Seconds that calls may go on after SIGTERM before they get a BYE."
    )


class Logs(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    mask_personal_data: bool = Field(
        default=False,
        description=(
            "Mask phone numbers and texts in logs. Voicemail records keep them: somebody will call back."
        ),
    )


class Demo(Section):
    """The built-in demo agent, run by `voice-gateway serve --demo`."""

    listen: str = Field(default="127.0.0.1:5070", description="Where it answers; a loopback address.")


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=False
    )

    sip: Sip = Sip()
    workers: Workers = Workers()
    web: Web = Web()
    data: Data = Data()
    redis: Redis = Redis()
    node: Node = Node()
    routing: Routing = Routing()
    api: Api = Api()
    carriers: Carriers = Carriers()
    admission: Admission = Admission()
    dispatch: Dispatch = Dispatch()
    agents: Agents = Agents()
    transfer: Transfer = Transfer()
    media: Media = Media()
    voicemail: Voicemail = Voicemail()
    recording: Recording = Recording()
    history: History = History()
    traces: Traces = Traces()
    tracing: Tracing = Tracing()
    webhooks: Webhooks = Webhooks()
    email: Email = Email()
    transcription: Transcription = Transcription()
    storage: Storage = Storage()
    speech: Speech = Speech()
    continuity: Continuity = Continuity()
    drain: Drain = Drain()
    logs: Logs = Logs()
    demo: Demo = Demo()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource | NestedSecretsSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; nothing else is read."""
        return env_settings, init_settings


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and validate the configuration.

    path: the TOML file; None means `$VOICE_GATEWAY_CONFIG`, else `configs/gateway.toml` if it exists,
        else defaults.
    environ: for unknown variables only; None means the process's own.

    Raises:
        ConfigError: naming the key and the fix.

    """
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[ENV_FILE]) if environ.get(ENV_FILE) else None)
    values: dict[str, Any] = {}
    file = named or DEFAULT_FILE
    try:
        values = tomllib.loads(file.read_text())
    except FileNotFoundError:
        if named is not None:
            raise ConfigError(f"{file}: no such file (--config or {ENV_FILE})") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    _refuse_unknown_variables(environ)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, file if values else None)) from None
    if settings.media.port_low >= settings.media.port_high:
        raise ConfigError("media.port_low: must be below media.port_high")
    _check_workers(settings)
    if settings.sip.tls_certificate is None and (settings.sip.tls_key or settings.sip.tls_client_ca):
        raise ConfigError("sip.tls_certificate: needed with sip.tls_key and with sip.tls_client_ca")
    if settings.speech.engine == "http" and not settings.speech.url:
        raise ConfigError('speech.url: needed with speech.engine = "http"')
    if settings.sip.discover_host and settings.sip.advertised_host:
        raise ConfigError(
            "sip.discover_host: the address is in sip.advertised_host already: remove one of them"
        )
    _check_sources(settings)
    _check_redis(settings.redis)
    _check_replicas(settings.api)
    _check_dns(settings.agents)
    _check_proxies(settings.admission)
    _check_storage(settings.storage)
    for fault, fix in message_variables.faults(settings.voicemail.default_message):
        raise ConfigError(f"voicemail.default_message: {fault}: {fix}")
    _check_email(settings.email)
    url = settings.transcription.url
    if url and not url.startswith(("https://", "http://")):
        raise ConfigError("transcription.url: write it as https://host")
    return settings


def _check_workers(settings: Settings) -> None:
    workers, media = settings.workers, settings.media
    if not shares_ports(settings):
        return
    if sys.platform != "linux":
        raise ConfigError("workers.count: several processes on one port need Linux: set it to 1")
    if abs(workers.port - workers.tls_port) < MAX_SLOTS:
        raise ConfigError(f"workers.tls_port: must be {MAX_SLOTS} ports away from workers.port")
    if (media.port_high - media.port_low) // (2 * workers.count) < 1:
        raise ConfigError("media.port_high: there is no RTP port for each worker")
    if settings.admission.max_active_calls < workers.count:
        raise ConfigError("admission.max_active_calls: there is not one call for each worker")


def shares_ports(settings: Settings) -> bool:
    """Whether the gateway is an office with workers, and not one process."""
    return settings.workers.count > 1 or settings.workers.takeover


def _check_sources(settings: Settings) -> None:
    """Routes come from one place."""
    api = settings.api
    if api.remote_url:
        if settings.routing.numbers_file is not None:
            raise ConfigError(
                "api.remote_url: routes come from routing.numbers_file already: remove one of them"
            )
        if not api.remote_url.startswith(("https://", "http://")):
            raise ConfigError("api.remote_url: write it as https://host")
        if not api.remote_key.get_secret_value():
            raise ConfigError("api.remote_key: needed with api.remote_url")
    key = api.bootstrap_key.get_secret_value()
    if key and not (
        MIN_KEY <= len(key) <= MAX_KEY and key.isascii() and key.isprintable() and " " not in key
    ):
        raise ConfigError(
            f"api.bootstrap_key: write {MIN_KEY} to {MAX_KEY} printable ASCII characters without spaces,"
            " best `oi_sk_` and 32 random ones"
        )


def _check_replicas(api: Api) -> None:
    if api.replica_urls and not api.database_url.get_secret_value():
        raise ConfigError("api.database_url: needed with api.database_replica_urls: SQLite has no replicas")
    if len(api.replica_urls) > MAX_REPLICAS:
        raise ConfigError(f"api.database_replica_urls: name at most {MAX_REPLICAS}")


def _check_redis(redis: Redis) -> None:
    url = redis.url.get_secret_value()
    try:
        place = parse_place(url) if url else None
    except RedisUrlError as error:
        raise ConfigError(f"redis.url: {error}") from None
    if (redis.ca_file or redis.certificate or redis.key) and not (place and place.tls):
        raise ConfigError(
            "redis.ca_file, redis.certificate: only of use with rediss:// or rediss+…:// in redis.url"
        )
    if redis.key and not redis.certificate:
        raise ConfigError("redis.certificate: needed with redis.key")
    if (redis.sentinel_username or redis.sentinel_password.get_secret_value()) and not (
        place and place.kind == "sentinel"
    ):
        raise ConfigError("redis.sentinel_password: only of use with redis+sentinel:// in redis.url")


def _check_dns(agents: Agents) -> None:
    for server in agents.dns_servers:
        try:
            parse_address(server)
        except AddressError as error:
            raise ConfigError(f"agents.dns_servers: {error}") from None


def _check_proxies(admission: Admission) -> None:
    try:
        TrustedProxies(admission.trusted_proxies)
    except TrustedProxiesError as error:
        raise ConfigError(f"admission.trusted_proxies: {error}") from None


def _check_email(email: Email) -> None:
    if not email.host:
        return
    for key, address in (("sender", email.sender), ("to", email.to)):
        if not MAIL_ADDRESS.fullmatch(address) and (address or key == "sender"):
            raise ConfigError(f"email.{key}: write one address, as in voicemail@example.com")
    if bool(email.username) != bool(email.password.get_secret_value()):
        raise ConfigError("email.username: write both it and email.password, or neither")
    if email.username and email.tls == "none":
        raise ConfigError(
            "email.tls: a password does not go over the network unencrypted: write starttls or tls"
        )


MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}")
"""RFC 5321 §4.1.2, without quotes and address literals: nothing that could begin another header."""


def _check_storage(storage: Storage) -> None:
    try:
        if storage.url:
            parse_url(storage.url)
    except StorageUrlError as error:
        raise ConfigError(f"storage.url: {error}") from None
    if bool(storage.access_key_id) != bool(storage.secret_access_key.get_secret_value()):
        raise ConfigError("storage.access_key_id: write both it and storage.secret_access_key, or neither")


class ListenVariables(NamedTuple):
    """What a service manager says of sockets that it passes (sd_listen_fds(3)): for whom, how many, names."""

    pid: str
    fds: str
    fdnames: str


def take_listen_variables() -> ListenVariables:
    """Take them out of the environment: no process that is started from here is meant by them."""
    return ListenVariables(
        *(os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    )


def keys() -> dict[str, type[Section]]:
    """Section names and their models, in order."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def known_keys() -> list[str]:
    """Every key as ``section.key``."""
    return [f"{section}.{key}" for section, model in keys().items() for key in model.model_fields]


def variable(key: str) -> str:
    """The environment variable of a key."""
    return ENV_PREFIX + key.replace(".", "__").upper()


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = {variable(key) for key in known_keys()} | {ENV_FILE, *CLIENT_VARIABLES.values()}
    for name in sorted(environ):
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"environment variable {name}: no such key{hint}")


def _explain(error: ValidationError, file: Path | None) -> str:
    """The first fault in one line: where, what, and what to do."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    where = f"{file}: " if file else ""
    if first["type"] == "extra_forbidden":
        candidates = [*known_keys(), *keys()]
        near = difflib.get_close_matches(key, candidates, 1) or difflib.get_close_matches(
            key.rpartition(".")[2], [name.rpartition(".")[2] for name in candidates], 1
        )
        return f"{where}{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    return f"{where}{key}: {first['msg'][0].lower()}{first['msg'][1:]} (also {variable(key)})"
