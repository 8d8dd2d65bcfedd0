"""Draws a terminal session as SVG, from what the commands really printed.

Usage: python scripts/terminal_picture.py OUT.svg TITLE FILE…

Each file holds a command line after "$ ", then its output.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def main() -> None:
    """Write the picture."""
    out, title, *files = sys.argv[1:]
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    for name in files:
        for line in Path(name).read_text().rstrip().splitlines():
            console.print(Text(line, style="bold green" if line.startswith("$ ") else ""), soft_wrap=True)
        console.print()
    svg = console.export_svg(title=title, theme=MONOKAI)
    # The template names fonts on another site; a picture in a repository asks nobody for anything.
    Path(out).write_text(re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
