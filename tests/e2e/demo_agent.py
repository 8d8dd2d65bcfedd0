"""The demo agent alone, as a process: ``python -m tests.e2e.demo_agent '[::1]:5070' DIRECTORY``; it greets and echoes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.demo.agent import DemoAgent


async def main(listen: str, directory: str) -> None:
    agent = DemoAgent(listen, Path(directory))
    await agent.start()
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await agent.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
