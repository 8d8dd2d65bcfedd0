"""The simulation for as long as wanted: ``make soak SEEDS=100000``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.simulation.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
