"""Who is admitted here, compared with what carriers publish: what `carriers doctor` finds without asking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from gateway.admission.carriers import CarriersError, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.published_ranges import (
    OLD_DAYS,
    media_not_listed,
    not_admitted,
    not_published,
    published_ranges,
)
from gateway.config import Settings


async def admission_checks(settings: Settings, names: Sequence[str], today: date) -> list[dict[str, Any]]:
    """What is wrong with who is admitted here."""
    paths = [Path(name) for name in settings.admission.carriers_files]
    try:
        table = await asyncio.to_thread(load_carriers, paths)
        await asyncio.to_thread(published_ranges)
    except CarriersError as error:
        return [_finding("carriers files", str(error), "correct the file", grave=True)]
    return [each for name in names for each in admission_findings(table, name, today)]


def admission_findings(table: CarrierTable, name: str, today: date) -> list[dict[str, Any]]:
    """What of a carrier's published ranges is not admitted here, or is admitted and not published."""
    told = []
    for each in not_admitted(table, name):
        detail = (
            f"{each.network} ({each.place}) is published at {each.page}, and calls from there are dropped"
        )
        told.append(
            _finding("source not admitted", detail, f'add it to the sources of trunk "{name}"', grave=True)
        )
    trunk = next((each for each in table if each.name == name), None)
    if trunk is None:
        if table and not any(each.development for each in table):
            detail = f"no trunk is called {name}, so that records and metrics do not name the carrier"
            told.append(_finding("trunk entry", detail, "take it from configs/carriers.toml", grave=False))
        return told
    for each in media_not_listed(trunk):
        detail = f"{each.network} is published at {each.page}, and audio from there is not expected"
        told.append(
            _finding("media not admitted", detail, f'add it to media_sources of trunk "{name}"', grave=True)
        )
    if not trunk.development:
        for network in not_published(trunk):
            detail = f"{network} is admitted and on none of {name}'s pages: anybody there may call"
            told.append(
                _finding(
                    "source not published", detail, "remove it, or check for a typing mistake", grave=False
                )
            )
    if trunk.checked is not None and (today - trunk.checked).days > OLD_DAYS:
        detail = f"{name}'s ranges were last checked on {trunk.checked}"
        fix = f"compare them with {trunk.documentation or 'its pages'}, and put today's date into checked"
        told.append(_finding("ranges old", detail, fix, grave=False))
    return told


def _finding(check: str, detail: str, fix: str, *, grave: bool) -> dict[str, Any]:
    return {"check": check, "detail": detail, "fix": fix, "grave": grave, "by_setup": False}
