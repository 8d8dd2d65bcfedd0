"""The metrics of the contract: names and labels that dashboards and alerts are built on.

What moves many times in every call is a `Tally` or a `Spread`. Of the others, label children that are asked
for often are bound once, here: `.labels()` costs as much as the observation itself. No label ever holds a
phone number. Label values that a peer could choose freely (methods, status codes) are cut to known ones, so
that nobody can grow our memory by inventing words.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from gateway.telemetry.tallies import Spread, Tally

LATENCY_BUCKETS: Final = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
    *(0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0),
)
"""Seconds. A good gateway lives in the first five; the last ones are people who let it ring."""

DURATION_BUCKETS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)
"""Seconds of a whole call."""

JITTER_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)

ROUND_TRIP_BUCKETS: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)

MOS_BUCKETS: Final = (1.5, 2.0, 2.58, 3.1, 3.6, 4.03, 4.34, 4.5)
"""From the third one on the steps of G.109: beyond them most, many, some users are dissatisfied, satisfied,
very."""

STAGES: Final = (
    *("trying", "lookup", "dispatch", "agent_response", "agent_answer"),
    *("failover", "answer", "voicemail_start"),
)
METHODS: Final = (
    *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "REGISTER"),
    *("PRACK", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "PUBLISH"),
)
OTHER: Final = "other"
LEGS: Final = ("caller", "agent")
_GENERATIONS: Final = ("0", "1", "2")
TRANSACTION_KINDS: Final = ("invite_client", "invite_server", "client", "server")

RECORDING_RESULTS: Final = (
    *("stored", "upload_failed", "disk_full"),
    *("disk_failed", "deleted", "delete_failed"),
)

MAX_CHILDREN: Final = 2_000
"""Label combinations of one family that are kept bound; what comes after is counted under `other`."""


# A series more for each counter, which nobody asked for.
disable_created_metrics()  # type: ignore[no-untyped-call]


TRANSFER_RESULTS = ("completed", "returned", "failed", "abandoned", "refused")

ORPHAN_RESULTS: Final = ("adopted", "ended", "lost")


class Metrics:
    """Every family of the contract that this gateway fills, in one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        self.calls = Tally("gateway_calls", "Calls that are over.", ("carrier", "outcome"), registry=registry)
        self.calls_active = Gauge("gateway_calls_active", "Legs in progress.", ("leg",), registry=registry)
        self.call_stage = Spread(
            "gateway_call_stage_seconds",
            "How long each stage of a call took.",
            ("stage",),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.call_duration = Spread(
            "gateway_call_duration_seconds",
            "From INVITE to goodbye.",
            ("outcome",),
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.sip_messages = Tally(
            "gateway_sip_messages",
            "SIP messages by method and status; code 0 is the request.",
            ("direction", "method", "code"),
            registry=registry,
        )
        self.sip_retransmissions = Tally(
            "gateway_sip_retransmissions",
            "SIP messages sent or received again.",
            ("direction",),
            registry=registry,
        )
        self.sip_dropped = Tally(
            "gateway_sip_dropped", "Messages neither answered nor delivered.", ("reason",), registry=registry
        )
        self.certificate_expiry = Gauge(
            "gateway_tls_certificate_expiry_seconds",
            "Until the certificate of SIP over TLS expires; negative afterwards. Only there if one is"
            " configured.",
            ("certificate",),
            registry=registry,
        )
        self.certificate_reloads = Counter(
            "gateway_tls_certificate_reloads",
            "Times that the certificate's files were read again: loaded, or failed (the old one stays).",
            ("result",),
            registry=registry,
        )
        self.registration_up = Gauge(
            "gateway_registration_up",
            "1 while the trunk's account is registered at its carrier, which sends its calls here then.",
            ("carrier",),
            registry=registry,
        )
        self.registration_failures = Counter(
            "gateway_registration_failures",
            "Attempts to register at a carrier that failed by every way; the log says why.",
            ("carrier",),
            registry=registry,
        )
        self.sip_transactions = Gauge(
            "gateway_sip_transactions", "SIP transactions alive.", ("kind",), registry=registry
        )
        self.media_ports = Gauge(
            "gateway_media_ports",
            "Pairs of media ports in use, one for each leg whose audio passes us; resting ones do not count.",
            registry=registry,
        )
        self.rtp_packets = Counter("gateway_rtp_packets", "RTP packets.", ("direction",), registry=registry)
        self.rtp_lost = Counter(
            "gateway_rtp_lost_packets", "RTP packets that never came, by sequence numbers.", registry=registry
        )
        self.srtp_rejected = Counter(
            "gateway_srtp_rejected_packets",
            "Packets not heard on encrypted legs: forged (not sealed with the peer's key), replayed.",
            ("reason",),
            registry=registry,
        )
        for reason in ("forged", "replayed"):
            self.srtp_rejected.labels(reason)
        self.dtls_handshakes = Counter(
            "gateway_dtls_handshakes",
            "Legs whose audio got its keys by DTLS, at their end: done, failed.",
            ("result",),
            registry=registry,
        )
        for result in ("done", "failed"):
            self.dtls_handshakes.labels(result)
        self.rtp_jitter = Histogram(
            "gateway_rtp_jitter_seconds",
            "Interarrival jitter of each stream at its end (RFC 3550 §6.4.1).",
            buckets=JITTER_BUCKETS,
            registry=registry,
        )
        self.rtp_round_trip = Histogram(
            "gateway_rtp_round_trip_seconds",
            "To the peer and back, mean of each leg that reports (RFC 3550 §6.4.1).",
            buckets=ROUND_TRIP_BUCKETS,
            registry=registry,
        )
        self.rtp_mos = Histogram(
            "gateway_rtp_mos",
            "Estimated mean opinion score of what came on each leg, 1 to 4.5 (ITU-T G.107).",
            buckets=MOS_BUCKETS,
            registry=registry,
        )
        self.rtpengine_up = Gauge(
            "gateway_rtpengine_up",
            "1 while the instance of rtpengine answers. Only there with media.engine = rtpengine.",
            ("relay",),
            registry=registry,
        )
        self.rtpengine_calls = Gauge(
            "gateway_rtpengine_calls", "Our calls that it relays now.", ("relay",), registry=registry
        )
        self.rtpengine_commands = Counter(
            "gateway_rtpengine_commands",
            "Commands to rtpengine: ok, error (it refused), timeout (no answer).",
            ("command", "result"),
            registry=registry,
        )
        self.rtpengine_fallbacks = Counter(
            "gateway_rtpengine_fallbacks",
            "Calls that we relay ourselves because no instance of rtpengine took them.",
            registry=registry,
        )
        self.underruns = Counter(
            "gateway_media_underruns", "Frames that were due and not there.", registry=registry
        )
        self.concealed = Counter(
            "gateway_media_concealed_frames",
            "Frames of 20 ms made up for live listeners in place of lost or late packets.",
            registry=registry,
        )
        self.playout_delay = Histogram(
            "gateway_media_playout_delay_seconds",
            "Target of each live session's jitter buffer at its end.",
            buckets=JITTER_BUCKETS,
            registry=registry,
        )
        self.overload_level = Gauge(
            "gateway_overload_level",
            "How near this node is to refusing calls: of the calls under way, the room for transactions and"
            " the delay of messages the one that is nearest to its limit; 1 refuses calls.",
            registry=registry,
        )
        self.calls_refused = Tally(
            "gateway_calls_refused",
            "Calls refused with 503 before anything is remembered of them: carrier_rate, overload,"
            " max_active_calls.",
            ("carrier", "rule"),
            registry=registry,
        )
        self.message_wait = Histogram(
            "gateway_sip_message_wait_seconds",
            "How long datagrams wait in the kernel until they are read; a few are measured each second.",
            buckets=LATENCY_BUCKETS[:12],
            registry=registry,
        )
        self.worker_up = Gauge(
            "gateway_worker_up",
            "1 while the worker answers its office; a gateway that is one process has none.",
            ("worker",),
            registry=registry,
        )
        self.worker_restarts = Counter(
            "gateway_worker_restarts",
            "Times that a worker ended unasked, and its calls with it; another one took its slot.",
            ("worker",),
            registry=registry,
        )
        self.handed = Counter(
            "gateway_sip_handed_messages",
            "SIP messages between workers: taken (it belonged there), asked (whether it did), stood_in (kept,"
            " since the worker that it belongs to was not there or did not keep up).",
            ("result",),
            registry=registry,
        )
        self.passed_sockets = Gauge(
            "gateway_passed_sockets",
            "Listening sockets that the service manager opened for us (systemd); 0: they are our own.",
            registry=registry,
        )
        self.ready = Gauge(
            "gateway_ready", "1 while new calls are taken, as `/readyz` answers.", registry=registry
        )
        self.disk_free = Gauge(
            "gateway_disk_free_bytes",
            "Free for us where `data.dir` (data) and recordings on this machine (recordings) are.",
            ("directory",),
            registry=registry,
        )
        self.disk_size = Gauge(
            "gateway_disk_size_bytes", "What there is in all.", ("directory",), registry=registry
        )
        self.loop_lag = Histogram(
            "gateway_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=LATENCY_BUCKETS[:12],
            registry=registry,
        )
        self.gc_pauses = Spread(
            "gateway_gc_pause_seconds",
            "How long each garbage collection held everything up, by the oldest generation looked through.",
            ("generation",),
            buckets=LATENCY_BUCKETS[:10],
            registry=registry,
        )
        self.endpoint_up = Gauge(
            "gateway_agent_endpoint_up",
            "1 while calls are tried there.",
            ("agent", "endpoint"),
            registry=registry,
        )
        self.events_dropped = Counter(
            "gateway_events_dropped",
            "Call events given up because Redis was away for too long; voicemails never are.",
            registry=registry,
        )
        self.greetings = Counter(
            "gateway_voicemail_greetings",
            "Uploaded greetings that a voicemail was to play: played; missing (its text was spoken instead).",
            ("result",),
            registry=registry,
        )
        for result in ("played", "missing"):
            self.greetings.labels(result)
        self.traces_dropped = Counter(
            "gateway_traces_dropped",
            "SIP messages not kept for traces, because the disk was away or too slow.",
            registry=registry,
        )
        self.spans = Counter(
            "gateway_traced_calls",
            "Calls traced: exported, refused by the collector, dropped before it had them.",
            ("result",),
            registry=registry,
        )
        self.hep = Counter(
            "gateway_hep_messages",
            "SIP messages for Homer: sent, or dropped because they came too fast.",
            ("result",),
            registry=registry,
        )
        self.agent_calls = Gauge("gateway_agent_calls", "Calls at an agent.", ("agent",), registry=registry)
        self.lookups = Tally("routing_lookups", "Route lookups.", ("source", "result"), registry=registry)
        self.lookup_seconds = Spread(
            "routing_lookup_seconds",
            "How long a lookup took.",
            ("source",),
            buckets=(0.000005, 0.00002, 0.0001, *LATENCY_BUCKETS[:10]),
            registry=registry,
        )
        self.sync_age = Gauge(
            "routing_sync_age_seconds", "Since the routes were last known to be current.", registry=registry
        )
        self.sync_errors = Counter("routing_sync_errors", "Failed synchronisations.", registry=registry)
        self.recordings = Counter(
            "gateway_recordings",
            "Recordings: stored; upload_failed (a try of several); disk_full and disk_failed (given"
            " up, the call went on); deleted by retention, delete_failed (files).",
            ("result",),
            registry=registry,
        )
        for result in RECORDING_RESULTS:
            self.recordings.labels(result)
        self.transfers = Counter(
            "gateway_transfers",
            "Transfers that agents asked for by REFER: completed, returned (to the agent), failed (and the"
            " agent had gone), abandoned (by the caller), refused.",
            ("result",),
            registry=registry,
        )
        for result in TRANSFER_RESULTS:
            self.transfers.labels(result)
        self.orphaned_calls = Counter(
            "gateway_orphaned_calls",
            "Established calls of gateways that died, taken over here: adopted (they go on), ended (their"
            " audio had died, both sides were told), lost (nothing could be done).",
            ("result",),
            registry=registry,
        )
        for result in ORPHAN_RESULTS:
            self.orphaned_calls.labels(result)
        self.continuity_calls = Gauge(
            "gateway_continuity_calls",
            "Calls of this gateway that another one could go on with, or end in order: Redis has them.",
            registry=registry,
        )
        self.continuity_lease_age = Gauge(
            "gateway_continuity_lease_age_seconds",
            "Since Redis last heard that this process lives. Beyond continuity.lease others take its calls.",
            registry=registry,
        )
        self.continuity_waiting = Gauge(
            "gateway_continuity_waiting",
            "Calls whose latest state is not in Redis yet, for another gateway to go on with.",
            registry=registry,
        )
        self.continuity_failures = Counter(
            "gateway_continuity_failures",
            "Times that the state of calls could not be written to Redis: what happens meanwhile is lost if"
            " this gateway dies.",
            registry=registry,
        )
        self.recordings_waiting = Gauge(
            "gateway_recordings_waiting",
            "Finished recordings that the store does not have yet.",
            registry=registry,
        )
        self.recordings_files = Gauge(
            "gateway_recordings_files", "Recordings and their records in the store, files.", registry=registry
        )
        self.recordings_bytes = Gauge(
            "gateway_recordings_bytes", "What they take in the store.", registry=registry
        )
        self.remote_looks = Counter(
            "routing_remote_looks",
            "Looks at api.remote_url: changed, unchanged, held_back (deletions not believed), error.",
            ("result",),
            registry=registry,
        )
        self.remote_age = Gauge(
            "routing_remote_age_seconds",
            "Since api.remote_url was last heard, by whichever gateway looks there; 0 without one.",
            registry=registry,
        )
        self.cluster_calls = Gauge(
            "gateway_agent_cluster_calls",
            "Calls at endpoints with max_calls of an agent, on all gateways, as this one heard last.",
            ("agent",),
            registry=registry,
        )
        self.places_asked = Counter(
            "gateway_agent_places",
            "Calls that wanted a place at an endpoint with max_calls: granted, full, or alone (decided"
            " without Redis, by this gateway's part of the places).",
            ("answer",),
            registry=registry,
        )
        answers = ("granted", "full", "alone")
        self.places = {answer: self.places_asked.labels(answer) for answer in answers}
        self.places_alone = Gauge(
            "gateway_agent_places_alone",
            "1 while max_calls is kept by this gateway's part alone, because Redis does not answer in time.",
            registry=registry,
        )
        self.redis_trouble = Gauge(
            "gateway_redis_trouble",
            "1 for what is wrong with Redis now: away, silent, slow, full, read_only, loading, refused (user"
            " or password), incomplete (a part of the cluster is down), empty (no routes), other.",
            ("kind",),
            registry=registry,
        )
        self.clock_ahead = Gauge(
            "gateway_clock_ahead_seconds",
            "How far this gateway's clock is ahead of Redis's, as of the last heartbeat; negative: behind.",
            registry=registry,
        )
        self.nodes = Gauge(
            "gateway_nodes",
            "Gateways that share this one's Redis: up, or gone without a goodbye in the last 15 minutes.",
            ("state",),
            registry=registry,
        )
        self.behind = Gauge(
            "routing_revisions_behind",
            "Changes of the routes that Redis has and this node does not serve by yet, as of the last"
            " heartbeat.",
            registry=registry,
        )
        self.numbers = Gauge("routing_numbers", "Numbers in the in-process view.", registry=registry)
        self.propagation = Histogram(
            "routing_propagation_seconds",
            "From a change's acceptance to its being routable here.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        for stage in STAGES:
            self.call_stage.begin((stage,))
        self._legs = dict.fromkeys(LEGS, 0)
        for leg in LEGS:
            self.calls_active.labels(leg).set_function(partial(self._legs.__getitem__, leg))
        self._rtp = {direction: self.rtp_packets.labels(direction) for direction in ("in", "out")}
        for direction in ("in", "out"):
            self.sip_retransmissions.add((direction,), 0)
        self._messages: dict[tuple[str, str, int], tuple[str, str, str]] = {}
        for kind in TRANSACTION_KINDS:
            self.sip_transactions.labels(kind).set(0)

    # SIP: what `gateway.sip.sink.Sink` calls.

    def message(self, direction: str, method: str, code: int) -> None:
        """One SIP message went by; code 0 for a request."""
        key = (direction, method, code)
        labels = self._messages.get(key)
        if labels is None:
            known = method if method in METHODS and len(self._messages) < MAX_CHILDREN else OTHER
            labels = (direction, known, str(code))
            if known is not OTHER:
                self._messages[key] = labels
        self.sip_messages.add(labels)

    def retransmission(self, direction: str) -> None:
        """A SIP message was sent or received again."""
        self.sip_retransmissions.add((direction,))

    def dropped(self, reason: str, messages: int = 1) -> None:
        """Messages, mostly one, were neither answered nor delivered."""
        self.sip_dropped.add((reason,), messages)

    def transactions(self, counts: dict[str, int]) -> None:
        """How many transactions of each kind are alive."""
        for kind, count in counts.items():
            self.sip_transactions.labels(kind).set(count)

    # Calls: what `gateway.calls.records.CallObserver` asks for.

    def stage(self, stage: str, seconds: float, exemplar: dict[str, str] | None = None) -> None:
        """One stage of a call took that long; exemplar: what leads to the call's trace, if it has one."""
        self.call_stage.observe((stage,), seconds, exemplar)

    def leg_opened(self, leg: str) -> None:
        """A leg is active."""
        self._legs[leg] += 1

    def transferred(self, result: str) -> None:
        """A transfer came to its end."""
        self.transfers.labels(result).inc()

    def leg_closed(self, leg: str) -> None:
        """A leg is not active any more."""
        self._legs[leg] -= 1

    def recordings_swept(self, files: int, total_bytes: int, deleted: int, failed: int) -> None:
        """Retention has looked through the store; what is left there, and what it deleted or could not."""
        self.recordings_files.set(files)
        self.recordings_bytes.set(total_bytes)
        self.recordings.labels("deleted").inc(deleted)
        self.recordings.labels("delete_failed").inc(failed)

    def disk_space(self, directory: str, free: int, size: int) -> None:
        """So many bytes are free there, of so many."""
        self.disk_free.labels(directory).set(free)
        self.disk_size.labels(directory).set(size)

    def call_refused(self, carrier: str, rule: str) -> None:
        """A call was refused at the door."""
        self.calls_refused.add((carrier, rule))
        self.calls.add((carrier, "refused"))

    def call_ended(
        self, carrier: str, outcome: str, seconds: float, exemplar: dict[str, str] | None = None
    ) -> None:
        """A call is over."""
        self.calls.add((carrier, outcome))
        self.call_duration.observe((outcome,), seconds, exemplar)

    # Routing: what `routing.replica` asks for.

    def lookup(self, source: str, result: str, seconds: float) -> None:
        """A lookup was answered."""
        self.lookups.add((source, result))
        self.lookup_seconds.observe((source,), seconds)

    def sync_error(self) -> None:
        """A synchronisation failed."""
        self.sync_errors.inc()

    def numbers_known(self, count: int) -> None:
        """How many numbers the in-process view has."""
        self.numbers.set(count)

    def propagated(self, seconds: float) -> None:
        """A change became routable that long after it was accepted."""
        self.propagation.observe(seconds)

    # The process.

    def gc_pause(self, generation: int, seconds: float) -> None:
        """The garbage collector has looked through everything up to a generation."""
        self.gc_pauses.observe((_GENERATIONS[generation],), seconds)

    # Media.

    def rtp(self, direction: str, packets: int) -> None:
        """So many RTP packets more."""
        self._rtp[direction].inc(packets)
