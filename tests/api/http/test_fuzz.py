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

NOT_PROMISED = ["positive_data_acceptance"]
"""What is in order by itself may name an agent that does not exist, which no schema can say."""


async def test_the_api_keeps_what_its_description_promises(tmp_path: Path) -> None:
    async with running_api(tmp_path, rate_limit=1_000_000.0) as api:
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
            *("--max-examples", EXAMPLES, "--seed", SEED, "--no-color"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        out, _ = await process.communicate()
        operations = len(api.service.operations())
    report = out.decode()
    assert process.returncode == 0, report
    assert f"Tested: {operations}" in report, report
