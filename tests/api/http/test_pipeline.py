"""What happens to every request, whatever it is for."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api import pipeline
from api.operations import MAX_BODY
from api.store.database import StoreUnavailable
from tests.api.http.rig import KEY, Api, running_api


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{'a': 1}", b'{"a": 1} x', b"\xff\xfe", b'{"a": NaN}', b"[" * 50_000]
)
async def test_what_is_not_json_is_malformed(api: Api, data: bytes) -> None:
    answer = await api.post("/v1/agents", data=data)
    assert (answer.status, answer.body["type"]) == (400, "/docs/problems#malformed")


@pytest.mark.parametrize("data", [b"null", b"[]", b'"x"', b"1", b"{}"])
async def test_json_of_another_shape_is_invalid(api: Api, data: bytes) -> None:
    answer = await api.post("/v1/agents", data=data)
    assert answer.status == 422
    assert answer.body["errors"][0]["fix"]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""],
)
async def test_other_media_types_are_refused(api: Api, content_type: str) -> None:
    answer = await api.post("/v1/agents", data=b'{"name": "x"}', Content_Type=content_type or "application/x")
    assert answer.status == 415
    assert "application/json" in answer.body["detail"]


async def test_compressed_bodies_are_refused(api: Api) -> None:
    answer = await api.post("/v1/agents", data=gzip.compress(b'{"name": "x"}'), Content_Encoding="gzip")
    assert answer.status == 415


async def test_a_body_has_a_limit_announced_or_not(api: Api) -> None:
    body = b'{"name": "' + b"x" * MAX_BODY + b'"}'
    announced = await api.post("/v1/agents", data=body)
    assert (announced.status, announced.body["limit"]) == (413, MAX_BODY)
    host, port = api.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode() + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BODY_SECONDS", 0.05)
    host, port = api.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name"'.encode()
    )
    assert (await reader.readline()).split()[1] == b"408"
    writer.write(b"x" * 100)
    assert await reader.read(), "and then the connection ends"
    writer.close()


async def test_a_client_that_goes_away_leaves_nothing_behind(api: Api) -> None:
    host, port = api.address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name"'.encode()
    )
    await writer.drain()
    writer.close()
    assert (await api.get("/v1/agents")).body["total"] == 0


async def test_a_key_asks_no_faster_than_its_rate(tmp_path: Path) -> None:
    async with running_api(tmp_path, rate_limit=5.0) as api:
        answers = [await api.get("/v1/agents") for _ in range(30)]
        limited = [answer for answer in answers if answer.status == 429]
        assert 30 - len(limited) >= 10, "a burst of twice the rate"
        assert limited
        assert int(limited[0].headers["Retry-After"]) >= 1
        assert limited[0].body["type"] == "/docs/problems#too-many-requests"


async def test_guessing_keys_is_slow_and_does_not_shut_others_out(api: Api) -> None:
    guesses = (api.get("/v1/agents", key=f"oi_sk_guess{n}") for n in range(200))  # at once: a slow machine
    statuses = [
        answer.status for answer in await asyncio.gather(*guesses)
    ]  # would give tokens back meanwhile
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 200 - 50


async def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    missing = await api.get("/v1/phone-number")
    assert (missing.status, missing.body["type"]) == (404, "/docs/problems#not-found")
    wrong = await api.ask("PUT", "/v1/agents")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, POST")
    other = await api.get("/elsewhere")
    assert other.status == 404
    assert isinstance(other.body, str), "not the API's"


async def test_a_store_that_is_away_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.get("/v1/agents")

    async def away(work: object) -> None:
        raise StoreUnavailable("the store does not answer: disk I/O error")

    monkeypatch.setattr(api.service.database, "read", away)
    answer = await api.get("/v1/agents")
    assert (answer.status, answer.body["type"]) == (503, "/docs/problems#unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_fault_of_ours_is_a_problem_with_a_number_to_find_it_by(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.get("/v1/agents")

    async def broken(work: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(api.service.database, "read", broken)
    with capture_logs() as logged:
        answer = await api.get("/v1/agents")
    assert (answer.status, answer.body["type"]) == (500, "/docs/problems#internal")
    assert [entry["request_id"] for entry in logged] == [answer.body["request_id"]]
    assert "secret detail" not in str(answer.body)


async def test_too_many_at_once_are_told_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MAX_IN_PROGRESS", 0)
    answer = await api.get("/v1/agents")
    assert answer.status == 503


async def test_requests_are_counted(api: Api) -> None:
    await api.get("/v1/agents")
    await api.get("/v1/agents/agt_none")
    registry = api.service.metrics.registry
    labels = {"route": "/v1/agents/{agent_id}", "method": "GET", "status": "404"}
    assert registry.get_sample_value("api_requests_total", labels) == 1
    assert registry.get_sample_value("api_request_seconds_count", {"route": "/v1/agents"}) == 1
