"""Writes Grafana's dashboards: `configs/grafana/*.json`.

A dashboard's JSON says little in many lines; here each panel is a question, queries and a unit.
`tests/e2e/test_dashboards.py` puts every query to a real Prometheus.

Usage: python scripts/generate_dashboards.py [--check]
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent.parent / "configs" / "grafana"

NODE = 'instance=~"$instance"'
COLUMNS = 24  # of Grafana's grid
HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    about: shown at the panel's corner: what good looks like, or what to do.
    kind: `timeseries`, `stat`, `table` or `bargauge`.
    steps: from which value on it is yellow and red; falling if the first is the larger one.
    stacked: areas one above the other.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = HEIGHT
    kind: str = "timeseries"
    steps: tuple[float, float] | None = None
    stacked: bool = False
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the dashboard: the values of a label."""

    name: str
    metric: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()


def rate(metric: str, *labels: str, by: str = "", window: str = "$__rate_interval") -> str:
    """Per second, summed."""
    chosen = ",".join([NODE, *labels])
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{chosen}}}[{window}]))"


def quantile(share: float, metric: str, *labels: str, by: str = "") -> str:
    """Of a histogram."""
    return f"histogram_quantile({share}, {rate(metric + '_bucket', *labels, by='le, ' + by if by else 'le')})"


def spread(metric: str, *labels: str) -> tuple[Query, ...]:
    """Median, and the slow ones."""
    return tuple(
        Query(quantile(share, metric, *labels), name)
        for share, name in ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))
    )


def stage(name: str, share: float) -> Query:
    """One stage of a call."""
    return Query(quantile(share, "gateway_call_stage_seconds", f'stage="{name}"'), name)


CONNECTED = 'outcome!~"refused.*|abandoned.*"'
CARRIER = 'carrier=~"$carrier"'
AGENT = 'agent=~"$agent"'

OVERVIEW = Dashboard(
    "voice-gateway-overview",
    "voice-gateway: overview",
    "Are callers served? One look.",
    (
        Panel(
            "Calls now",
            "Callers connected or being connected.",
            (Query(f'sum(gateway_calls_active{{leg="caller",{NODE}}})'),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Reached an agent",
            "Share of the calls with a plan that an agent took, last hour. The objective is 99 %.",
            (Query("1 - (gateway:calls_missed:ratio_rate1h or vector(0))"),),
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            steps=(0.99, 0.95),
        ),
        Panel(
            "Answered within 5 s",
            "Share of answered calls, last hour, from INVITE to 200. The objective is 99 %.",
            (Query("1 - gateway:calls_slow:ratio_rate1h"),),
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            steps=(0.99, 0.95),
        ),
        Panel(
            "Nodes taking calls",
            "Those whose /readyz says so.",
            (Query(f"sum(gateway_ready{{{NODE}}})"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Fullest node",
            "How near to refusing calls: by their number or by delay. At 100 % new calls get 503.",
            (Query(f"max(gateway_overload_level{{{NODE}}})"),),
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            steps=(0.6, 0.8),
        ),
        Panel(
            "Agents down",
            "Agents without any endpoint that is tried; see the dashboard Agents.",
            (Query(f"sum(max by (agent) (gateway_agent_endpoint_up{{{NODE}}}) == bool 0)"),),
            kind="stat",
            width=4,
            height=4,
            steps=(1, 2),
        ),
        Panel(
            "Calls by outcome",
            "A second. What ends in _rescued lost its agent on the way; refused calls were never tried.",
            (Query(rate("gateway_calls_total", by="outcome"), "{{outcome}}"),),
            unit="cps",
            width=12,
            stacked=True,
        ),
        Panel(
            "Legs in progress",
            "Callers, and agents they talk to. The difference is ringing, or at voicemail.",
            (Query(f"sum by (leg) (gateway_calls_active{{{NODE}}})", "{{leg}}"),),
            width=12,
        ),
        Panel(
            "Where callers wait: median of each stage",
            "trying and lookup are ours and take microseconds; answer is what the caller feels.",
            tuple(stage(name, 0.5) for name in ("trying", "lookup", "dispatch", "agent_answer", "answer")),
            unit="s",
            width=12,
        ),
        Panel(
            "Where callers wait: p99 of each stage",
            "failover is the time from giving a destination up to the next attempt on the wire.",
            tuple(
                stage(name, 0.99)
                for name in (
                    "trying",
                    "lookup",
                    "dispatch",
                    "agent_answer",
                    "failover",
                    "voicemail_start",
                    "answer",
                )
            ),
            unit="s",
            width=12,
        ),
        Panel(
            "Is the process late?",
            "How late the event loop runs its timers, p99. Beyond 50 ms audio stutters.",
            (
                Query(quantile(0.99, "gateway_event_loop_lag_seconds", by="instance"), "{{instance}}"),
                Query(quantile(0.99, "gateway_gc_pause_seconds", by="instance"), "{{instance}} garbage"),
            ),
            unit="s",
        ),
        Panel(
            "How long calls last",
            "From INVITE to goodbye.",
            spread("gateway_call_duration_seconds"),
            unit="s",
        ),
        Panel(
            "Room on the disk",
            "Recordings stop below recording.min_free_bytes; calls do not.",
            (
                Query(
                    f"gateway_disk_free_bytes{{{NODE}}} / gateway_disk_size_bytes{{{NODE}}}",
                    "{{instance}} {{directory}}",
                ),
            ),
            unit="percentunit",
            max=1,
        ),
    ),
)

CARRIERS = Dashboard(
    "voice-gateway-carriers",
    "voice-gateway: carriers",
    "What each carrier's calls become, and what it says about us.",
    (
        Panel(
            "Calls of each carrier",
            "A second.",
            (Query(rate("gateway_calls_total", CARRIER, by="carrier"), "{{carrier}}"),),
            unit="cps",
            width=12,
            stacked=True,
        ),
        Panel(
            "What they become",
            "A second.",
            (Query(rate("gateway_calls_total", CARRIER, by="carrier, outcome"), "{{carrier}} {{outcome}}"),),
            unit="cps",
            width=12,
            stacked=True,
        ),
        Panel(
            "Share that reaches an agent",
            "Of the calls with a plan. One carrier below the others: how its calls look, or its codecs.",
            (
                Query(
                    rate("gateway_calls_total", CARRIER, 'outcome=~"(agent|fallback).*"', by="carrier")
                    + " / "
                    + rate("gateway_calls_total", CARRIER, CONNECTED, by="carrier"),
                    "{{carrier}}",
                ),
            ),
            unit="percentunit",
            max=1,
        ),
        Panel(
            "Calls refused",
            "A second: 404 for numbers that are not ours, 503 while full or not ready, 603 by policy.",
            (Query(rate("gateway_calls_total", CARRIER, 'outcome="refused"', by="carrier"), "{{carrier}}"),),
            unit="cps",
        ),
        Panel(
            "What INVITEs are answered",
            "A second, by final status of ours.",
            (
                Query(
                    rate(
                        "gateway_sip_messages_total",
                        'direction="out"',
                        'method="INVITE"',
                        'code=~"[2-6].."',
                        by="code",
                    ),
                    "{{code}}",
                ),
            ),
            unit="cps",
            stacked=True,
        ),
        Panel(
            "Messages from addresses of no carrier",
            "A second, dropped without an answer. Scanners; or a carrier's new address.",
            (Query(rate("gateway_sip_dropped_total", 'reason="unknown_source"'), "strangers"),),
            unit="cps",
            width=12,
        ),
        Panel(
            "Carriers' webhooks",
            "A second, by what became of them; forged or replayed ones are refused.",
            (Query(rate("api_carrier_webhooks_total", by="carrier, result"), "{{carrier}} {{result}}"),),
            unit="cps",
            width=12,
        ),
    ),
    (Variable("carrier", "gateway_calls_total"),),
)

AGENTS = Dashboard(
    "voice-gateway-agents",
    "voice-gateway: agents",
    "Which agents are up, how full they are, and how fast they answer.",
    (
        Panel(
            "Endpoints",
            "1 while calls are tried there, as each node sees it.",
            (Query(f"min by (agent, endpoint) (gateway_agent_endpoint_up{{{AGENT},{NODE}}})"),),
            kind="table",
            width=12,
        ),
        Panel(
            "Calls at each agent",
            "Now.",
            (Query(f"sum by (agent) (gateway_agent_calls{{{AGENT},{NODE}}})", "{{agent}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Share of calls that go to the fallback",
            "Of the calls with a plan.",
            (
                Query(
                    rate("gateway_calls_total", 'outcome=~"fallback.*"')
                    + " / "
                    + rate("gateway_calls_total", CONNECTED),
                    "fallback",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Share of calls that go to voicemail",
            "Of the calls with a plan.",
            (
                Query(
                    rate("gateway_calls_total", 'outcome=~"voicemail.*"')
                    + " / "
                    + rate("gateway_calls_total", CONNECTED),
                    "voicemail",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Endpoints down",
            "On any node.",
            (Query(f"sum by (agent) (gateway_agent_endpoint_up{{{AGENT},{NODE}}} == bool 0)", "{{agent}}"),),
        ),
        Panel(
            "Until an agent says anything",
            "First response, whatever it is. Beyond dispatch.response_timeout the next destination is tried.",
            spread("gateway_call_stage_seconds", 'stage="agent_response"'),
            unit="s",
        ),
        Panel(
            "Until an agent answers",
            "From the attempt on the wire.",
            spread("gateway_call_stage_seconds", 'stage="agent_answer"'),
            unit="s",
        ),
        Panel(
            "From one destination to the next",
            "Ours: from giving one up to the next attempt on the wire.",
            spread("gateway_call_stage_seconds", 'stage="failover"'),
            unit="s",
        ),
    ),
    (Variable("agent", "gateway_agent_calls"),),
)

MEDIA = Dashboard(
    "voice-gateway-media",
    "voice-gateway: media quality",
    "How calls sound, and what becomes of recordings.",
    (
        Panel(
            "How legs sound",
            "Estimated MOS of what reached us (ITU-T G.107): below 3.6 many are dissatisfied.",
            (
                Query(quantile(0.1, "gateway_rtp_mos"), "worst tenth"),
                Query(quantile(0.5, "gateway_rtp_mos"), "median"),
            ),
            width=12,
        ),
        Panel(
            "Packets lost",
            "Share of what was sent to us. Beyond 2 % it is heard.",
            (
                Query(
                    rate("gateway_rtp_lost_packets_total", by="instance")
                    + " / "
                    + rate("gateway_rtp_packets_total", 'direction="in"', by="instance"),
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
            width=12,
        ),
        Panel("Jitter", "Of each stream, at its end.", spread("gateway_rtp_jitter_seconds"), unit="s"),
        Panel(
            "Round trip",
            "To peers that send RTCP, and back.",
            spread("gateway_rtp_round_trip_seconds"),
            unit="s",
        ),
        Panel(
            "Held back for live listeners",
            "Target of the jitter buffer at the end of each session with an agent on a WebSocket.",
            spread("gateway_media_playout_delay_seconds"),
            unit="s",
        ),
        Panel(
            "RTP packets",
            "A second. 50 a second a direction and leg.",
            (Query(rate("gateway_rtp_packets_total", by="direction"), "{{direction}}"),),
            unit="pps",
        ),
        Panel(
            "Frames that were due and not there",
            "A second: an agent that sends late, or this process is.",
            (Query(rate("gateway_media_underruns_total", by="instance"), "{{instance}}"),),
        ),
        Panel(
            "Calls relayed by rtpengine",
            "By instance, with media.engine = rtpengine; those that none took and we relay, a second.",
            (
                Query("sum by (relay) (gateway_rtpengine_calls)", "{{relay}}"),
                Query(rate("gateway_rtpengine_fallbacks_total", by="instance"), "fallbacks {{instance}}"),
            ),
        ),
        Panel(
            "Frames made up",
            "A second, in place of lost or late packets.",
            (Query(rate("gateway_media_concealed_frames_total", by="instance"), "{{instance}}"),),
        ),
        Panel(
            "Recordings",
            "A second, by what became of them.",
            (Query(rate("gateway_recordings_total", by="result"), "{{result}}"),),
            unit="cps",
        ),
        Panel(
            "Recordings that wait for the store",
            "They are on the node's disk, and tried again.",
            (Query(f"sum by (instance) (gateway_recordings_waiting{{{NODE}}})", "{{instance}}"),),
        ),
        Panel(
            "In the store",
            "Bytes of recordings, as retention last counted them.",
            (Query(f"max(gateway_recordings_bytes{{{NODE}}})", "recordings"),),
            unit="bytes",
        ),
    ),
)

SIP = Dashboard(
    "voice-gateway-sip",
    "voice-gateway: SIP",
    "Messages, transactions, retransmissions and what was dropped.",
    (
        Panel(
            "Requests in",
            "A second, by method.",
            (
                Query(
                    rate("gateway_sip_messages_total", 'direction="in"', 'code="0"', by="method"),
                    "{{method}}",
                ),
            ),
            unit="reqps",
            width=12,
        ),
        Panel(
            "Requests out",
            "A second, by method: calls to agents, probes, goodbyes.",
            (
                Query(
                    rate("gateway_sip_messages_total", 'direction="out"', 'code="0"', by="method"),
                    "{{method}}",
                ),
            ),
            unit="reqps",
            width=12,
        ),
        Panel(
            "Responses in",
            "A second, by status: what agents say.",
            (
                Query(
                    rate("gateway_sip_messages_total", 'direction="in"', 'code!="0"', by="code"), "{{code}}"
                ),
            ),
            unit="reqps",
            width=12,
        ),
        Panel(
            "Responses out",
            "A second, by status: what carriers hear.",
            (
                Query(
                    rate("gateway_sip_messages_total", 'direction="out"', 'code!="0"', by="code"), "{{code}}"
                ),
            ),
            unit="reqps",
            width=12,
        ),
        Panel(
            "Sent or received again",
            "Share of all messages. Beyond 5 % packets are lost, or a peer is slow.",
            (
                Query(
                    rate("gateway_sip_retransmissions_total", by="direction")
                    + " / "
                    + rate("gateway_sip_messages_total", by="direction"),
                    "{{direction}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Dropped",
            "A second, neither answered nor delivered, by reason.",
            (Query(rate("gateway_sip_dropped_total", by="reason"), "{{reason}}"),),
            unit="cps",
        ),
        Panel(
            "Transactions alive",
            "They live for 32 s after their end.",
            (Query(f"sum by (kind) (gateway_sip_transactions{{{NODE}}})", "{{kind}}"),),
            stacked=True,
        ),
        Panel(
            "From INVITE to 100",
            "Ours alone; below a millisecond.",
            spread("gateway_call_stage_seconds", 'stage="trying"'),
            unit="s",
            width=12,
        ),
        Panel(
            "How long messages wait for us",
            "In the kernel, until they are read. Overload control refuses calls by it.",
            spread("gateway_sip_message_wait_seconds"),
            unit="s",
            width=12,
        ),
    ),
)

ROUTING = Dashboard(
    "voice-gateway-routing",
    "voice-gateway: routing freshness",
    "Are routes current, and do changes arrive?",
    (
        Panel(
            "Since routes were known to be current",
            "It grows while Redis is away; calls are served all the same.",
            (Query(f"routing_sync_age_seconds{{{NODE}}}", "{{instance}}"),),
            unit="s",
            width=12,
        ),
        Panel(
            "Changes not taken over yet",
            "What Redis has and a gateway does not serve by, as of its last heartbeat.",
            (Query(f"routing_revisions_behind{{{NODE}}}", "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Gateways",
            "Up, and gone without a goodbye in the last 15 minutes.",
            (Query(f"max by (state) (gateway_nodes{{{NODE}}})", "{{state}}"),),
            width=12,
        ),
        Panel(
            "Redis in trouble",
            "1 while it is; the alert's page says what to do about each kind.",
            (Query(f"max by (kind) (gateway_redis_trouble{{{NODE}}})", "{{kind}}"),),
            width=12,
        ),
        Panel(
            "Places at agents with max_calls",
            "Calls that asked for one: granted, full, or alone (Redis did not answer in time).",
            (Query(rate("gateway_agent_places_total", by="answer"), "{{answer}}"),),
            unit="reqps",
            width=12,
        ),
        Panel(
            "Numbers in memory",
            "All nodes should agree.",
            (Query(f"routing_numbers{{{NODE}}}", "{{instance}}"),),
            width=12,
        ),
        Panel(
            "From a change to its being routable",
            "Accepted by the API, until this node routes by it.",
            spread("routing_propagation_seconds"),
            unit="s",
        ),
        Panel(
            "Lookups",
            "A second. The replica in memory answers nearly all; Redis is asked for what it does not know.",
            (Query(rate("routing_lookups_total", by="source, result"), "{{source}} {{result}}"),),
            unit="reqps",
        ),
        Panel(
            "How long lookups take",
            "p99, by who answered.",
            (Query(quantile(0.99, "routing_lookup_seconds", by="source"), "{{source}}"),),
            unit="s",
        ),
        Panel(
            "Changes waiting for Redis",
            "Committed by the API, not yet published.",
            (Query(f"max by (instance) (api_outbox_changes{{{NODE}}})", "{{instance}}"),),
        ),
        Panel(
            "Failures",
            "A second: to synchronise (nodes), and to publish (API).",
            (
                Query(rate("routing_sync_errors_total"), "synchronise"),
                Query(rate("api_publish_errors_total"), "publish"),
            ),
            unit="cps",
        ),
        Panel(
            "Since the remote API was heard",
            "0 without api.remote_url.",
            (Query(f"routing_remote_age_seconds{{{NODE}}}", "{{instance}}"),),
            unit="s",
        ),
        Panel(
            "API requests",
            "A second, by status.",
            (Query(rate("api_requests_total", by="status"), "{{status}}"),),
            unit="reqps",
            stacked=True,
        ),
        Panel("How long the API takes", "All routes.", spread("api_request_seconds"), unit="s"),
        Panel(
            "Webhooks delivered",
            "A second, by what became of the attempt.",
            (Query(rate("api_deliveries_total", by="result"), "{{result}}"),),
            unit="cps",
        ),
    ),
)

ORPHANED = "gateway_orphaned_calls_total"

CONTINUITY = Dashboard(
    "vg-continuity",
    "voice-gateway: many nodes",
    "Which calls would outlive their gateway, what became of those that did, and do the nodes agree?",
    (
        Panel(
            "Calls that another gateway could take over",
            "In Redis: with direct media and rtpengine they go on there, others are ended in order.",
            (Query(f"gateway_continuity_calls{{{NODE}}}", "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Calls whose state Redis does not have yet",
            "Written within a second. If the gateway dies first, they are not taken over as they were.",
            (Query(f"gateway_continuity_waiting{{{NODE}}}", "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Calls that went on after their gateway died",
            "In five minutes, by who took them over. Callers and agents did not notice.",
            (
                Query(
                    f"sum by (instance) (increase({ORPHANED}{{result='adopted',{NODE}}}[5m]))",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Calls that ended with their gateway",
            "In five minutes. Ended: the audio died with it, both sides were told. Lost: nobody was.",
            (
                Query(
                    f"sum by (result) (increase({ORPHANED}{{result!='adopted',{NODE}}}[5m]))",
                    "{{result}}",
                ),
            ),
        ),
        Panel(
            "Calls could not be kept",
            "Writes that Redis did not take, a second. What happens meanwhile is lost if the gateway dies.",
            (Query(rate("gateway_continuity_failures_total", by="instance"), "{{instance}}"),),
            unit="cps",
        ),
        Panel(
            "Since Redis heard that a gateway lives",
            "Renewed every second. Beyond continuity.lease others take it for dead, and its calls over.",
            (Query(f"gateway_continuity_lease_age_seconds{{{NODE}}}", "{{instance}}"),),
            unit="s",
            width=12,
        ),
        Panel(
            "Clocks",
            "How far each is ahead of Redis's. Calls go by Redis's; times in records do not.",
            (Query(f"gateway_clock_ahead_seconds{{{NODE}}}", "{{instance}}"),),
            unit="s",
            width=12,
        ),
    ),
)

DASHBOARDS = {
    "overview.json": OVERVIEW,
    "carriers.json": CARRIERS,
    "agents.json": AGENTS,
    "media.json": MEDIA,
    "sip.json": SIP,
    "routing.json": ROUTING,
    "continuity.json": CONTINUITY,
}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def to_json(dashboard: Dashboard) -> str:
    """As Grafana imports it (schema 39: Grafana 10.3 and later)."""
    x = y = line = 0
    panels: list[dict[str, Any]] = []
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y, line = 0, y + line, 0
        panels.append(_panel(panel, number, x, y))
        x, line = x + panel.width, max(line, panel.height)
    variables = [Variable("instance", "gateway_ready"), *dashboard.variables]
    page = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["voice-gateway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"title": "voice-gateway", "type": "dashboards", "tags": ["voice-gateway"], "keepTime": True}
        ],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                *map(_variable, variables),
            ]
        },
        "panels": panels,
    }
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({variable.metric}, {variable.name})",
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.max is not None:
        defaults["max"] = panel.max
    if panel.steps is not None:
        defaults["thresholds"] = _thresholds(*panel.steps)
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    now = panel.kind != "timeseries"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": now,
                "range": not now,
                "exemplar": not now and "_bucket" in query.expr,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none"}
    return {}


def _thresholds(yellow: float, red: float) -> dict[str, Any]:
    """Rising: green, yellow, red; falling: red, yellow, green."""
    if yellow <= red:
        steps = [("green", None), ("yellow", yellow), ("red", red)]
    else:
        steps = [("red", None), ("yellow", red), ("green", yellow)]
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def main() -> int:
    """Write the dashboards, or with --check say which are out of date."""
    stale = []
    for name, dashboard in DASHBOARDS.items():
        path, text = DIRECTORY / name, to_json(dashboard)
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run scripts/generate_dashboards.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
