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
    compiled: how many modules of Python run as machine code; 0 in the pure build.
    native: how many modules are written in C.
    """

    version: str
    compiled: int
    native: int = 0

    @property
    def kind(self) -> str:
        """``pure``, or ``compiled`` and how many modules."""
        if not self.compiled:
            return "pure"
        native = f" and {self.native} in C" if self.native else ""
        return f"compiled, {self.compiled} modules{native}"

    def __str__(self) -> str:
        return f"{self.version} ({self.kind})"


def _build(root: Path) -> Build:
    """Modules of machine code, which Python prefers to a source of Python beside them."""
    suffix = EXTENSION_SUFFIXES[0]
    found = [path for package in PACKAGES for path in (root / package).rglob(f"*{suffix}")]
    native = sum(path.with_name(path.name.removesuffix(suffix) + ".c").exists() for path in found)
    return Build(version("voice-gateway"), len(found) - native, native)


BUILD: Final = _build(Path(__file__).parent.parent)
"""What runs here. Read from disk when this is imported, so that no call waits for it."""
