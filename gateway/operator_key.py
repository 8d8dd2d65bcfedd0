"""The key of whoever may read the data directory: commands on this machine ask the running gateway by it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

FILE: Final = "operator.key"
"""In the data directory, of mode 0600."""


def operator_key(directory: Path) -> str:
    """The key; made at the first start. Blocks. Raises OSError."""
    path = directory / FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        key = f"oi_op_{secrets.token_urlsafe(32)}"
        path.touch(0o600, exist_ok=True)
        path.write_text(key + "\n")
        return key
