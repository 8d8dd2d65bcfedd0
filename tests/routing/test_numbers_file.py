"""The numbers file: what it may say, and what an error about it says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.cache import encode
from routing.models import Agent, Endpoint, Fallback, InboundRouting, PhoneNumber
from routing.numbers_file import NumbersFileError, load, parse

COMPLETE = """
[[agents]]
id = "agt_one"
name = "One"
voicemail_message = "One is busy."
endpoints = [
    { url = "sip:bot@192.0.2.10:5060;media=direct", priority = 1, weight = 5, max_calls = 3, region = "eu-1" },
    { url = "wss://bot.example.com/stream", protocol = "telnyx", headers = { Authorization = "Bearer x" } },
]

[[agents]]
id = "agt_two"

[[numbers]]
id = "phn_own"
phone_number = "+14155550100"
friendly_name = "Sales"
provider = "telnyx"
agent_id = "agt_one"
status = "inactive"

[numbers.inbound_routing]
agent_id = "agt_two"
fallback = { agent_id = "agt_one" }
voicemail_message = "Later."
voicemail = false

[[numbers]]
phone_number = "+14155550101"
"""

AGENT = '[[agents]]\nid = "agt_one"\n'
NUMBER = '[[numbers]]\nphone_number = "+14155550100"\n'


def test_everything_it_may_say() -> None:
    routes = parse(COMPLETE, "numbers.toml")
    assert routes.agents == (
        Agent(
            id="agt_one",
            name="One",
            voicemail_message="One is busy.",
            endpoints=(
                Endpoint(
                    "sip:bot@192.0.2.10:5060;media=direct", priority=1, weight=5, max_calls=3, region="eu-1"
                ),
                Endpoint(
                    "wss://bot.example.com/stream", protocol="telnyx", headers={"Authorization": "Bearer x"}
                ),
            ),
        ),
        Agent(id="agt_two", name="agt_two"),
    )
    assert routes.numbers == (
        PhoneNumber(
            id="phn_own",
            phone_number="+14155550100",
            friendly_name="Sales",
            provider="telnyx",
            agent_id="agt_one",
            status="inactive",
            inbound_routing=InboundRouting("agt_two", Fallback("agt_one"), "Later.", voicemail=False),
        ),
        PhoneNumber(id="phn_14155550101", phone_number="+14155550101"),
    )


def test_an_empty_file_is_no_routes() -> None:
    routes = parse("", "numbers.toml")
    assert (routes.numbers, routes.agents) == ((), ())


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("agents = 5", 1, "agents: write [[agents]] with two brackets"),
        ("\n[[agent]]\nid = 'agt_one'", 2, "unknown table; did you mean agents?"),
        (AGENT + "nmae = 'One'", 3, "agents[0].nmae: unknown key; did you mean name?"),
        (AGENT + "name = 5", 3, "agents[0].name: expected `str`, got `int`"),
        ("[[agents]]\nname = 'One'", 1, "missing required field `id`"),
        ("[[agents]]\nid = ''", 2, "agents[0].id: is empty"),
        (AGENT + "voicemail_message = '{{agnt}}'", 3, "{{agnt}} is no variable: did you mean {{agent}}?"),
        (AGENT + AGENT, 4, "agents[1].id: agt_one stands twice, first in line 2"),
        (AGENT + "endpoints = 5", 3, "agents[0].endpoints: expected `array`"),
        (AGENT + "endpoints = [5]", 3, "agents[0].endpoints[0]: expected `object`"),
        (AGENT + "endpoints = [{}]", 3, "missing required field `url`"),
        (
            AGENT + 'endpoints = [{ url = "http://x" }]',
            3,
            "url: must be sip:, sips:, ws: or wss:",
        ),
        (AGENT + 'endpoints = [{ url = "wss://" }]', 3, "endpoints[0].url: must be"),
        (AGENT + 'endpoints = [\n  { url = "sip:a@b", wieght = 1 },\n]', 4, "did you mean weight?"),
        (AGENT + 'endpoints = [\n  { url = "sip:a@b", weight = 0 },\n]', 4, "weight: must be 1 or more"),
        (AGENT + 'endpoints = [{ url = "sip:a@b", region = "EU" }]', 3, "region: must be 1 to 32 small"),
        (AGENT + 'endpoints = [{ url = "sip:a@b", max_calls = -1 }]', 3, "max_calls: must be 0 or more"),
        (
            AGENT + f'endpoints = [{{ url = "sip:a@b", priority = {10**30} }}]',
            3,
            "priority: must be 0 to 65535",
        ),
        (AGENT + f'endpoints = [{{ url = "sip:a@b", max_calls = {10**30} }}]', 3, "max_calls: must be 0"),
        (AGENT + 'endpoints = [{ url = "sip:a@b\\r\\nVia: c" }]', 3, "address without spaces"),
        (
            AGENT + 'endpoints = [{ url = "wss://a", protocol = "twillio" }]',
            3,
            "protocol: must be one of twilio, telnyx, openai-realtime; did you mean twilio?",
        ),
        (AGENT + 'endpoints = [{ url = "sip:a@b", headers = { "X A" = "b" } }]', 3, "'X A' is no name"),
        (
            AGENT + 'endpoints = [{ url = "sip:a@b", headers = { X = "b\\r\\nVia: c" } }]',
            3,
            "headers: the value of 'X' holds a line break",
        ),
        ('[[numbers]]\nphone_number = "4155550100"', 2, "is not E.164: write it as +14155550100"),
        ("[[numbers]]\nphone_number = 14155550100", 2, "is not E.164"),
        ("[[numbers]]\nfriendly_name = 'x'", 1, "numbers[0].phone_number: None is not E.164"),
        (NUMBER + 'status = "off"', 3, "numbers[0].status: invalid enum value 'off'"),
        (NUMBER + NUMBER, 4, "+14155550100 stands twice, first in line 2: remove one"),
        (AGENT + NUMBER + 'agent_id = "agt_on"', 5, "agent_id: no agent agt_on; did you mean agt_one?"),
        (
            AGENT + NUMBER + 'agent_id = "agt_one"\n[numbers.inbound_routing]\nagent_id = "agt_on"',
            7,
            "inbound_routing.agent_id: no agent agt_on",
        ),
        (
            AGENT + NUMBER + 'inbound_routing = { agent_id = "agt_one", fallback = { agent_id = "agt_x" } }',
            5,
            "inbound_routing.fallback.agent_id: no agent agt_x",
        ),
        (NUMBER + "inbound_routing = {}", 3, "no agent anywhere: write agent_id"),
        (NUMBER + "inbound_routing = { fallbak = {} }", 3, "did you mean fallback?"),
        (NUMBER + "[numbers.inbound_routing]\nvoicemail = 1", 4, "voicemail: expected `bool`, got `int`"),
    ],
)
def test_errors_name_file_line_field_and_fix(text: str, line: int, says: str) -> None:
    with pytest.raises(NumbersFileError) as raised:
        parse(text, "numbers.toml")
    assert str(raised.value).startswith(f"numbers.toml:{line}: ")
    assert says in str(raised.value)


def test_what_is_not_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(NumbersFileError, match=r"numbers\.toml: not TOML: .*line 2"):
        parse("[[agents]]\nid = agt_one", "numbers.toml")
    with pytest.raises(NumbersFileError, match="not TOML"):
        parse("a = " + "[" * 100_000, "numbers.toml")
    with pytest.raises(NumbersFileError, match="No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'# "\xe9"')
    with pytest.raises(NumbersFileError, match="utf-8"):
        load(tmp_path / "latin.toml")


def test_the_demo_file_is_good() -> None:
    routes = load(Path(__file__).parents[2] / "configs" / "numbers.toml")
    assert {number.phone_number for number in routes.numbers} == {"+14155550100", "+14155550199"}


LINES = [line for line in COMPLETE.splitlines() if line]
VALUES = [
    "5",
    "-1",
    "true",
    '""',
    '"+14155550100"',
    "[]",
    "{}",
    "[{}]",
    "1979-05-27",
    "nan",
    '"agt_one"',
    "9" * 30,
]


@given(st.data())
def test_no_file_raises_anything_else_and_what_it_says_can_be_kept(data: st.DataObject) -> None:
    lines = data.draw(st.permutations(LINES) | st.just(LINES) | st.lists(st.sampled_from(LINES)))
    changed = [
        f"{line.partition('=')[0]}= {data.draw(st.sampled_from(VALUES))}"
        if "=" in line and data.draw(st.booleans())
        else line
        for line in lines
    ]
    try:
        routes = parse("\n".join(changed), "numbers.toml")
    except NumbersFileError as error:
        assert str(error).startswith("numbers.toml")
    else:
        for record in (*routes.agents, *routes.numbers):
            assert msgspec.msgpack.decode(encode(record), type=type(record)) == record
