"""RFC 3261 §12: route sets, targets, sequence numbers and tags, on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import dialog as dialog_module
from gateway.sip.dialog import KNOWN_ROUTERS, MAX_KNOWN_ROUTER, MAX_ROUTES, Dialog
from gateway.sip.grammar import SipParseError
from gateway.sip.message import Request, Response, parse_message
from gateway.sip.request_writer import RequestWriter
from tests.sip.rig import request, response

SENT_BY = "UDP 198.51.100.1:5060"

ROUTES = ("<sip:192.0.2.1;lr>", "<sip:192.0.2.2;lr>;x=1", "<sip:192.0.2.3;lr=on>")


def parsed(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def written(writer: RequestWriter) -> Request:
    return parsed(writer.write(SENT_BY))


def answering(**kwargs: object) -> Dialog:
    return Dialog.answering(parsed(request(**kwargs)), "ours")  # type: ignore[arg-type]


INVITE = RequestWriter(
    "INVITE",
    "sip:agent@example.com",
    branch="z9hG4bK1",
    from_="<sip:us@example.com>;tag=ours",
    to="<sip:agent@example.com>",
    call_id="c",
    cseq=1,
)


def calling(**kwargs: object) -> Dialog:
    answer = parse_message(response(written(INVITE), 200, **kwargs))  # type: ignore[arg-type]
    assert isinstance(answer, Response)
    return Dialog.calling(INVITE, "ours", answer)


def test_the_called_side_routes_in_the_order_of_record_route() -> None:
    dialog = answering(extra=f"Record-Route: {ROUTES[0]}, {ROUTES[1]}\r\nRecord-Route: {ROUTES[2]}")
    assert dialog.routes == ROUTES
    bye = written(dialog.request("BYE", "z9hG4bK2"))
    assert bye.uri == "sip:caller@192.0.2.10:5060"
    assert bye.headers.get_all("Route") == list(ROUTES)
    assert dialog.next_hop == "sip:192.0.2.1;lr"


def test_the_calling_side_routes_in_reverse_order() -> None:
    dialog = calling(record_route=ROUTES)
    assert dialog.routes == ROUTES[::-1]
    assert dialog.next_hop == "sip:192.0.2.3;lr=on"


def test_without_a_route_the_target_is_the_next_hop() -> None:
    assert answering().next_hop == "sip:caller@192.0.2.10:5060"


def test_a_strict_router_gets_itself_as_request_uri_and_the_target_last() -> None:
    dialog = answering(extra="Record-Route: <sip:192.0.2.1>, <sip:192.0.2.2;lr>")
    bye = written(dialog.request("BYE", "z9hG4bK2"))
    assert bye.uri == "sip:192.0.2.1"
    assert bye.headers.get_all("Route") == ["<sip:192.0.2.2;lr>", "<sip:caller@192.0.2.10:5060>"]
    assert dialog.next_hop == "sip:192.0.2.1"


def test_tags_and_addresses_are_swapped_for_the_called_side() -> None:
    bye = written(answering().request("BYE", "z9hG4bK2"))
    assert bye.headers.get("From") == "<sip:+14155550100@198.51.100.1>;tag=ours"
    assert bye.headers.get("To") == "<sip:+14155550111@192.0.2.10>;tag=caller"
    assert bye.call_id == "call-1@192.0.2.10"


def test_tags_and_addresses_stay_for_the_calling_side() -> None:
    bye = written(calling().request("BYE", "z9hG4bK2"))
    assert (bye.from_tag, bye.to_tag) == ("ours", "agent")
    assert bye.headers.get("From") == INVITE.from_


def test_our_numbers_rise_by_one_and_an_ack_has_its_invites() -> None:
    dialog = calling()
    assert written(dialog.request("ACK", "z9hG4bK2", cseq=1)).cseq == 1
    assert written(dialog.request("INVITE", "z9hG4bK3")).cseq == 2
    assert written(dialog.request("ACK", "z9hG4bK4", cseq=2)).cseq == 2
    assert written(dialog.request("BYE", "z9hG4bK5")).cseq == 3
    assert written(answering().request("BYE", "z9hG4bK6")).cseq == 1


def test_numbers_of_the_peer_may_not_fall() -> None:
    dialog = answering(cseq=7)
    assert dialog.accept_cseq(9)
    assert not dialog.accept_cseq(8)
    assert dialog.accept_cseq(9)
    first = calling()
    assert first.accept_cseq(0)
    assert first.accept_cseq(1)


def test_a_new_contact_is_the_new_target() -> None:
    dialog = answering()
    dialog.refresh_target(parsed(request(contact='"X" <sip:moved@192.0.2.99:5070>;expires=60')))
    assert written(dialog.request("BYE", "z9hG4bK2")).uri == "sip:moved@192.0.2.99:5070"


@pytest.mark.parametrize("contact", [None, "*", "not an address"])
def test_a_contact_that_says_nothing_changes_nothing(contact: str | None) -> None:
    dialog = answering()
    dialog.refresh_target(parsed(request(contact=contact)))
    assert dialog.remote_target == "sip:caller@192.0.2.10:5060"


@pytest.mark.parametrize(
    "extra", ["Record-Route: nonsense", f"Record-Route: {','.join(ROUTES[:1] * (MAX_ROUTES + 1))}"]
)
def test_a_route_that_cannot_be_kept_makes_no_dialog_for_a_caller(extra: str) -> None:
    with pytest.raises(SipParseError) as refused:
        answering(extra=extra)
    assert refused.value.status == 400


def test_as_many_routes_are_kept_as_are_allowed() -> None:
    dialog = answering(extra=f"Record-Route: {','.join(ROUTES[:1] * MAX_ROUTES)}")
    assert len(dialog.routes) == MAX_ROUTES == 30


def test_an_answer_with_a_bad_route_or_contact_still_makes_a_dialog() -> None:
    """The call is up at the other end: it must at least be possible to hang up."""
    dialog = calling(record_route=("nonsense",), contact="nonsense")
    assert dialog.routes == ()
    assert dialog.remote_target == INVITE.uri


ROUTE_PIECES = st.sampled_from(
    [
        "<",
        ">",
        "sip:",
        "sips:",
        "SIP:",
        "a.example",
        "[::1]",
        "u@",
        ":",
        "5060",
        "99999",
        ";lr",
        ";lr=on",
        ";lr=off",
        ";",
        ";r2=on",
        ";transport=tcp",
        ";ftag=a1",
        ";LR",
        ";lrx",
        "=",
        " ",
        '"',
        "?h=v",
        ",",
        "\r",
    ]
)


@given(
    st.lists(ROUTE_PIECES, max_size=8).map("".join)
    | st.lists(ROUTE_PIECES, max_size=6).map(lambda pieces: f"<sip:a.example{''.join(pieces)}>")
)
def test_a_router_that_is_read_at_once_is_the_one_that_is_read_with_care(route: str) -> None:
    plain = dialog_module._PLAIN_ROUTER.fullmatch(route)
    if plain is not None:
        assert dialog_module._careful_router(route) == (plain[1], True)


def test_carriers_routers_are_read_at_once() -> None:
    for route in (
        "<sip:192.0.2.1;lr;ftag=81283>",
        "<sip:192.0.2.1:5061;transport=tls;lr=on>",
        "<sip:a;r2=on;lr>",
    ):
        assert dialog_module._PLAIN_ROUTER.fullmatch(route) is not None


def test_remembered_routers_are_bounded() -> None:
    for number in range(KNOWN_ROUTERS + 10):
        assert dialog_module._router(f"<sip:{number}.example.com;lr>") == (
            f"sip:{number}.example.com;lr",
            True,
        )
        assert len(dialog_module._routers) <= KNOWN_ROUTERS
    dialog_module._router(long := f"<sip:example.com;lr;x={'x' * MAX_KNOWN_ROUTER}>")
    assert long not in dialog_module._routers
