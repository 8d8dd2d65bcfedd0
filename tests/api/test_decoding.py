from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.decoding import MAX_DEPTH, decode, parse_json, plain
from api.problems import FieldError, Problem
from api.types import (
    AgentCreate,
    ImportRequest,
    IntegrationCreate,
    NumberListQuery,
    PhoneNumberCreate,
    PhoneNumberUpdate,
)

NUMBER: dict[str, Any] = {
    "phone_number": "+14155550100",
    "provider": "twilio",
    "friendly_name": "Sales",
    "inbound_routing": {"agent_id": "agt_one", "fallback": {"agent_id": "agt_two"}},
    "provider_config": {"trunk_address": "trunk.example", "auth_password": "hunter2"},
}
AGENT: dict[str, Any] = {
    "name": "Sales",
    "endpoints": [{"url": "sip:bot@192.0.2.10", "headers": {"X-A": "b"}}],
}


def refused(value: Any, kind: type, **options: Any) -> list[FieldError]:
    with pytest.raises(Problem) as caught:
        decode(value, kind, **options)
    assert caught.value.kind == "invalid"
    assert caught.value.status == 422
    assert all(error.field and error.rule and error.detail and error.fix for error in caught.value.errors)
    return caught.value.errors


def the_one(value: Any, kind: type = PhoneNumberCreate, **options: Any) -> tuple[str, str, str]:
    (error,) = refused(value, kind, **options)
    return error.field, error.rule, error.fix


# JSON.


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"nope",
        b'{"a": 1} {"b": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 01}',
        b'{"a": "line\nbreak"}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\xff\xfe"}',
        '{"a": "é"}'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\\ud800"}',
        b'{"a": "\\x41"}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_json(body)
    assert (caught.value.kind, caught.value.status) == ("malformed", 400)
    assert caught.value.detail.startswith("the body is not JSON: ")
    assert len(caught.value.detail) < 300


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(), st.lists))
def test_json_is_read_as_others_write_it(value: Any) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text) == value


def test_of_two_fields_of_one_name_the_last_one_counts() -> None:
    """RFC 8259 §4 leaves it open; what matters is that what is checked is what is used."""
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}


# Fields that nobody knows.


@pytest.mark.parametrize(
    ("change", "field", "fix"),
    [
        ({"phone_nubmer": "x"}, "phone_nubmer", "did you mean phone_number?"),
        ({"agentid": "x"}, "agentid", "did you mean agent_id?"),
        ({"inbound_routing": {"agent": "x"}}, "inbound_routing.agent", "did you mean agent_id?"),
        (
            {"inbound_routing": {"fallback": {"agent_ids": "x"}}},
            "inbound_routing.fallback.agent_ids",
            "did you mean agent_id?",
        ),
        ({"provider_config": {"password": "x"}}, "provider_config.password", "did you mean auth_password?"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest(change: dict[str, Any], field: str, fix: str) -> None:
    assert the_one({**NUMBER, **change}) == (field, "unknown", fix)


def test_an_unknown_field_like_no_other_is_refused_with_all_there_are() -> None:
    field, rule, fix = the_one({**NUMBER, "zzz": 1})
    assert (field, rule) == ("zzz", "unknown")
    assert fix.startswith("leave it out; known are agent_id, credential_id, friendly_name, ")


def test_every_unknown_field_is_told_at_once() -> None:
    value = {**AGENT, "nam": "x", "endpoints": [{"url": "sip:a@b"}, {"urls": "x", "wait": 1}]}
    fields = [error.field for error in refused(value, AgentCreate)]
    assert fields == ["endpoints[1].urls", "endpoints[1].wait", "nam"]


def test_names_that_a_client_chooses_are_not_fields() -> None:
    headers = {f"X-{index}": "value" for index in range(10)}
    value = {**AGENT, "endpoints": [{"url": "sip:a@b", "headers": headers}]}
    assert decode(value, AgentCreate).endpoints[0].headers == headers


# Values of the wrong kind.


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"phone_number": 14155550100}, "phone_number", "type"),
        ({"phone_number": "14155550100"}, "phone_number", "pattern"),
        ({"phone_number": "+14155550100\n"}, "phone_number", "pattern"),
        ({"phone_number": "+1415555010٠"}, "phone_number", "pattern"),
        ({"phone_number": None}, "phone_number", "type"),
        ({"provider": "Twilio"}, "provider", "enum"),
        ({"provider": None}, "provider", "type"),
        ({"friendly_name": ""}, "friendly_name", "length"),
        ({"friendly_name": "x" * 256}, "friendly_name", "length"),
        ({"friendly_name": ["x"]}, "friendly_name", "type"),
        ({"status": "busy"}, "status", "enum"),
        ({"inbound_routing": "agt_one"}, "inbound_routing", "type"),
        ({"inbound_routing": []}, "inbound_routing", "type"),
        ({"inbound_routing": {"voicemail": "yes"}}, "inbound_routing.voicemail", "type"),
        ({"inbound_routing": {"fallback": {}}}, "inbound_routing.fallback.agent_id", "required"),
        ({"inbound_routing": {"agent_id": "no spaces"}}, "inbound_routing.agent_id", "pattern"),
        ({"provider_config": {"auth_password": 7}}, "provider_config.auth_password", "type"),
    ],
)
def test_a_wrong_value_is_told_by_field_and_rule(change: dict[str, Any], field: str, rule: str) -> None:
    assert the_one({**NUMBER, **change})[:2] == (field, rule)


@pytest.mark.parametrize(
    ("endpoint", "field", "rule"),
    [
        ({"priority": -1}, "endpoints[0].priority", "range"),
        ({"priority": 10**30}, "endpoints[0].priority", "range"),
        ({"priority": 1.5}, "endpoints[0].priority", "type"),
        ({"priority": "1"}, "endpoints[0].priority", "type"),
        ({"priority": True}, "endpoints[0].priority", "type"),
        ({"max_calls": 10**400}, "endpoints[0].max_calls", "range"),
        ({"region": "EU West"}, "endpoints[0].region", "pattern"),
        ({"headers": {"X": 1}}, "endpoints[0].headers[]", "type"),
        ({"headers": {str(n): "x" for n in range(33)}}, "endpoints[0].headers", "length"),
    ],
)
def test_a_wrong_value_in_a_list_is_told_too(endpoint: dict[str, Any], field: str, rule: str) -> None:
    value = {**AGENT, "endpoints": [{"url": "sip:a@b", **endpoint}]}
    assert the_one(value, AgentCreate)[:2] == (field, rule)


@pytest.mark.parametrize("missing", ["phone_number", "provider"])
def test_a_missing_field_is_told(missing: str) -> None:
    value = {name: each for name, each in NUMBER.items() if name != missing}
    assert the_one(value)[:2] == (missing, "required")


@pytest.mark.parametrize("value", [None, [], "text", 1, True, [NUMBER]])
def test_what_is_no_object_is_told_of_the_body(value: Any) -> None:
    assert the_one(value)[:2] == ("body", "type")


def test_fixes_are_those_of_the_field() -> None:
    assert the_one({**NUMBER, "phone_number": "1"})[2].startswith("write it in E.164")
    assert the_one({**NUMBER, "provider": "twillio"})[2] == (
        "write twilio or telnyx or sandbox or other; did you mean twilio?"
    )


def test_a_secret_of_the_wrong_kind_is_not_repeated() -> None:
    value = {"name": "x", "provider": "twilio", "api_key": "hunter2" * 1_000}
    (error,) = refused(value, IntegrationCreate)
    assert error.field == "api_key"
    assert "hunter2" not in f"{error}"


def test_queries_are_texts() -> None:
    query = decode({"limit": "5", "offset": "10"}, NumberListQuery, strict=False)
    assert (query.limit, query.offset) == (5, 10)
    for text in ("0", "101", "-1", "1e1", "5.0", "5 ", "", "９", "9" * 5_000):
        assert the_one({"limit": text}, NumberListQuery, strict=False)[0] == "limit"


def test_a_prefix_goes_before_every_field() -> None:
    assert the_one({**NUMBER, "zzz": 1}, prefix="items[3].")[0] == "items[3].zzz"
    assert the_one({**NUMBER, "status": "x"}, prefix="items[3].")[0] == "items[3].status"


# Texts that are none.


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1b", "\x7f", "\ud800"])
def test_control_characters_are_refused_wherever_they_are(character: str) -> None:
    bad = f"a{character}b"
    assert the_one({**NUMBER, "friendly_name": bad})[:2] == ("friendly_name", "characters")
    headers = {**AGENT, "endpoints": [{"url": "sip:a@b", "headers": {"X-A": bad}}]}
    assert the_one(headers, AgentCreate)[:2] == ("endpoints[0].headers.X-A", "characters")
    named = {**AGENT, "endpoints": [{"url": "sip:a@b", "headers": {bad: "x"}}]}
    assert the_one(named, AgentCreate)[1] == "characters"
    unknown = refused({**NUMBER, bad: 1}, PhoneNumberCreate)
    assert {error.rule for error in unknown} == {"unknown", "characters"}
    assert not any(character in error.field for error in unknown)


@pytest.mark.parametrize("text", ["Zürich ☎ 客服 مبيعات", "two\nlines\tand a tab", "👩‍👩‍👧"])
def test_what_people_write_is_taken(text: str) -> None:
    assert decode({**NUMBER, "friendly_name": text}, PhoneNumberCreate).friendly_name == text


def nested(depth: int, *, lists: bool = False) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value] if lists else {"x": value}
    return value


@pytest.mark.parametrize("lists", [False, True])
def test_nesting_is_bounded(lists: bool) -> None:
    fits = decode({"items": [nested(MAX_DEPTH - 2, lists=False)]}, ImportRequest)
    assert fits.items[0]
    item = {"x": nested(MAX_DEPTH, lists=lists)}
    field, rule, _ = the_one({"items": [item]}, ImportRequest)
    assert rule == "depth"
    assert len(field) <= 200


@pytest.mark.parametrize("opening", [b"[", b'{"x":'])
def test_whatever_json_can_be_read_can_be_looked_through(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    for depth in (40, 400, 900, 1_500, 5_000):
        with pytest.raises(Problem):
            decode(parse_json(opening * depth + b"1" + closing * depth), PhoneNumberUpdate)


# Anything at all.

KINDS = [PhoneNumberCreate, PhoneNumberUpdate, AgentCreate, IntegrationCreate, ImportRequest]
FIELDS = st.sampled_from(
    [*NUMBER, *NUMBER["inbound_routing"], *AGENT, *AGENT["endpoints"][0], "items", "status"]
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["+14155550100", "agt"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_any_bytes_are_a_value_or_a_problem(body: bytes, kind: type) -> None:
    try:
        decode(parse_json(body), kind)
    except Problem as problem:
        json.dumps(plain(problem.document())).encode()


@given(anything, st.sampled_from(KINDS), st.booleans())
def test_any_value_is_a_typed_one_or_a_problem(value: Any, kind: type, strict: bool) -> None:
    try:
        decode(value, kind, strict=strict)
    except Problem as problem:
        assert problem.kind == "invalid"
        assert problem.errors
        # What is told can be sent: no lone surrogate came back.
        json.dumps(plain(problem.document()), ensure_ascii=False).encode()
    else:
        assert isinstance(value, dict)
