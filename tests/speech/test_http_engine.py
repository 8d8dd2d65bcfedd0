from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.speech import http
from gateway.speech.engine import make_engine
from gateway.speech.errors import SpeechError, UnspeakableTextError
from gateway.speech.http import HttpEngine

KEY = "sk-very-secret"


def a_wav(rate: int = 24000, samples: int = 24000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(b"\x10\x00" * samples)
    return file.getvalue()


class Endpoint:
    """A speech server in this process; `answer` is what it does, `asked` what it got."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], str | None]] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.speak
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((await request.json(), request.headers.get("Authorization")))
        return await self.answer(request)

    async def speak(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=a_wav(), content_type="audio/wav")

    def status(self, code: int) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=code, text=f"the key {KEY} is bad")

        self.answer = answer


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/audio/speech", endpoint.handle)
    server = TestServer(app)
    await server.start_server()
    endpoint.url = str(server.make_url("/"))
    yield endpoint
    await server.close()


@pytest.fixture
async def engine(endpoint: Endpoint) -> AsyncIterator[HttpEngine]:
    engine = HttpEngine(endpoint.url, key=KEY, model="tts-1", voice="alloy", timeout=5)
    yield engine
    await engine.close()


async def test_it_asks_as_openai_is_asked(endpoint: Endpoint, engine: HttpEngine) -> None:
    pcm = await engine.render("Hello\n there")
    assert len(pcm) == 16000
    body = {"input": "Hello there", "response_format": "wav", "model": "tts-1", "voice": "alloy"}
    assert endpoint.asked == [(body, f"Bearer {KEY}")]


async def test_without_key_model_and_voice_nothing_is_made_up(endpoint: Endpoint) -> None:
    engine = make_engine("http", url=endpoint.url.rstrip("/"))
    await engine.render("Hello")
    await engine.close()
    assert endpoint.asked == [({"input": "Hello", "response_format": "wav"}, None)]


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_a_refusal_is_an_error_that_helps_and_keeps_the_key(
    endpoint: Endpoint, engine: HttpEngine, status: int
) -> None:
    endpoint.status(status)
    with pytest.raises(SpeechError, match=rf"{status}.*speech\.key") as caught:
        await engine.render("Hello")
    assert not isinstance(caught.value, UnspeakableTextError)
    assert KEY not in repr(caught.value) + repr(engine) + engine.identity


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_text_that_the_server_refuses_is_not_the_engines_fault(
    endpoint: Endpoint, engine: HttpEngine, status: int
) -> None:
    endpoint.status(status)
    with pytest.raises(UnspeakableTextError, match=str(status)):
        await engine.render("Hello")


async def test_what_is_no_wav_is_refused(endpoint: Endpoint, engine: HttpEngine) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"<html>")

    endpoint.answer = answer
    with pytest.raises(SpeechError, match="not a WAV"):
        await engine.render("Hello")


async def test_an_endless_answer_is_cut_off(
    endpoint: Endpoint, engine: HttpEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(10_000))

    endpoint.answer = answer
    with pytest.raises(SpeechError, match="more than 100000 bytes"):
        await engine.render("Hello")


async def test_a_silent_server_is_given_up(endpoint: Endpoint) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    endpoint.answer = answer
    engine = HttpEngine(endpoint.url, timeout=0.05)
    with pytest.raises(SpeechError, match=r"longer than 0\.05 s"):
        await engine.render("Hello")
    await engine.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "ftp://x"])
async def test_nobody_there(url: str) -> None:
    engine = HttpEngine(url, timeout=5)
    with pytest.raises(SpeechError, match=r"failed .*speech\.url"):
        await engine.render("Hello")
    await engine.close()
    await engine.close()
