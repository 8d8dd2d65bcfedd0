from __future__ import annotations

from pathlib import Path

import pytest

from api.carriers.base import CarrierUnavailable, NumberQuery, NumberUnavailable, Purchase, QueryRefused
from api.carriers.sandbox import FILE, SandboxCarrier
from api.carriers.sandbox_inventory import BLOCKS, block_of


async def test_search_offers_what_was_asked_for(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    found = await carrier.search(NumberQuery("US", area_code="415", limit=3))
    assert [number.phone_number for number in found] == ["+14155550100", "+14155550101", "+14155550102"]
    assert {(number.region, number.type) for number in found} == {("CA", "local")}
    toll_free = await carrier.search(NumberQuery("US", type="toll_free", limit=1))
    assert toll_free[0].phone_number.startswith("+1800")
    await carrier.close()


@pytest.mark.parametrize(("contains", "digits"), [("0142", "0142"), ("CAFE", "2233"), ("55*01", "55501")])
async def test_contains_takes_digits_letters_and_wildcards(
    tmp_path: Path, contains: str, digits: str
) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    found = await carrier.search(NumberQuery("US", contains=contains, limit=5))
    assert found
    assert all(digits in number.phone_number for number in found)
    await carrier.close()


async def test_contains_looks_at_the_national_number_only(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    found = await carrier.search(NumberQuery("GB", contains="4420"))
    assert not found
    await carrier.close()


async def test_a_country_it_does_not_serve_is_refused_with_those_that_it_does(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    with pytest.raises(QueryRefused) as refused:
        await carrier.search(NumberQuery("DE"))
    assert refused.value.field == "country"
    assert "US" in refused.value.fix
    await carrier.close()


async def test_a_sold_number_is_offered_no_more_until_it_is_released(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    await carrier.purchase("+14155550100", "one")
    [first] = await carrier.search(NumberQuery("US", area_code="415", limit=1))
    assert first.phone_number == "+14155550101"
    with pytest.raises(NumberUnavailable):
        await carrier.purchase("+14155550100", "two")
    await carrier.release("two")  # not theirs: nothing happens
    assert await carrier.purchased("+14155550100", "one") == Purchase("bought", "one")
    await carrier.release("one")
    assert await carrier.purchased("+14155550100", "one") == Purchase("never")
    await carrier.purchase("+14155550100", "two")
    await carrier.close()


async def test_the_same_purchase_twice_happens_once_and_survives_a_restart(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    await carrier.purchase("+14155551234", "one")
    await carrier.close()
    again = SandboxCarrier(tmp_path / FILE)
    await again.purchase("+14155551234", "one")
    with pytest.raises(NumberUnavailable):
        await again.purchase("+14155550101", "one")  # a reference is one purchase
    assert await again.purchased("+14155551234", "one") == Purchase("bought", "one")
    assert await again.purchased("+14155550101", "one") == Purchase("never")
    await again.close()


async def test_numbers_that_are_not_its_own_are_not_sold(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / FILE)
    for number in ("+4930123456", "+1415555", "+141555501000"):
        with pytest.raises(NumberUnavailable):
            await carrier.purchase(number, "one")
    await carrier.close()


async def test_a_disk_that_fails_is_an_outage(tmp_path: Path) -> None:
    carrier = SandboxCarrier(tmp_path / "missing" / FILE)
    with pytest.raises(CarrierUnavailable) as failed:
        await carrier.purchased("+14155550100", "one")
    assert failed.value.temporary
    await carrier.close()


def test_blocks_are_apart_and_know_their_numbers() -> None:
    seen: set[str] = set()
    for block in BLOCKS:
        numbers = set(block.numbers())
        assert len(numbers) == 10**block.digits
        assert not numbers & seen
        seen |= numbers
        assert block_of(min(numbers)) is block
