from __future__ import annotations

from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.admission.carriers import CarriersError
from gateway.admission.carriers_file import load_carriers

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = CONFIGS / "carriers.toml"
DEVELOPMENT = CONFIGS / "carriers.dev.toml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "carriers.toml"


def test_every_key(path: Path) -> None:
    path.write_text("""
        [[trunk]]
        name = "office-pbx_1"
        sources = ["192.0.2.10", "198.51.100.0/28", "2001:db8::/64"]
        default_country = "DE"
        media_sources = ["192.0.2.0/24"]
        call_id_header = "X-Call-Id"
        passed_headers = ["X-Office-", "X-Pbx-"]
        documentation = "https://pbx.example/addresses"
        checked = 2026-11-23
        early_media = true
        development = false

        [[trunk]]
        name = "other"
        sources = ["203.0.113.1"]
    """)
    office, other = load_carriers([path])
    assert office.name == "office-pbx_1"
    assert office.sources == tuple(map(ip_network, ("192.0.2.10", "198.51.100.0/28", "2001:db8::/64")))
    assert office.default_country == "DE"
    assert office.media_sources == (ip_network("192.0.2.0/24"),)
    assert office.call_id_header == "X-Call-Id"
    assert office.passed_headers == ("X-Office-", "X-Pbx-")
    assert office.documentation == "https://pbx.example/addresses"
    assert office.checked == date(2026, 11, 23)
    assert (office.early_media, other.early_media) == (True, None)
    assert (other.default_country, other.media_sources, other.call_id_header) == ("US", (), None)
    assert (other.passed_headers, other.development, other.checked) == ((), False, None)


@pytest.mark.parametrize(
    ("host", "carrier"),
    [
        ("54.172.60.0", "twilio"),
        ("54.172.60.3", "twilio"),
        ("177.71.206.195", "twilio"),
        ("192.76.120.10", "telnyx"),
        ("64.16.250.10", "telnyx"),
        ("103.135.104.25", "telnyx"),
        ("54.172.60.4", None),
        ("168.86.128.1", None),  # Twilio's media is not its signalling
        ("192.76.120.14", None),  # named by a third party only
        ("127.0.0.1", None),
        ("::1", None),
        ("10.0.0.1", None),
    ],
)
def test_the_shipped_file_admits_the_carriers_and_nobody_else(host: str, carrier: str | None) -> None:
    found = load_carriers([SHIPPED]).match(host)
    assert (found.name if found else None) == carrier


def test_what_the_shipped_file_knows_of_each_carrier() -> None:
    twilio, telnyx = load_carriers([SHIPPED])
    assert twilio.call_id_header == "X-Twilio-CallSid"
    assert telnyx.call_id_header == "X-Telnyx-Session-ID"
    assert (twilio.passed_headers, telnyx.passed_headers) == (("X-Twilio-",), ("X-Telnyx-",))
    for carrier in (twilio, telnyx):
        assert carrier.documentation
        assert carrier.checked
        assert not carrier.development
    assert any(ip_address("168.86.160.1") in network for network in twilio.media_sources)
    assert any(ip_address("50.114.144.48") in network for network in telnyx.media_sources)


def test_loopback_is_admitted_by_the_development_file_only() -> None:
    table = load_carriers([SHIPPED, DEVELOPMENT])
    for host in ("127.0.0.1", "127.0.0.53", "::1"):
        found = table.match(host)
        assert found is not None
        assert (found.name, found.development) == ("loopback", True)
    assert len(table) == 3


ENTRY = '[[trunk]]\nname = "pbx"\nsources = ["192.0.2.1"]\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ENTRY + 'sorces = ["192.0.2.1"]', 'trunk "pbx": unknown key "sorces"; did you mean "sources"?'),
        (ENTRY + 'contry = "US"', 'trunk "pbx": unknown key "contry"; did you mean "default_country"?'),
        ('[[trunks]]\nname = "pbx"', 'unknown key "trunks"; did you mean "trunk"?'),
        ('[trunk]\nname = "pbx"', "write [[trunk]] with two brackets: there can be several"),
        ("trunk = [1]", "write [[trunk]] with two brackets: there can be several"),
        ('[[trunk]]\nsources = ["192.0.2.1"]', "trunk 1: name is missing"),
        (ENTRY + '[[trunk]]\nname = "two"', 'trunk "two": sources is missing'),
        ('[[trunk]]\nname = "pbx"\nsources = []', 'trunk "pbx": sources: must be a list of addresses'),
        (
            '[[trunk]]\nname = "pbx"\nsources = "192.0.2.1"',
            'trunk "pbx": sources: must be a list of addresses',
        ),
        ('[[trunk]]\nname = "pbx"\nsources = [1]', 'trunk "pbx": sources: must be a text'),
        (
            '[[trunk]]\nname = "pbx"\nsources = ["192.0.2.1", "192.0.2.300"]',
            'trunk "pbx": sources: "192.0.2.300" is not an address or network',
        ),
        (
            '[[trunk]]\nname = "pbx"\nsources = ["54.172.60.1/30"]',
            'sources: "54.172.60.1/30" has bits set beyond its prefix; did you mean 54.172.60.0/30?',
        ),
        (
            '[[trunk]]\nname = "pbx"\nsources = ["127.0.0.1"]',
            'trunk "pbx": sources: 127.0.0.1/32 is loopback: only development = true may admit that',
        ),
        ('[[trunk]]\nname = "pbx"\nsources = ["::1"]', "sources: ::1/128 is loopback"),
        (
            '[[trunk]]\nname = "my pbx"\nsources = ["192.0.2.1"]',
            'trunk "my pbx": name: may hold letters',
        ),
        ('[[trunk]]\nname = 7\nsources = ["192.0.2.1"]', "trunk 1: name: must be a text"),
        (ENTRY + 'media_sources = ["x"]', 'media_sources: "x" is not an address or network'),
        (ENTRY + 'default_country = "usa"', 'default_country: "usa" is not an ISO 3166 code'),
        (ENTRY + 'call_id_header = ""', "call_id_header: must be a text"),
        (ENTRY + 'passed_headers = "X-"', "passed_headers: must be a list of texts"),
        (ENTRY + 'development = "yes"', "development: must be true or false"),
        (ENTRY + 'checked = "2026-11-23"', "checked: must be a date such as 2026-11-23, without quotes"),
        (ENTRY + "checked = 2026-11-23T10:00:00", "checked: must be a date"),
        ("[[trunk]\n", "not TOML: "),
    ],
)
def test_a_fault_names_file_entry_field_and_remedy(path: Path, text: str, fault: str) -> None:
    path.write_text(text)
    with pytest.raises(CarriersError) as caught:
        load_carriers([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)


def test_a_file_that_is_not_there_and_one_that_is_no_text(path: Path) -> None:
    with pytest.raises(CarriersError, match=r"carriers\.toml: No such file or directory"):
        load_carriers([path])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CarriersError, match=r"carriers\.toml: not TOML"):
        load_carriers([path])


def test_entries_of_two_files_may_not_contradict_each_other(path: Path, tmp_path: Path) -> None:
    path.write_text(ENTRY)
    other = tmp_path / "more.toml"
    other.write_text(ENTRY.replace("192.0.2.1", "192.0.2.2"))
    with pytest.raises(CarriersError, match='two entries are called "pbx"'):
        load_carriers([path, other])


def test_no_file_admits_nobody(path: Path) -> None:
    path.write_text("")
    assert load_carriers([path]).match("192.0.2.1") is None
    assert len(load_carriers([])) == 0


values = st.recursive(
    st.booleans() | st.integers() | st.text("abc:/.0127", max_size=8).map(lambda text: f'"{text}"'),
    lambda inner: st.lists(inner, max_size=3),
)
keys = st.sampled_from(("name", "sources", "default_country", "media_sources", "development", "checked"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, values))
def test_no_entry_raises_anything_else(path: Path, entry: dict) -> None:
    lines = [f"{key} = {_toml(value)}" for key, value in entry.items()]
    path.write_text("\n".join(["[[trunk]]", *lines]))
    try:
        load_carriers([path])
    except CarriersError as error:
        assert str(path) in str(error)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_a_trunk_may_be_known_by_a_certificate_alone(path: Path) -> None:
    path.write_text('[[trunk]]\nname = "pbx"\ncertificate_names = ["Sip.Example.com"]\n')
    table = load_carriers([path])
    (carrier,) = table
    assert table.match_certificate("sip.example.com") is carrier
    assert table.match_certificate("example.com") is None
    assert table.certificate_names == ("sip.example.com",)
    assert table.match("192.0.2.1") is None
