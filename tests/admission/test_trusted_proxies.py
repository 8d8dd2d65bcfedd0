"""Which addresses are our edge, and whom it names."""

from __future__ import annotations

import pytest

from gateway.admission import trusted_proxies
from gateway.admission.trusted_proxies import TrustedProxies, TrustedProxiesError
from tests.sip.rig import PEER, Rig, request


def test_addresses_and_networks_of_both_families() -> None:
    proxies = TrustedProxies(["10.0.0.5", "10.1.0.0/28", "2001:db8::/64"])
    for host in ("10.0.0.5", "10.1.0.15", "2001:db8::7", "10.0.0.5"):
        assert host in proxies
    for host in ("10.0.0.6", "10.1.0.16", "2001:db8:1::7", "edge.example.com", ""):
        assert host not in proxies
    assert proxies
    assert not TrustedProxies()
    assert "10.0.0.5" not in TrustedProxies()


@pytest.mark.parametrize("text", ["edge.example.com", "10.0.0.5/24", ""])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(TrustedProxiesError, match=f'"{text}" is not'):
        TrustedProxies([text])


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_proxies, "KNOWN_SENDERS", 3)
    proxies = TrustedProxies(["10.0.0.0/8"])
    for last in range(20):
        assert f"10.0.0.{last}" in proxies
        assert f"192.0.2.{last}" not in proxies
    assert len(proxies._known) <= 3


@pytest.mark.parametrize(
    ("extra", "proxy", "source"),
    [
        ("X-Edge-Source: 198.51.100.7", PEER.host, "198.51.100.7"),
        ("x-edge-source: [2001:db8::1]", PEER.host, "2001:db8::1"),
        ("X-Edge-Source: nobody", PEER.host, PEER.host),
        ("", PEER.host, PEER.host),
        ("X-Edge-Source: 198.51.100.7", "10.0.0.5", PEER.host),
    ],
)
def test_where_a_call_came_from(extra: str, proxy: str, source: str) -> None:
    rig = Rig()
    rig.receive(request(extra=extra))
    assert TrustedProxies([proxy]).source_of(rig.legs[0]) == source
