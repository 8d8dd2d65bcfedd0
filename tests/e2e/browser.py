"""A headless Chromium, driven over its DevTools protocol: what a person would click, and what the page then shows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.e2e.sipp import require

START_SECONDS = 60.0
PATIENCE = 30.0


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told["method"] == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.complaints.append(told["params"]["entry"]["text"])
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["params"]["exceptionDetails"]))

    async def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol."""
        number = next(self._ids)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(START_SECONDS):
            told = await answer
        assert "error" not in told, told
        return told["result"]

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def open(self, url: str) -> None:
        await self.ask("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def until(self, condition: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression in the page is true."""
        deadline = time.monotonic() + seconds
        while not await self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"never true: {condition}\n{await self.text()}"
            await asyncio.sleep(0.05)

    async def click(self, selector: str, text: str = "") -> None:
        """Click what a selector finds, the one with that text; a page that follows is waited for."""
        script = (
            f"(() => {{ const found = [...document.querySelectorAll({json.dumps(selector)})]"
            f".find((each) => each.textContent.includes({json.dumps(text)}));"
            " if (!found) return false; found.dispatchEvent(new MouseEvent('click',"
            " {bubbles: true, cancelable: true, view: window})); return true; })()"
        )
        before = await self.run("performance.timeOrigin")
        assert await self.run(script), f"nothing to click: {selector} {text}\n{await self.text()}"
        if selector.startswith(("header a", "table a", "button", "form")):
            await self.until(f"performance.timeOrigin !== {before} && document.readyState === 'complete'")

    async def write(self, selector: str, text: str) -> None:
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.ask("Input.insertText", text=text)

    async def text(self) -> str:
        """All that is shown."""
        return str(await self.run("document.body ? document.body.innerText : ''"))

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        shot = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def dark(self, dark: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[feature])

    @property
    def hosts(self) -> set[str]:
        """Who was asked for anything."""
        return {urlsplit(url).netloc for url in self.requested if url.startswith(("http", "ws"))}

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def browser(width: int = 1280, height: int = 860) -> AsyncIterator[Page]:
    """A tab of a Chromium with nothing in it; ended with the block."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or require("chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
        command += ["--disable-sync", "--no-proxy-server", f"--window-size={width},{height}"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = await asyncio.to_thread(
            lambda: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        try:
            port = await _eventually(lambda: (Path(profile) / "DevToolsActivePort").read_text().split()[0])
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    tabs = await answer.json()
                url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(url, max_msg_size=64 * 1024 * 1024) as socket:
                    page = Page(socket)
                    for domain in ("Page", "Network", "Log", "Runtime"):
                        await page.ask(f"{domain}.enable")
                    await page.ask(
                        "Emulation.setDeviceMetricsOverride",
                        width=width,
                        height=height,
                        deviceScaleFactor=1,
                        mobile=False,
                    )
                    try:
                        yield page
                    finally:
                        await page.close()
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


async def _eventually(look: Callable[[], str]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return await asyncio.to_thread(look)
        except (OSError, IndexError):
            assert time.monotonic() < deadline, "Chromium does not start"
            await asyncio.sleep(0.05)
