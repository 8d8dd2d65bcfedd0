"""Schemathesis against the API: what the description says is what happens, whatever is sent."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.api.http.rig import KEY, running_api

EXAMPLES = os.environ.get("API_FUZZ_EXAMPLES", "15")
"""Of each operation and phase."""

SEED = os.environ.get("API_FUZZ_SEED", "1")
"""The same in every run, that a failure is the change's; other seeds are for looking further."""

NOT_PROMISED = ["positive_data_acceptance", "ensure_resource_availability"]
"""What is in order by itself may name an agent that does not exist, which no schema can say. And a POST that is sent
again with its Idempotency-Key gets the first answer again, also when what it made has been deleted since."""


ASKS_CARRIERS = "examineIntegration"
"""Passes a carrier's faults on as 502 and 503, which no description can rule out: tests/api/http/test_carrier_setup.py
has it, with carriers of its own."""

TAKES_A_FILE = "uploadGreeting"
"""Schemathesis writes no audio, and gives up when what it cannot write is all there is: tests/api/http/test_greetings.py
has it, and tests/api/test_greeting_audio.py what is no audio."""

NOT_ASKED = (ASKS_CARRIERS, TAKES_A_FILE)

NOBODY = ("http://127.0.0.1:9", "http://127.0.0.1:9")
"""Where carriers are asked, should anything else do: never outside."""


async def test_the_api_keeps_what_its_description_promises(tmp_path: Path) -> None:
    async with running_api(tmp_path, rate_limit=1_000_000.0, carrier_urls=NOBODY) as api:
        await api.agent("agt_sales")
        await api.agent("agt_overflow")
        await api.number("+14155550100", agent_id="agt_sales", inbound_routing={"agent_id": "agt_sales"})
        await api.voicemail("vm_1")
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{api.address}/openapi.json",
            *("--header", f"Authorization: Bearer {KEY}"),
            *("--checks", "all", "--exclude-checks", ",".join(NOT_PROMISED)),
            *(word for each in NOT_ASKED for word in ("--exclude-operation-id", each)),
            *("--max-examples", EXAMPLES, "--seed", SEED, "--no-color"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        out, _ = await process.communicate()
        operations = len([each for each in api.service.operations() if each.id not in NOT_ASKED])
    report = out.decode()
    assert process.returncode == 0, report
    assert f"Tested: {operations}" in report, report
