"""A plain SIP agent: any SIP server is one. This runs the built-in demo agent, which greets and echoes.

    .venv/bin/python examples/sip_agent.py                   # answers at sip:bot@127.0.0.1:5071
    voice-gateway agents add Sip --id agt_sip --endpoint sip:bot@127.0.0.1:5071
    voice-gateway numbers add +14155550152 --provider twilio --routing-agent agt_sip
    voice-gateway call sip:+14155550152@127.0.0.1:5060 --play hello.wav --record heard.wav

What the INVITE tells stands in `docs/agents.md`. With `;media=direct` on its URL, audio flows between carrier
and agent without touching the gateway.
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from gateway.demo.agent import DemoAgent


async def main(listen: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        agent = DemoAgent(listen, Path(directory))
        await agent.start()
        try:
            await asyncio.Event().wait()
        finally:
            await agent.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5071"))
