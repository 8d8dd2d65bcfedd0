"""Who may import whom: the design of the house, kept true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LEAVES = {"sip", "media", "speech", "streams", "telemetry"}

ALLOWED = {
    **{room: {room} for room in LEAVES},
    "nat": {"nat"},
    "admission": {"admission", "sip"},
    "destinations": {"destinations", "routing", *LEAVES},
    "recordings": {"recordings", "storage"},
    "traces": {"traces", "sip", "media", "routing"},
    "workers": {"workers", "sip"},
    "calls": {"calls", "destinations", "admission", "recordings", "routing", *LEAVES},
    "continuity": {
        "continuity",
        "calls",
        "destinations",
        "admission",
        "routing",
        "sip",
        "media",
        "telemetry",
    },
    "web": {"web", "telemetry", "traces", "calls", "admission", "routing", "build"},
    "demo": {"demo", *LEAVES},
}
"""Room of `gateway` → rooms that it may import. Files beside the rooms (app, cli, config) compose them."""

DOOR_TO_THE_API = "gateway/api_service.py"

CORE = ["user_agent", "sdp", "framing"]
"""Of `gateway.sip`: the doors of the sans-IO core. What they import, and what that imports, is the core."""

FORBIDDEN_IN_CORE = {"asyncio", "socket", "time", "random", "secrets", "threading", "os", "uuid"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def room_of(module: str) -> str | None:
    """The room of a module of ours; None for somebody else's."""
    parts = module.split(".")
    if parts[0] in {"api", "routing", "storage"}:
        return parts[0]
    if parts[0] == "gateway":
        return parts[1] if len(parts) > 1 else "gateway"
    return None


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_the_design_allows(room: str) -> None:
    files = sorted((ROOT / "gateway" / room).rglob("*.py"))
    assert files, f"room {room} is gone: correct the table"
    for path in files:
        for module in imports(path):
            other = room_of(module)
            assert other is None or other in ALLOWED[room], f"{path.relative_to(ROOT)} imports {module}"


def test_routing_stands_alone() -> None:
    for path in sorted((ROOT / "routing").rglob("*.py")):
        for module in imports(path):
            assert room_of(module) in {None, "routing"}, f"{path.relative_to(ROOT)} imports {module}"


def test_storage_stands_alone() -> None:
    for path in sorted((ROOT / "storage").rglob("*.py")):
        for module in imports(path):
            assert room_of(module) in {None, "storage"}, f"{path.relative_to(ROOT)} imports {module}"


def test_the_api_knows_the_routes_and_nothing_of_calls() -> None:
    for path in sorted((ROOT / "api").rglob("*.py")):
        for module in imports(path):
            assert room_of(module) in {None, "api", "routing", "storage"}, (
                f"{path.relative_to(ROOT)} imports {module}"
            )


def test_the_gateway_meets_the_api_in_one_place() -> None:
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if any(room_of(module) == "api" for module in imports(path)):
            assert path.relative_to(ROOT).as_posix() == DOOR_TO_THE_API


def test_the_parts_of_the_service_do_not_know_the_whole() -> None:
    files = sorted((ROOT / "gateway" / "composition").glob("*.py"))
    assert files, "the room is gone: correct this test"
    for path in files:
        assert "gateway.app" not in set(imports(path)), f"{path.relative_to(ROOT)} imports gateway.app"


def test_only_the_configuration_reads_the_environment() -> None:
    for path in sorted(
        path for part in ("api", "gateway", "routing", "storage") for path in (ROOT / part).rglob("*.py")
    ):
        if path.name == "config.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} reads the environment")


def core() -> set[str]:
    """Every module of `gateway.sip` that the core's doors lead to."""
    found, open_doors = set[str](), list(CORE)
    while open_doors:
        name = open_doors.pop()
        if name not in found and not (ROOT / "gateway" / "sip" / f"{name}.c").exists():
            found.add(name)
            modules = imports(ROOT / "gateway" / "sip" / f"{name}.py")
            open_doors += [module.split(".")[2] for module in modules if module.startswith("gateway.sip.")]
    return found


@pytest.mark.parametrize("name", sorted(core()))
def test_the_core_does_no_input_or_output(name: str) -> None:
    path = ROOT / "gateway" / "sip" / f"{name}.py"
    found = FORBIDDEN_IN_CORE & {module.split(".")[0] for module in imports(path)}
    assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_the_core_is_most_of_sip() -> None:
    assert len(core()) > 25
