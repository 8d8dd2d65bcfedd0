"""The console as a person uses it: in a headless Chromium, while SIPp places calls."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import carriers
from tests.e2e.browser import Page, browser
from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until
from tests.e2e.sipp import Sipp, require
from tests.traces.test_pcap import tshark

pytestmark = pytest.mark.e2e

AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"

GRAVE = ("serious", "critical")

TALK = 6000
"""Milliseconds that SIPp's calls last: long enough for a person to look at one."""


@pytest.fixture(scope="module")
def own_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A gateway whose history is this module's alone."""
    exchange = Exchange(tmp_path_factory.mktemp("console"))
    with exchange.gateway:
        yield exchange


def address(exchange: Exchange) -> str:
    return "{}:{}".format(*exchange.gateway.http)


async def log_in(page: Page, exchange: Exchange) -> None:
    key = await asyncio.to_thread((exchange.gateway.data / "operator.key").read_text)
    await page.open(f"http://{address(exchange)}/console")
    await page.write("#key", key.strip())
    await page.click("button", "Log in")
    await page.until("document.querySelector('#feed').textContent === 'Live.'")


async def found_by_axe(page: Page) -> list[dict[str, Any]]:
    """What keeps people out of the page that is shown."""
    if not AXE.exists():
        assert not os.environ.get("CI"), "axe-core is not installed; `make test` installs it"
        pytest.skip("axe-core is not installed")
    await page.run(await asyncio.to_thread(AXE.read_text))
    findings = await page.run(
        "axe.run().then((found) => found.violations.map((each) => ({id: each.id, impact: each.impact,"
        " nodes: each.nodes.map((node) => node.html + ' ' + node.failureSummary)})))"
    )
    return [each for each in findings if each["impact"] in GRAVE]


def calls(exchange: Exchange, directory: Path, number: str, count: int) -> Sipp:
    """SIPp as Twilio, that many calls at once."""
    return Sipp(
        directory,
        "carrier_twilio",
        host=carriers.TWILIO_HOST,
        remote=exchange.gateway.sip,
        calls=count,
        arguments=("-s", number, "-l", str(count), "-r", str(count)),
        talk=TALK,
    )


async def test_calls_appear_and_vanish_by_themselves_and_one_is_looked_into(
    own_exchange: Exchange, tmp_path: Path
) -> None:
    """Live list, a call's page, its ladder against tshark's, its capture in tshark, and nothing from elsewhere."""
    exchange, wire, ours = own_exchange, tmp_path / "wire.pcap", tmp_path / "ours.pcap"
    command = [require("dumpcap"), "-q", "-i", "lo", "-f", "udp", "-w", str(wire), "-P"]
    witness = await asyncio.to_thread(lambda: subprocess.Popen(command, stderr=subprocess.DEVNULL))
    peers = contextlib.ExitStack()
    try:
        await asyncio.to_thread(wait_until, lambda: hears(wire), "dumpcap listens", 20)
        agent = await asyncio.to_thread(lambda: Sipp(tmp_path, "agent_answers", calls=3, ring=0))
        peers.enter_context(agent)
        line = await asyncio.to_thread(exchange.line, agent.uri)
        async with browser() as page:
            await log_in(page, exchange)
            assert "No call goes on." in await page.text()
            opened = await page.run("performance.timeOrigin")
            carrier = await asyncio.to_thread(calls, exchange, tmp_path, line.number, 3)
            peers.enter_context(carrier)
            await page.until("document.querySelectorAll('#live tbody tr .talking').length === 3")
            first = "document.querySelector('#live tbody tr').cells"
            assert await page.run(f"{first}[4].textContent") == line.number
            assert await page.run(f"{first}[5].textContent") == f"1/2 {line.primary}"
            await page.until(f"/[1-9] s/.test({first}[6].textContent)")
            call_id = await page.run("document.querySelector('#live tbody tr').dataset.id")
            await asyncio.to_thread(carrier.succeed)
            await page.until("document.querySelectorAll('#live tbody tr').length === 0")
            assert await page.run("performance.timeOrigin") == opened, "the page was loaded again"
            await page.until("document.querySelector('#total').textContent === '0'")
            await asyncio.sleep(3)  # for history to have it
            await page.open(f"http://{address(exchange)}/console/calls/{call_id}")
            assert "The agent took it; it ended because the caller hung up." in await page.text()
            labels = await page.run(
                "[...document.querySelectorAll('.ladder .message text')].map((each) => each.textContent)"
            )
            legs = await page.run(
                "[...document.querySelectorAll('.facts code')].map((each) => each.textContent)"
            )
            await page.click(".ladder a", "INVITE")
            await page.until("document.querySelector('details[open] pre').textContent.startsWith('INVITE ')")
            packets = await page.run(
                "fetch(document.querySelector('a[href$=pcap]').href).then((answer) => answer.arrayBuffer())"
                ".then((bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))))"
            )
            assert await page.run(
                "fetch(document.querySelector('a[href$=txt]').href).then((answer) => answer.text())"
                ".then((text) => text.includes('INVITE sip:'))"
            )
            assert page.hosts == {address(exchange)}
            assert page.complaints == []
    finally:
        await asyncio.to_thread(peers.close)
        witness.send_signal(signal.SIGINT)
        await asyncio.to_thread(witness.wait, 20)
    await asyncio.to_thread(ours.write_bytes, base64.b64decode(packets))
    fields = ("sip.Method", "sip.Status-Code", "sip.Call-ID", "_ws.malformed")
    seen, drawn = [await asyncio.to_thread(tshark, path, *fields) for path in (wire, ours)]
    seen = [row for row in seen if row[2] in legs]
    assert len(seen) >= 12
    assert drawn == seen
    assert all(row[3] == "" for row in drawn)
    assert [label.split(" ")[0] for label in labels] == [row[0] or row[1] for row in seen]


def hears(capture: Path) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"are you there?", ("127.0.0.1", 9))
    return capture.exists() and b"are you there?" in capture.read_bytes()


async def test_a_refused_call_is_found_and_explained_in_three_clicks(
    own_exchange: Exchange, tmp_path: Path
) -> None:
    number = own_exchange.unknown_number()

    def refuse() -> None:
        with Sipp(
            tmp_path,
            "carrier_refused",
            host=carriers.TWILIO_HOST,
            remote=own_exchange.gateway.sip,
            arguments=("-s", number),
            status=404,
        ) as carrier:
            carrier.succeed()

    await asyncio.to_thread(refuse)
    await asyncio.sleep(3)  # for history to have it
    async with browser() as page:
        await log_in(page, own_exchange)
        await page.click("header a", "Refused")  # one
        assert number in await page.text()
        await page.click("table a")  # two
        text = await page.text()
        assert "Nobody has registered the dialled number (404)." in text
        assert "What to do: Register it" in text
        assert "404 Not Found" in text or "404" in text


async def test_every_page_is_open_to_everybody(own_exchange: Exchange) -> None:
    """No serious finding of axe, light and dark; and the keyboard gets to the content and to a message."""
    async with browser() as page:
        await page.open(f"http://{address(own_exchange)}/console/login")
        assert await found_by_axe(page) == []
        await log_in(page, own_exchange)
        for dark in (False, True):
            await page.dark(dark)
            for name in ("live", "calls", "refused", "numbers", "agents", "test?number=14155550100"):
                await page.open(f"http://{address(own_exchange)}/console/{name}")
                assert await found_by_axe(page) == [], f"{name}, dark: {dark}"
            await page.open(f"http://{address(own_exchange)}/console/calls")
            await page.click("table a")
            assert await found_by_axe(page) == [], f"a call, dark: {dark}"
        await press(page, "Tab")
        assert await page.run("document.activeElement.className") == "skip"
        await page.run("document.querySelector('.ladder a').focus()")
        await press(page, "Enter")
        await page.until("document.querySelector('details[open] pre')")
        assert page.complaints == []


async def press(page: Page, key: str) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        await page.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)
