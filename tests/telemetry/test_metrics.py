"""The contract's metrics: exact names, exact labels, children bound once, memory bounded."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.media_totals import MediaTotals
from gateway.telemetry.metrics import STAGES, Metrics

CONTRACT = {
    "gateway_calls": ("carrier", "outcome"),
    "gateway_calls_active": ("leg",),
    "gateway_call_stage_seconds": ("stage",),
    "gateway_call_duration_seconds": ("outcome",),
    "gateway_sip_messages": ("direction", "method", "code"),
    "gateway_sip_retransmissions": ("direction",),
    "gateway_sip_dropped": ("reason",),
    "gateway_sip_transactions": ("kind",),
    "gateway_rtp_packets": ("direction",),
    "gateway_rtp_lost_packets": (),
    "gateway_rtp_jitter_seconds": (),
    "gateway_media_underruns": (),
    "gateway_rtpengine_up": ("relay",),
    "gateway_rtpengine_calls": ("relay",),
    "gateway_rtpengine_commands": ("command", "result"),
    "gateway_rtpengine_fallbacks": (),
    "gateway_overload_level": (),
    "gateway_event_loop_lag_seconds": (),
    "gateway_agent_endpoint_up": ("agent", "endpoint"),
    "gateway_agent_calls": ("agent",),
    "routing_lookups": ("source", "result"),
    "routing_lookup_seconds": ("source",),
    "routing_sync_age_seconds": (),
    "routing_sync_errors": (),
    "routing_numbers": (),
    "routing_propagation_seconds": (),
}
"""What `product.md` promises of the gateway and of routing, without the counters' suffix."""

MORE = {
    "gateway_registration_up": ("carrier",),
    "gateway_registration_failures": ("carrier",),
    "gateway_srtp_rejected_packets": ("reason",),
    "gateway_dtls_handshakes": ("result",),
    "gateway_traced_calls": ("result",),
    "gateway_hep_messages": ("result",),
    "gateway_ready": (),
    "gateway_disk_free_bytes": ("directory",),
    "gateway_disk_size_bytes": ("directory",),
    "routing_remote_looks": ("result",),
    "routing_remote_age_seconds": (),
    "gateway_rtp_round_trip_seconds": (),
    "gateway_rtp_mos": (),
    "gateway_continuity_failures": (),
    "gateway_continuity_waiting": (),
    "gateway_events_dropped": (),
    "gateway_orphaned_calls": ("result",),
    "gateway_traces_dropped": (),
    "gateway_voicemail_greetings": ("result",),
    "gateway_tls_certificate_expiry_seconds": ("certificate",),
    "gateway_tls_certificate_reloads": ("result",),
    "gateway_calls_refused": ("carrier", "rule"),
    "gateway_sip_message_wait_seconds": (),
    "gateway_media_concealed_frames": (),
    "gateway_media_playout_delay_seconds": (),
    "gateway_recordings": ("result",),
    "gateway_recordings_waiting": (),
    "gateway_transfers": ("result",),
    "gateway_gc_pause_seconds": ("generation",),
    "gateway_agent_cluster_calls": ("agent",),
    "gateway_agent_places": ("answer",),
    "gateway_agent_places_alone": (),
    "gateway_nodes": ("state",),
    "gateway_clock_ahead_seconds": (),
    "gateway_continuity_calls": (),
    "gateway_continuity_lease_age_seconds": (),
    "gateway_redis_trouble": ("kind",),
    "gateway_worker_up": ("worker",),
    "gateway_passed_sockets": (),
    "gateway_media_ports": (),
    "gateway_worker_restarts": ("worker",),
    "gateway_sip_handed_messages": ("result",),
    "routing_revisions_behind": (),
    "gateway_recordings_files": (),
    "gateway_recordings_bytes": (),
}
"""What we tell besides."""


def families(metrics: Metrics) -> dict[str, object]:
    text = generate_latest(metrics.registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_names_and_labels_are_the_contract() -> None:
    metrics = Metrics()
    assert set(families(metrics)) == set(CONTRACT | MORE)
    registered = {
        family._name: family._labelnames
        for family in vars(metrics).values()
        if hasattr(family, "_labelnames")
    }
    assert registered == CONTRACT | MORE


def test_the_smallest_latency_bucket_sees_a_good_gateway() -> None:
    metrics = Metrics()
    metrics.stage("trying", 0.0004)
    assert value(metrics, "gateway_call_stage_seconds_bucket", stage="trying", le="0.0005") == 1


def test_every_stage_of_the_contract_can_be_observed() -> None:
    metrics = Metrics()
    for stage in STAGES:
        metrics.stage(stage, 0.001)
        assert value(metrics, "gateway_call_stage_seconds_count", stage=stage) == 1


def test_invented_methods_share_one_label() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.message("in", f"METHOD{number}", 0)
    metrics.message("in", "INVITE", 0)
    assert value(metrics, "gateway_sip_messages_total", direction="in", method="other", code="0") == 100
    assert value(metrics, "gateway_sip_messages_total", direction="in", method="INVITE", code="0") == 1
    assert len(metrics._messages) == 1


def test_calls_and_legs_are_counted() -> None:
    metrics = Metrics()
    metrics.leg_opened("caller")
    metrics.leg_opened("agent")
    metrics.leg_closed("agent")
    metrics.call_ended("twilio", "voicemail", 12.0)
    assert value(metrics, "gateway_calls_active", leg="caller") == 1
    assert value(metrics, "gateway_calls_active", leg="agent") == 0
    assert value(metrics, "gateway_calls_total", carrier="twilio", outcome="voicemail") == 1
    assert value(metrics, "gateway_call_duration_seconds_bucket", outcome="voicemail", le="15.0") == 1


@dataclass
class Stream:
    packets_in: int = 0
    packets_out: int = 0
    lost: int = 0
    jitter: float = 0.0
    round_trip: float | None = None
    dropped_forged: int = 0
    dropped_replayed: int = 0
    measured: bool = True
    handshake: str = ""


def test_rtp_totals_never_fall_when_ports_close_or_late_packets_come() -> None:
    metrics, open_ports = Metrics(), [Stream(10, 5, 2)]
    totals = MediaTotals(metrics, lambda: open_ports, lambda stats: 4.2 if stats.packets_in else None)
    totals.refresh()
    open_ports[0].lost = 1  # a late packet came after all
    totals.refresh()
    assert value(metrics, "gateway_rtp_lost_packets_total") == 2
    totals.closed(open_ports.pop())
    totals.refresh()
    assert value(metrics, "gateway_rtp_packets_total", direction="in") == 10
    assert value(metrics, "gateway_rtp_round_trip_seconds_count") == 0
    totals.closed(Stream(0, 0, round_trip=0.03))
    assert value(metrics, "gateway_rtp_round_trip_seconds_bucket", le="0.05") == 1
    assert value(metrics, "gateway_rtp_mos_bucket", le="4.34") == 1
    open_ports.append(Stream(1, 1))
    totals.refresh()
    assert value(metrics, "gateway_rtp_packets_total", direction="in") == 11
    assert value(metrics, "gateway_rtp_jitter_seconds_count") == 1
