"""Digest: the RFC's own numbers, both ends against each other, and what strangers may not do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import digest_server
from gateway.sip.digest import (
    Challenge,
    Credentials,
    expected_response,
    parameters,
    read_challenge,
    read_credentials,
    verifies,
)
from gateway.sip.digest_client import DigestClient
from gateway.sip.digest_server import (
    ADDRESS_SECONDS,
    FAILURE_SECONDS,
    MAX_FAILURES,
    NONCE_SECONDS,
    Admitted,
    Asked,
    Authenticator,
    Verdict,
)
from gateway.sip.message import Request, Response, parse_message
from tests.sip.rig import PEER, FakeClock, Rig, request, response

MUFASA = Credentials(
    "Mufasa",
    "http-auth@example.org",
    "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "/dir/index.html",
    "",
    "MD5",
    "auth",
    "00000001",
    "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
)
URI = "sip:+14155550100@198.51.100.1"
HOST = "203.0.113.9"
PASSWORD = "a password of a trunk"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_numbers_of_rfc_7616(algorithm: str, expected: str) -> None:
    """§3.9.1."""
    credentials = replace(MUFASA, algorithm=algorithm)
    assert expected_response(credentials, "GET", "Circle of Life") == expected
    assert verifies(replace(credentials, response=expected), "GET", "Circle of Life")
    assert not verifies(replace(credentials, response=expected), "GET", "circle of life")


@pytest.mark.parametrize("opaque", [None, 'an "opaque" word'])
def test_credentials_are_read_as_they_are_written(opaque: str | None) -> None:
    written = replace(MUFASA, opaque=opaque, response="0" * 32)
    read = read_credentials(str(written))
    assert read is not None
    assert (read.username, read.nonce, read.count, read.cnonce) == (
        written.username,
        written.nonce,
        written.count,
        written.cnonce,
    )
    assert ("opaque=" in str(written)) == (opaque is not None)
    old = str(replace(written, qop=""))  # RFC 2069's, as an old server asks for them
    assert "qop=" not in old and "cnonce=" not in old


def test_the_numbers_of_rfc_2617_without_qop() -> None:
    old = Credentials(
        "Mufasa", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", ""
    )
    assert expected_response(old, "GET", "Circle Of Life") == "670fd8c2df070c60b045671b8b24ff02"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Digest realm="a, \\"b\\"", nonce=x', {"realm": 'a, "b"', "nonce": "x"}),
        ('digest  realm = "r" ,nonce="n"', {"realm": "r", "nonce": "n"}),
        ('Basic realm="r"', None),
        ('Digest realm="r" nonce="n"', None),
        ('Digest realm="r", realm="s"', None),
        ('Digest realm="r', None),
        ("Digest " + ", ".join(f"p{number}=1" for number in range(40)), None),
    ],
)
def test_parameters(value: str, expected: dict[str, str] | None) -> None:
    assert parameters(value) == expected


@given(st.text(max_size=200))
def test_nothing_raises_whatever_comes(noise: str) -> None:
    for value in (noise, f"Digest {noise}", f'Digest realm="r", nonce="n", {noise}'):
        parameters(value)
        read_challenge([value])
        read_credentials(value)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=30))
def test_values_round_trip(text: str) -> None:
    challenge = Challenge(text, text, "SHA-256", "auth")
    assert read_challenge([str(challenge)]) == challenge
    credentials = replace(MUFASA, username=text, realm=text, uri=text, response="ab", cnonce=text)
    assert read_credentials(str(credentials)) == credentials


def test_the_first_challenge_that_we_speak_is_answered() -> None:
    found = read_challenge(
        [
            'Digest realm="r", nonce="1", algorithm=SHA-512-256, qop="auth"',
            'Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth-int"',
            'Digest realm="r", nonce="3", algorithm=SHA-256, qop="auth,auth-int"',
            'Digest realm="r", nonce="4", algorithm=MD5, qop="auth"',
        ]
    )
    assert found is not None
    assert (found.nonce, found.algorithm) == ("3", "SHA-256")


def test_the_response_is_in_no_repr() -> None:
    assert "0123abcd" not in repr(replace(MUFASA, response="0123abcd"))
    assert PASSWORD not in repr(DigestClient("alice", PASSWORD, str))


# Who is asked, and believed.


class Desk:
    """An authenticator in fake time, with one trunk that has a password."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        numbers = itertools.count(1)
        self.tokens: Callable[[], str] = lambda: f"{next(numbers):016x}"
        self.desk = Authenticator(
            "voice.example.com",
            ("SHA-256", "MD5"),
            b"secret",
            {"office": ("the office", PASSWORD)}.get,
            lambda: True,
            self.clock,
            self.tokens,
        )

    def ask(
        self, value: str | None = None, host: str = HOST, branch: str = "z9hG4bK1", method: str = "INVITE"
    ):
        extra = f"Authorization: {value}" if value else ""
        message = parse_message(request(method, uri=URI, branch=branch, extra=extra))
        assert isinstance(message, Request)
        return self.desk.judge(message, host)

    def client(self, password: str = PASSWORD, username: str = "office", **asking: str) -> DigestClient:
        """One that has been asked."""
        client = DigestClient(username, password, self.tokens)
        asked = self.ask(**asking)
        assert isinstance(asked, Asked)
        client.challenged(challenging(asked))
        return client


def challenging(asked: Asked) -> Response:
    invite = parse_message(request())
    assert isinstance(invite, Request)
    extra = "\r\n".join(f"{name}: {value}" for name, value in asked.headers)
    message = parse_message(response(invite, 401, extra=extra))
    assert isinstance(message, Response)
    return message


def told(client: DigestClient, uri: str = URI, method: str = "INVITE") -> str:
    ((name, value),) = client.headers(method, uri)
    assert name == "Authorization"
    return value


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_who_knows_the_password_is_admitted_and_its_address_known(desk: Desk) -> None:
    client = desk.client()
    assert desk.desk.known(HOST) is None
    assert desk.ask(told(client)) == Admitted("the office")
    assert desk.desk.known(HOST) == "the office"
    desk.clock.now += ADDRESS_SECONDS - 1
    assert desk.desk.known(HOST) == "the office"
    desk.clock.now += ADDRESS_SECONDS + 1
    assert desk.desk.known(HOST) is None


def test_both_algorithms_are_offered_the_better_one_first(desk: Desk) -> None:
    asked = desk.ask()
    assert isinstance(asked, Asked)
    assert ["SHA-256" in value for _, value in asked.headers] == [True, False]
    assert "algorithm=MD5" in asked.headers[1][1]


@pytest.mark.parametrize(
    ("username", "password", "uri"),
    [
        ("office", "another password", URI),
        ("nobody", PASSWORD, URI),
        ("office", PASSWORD, "sip:+19005550100@198.51.100.1"),
    ],
)
def test_anything_wrong_is_asked_again_and_tells_nothing(
    desk: Desk, username: str, password: str, uri: str
) -> None:
    asked = desk.ask(told(desk.client(password, username), uri))
    assert isinstance(asked, Asked)
    assert "stale" not in asked.headers[0][1]
    assert desk.desk.known(HOST) is None


def test_credentials_count_once_but_for_a_retransmission(desk: Desk) -> None:
    value = told(desk.client())
    assert isinstance(desk.ask(value), Admitted)
    assert isinstance(desk.ask(value), Admitted)  # the same branch: lost responses
    assert isinstance(desk.ask(value, branch="z9hG4bKreplayed"), Asked)
    desk.clock.now += 40
    assert isinstance(desk.ask(value), Asked)


def test_counts_go_up(desk: Desk) -> None:
    client = desk.client()
    first, second, third = (told(client) for _ in range(3))
    assert isinstance(desk.ask(first, branch="z9hG4bK1"), Admitted)
    assert isinstance(desk.ask(third, branch="z9hG4bK3"), Admitted)
    assert isinstance(desk.ask(second, branch="z9hG4bK2"), Asked)


def test_an_old_nonce_is_stale_and_a_made_up_one_is_not_even_that(desk: Desk) -> None:
    client = desk.client()
    desk.clock.now += NONCE_SECONDS + 1
    asked = desk.ask(told(client))
    assert isinstance(asked, Asked)
    assert "stale=true" in asked.headers[0][1]
    assert client.challenged(challenging(asked))
    assert isinstance(desk.ask(told(client)), Admitted)
    foreign = Desk()
    foreign.desk._secret = b"another process"
    asked = desk.ask(told(foreign.client()))
    assert isinstance(asked, Asked)
    assert "stale" not in asked.headers[0][1]


def test_guessing_ends_in_silence_for_a_while(desk: Desk) -> None:
    for _ in range(MAX_FAILURES):
        assert isinstance(desk.ask(told(desk.client("wrong password"))), Asked)
    assert desk.ask() is Verdict.BLOCKED
    assert isinstance(desk.ask(host="203.0.113.10"), Asked)
    desk.clock.now += FAILURE_SECONDS + 1
    assert isinstance(desk.ask(told(desk.client())), Admitted)


def test_only_callers_learn_that_there_is_something_to_call(desk: Desk) -> None:
    for method in ("OPTIONS", "REGISTER", "MESSAGE"):
        assert desk.ask(method=method) is Verdict.IGNORED


def test_tables_have_their_caps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for cap in ("MAX_NONCES", "MAX_FAILING", "MAX_KNOWN"):
        monkeypatch.setattr(digest_server, cap, 3)
    clients = [desk.client() for _ in range(5)]
    for number, client in enumerate(clients):
        desk.clock.now += 1
        assert isinstance(desk.ask(told(client), host=f"203.0.113.{number}"), Admitted) == (number < 4)
    assert len(desk.desk._used) <= 3  # and of what was forgotten, all is stale: no replay
    for number in range(9):
        desk.ask(told(desk.client("wrong password")), host=f"198.51.100.{number}")
    assert len(desk.desk._failures) == len(desk.desk._known) == 3


def test_a_flood_of_strangers_is_not_looked_at(desk: Desk) -> None:
    assert sum(desk.desk.may_judge() for _ in range(1000)) == digest_server.MAX_JUDGED_A_SECOND
    desk.clock.now += 1
    assert desk.desk.may_judge()


# Our side.


def challenge(status: int = 401, nonce: str = "n1", **more: str) -> str:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    extra = "".join(f", {key}={value}" for key, value in more.items())
    return f'{name}: Digest realm="agents", nonce="{nonce}", qop="auth"{extra}'


def answers(message: Request, header: str = "Authorization") -> Credentials:
    found = read_credentials(message.headers.get(header) or "")
    assert found is not None
    assert verifies(found, message.method, PASSWORD)
    assert found.uri == message.uri
    return found


def ask(rig: Rig, message: Request, status: int = 401, **more: str) -> None:
    rig.receive(response(message, status, extra=challenge(status, **more)))


def test_a_call_to_an_agent_that_asks(rig: Rig) -> None:
    """INVITE, its ACK, INFO, re-INVITE and BYE; once asked, we say it without being asked again."""
    leg = rig.call()
    leg.digest = DigestClient("bot", PASSWORD, str)
    first = rig.take_request("INVITE")
    ask(rig, first)
    ack, second = rig.take()
    assert isinstance(ack, Request)
    assert isinstance(second, Request)
    assert (ack.method, second.method, second.cseq) == ("ACK", "INVITE", 2)
    assert second.branch != first.branch
    assert second.call_id == first.call_id
    assert answers(second).count == "00000001"
    rig.receive(response(second, 200))
    acked = rig.take_request("ACK")
    assert acked.headers.get("Authorization") == second.headers.get("Authorization")
    rig.take_events()
    leg.info("application/dtmf", b"1")
    info = rig.take_request("INFO")
    assert (answers(info).count, info.cseq) == ("00000002", 3)
    ask(rig, info, nonce="n2", stale="true")
    info = rig.take_request("INFO")
    assert (answers(info).nonce, info.cseq) == ("n2", 4)
    rig.receive(response(info, 200))
    leg.reinvite(b"v=0\r\n")
    again = rig.take_request("INVITE")
    assert again.cseq == 5
    ask(rig, again, nonce="n3", stale="true")
    _, again = rig.take()
    assert isinstance(again, Request)
    assert (answers(again).nonce, again.cseq) == ("n3", 6)
    rig.receive(response(again, 200))
    rig.take()
    leg.hangup()
    bye = rig.take_request("BYE")
    ask(rig, bye, nonce="n4", stale="true")
    bye = rig.take_request("BYE")
    assert answers(bye).nonce == "n4"
    rig.receive(response(bye, 200))
    rig.advance(40)
    rig.assert_idle()


def test_a_proxy_and_the_agent_may_both_ask(rig: Rig) -> None:
    leg = rig.call()
    leg.digest = DigestClient("bot", PASSWORD, str)
    ask(rig, rig.take_request("INVITE"), 407)
    _, second = rig.take()
    assert isinstance(second, Request)
    answers(second, "Proxy-Authorization")
    ask(rig, second, 401)
    _, third = rig.take()
    assert isinstance(third, Request)
    answers(third)
    answers(third, "Proxy-Authorization")


def test_a_wrong_password_is_not_tried_for_ever(rig: Rig) -> None:
    leg = rig.call()
    leg.digest = DigestClient("bot", "wrong", str)
    ask(rig, rig.take_request("INVITE"))
    _, second = rig.take()
    assert isinstance(second, Request)
    ask(rig, second, nonce="n2")
    rig.take_request("ACK")
    (event,) = rig.take_events()
    assert event.status == 401  # type: ignore[attr-defined]


def test_who_has_no_password_and_who_is_asked_in_tongues_fails_at_once(rig: Rig) -> None:
    rig.call()
    ask(rig, rig.take_request("INVITE"))
    assert rig.take_request("ACK")
    leg = rig.call()
    leg.digest = DigestClient("bot", PASSWORD, str)
    invite = rig.take_request("INVITE")
    rig.receive(response(invite, 401, extra='WWW-Authenticate: Digest realm="r", nonce="n", algorithm=X'))
    assert rig.take_request("ACK")
    assert len(rig.take_events()) == 2


def test_a_request_outside_of_a_dialog(rig: Rig) -> None:
    results: list[int] = []
    rig.ua.request(
        "OPTIONS",
        "sip:bot@192.0.2.10",
        PEER,
        digest=DigestClient("bot", PASSWORD, str),
        on_result=lambda answer, cause: results.append(answer.status if answer else 0),
    )
    ask(rig, rig.take_request("OPTIONS"))
    again = rig.take_request("OPTIONS")
    answers(again)
    rig.receive(response(again, 200))
    assert results == [200]


def test_an_account_that_was_asked_once_says_it_at_once(rig: Rig) -> None:
    digest = DigestClient("bot", PASSWORD, str)
    for number in (1, 2):
        rig.ua.request("REGISTER", "sip:192.0.2.10", PEER, digest=digest, on_result=lambda *_: None)
        sent = rig.take_request("REGISTER")
        if number == 1:
            ask(rig, sent)
            sent = rig.take_request("REGISTER")
        assert answers(sent).count == f"{number:08x}"
        rig.receive(response(sent, 200))
