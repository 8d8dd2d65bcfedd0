"""What carriers publish, and what is admitted."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.admission.carriers import Carrier, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.published_ranges import (
    media_not_listed,
    not_admitted,
    not_published,
    published_ranges,
)

SHIPPED = Path(__file__).parent.parent.parent / "configs" / "carriers.toml"


def shipped() -> CarrierTable:
    return load_carriers([SHIPPED])


def trunk(name: str) -> Carrier:
    return next(each for each in shipped() if each.name == name)


def test_every_range_says_where_and_when_it_was_read():
    assert {(each.carrier, each.kind) for each in published_ranges()} == {
        (carrier, kind) for carrier in ("twilio", "telnyx") for kind in ("signalling", "media")
    }
    for each in published_ranges():
        assert each.page.startswith("https://") and date(2026, 1, 1) <= each.read


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_the_file_that_is_shipped_is_what_is_published(carrier: str):
    assert not_admitted(shipped(), carrier) == []
    assert media_not_listed(trunk(carrier)) == []
    assert not_published(trunk(carrier)) == []


def test_a_range_that_is_missing_is_found():
    known = trunk("twilio")
    shorter = replace(known, sources=known.sources[1:], media_sources=(ip_network("168.86.128.0/19"),))
    missing = not_admitted(CarrierTable([shorter]), "twilio")
    assert [str(each.network) for each in missing] == ["54.172.60.0/30"]
    assert [str(each.network) for each in media_not_listed(shorter)] == ["168.86.128.0/18"]


def test_half_a_range_is_missing_too():
    half = Carrier("twilio", (ip_network("54.172.60.0/31"), *trunk("twilio").sources[1:]))
    assert [str(each.network) for each in not_admitted(CarrierTable([half]), "twilio")] == ["54.172.60.0/30"]


def test_a_range_that_nobody_publishes_is_found():
    wider = replace(trunk("twilio"), sources=(*trunk("twilio").sources, ip_network("54.172.61.0/30")))
    assert [str(each) for each in not_published(wider)] == ["54.172.61.0/30"]
    assert not_published(Carrier("office-pbx", (ip_network("192.0.2.1/32"),))) == []
