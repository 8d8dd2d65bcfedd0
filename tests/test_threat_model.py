"""The threat model names every cap, with the value that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
ROW = re.compile(r"\| `([\w.]+)\.([A-Z_]+)` \| (\d+) \|")
CONSTANT = re.compile(r"^((?:MAX|KNOWN)_[A-Z_]+)(?:: Final)? = [\d(]", re.MULTILINE)

ROOMS = [
    "admission",
    "calls",
    "cli",
    "continuity",
    "destinations",
    "media",
    "nat",
    "recordings",
    "sip",
    "speech",
    "streams",
    "telemetry",
    "traces",
    "web",
    "workers",
]
"""Of `gateway`: those that peers reach."""

NO_CAPS = {
    "api.carriers.telnyx_plan.MAX_FQDNS": "Telnyx's own",
    "api.api_keys.KNOWN_SECONDS": "how long a key is believed",
    "api.carriers.patience.MAX_RETRY_AFTER": "a pause",
    "gateway.admission.overload.MAX_RETRY_AFTER": "a pause",
    "gateway.sip.dns_memory.MAX_LIFETIME": "how long an answer counts",
    "gateway.sip.dns_memory.MAX_STALE": "how long an answer counts while there is none",
    "api.types.MAX_CAPABILITIES": "there are no more",
    "gateway.cli.api_client.MAX_RETRY_SECONDS": "a pause",
    "gateway.cli.call.MAX_PLAYED_SECONDS": "checks what an operator writes",
    "gateway.cli.call.MAX_RECORDED_SECONDS": "checks what an operator writes",
    "gateway.cli.greetings.MAX_FILE": "checks what an operator names",
    "gateway.cli.check.MAX_PROBES_AT_ONCE": "shapes what we send",
    "gateway.media.jitter.MAX_LATE": "tells a late packet from a restart (RFC 3550 A.1)",
    "gateway.media.jitter_buffer.MAX_LATE": "tells a late packet from a restart (RFC 3550 A.1)",
    "gateway.media.rtcp.MAX_BLOCKS": "the format's: a count has five bits",
    "gateway.media.rtcp.MAX_CNAME": "the format's: a length has eight bits",
    "gateway.media.rtcp_reporter.MAX_ROUND_TRIP": "tells a way from a mistaken clock",
    "gateway.media.pacer.MAX_BURST": "shapes what we send",
    "gateway.media.reception.MAX_DROPOUT": "tells loss from a restart (RFC 3550 A.1)",
    "gateway.media.reception.MAX_MISORDER": "tells late from restarted (RFC 3550 A.1)",
    "gateway.media.stream_transcoder.MAX_GAP_SECONDS": "tells a pause from a re-based clock",
    "gateway.media.patient_order.MAX_STEP": "tells loss from a restart (RFC 3550 A.1)",
    "gateway.traces.pcap.MAX_SEGMENT": "shapes what we write",
    "api.store.replicas.MAX_LAG": "how old an answer may be",
    "routing.leases.MAX_UNDER_WAY": "shapes what we send",
    "routing.ledger.MAX_SWEPT": "what is left is swept by the next",
    "routing.redis_place.MAX_HOSTS": "checks what an operator writes",
    "routing.redis_place.MAX_NAME": "checks what an operator writes",
    "gateway.sip.account.MAX_EXPIRES": "checks what an operator or a registrar writes",
    "gateway.sip.registration.MAX_PAUSE": "a pause",
    "gateway.sip.request_writer.MAX_FORWARDS": "what a request of ours starts with (RFC 3261 §8.1.1.6)",
    "gateway.workers.slots.MAX_SOCKET_PATH": "the kernel's",
    "storage.objects.MAX_KEY": "checks what the gateway itself writes",
    "storage.s3.MAX_ERROR": "shapes what we say",
    "routing.endpoint_rules.MAX_CALLS": "checks what an operator writes",
    "routing.endpoint_rules.MAX_RANK": "checks what an operator writes",
    "routing.redis_server.MAX_SOCKET_PATH": "the kernel's",
    "routing.remote_sync.MAX_DOUBLINGS": "a pause",
    "routing.remote_sync.MAX_PAUSE": "a pause",
}
"""Named like caps, and none: nothing grows without them."""


def constants() -> set[str]:
    """Every constant that is named like a cap, with its module."""
    folders = [*(ROOT / "gateway" / room for room in ROOMS), ROOT / "routing", ROOT / "api", ROOT / "storage"]
    found = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found |= {f"{module}.{name}" for name in CONSTANT.findall(path.read_text())}
    return found


@pytest.mark.parametrize(("module", "constant", "value"), ROW.findall(PAGE))
def test_caps_are_what_the_page_says(module: str, constant: str, value: str) -> None:
    assert getattr(importlib.import_module(module), constant) == int(value)


def test_no_cap_is_missing() -> None:
    listed = {f"{module}.{constant}" for module, constant, _ in ROW.findall(PAGE)}
    assert constants() - listed == NO_CAPS.keys()
