"""Names of environment variables. Who reads them is `gateway/config.py`, and the command line for its own."""

from __future__ import annotations

from typing import Final

ENV_PREFIX: Final = "VOICE_GATEWAY_"
ENV_FILE: Final = "VOICE_GATEWAY_CONFIG"

CLIENT_VARIABLES: Final = {"url": "VOICE_GATEWAY_URL", "key": "VOICE_GATEWAY_API_KEY"}
"""Of commands that talk to a running API: no part of the configuration."""
