"""The customers' guide page, pasted: each of its requests is run by curl, as it stands there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.http.rig import KEY, Api

GUIDE = Path(__file__).parents[2] / "data" / "phone-numbers-guide.md"
HOST = "https://api.oneinbox.ai"
BLOCK = re.compile(r"^ *```bash[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every curl of the page."""
    found = []
    for block in BLOCK.findall(GUIDE.read_text()):
        found += [f"curl {part.strip()}" for part in re.split(r"^ *curl ", block, flags=re.MULTILINE)[1:]]
    return found


COMMANDS = commands()


def test_the_page_has_the_requests_that_it_had() -> None:
    assert len(COMMANDS) == 12, "the page changed: look at what is new"


def filled_in(command: str, address: str, phone_id: str) -> str:
    """The command with what a customer replaces replaced."""
    for placeholder, value in {
        HOST: address,
        "<api_key>": KEY,
        "<agent_id>": "agt_sales",
        "<routing_agent_id>": "agt_sales",
        "<fallback_agent_id>": "agt_overflow",
        "<new_agent_id>": "agt_overflow",
        "<phone_id>": phone_id,
        "{ ... }": '{"trunk_address": "yourtrunk.pstn.twilio.com"}',
    }.items():
        command = command.replace(placeholder, value)
    command = re.sub(r"\n# .*", "", command)  # a comment that belongs to the next one
    return command.replace("<yourconnection>", "acme")


async def run(command: str) -> tuple[int, Any]:
    """Status and body, from a shell as a customer has it."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command.replace("curl ", "curl --silent --show-error --max-time 30 -w '\\n%{http_code}' ", 1),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors
    body, _, status = out.decode().rpartition("\n")
    return int(status), json.loads(body) if body else None


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
async def test_every_request_of_the_guide_works_when_pasted(agents: Api, command: str) -> None:
    number = await agents.number(
        "+14155550190", agent_id="agt_sales", inbound_routing={"fallback": {"agent_id": "agt_overflow"}}
    )
    status, body = await run(filled_in(command, agents.address, number["id"]))
    url = command.partition("oneinbox.ai")[2]
    if "-X DELETE" in command:
        assert status == 204
        assert (await agents.get(f"/v1/phone-numbers/{number['id']}")).status == 404
    elif "-X PATCH" in command:
        assert status == 200
        if "voicemail_message" in command:
            assert body["inbound_routing"]["voicemail_message"] == "Updated voicemail message."
            assert body["inbound_routing"]["fallback"] == {"agent_id": "agt_overflow"}, "merged, not replaced"
        else:
            assert body["agent_id"] == "agt_overflow"
    elif "-X POST" in command:
        assert status == 201
        if url.startswith("/v1/integrations"):
            assert body["id"].startswith("crd_")
            assert body["provider"] in {"twilio", "telnyx"}
            assert "token" not in json.dumps(body)
        else:
            assert body["id"].startswith("phn_")
            assert body["status"] == "active"
            assert body["agent_id"] == "agt_sales"
            assert body["inbound_routing"]["fallback"] == {"agent_id": "agt_overflow"}
            assert re.fullmatch(r"\+[1-9]\d{1,14}", body["phone_number"])
            wanted = re.search(r'"phone_number": "([^"]+)"', command)
            assert wanted is None or body["phone_number"] == wanted[1]
            assert body["purchased"] is ("/purchase" in url)
    elif "/search" in url:
        assert status == 200
        assert len(body["items"]) == 10
        assert all(item["phone_number"].startswith("+1415") for item in body["items"])
    else:
        assert status == 200
        assert body["id"] == number["id"]
