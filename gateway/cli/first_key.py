"""What is said, once, about an API key that a start has made."""

from __future__ import annotations

from typing import Final

KEY_SHOWN: Final = "voice-gateway: API key, shown this once: {key}\n"

FIRST_KEY: Final = KEY_SHOWN + "  http://{web}/docs says what to do with it.\n"
