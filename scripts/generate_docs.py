"""Writes the pages that are made from code: the configuration and metrics references.

Usage: python scripts/generate_docs.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from api.metrics import ApiMetrics
from gateway.config import ENV_FILE, keys, variable
from gateway.telemetry.metrics import Metrics

DOCS = Path(__file__).parent.parent / "docs"


def configuration() -> str:
    """The configuration reference."""
    lines = [
        "# Configuration",
        "",
        "A TOML file, named by `--config` or `"
        + ENV_FILE
        + "`, else `configs/gateway.toml`. Every key can also be set",
        "by an environment variable, which wins over the file. Unknown keys are errors that name the nearest",
        "known one.",
        "Paths are relative to the working directory. `voice-gateway check` tests a configuration "
        "without starting it.",
        "",
    ]
    for name, section in keys().items():
        lines += [f"## `[{name}]`", "", (section.__doc__ or "").strip(), ""]
        lines += ["| key | default | environment | meaning |", "|---|---|---|---|"]
        for key, field in section.model_fields.items():
            default = field.get_default()
            if isinstance(default, SecretStr):
                default = default.get_secret_value()
            assert default is not PydanticUndefined, f"{name}.{key} has no default"
            shown = "" if default is None else default
            if isinstance(shown, bool):
                shown = str(shown).lower()
            if isinstance(shown, tuple):
                shown = ", ".join(shown)
            text = f"`{shown}`" if str(shown) else "*(empty)*"
            lines.append(f"| `{key}` | {text} | `{variable(f'{name}.{key}')}` | {field.description} |")
        lines.append("")
    return "\n".join(lines)


def metrics() -> str:
    """The metrics reference."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics`. Names and labels are a contract: dashboards and alerts are built on "
        "them. No label",
        "ever holds a phone number.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    registered = sorted(
        (
            family
            for part in (Metrics(), ApiMetrics())
            for family in vars(part).values()
            if hasattr(family, "_labelnames")
        ),
        key=lambda family: family._name,
    )
    for family in registered:
        kind = family._type
        name = family._name + ("_total" if kind == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in family._labelnames) or "–"
        lines.append(f"| `{name}` | {kind} | {labels} | {family._documentation} |")
    return "\n".join([*lines, ""])


PAGES = {"configuration.md": configuration, "metrics.md": metrics}


def main() -> int:
    """Write the pages, or with --check say which are out of date."""
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run scripts/generate_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
