"""Which version this is, and how it was built: in Python alone, or with its hot modules compiled.

The list of what is compiled, and by what, stands in `pyproject.toml` at the build hook.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = ("gateway", "routing")
"""Where compiled modules may be."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build of this program.

    version: of the distribution.
    compiled: how many modules run as machine code; 0 in the pure build.
    """

    version: str
    compiled: int

    @property
    def kind(self) -> str:
        """``pure``, or ``compiled`` and how many modules."""
        return f"compiled, {self.compiled} modules" if self.compiled else "pure"

    def __str__(self) -> str:
        return f"{self.version} ({self.kind})"


def _compiled(root: Path) -> int:
    """Modules beside whose source there is machine code, which Python prefers."""
    suffix = EXTENSION_SUFFIXES[0]
    return sum(1 for package in PACKAGES for _ in (root / package).rglob(f"*{suffix}"))


BUILD: Final = Build(version("voice-gateway"), _compiled(Path(__file__).parent.parent))
"""What runs here. Read from disk when this is imported, so that no call waits for it."""
