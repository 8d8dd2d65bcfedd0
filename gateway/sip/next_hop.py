"""Where a request inside a dialog goes: RFC 3261 §12.2.1.1 and §8.1.2, without a resolver.

The dialog names its next hop (the first Route, or the peer's Contact), and we have the flow on which the
peer was last seen. Most often they are the same place; where the name leads nowhere, the flow decides:

- a host name is looked up in memory only (`resolve`); an unknown one means the flow's host;
- a private address named by a public peer is behind a NAT that only the flow passes (carriers put such a
  Contact there, but their Record-Route is public, and the route comes first);
- a connection that leads to the next hop is used as long as it is open, so that a peer behind a NAT or a
  firewall is reached, and no handshake is paid twice.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.sip.addresses import is_ip_literal, is_public
from gateway.sip.flow import Flow
from gateway.sip.response_path import default_port
from gateway.sip.sink import Sink
from gateway.sip.uri import SipUri, UriError, parse_uri


def next_hop(uri: str, flow: Flow, sink: Sink, resolve: Callable[[str], str | None]) -> Flow:
    """The flow towards a URI of a dialog.

    uri: the first Route's, or the remote target.
    flow: on which the dialog's peer was last seen.
    resolve: an IP literal for a host name, from memory; None if unknown.
    """
    target = _parsed(uri)
    if target is None:
        return flow
    host: str | None = target.param("maddr") or target.host
    if host is not None and not is_ip_literal(host):
        host = resolve(host)
    if host is None or _hidden(host, flow.host):
        return flow if not flow.reliable or sink.is_open(flow) else _reconnected(flow, target, sink)
    transport = _transport(target) or (flow.transport if host == flow.host else "udp")
    if transport == flow.transport and host == flow.host and flow.reliable and sink.is_open(flow):
        return flow
    port = target.port or default_port(transport)
    if (transport, host, port) == flow[:3] and not flow.reliable:
        return flow
    if transport == "tls":
        return sink.flow_to(flow, transport, host, port)._replace(name=_name(target, flow, host, port))
    return sink.flow_to(flow, transport, host, port)


def _name(target: SipUri, flow: Flow, host: str, port: int) -> str:
    """What a TLS server must prove.

    A place where a name was proved is still that peer's, whatever its Contact calls it. One that is named by
    its address alone is the peer under another port, or must prove that address.
    """
    same_host = flow.transport == "tls" and host == flow.host
    if same_host and flow.name and (port == flow.port or is_ip_literal(target.host)):
        return flow.name
    return target.host.lower()


def _parsed(uri: str) -> SipUri | None:
    try:
        target = parse_uri(uri)
    except UriError:
        return None
    return target if isinstance(target, SipUri) else None


def _transport(target: SipUri) -> str | None:
    """What the URI asks for; None if it leaves the choice (RFC 3263 §4.1)."""
    if target.scheme == "sips":
        return "tls"
    named = (target.param("transport") or "").lower()
    return named if named in {"udp", "tcp", "tls"} else None


def _hidden(host: str, seen: str) -> bool:
    """Whether a peer seen at a public address named one that leads nowhere from here."""
    return is_ip_literal(seen) and is_public(seen) and not is_public(host)


def _reconnected(flow: Flow, target: SipUri, sink: Sink) -> Flow:
    port = target.port or default_port(flow.transport)
    return sink.flow_to(flow, flow.transport, flow.host, port)._replace(name=flow.name)
