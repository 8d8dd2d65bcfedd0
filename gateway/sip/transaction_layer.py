"""The transaction layer: both tables of transactions, and the way of every message to the network.

Requests go out here (and switch to TCP when they are too large for a datagram, RFC 3261 §18.1.1), responses
go back here along their path (§18.2.2), and whatever comes in finds its transaction here (§17.1.3, §17.2.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.sip.client_transaction import Client, ClientTransaction, InviteClient
from gateway.sip.grammar import format_host
from gateway.sip.request_writer import RequestWriter
from gateway.sip.server_transaction import InviteServer, Server, ServerTransaction
from gateway.sip.transaction import ClientKey, ServerKey, server_key

if TYPE_CHECKING:
    from gateway.sip.events import FailureCause
    from gateway.sip.flow import Flow
    from gateway.sip.message import Request, Response
    from gateway.sip.response_path import ResponsePath
    from gateway.sip.sink import Sink, TokenSource
    from gateway.sip.timers import TimerQueue

UDP_REQUEST_LIMIT = 1300
"""Bytes. A larger request goes over a congestion-controlled transport (§18.1.1): a datagram beyond the path's
MTU is cut into fragments, and losing any of them, or a firewall that drops them, loses the call."""

MAX_TRANSACTIONS = 200_000
"""Server transactions alive. One takes about 1 kB and lives 32 s, so this is a fifth of a gigabyte and three
times what 1,000 calls/s leave behind; beyond it new requests are answered 503 without being remembered."""


class TransactionLayer:
    """Owns every transaction.

    Args:
        sink: the network, and who counts.
        timers: the core's deadlines.
        tokens: makes branches.

    Attributes:
        counts: transactions alive, by kind: invite_client, invite_server, client, server.

    """

    __slots__ = ("_clients", "_servers", "_sink", "_tokens", "_unanswered", "counts", "timers")

    def __init__(self, sink: Sink, timers: TimerQueue, tokens: TokenSource) -> None:
        self._sink = sink
        self._tokens = tokens
        self._clients: dict[ClientKey, InviteClient | Client] = {}
        self._servers: dict[ServerKey, InviteServer | Server] = {}
        # Clients by the peer they wait for, since a dead connection must not cost a walk through all of them;
        # told in the order they were sent, so that a simulation goes the same way in every build.
        self._unanswered: dict[tuple[str, str, int], dict[ClientTransaction, None]] = {}
        self.timers = timers
        self.counts = dict.fromkeys(("invite_client", "invite_server", "client", "server"), 0)

    # --- requests of ours

    def branch(self) -> str:
        """A branch that no other request has (§8.1.1.7)."""
        return f"z9hG4bK{self._tokens()}"

    def invite(
        self,
        request: RequestWriter,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[FailureCause], None],
    ) -> InviteClient:
        """Send an INVITE in a transaction of its own."""
        transaction = InviteClient(self, request, flow, on_response, on_failure)
        self._keep(transaction)
        return transaction

    def request(
        self,
        request: RequestWriter,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[FailureCause], None],
    ) -> Client:
        """Send any other request in a transaction of its own."""
        transaction = Client(self, request, flow, on_response, on_failure)
        self._keep(transaction)
        return transaction

    def _keep(self, transaction: InviteClient | Client) -> None:
        self._clients[transaction.key] = transaction
        self.counts[transaction.kind] += 1

    def send_ack(self, request: RequestWriter, flow: Flow) -> bytes:
        """Send the ACK of a 2xx, which belongs to no transaction (§13.2.2.4); returns it for repetitions."""
        data = request.write(self.via(flow))
        self.send(flow, data, "ACK")
        return data

    def via(self, flow: Flow) -> str:
        """What a Via says of us on this flow."""
        host, port = self._sink.local_address(flow)
        return f"{flow.transport.upper()} {format_host(host)}:{port}"

    # --- requests of the peer's

    def find_server(self, key: ServerKey) -> InviteServer | Server | None:
        """The transaction that this key belongs to."""
        return self._servers.get(key)

    def find_invite(self, request: Request) -> InviteServer | None:
        """The INVITE transaction that an ACK or a CANCEL is about (§9.2, §17.2.3)."""
        transaction = self._servers.get(server_key(request, "INVITE"))
        return transaction if isinstance(transaction, InviteServer) else None

    @property
    def full(self) -> bool:
        """No new server transaction may be made."""
        return len(self._servers) >= MAX_TRANSACTIONS

    def serve_invite(self, key: ServerKey, path: ResponsePath) -> InviteServer:
        """Remember a new INVITE."""
        transaction = self._servers[key] = InviteServer(self, key, "INVITE", path)
        self.counts["invite_server"] += 1
        return transaction

    def serve(self, key: ServerKey, method: str, path: ResponsePath) -> Server:
        """Remember any other new request."""
        transaction = self._servers[key] = Server(self, key, method, path)
        self.counts["server"] += 1
        return transaction

    # --- what comes in

    def receive_response(self, response: Response) -> bool:
        """Hand a response to the request of ours that it answers; False if there is none."""
        transaction = self._clients.get((response.branch or "", response.cseq_method))
        if transaction is None or len(response.headers.get_all("Via")) != 1:
            return False  # with more than our own Via it was meant for somebody behind us (§8.1.3.3)
        if transaction.waiting:
            self._answered(transaction)
        transaction.receive(response)
        return True

    def transport_failed(self, flow: Flow) -> None:
        """Tell every request that is still unanswered by this peer, over this transport."""
        for transaction in tuple(self._unanswered.pop(flow[:3], ())):
            transaction.transport_failed()

    @property
    def tables_empty(self) -> bool:
        """Nothing is remembered."""
        return not (self._clients or self._servers or self._unanswered)

    # --- for the machines

    def fit(self, request: RequestWriter, flow: Flow) -> tuple[bytes, Flow, Flow | None]:
        """The request as text, the flow that can carry it, and the one to fall back to."""
        data = request.write(self.via(flow))
        if flow.transport != "udp" or len(data) <= UDP_REQUEST_LIMIT:
            return data, flow, None
        stream = self._sink.flow_to(flow, "tcp", flow.host, flow.port)
        return request.write(self.via(stream)), stream, flow

    def await_answer(self, transaction: ClientTransaction) -> None:
        """Tell this transaction when its flow fails, until something has been answered."""
        peer = transaction.flow[:3]
        waiting = self._unanswered.get(peer)
        if waiting is None:
            self._unanswered[peer] = {transaction: None}
        else:
            waiting[transaction] = None

    def forget_client(self, transaction: ClientTransaction) -> None:
        """Drop a transaction that has terminated."""
        if self._clients.pop(transaction.key, None) is not None:
            self.counts[transaction.kind] -= 1
        self._answered(transaction)

    def forget_server(self, transaction: ServerTransaction) -> None:
        """Drop a transaction that has terminated."""
        if self._servers.pop(transaction.key, None) is not None:
            self.counts[transaction.kind] -= 1

    def _answered(self, transaction: ClientTransaction) -> None:
        peer = transaction.flow[:3]
        waiting = self._unanswered.get(peer)
        if waiting is not None:
            waiting.pop(transaction, None)
            if not waiting:
                del self._unanswered[peer]

    def send(self, flow: Flow, data: bytes, method: str) -> None:
        """Send a request."""
        self._sink.message("out", method, 0)
        self._sink.send(flow, data)

    def send_again(self, flow: Flow, data: bytes, method: str) -> None:
        """Send a request once more."""
        self._sink.retransmission("out")
        self.send(flow, data, method)

    def send_response(self, path: ResponsePath, data: bytes, method: str, status: int) -> None:
        """Send a response along its path."""
        self._sink.message("out", method, status)
        self._sink.send(path.resolve(self._sink), data)

    def send_response_again(self, path: ResponsePath, data: bytes, method: str, status: int) -> None:
        """Send a response once more."""
        self._sink.retransmission("out")
        self.send_response(path, data, method, status)

    def retransmission_received(self) -> None:
        """Count a message that came again."""
        self._sink.retransmission("in")
