"""Where a response goes: RFC 3261 §18.2 and RFC 3581.

A request's top Via says where its sender expects the response; the packet says where it came from. The
second is written into the first (`received`, `rport`), and then the Via decides:

- over a stream: the same connection; when that is gone, a new one to the source's host at the Via's port;
- over UDP with `maddr`: that host;
- over UDP with `rport`: exactly the address and port that the request came from, through the same socket;
- over UDP without: the source's host, but the port of the Via, 5060 if it has none.

The last is what §18.2.2 says, and what both carriers count on: their Via has no `rport`, and they listen
where it points. A client behind a NAT asks for `rport`.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.sip.addresses import is_ip_literal
from gateway.sip.flow import Flow
from gateway.sip.headers import Via
from gateway.sip.sink import Sink


class ResponsePath(NamedTuple):
    """The way back for the responses of one request.

    flow: where they go.
    sent_by_port: the port to connect to if that is a stream's connection and has ended.
    """

    flow: Flow
    sent_by_port: int

    def resolve(self, sink: Sink) -> Flow:
        """The flow to use now."""
        flow = self.flow
        if not flow.reliable or sink.is_open(flow):
            return flow
        again = sink.flow_to(flow, flow.transport, flow.host, self.sent_by_port)
        return again._replace(name=flow.name) if flow.name else again


def default_port(transport: str) -> int:
    """The port of a transport when none is written (§19.1.2)."""
    return 5061 if transport == "tls" else 5060


def response_path(via: Via, source: Flow) -> ResponsePath:
    """Where the responses to a request with this top Via go.

    source: where the request came from.
    """
    port = via.port or default_port(source.transport)
    if source.reliable:
        return ResponsePath(source, port)
    maddr = via.param("maddr")
    if maddr and is_ip_literal(maddr):
        return ResponsePath(source._replace(host=maddr, port=port), port)
    if port == source.port or via.param("rport") is not None:
        return ResponsePath(source, port)
    return ResponsePath(source._replace(port=port), port)


def stamped(via: Via, source: Flow) -> Via | None:
    """The top Via with what the packet says of its sender (§18.2.1, RFC 3581 §4); None to keep it as is."""
    asked = via.param("rport") is not None
    if not asked and via.host == source.host:
        return None
    params = [(name, value) for name, value in via.params if name not in {"received", "rport"}]
    if asked:
        params.append(("rport", str(source.port)))
    params.append(("received", source.host))
    return Via(via.transport, via.host, via.port, tuple(params))
