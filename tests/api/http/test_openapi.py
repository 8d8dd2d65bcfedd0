"""The OpenAPI document says what the API does, and the pages work without a network."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from api.examples import EXAMPLES
from api.openapi import document_of, problems_of
from api.problems import KINDS, TYPE_PREFIX
from tests.api.http.rig import Api


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    answer = await api.get("/openapi.json", key=None)
    assert answer.status == 200
    return dict(answer.body)


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if "$ref" in value else set()
        return found.union(*(references(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(references(each) for each in value))
    return set()


async def test_every_operation_is_described(api: Api, document: dict[str, Any]) -> None:
    served = {(operation.path, operation.method.lower()) for operation in api.service.operations()}
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described == served
    assert document["openapi"] == "3.1.0"


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


async def test_every_field_and_operation_is_explained(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(response["description"] for response in operation["responses"].values())
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


async def test_requests_take_no_unknown_fields_and_patterns_are_everybodys(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["PhoneNumberCreate"]["additionalProperties"] is False
    assert "required" not in schemas["AgentUpdatePatch"]
    assert "(?!" not in msgspec.json.encode(document).decode()


async def test_errors_that_a_method_may_answer_are_listed(api: Api, document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/phone-numbers"]["post"]["responses"]
    assert {"201", "400", "401", "403", "409", "413", "415", "422", "429", "503"} <= responses.keys()
    listed = {kind for operation in api.service.operations() for kind in problems_of(operation)}
    assert listed | {"method-not-allowed", "bad-signature"} == KINDS.keys(), (
        "a kind that no operation mentions, or the reverse"
    )


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_examples_are_of_their_types(kind: type) -> None:
    value = msgspec.convert(EXAMPLES[kind], kind)
    assert msgspec.to_builtins(value).keys() >= EXAMPLES[kind].keys()


async def test_request_examples_are_accepted(agents: Api) -> None:
    await agents.number("+14155550177")
    for operation in agents.service.operations():
        if operation.method == "POST" and operation.example is not None and "{" not in operation.path:
            answer = await agents.post(operation.path, operation.example)
            assert answer.status == operation.status, (operation.id, answer)


async def test_a_described_kind_has_its_place_on_the_page(api: Api) -> None:
    page = (await api.get("/docs/problems", key=None)).body
    anchors = set(re.findall(r'id="([\w-]+)"', page))
    assert anchors == KINDS.keys()
    refused = (await api.get("/v1/agents", key=None)).body["type"]
    assert refused.removeprefix(TYPE_PREFIX) in anchors


async def test_the_reference_works_offline(api: Api) -> None:
    page = await api.get("/docs", key=None)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.body)
    assert len(sources) > 3
    for source in sources:
        assert source.startswith("/"), "from elsewhere"
        got = await api.get(source, key=None) if not source.endswith(".png") else None
        assert got is None or got.status == 200
    etag = page.etag
    assert (await api.get("/docs", key=None, If_None_Match=etag)).status == 304


async def test_the_document_does_not_depend_on_what_was_asked(api: Api, document: dict[str, Any]) -> None:
    assert document_of(api.service.operations(), "0") == document
