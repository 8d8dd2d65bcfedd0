"""The pure and the compiled build: which one runs, and that what is to be compiled is there."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gateway.sip.message
from gateway.build import BUILD, Build
from gateway.cli.main import app

ROOT = Path(__file__).parent.parent


def listed(what: str = "modules") -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"][what]


def test_what_is_to_be_compiled_is_there_and_in_order() -> None:
    assert [module for module in listed() if not (ROOT / module).is_file()] == []
    assert listed() == sorted(set(listed()))


def test_whoever_inherits_from_what_is_compiled_is_compiled() -> None:
    """Python's own classes cannot inherit from those of mypyc."""
    compiled = {module.removesuffix(".py").replace("/", ".") for module in listed()}
    for path in sorted({*ROOT.glob("gateway/**/*.py"), *ROOT.glob("routing/**/*.py")}):
        if path.relative_to(ROOT).as_posix() in listed():
            continue
        tree = ast.parse(path.read_text())
        named = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in compiled
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & named, (
                    f"{path.relative_to(ROOT)}: {node.name} inherits from {bases & named}"
                )


def test_this_build_is_what_its_parser_is() -> None:
    pure = gateway.sip.message.__file__.endswith(".py")
    assert len(listed()) * (not pure) == BUILD.compiled
    assert len(listed("extensions")) * (not pure) == BUILD.native


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_the_command_line_says_which_build_it_is(arguments: list[str]) -> None:
    said = CliRunner().invoke(app, arguments)
    assert (said.exit_code, said.output) == (0, f"voice-gateway {BUILD}\n")


def test_a_build_is_named_by_what_runs() -> None:
    assert str(Build("0.1.0", 0)) == "0.1.0 (pure)"
    assert str(Build("0.1.0", 44)) == "0.1.0 (compiled, 44 modules)"
    assert str(Build("0.1.0", 44, 1)) == "0.1.0 (compiled, 44 modules and 1 in C)"


@pytest.mark.skipif(BUILD.compiled == 0, reason="the pure build")
def test_every_listed_module_is_machine_code() -> None:
    names = [module.removesuffix(".py").replace("/", ".") for module in listed()]
    check = "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", check, *names], capture_output=True, text=True, check=True
    )
    assert [line for line in done.stdout.splitlines() if line.endswith(".py")] == []
