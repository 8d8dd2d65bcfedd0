"""DTLS of one stream, both ends of it ours: the other stack is baresip, in tests/e2e/test_encrypted_calls.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from gateway.media.dtls import MAX_DATAGRAMS, MTU, Association, Identity, identity

Change = Callable[[bytes], Iterable[bytes]]


def unchanged(datagram: bytes) -> Iterable[bytes]:
    return (datagram,)


def pair() -> tuple[Association, Association]:
    return between(identity(), identity())


def between(one: Identity, other: Identity) -> tuple[Association, Association]:
    """A client and a server that know each other's certificate."""
    return (
        Association(one, [("sha-256", other.digest)], client=True),
        Association(other, [("sha-256", one.digest)], client=False),
    )


def shake(client: Association, server: Association, first: list[bytes], change: Change = unchanged) -> int:
    """Carry datagrams to and fro until nobody says anything; how many there were."""
    sent, count = first, 0
    to, back = server, client
    while sent:
        count += len(sent)
        sent = [answer for each in sent for way in change(each) for answer in to.receive(way)]
        to, back = back, to
    return count


def agreed(client: Association, server: Association) -> bool:
    if client.keys is None or server.keys is None:
        return False
    same = client.keys.ours == server.keys.theirs and client.keys.theirs == server.keys.ours
    return same and client.keys.suite == server.keys.suite and client.keys.ours != client.keys.theirs


def test_both_ends_have_the_same_keys_and_know_each_others_certificate() -> None:
    client, server = pair()
    shake(client, server, client.begin())
    assert agreed(client, server)
    assert client.digest("sha-256") == server.digest("sha-256") == identity().digest
    assert client.timeout is server.timeout is None
    assert repr(client.keys) == "StreamKeys(suite='AES_CM_128_HMAC_SHA1_80')"


@pytest.mark.parametrize(
    ("profiles", "suite"),
    [(b"SRTP_AEAD_AES_256_GCM", "AEAD_AES_256_GCM"), (b"SRTP_AEAD_AES_128_GCM", "AEAD_AES_128_GCM")],
)
def test_a_peer_that_speaks_one_suite_gets_that(profiles: bytes, suite: str) -> None:
    own = identity.__wrapped__()
    own.context.set_tlsext_use_srtp(profiles)
    client, server = between(own, identity())
    shake(client, server, client.begin())
    assert agreed(client, server)
    assert server.keys is not None
    assert server.keys.suite == suite


def test_dtls_without_srtp_is_a_failure() -> None:
    context = SSL.Context(SSL.DTLS_METHOD)
    own = identity.__wrapped__()
    plain = Identity(context, own.digest)
    client, server = between(plain, identity())
    shake(client, server, client.begin())
    assert server.failure
    assert server.keys is None
    assert server.receive(b"\x16" * 20) == []


def test_every_datagram_is_whole_and_fits() -> None:
    sizes: list[int] = []

    def measured(datagram: bytes) -> Iterable[bytes]:
        sizes.append(len(datagram))
        assert datagram[0] in range(20, 64)
        return (datagram,)

    client, server = pair()
    shake(client, server, client.begin(), measured)
    assert max(sizes) <= MTU


def test_what_comes_twice_or_is_no_dtls_at_all_changes_nothing() -> None:
    client, server = pair()
    shake(client, server, client.begin(), lambda each: (b"\x16garbage", each, each))
    assert agreed(client, server)


def test_what_got_lost_is_sent_again() -> None:
    """The server's end of it, which makes the server say it again. OpenSSL's own clock: after a second."""
    client, server = pair()
    flight = [answer for each in client.begin() for answer in server.receive(each)]
    last = [answer for each in flight for answer in client.receive(each)]
    assert [answer for each in last for answer in server.receive(each)]
    assert server.keys is not None
    assert client.keys is None
    assert client.timeout is not None
    assert 0 < client.timeout <= 1
    assert client.expire() == []  # not yet
    time.sleep(client.timeout + 0.05)
    shake(client, server, client.expire())
    assert agreed(client, server)


def test_a_flood_is_not_looked_at() -> None:
    _, server = pair()
    for _ in range(MAX_DATAGRAMS):
        server.receive(b"\x16\xfe\xfd" + bytes(20))
    client, _ = pair()
    assert all(server.receive(each) == [] for each in client.begin())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5), st.integers(0, 400), st.integers(1, 255))
def test_garbage_and_damage_raise_nothing_and_never_end_in_different_keys(
    garbage: list[bytes], at: int, flip: int
) -> None:
    client, server = pair()
    for each in garbage:
        server.receive(each)
        client.receive(each)

    def damaged(datagram: bytes) -> Iterable[bytes]:
        index = at % len(datagram)
        return (datagram[:index] + bytes([datagram[index] ^ flip]) + datagram[index + 1 :],)

    shake(client, server, client.begin(), damaged)
    if client.keys is not None and server.keys is not None:
        assert agreed(client, server)
