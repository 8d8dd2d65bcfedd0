"""Mutation score: how many small mistakes in a module its tests would notice.

    .venv/bin/python scripts/mutate.py --count 60
    .venv/bin/python scripts/mutate.py --count 20 gateway/sip/dialog.py

Each mutant changes one thing in one module (a comparison, a condition, a number, a boolean, an operator, a
statement left out) and runs that module's tests in a process of its own until one fails. Mutants are drawn by
a seed, so a run is repeated by its arguments, and bounded by `--count` and `--seconds`. Prints those that
survive: each is a test to write, or a change without an effect.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MACHINES = (
    "test_transaction_client",
    "test_transaction_server",
    "test_known_bugs",
    "test_user_agent_requests",
)
LEGS = ("test_inbound_leg", "test_outbound_leg", "test_session_change", "test_call_refusal")

MODULES: dict[str, tuple[str, ...]] = {
    "gateway/sip/transaction.py": (*MACHINES, *LEGS),
    "gateway/sip/client_transaction.py": (*MACHINES, *LEGS),
    "gateway/sip/server_transaction.py": (*MACHINES, *LEGS),
    "gateway/sip/dialog.py": ("test_dialog", *LEGS, *MACHINES, "test_user_agent_link"),
}
"""What is mutated, and by which tests of `tests/sip` it is judged."""

PATIENCE = 5
"""How many times as long as for the unchanged module a mutant may take: one without end is noticed."""

LONGEST = 600
"""Seconds for the unchanged module."""

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}


class Mutation(ast.NodeTransformer):
    """Changes the node at one place, counted in the order of walking."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._at = -1
        self.told = ""

    def visit(self, node: ast.AST) -> ast.AST:
        """Change the node whose turn it is."""
        changed = mutant_of(node)
        if changed is not None:
            self._at += 1
            if self._at == self._place:
                self.told = (
                    f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)} → {ast.unparse(changed)}"
                )
                return ast.copy_location(changed, node)
        return super().generic_visit(node)


def mutant_of(node: ast.AST) -> ast.AST | None:
    """The mistake that this node could have been; None for one that is left alone."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=comparators) if type(operator) in COMPARED:
            return ast.Compare(left, [COMPARED[type(operator)]()], comparators)
        case ast.BoolOp(op=operator, values=values):
            return ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in CALCULATED:
            if isinstance(left, ast.JoinedStr) or isinstance(right, ast.JoinedStr):
                return None
            return ast.BinOp(left, CALCULATED[type(operator)](), right)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case ast.Constant(value=bool(value)):
            return ast.Constant(not value)
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            return ast.Constant(value + 1)
        case ast.If(test=test, body=body, orelse=orelse) if not _is_typing(test):
            return ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return ast.Pass()
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            return ast.Return(ast.Constant(None))
    return None


def _is_typing(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def places(tree: ast.AST) -> int:
    """How many mutants a module has."""
    return sum(mutant_of(node) is not None for node in ast.walk(tree))


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutated tree."""

    def __init__(self, name: str, tree: ast.AST, path: Path) -> None:
        self._name, self._tree, self._path = name, tree, path

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim the one module."""
        if name != self._name:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin=str(self._path))

    def exec_module(self, module: object) -> None:
        """Run it as it was changed."""
        exec(compile(self._tree, str(self._path), "exec"), vars(module))


def survives(path: Path, tree: ast.AST, tests: Sequence[str], patience: int) -> bool:
    """Whether no test notices, in a process of its own and within so many seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(patience)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        sys.meta_path.insert(0, Mutated(name, tree, path))
        import pytest  # not before: it rewrites modules as they are imported

        files = [str(ROOT / "tests" / "sip" / f"{test}.py") for test in tests]
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files])
        os._exit(0 if code == 0 else 1)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def drawn(names: Sequence[str], count: int, seed: int) -> Iterator[tuple[Path, ast.AST, str]]:
    """So many mutants of these modules, evenly over all that there are."""
    trees = {name: ast.parse((ROOT / name).read_text()) for name in names}
    everywhere = [(name, place) for name, tree in trees.items() for place in range(places(tree))]
    print(f"{len(everywhere)} mutants are possible")
    for name, place in random.Random(seed).sample(everywhere, min(count, len(everywhere))):
        mutation = Mutation(place)
        tree = mutation.visit(ast.parse((ROOT / name).read_text()))
        yield ROOT / name, ast.fix_missing_locations(tree), f"{name} {mutation.told}"


def main() -> int:
    """Draw, try, and tell."""
    parser = argparse.ArgumentParser(description="Mutation score of the transaction and dialog machines.")
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--count", type=int, default=100, help="mutants at most")
    parser.add_argument("--seconds", type=int, default=1800, help="altogether at most")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)

    patience: dict[Path, int] = {}
    for path in (ROOT / name for name in arguments.modules):
        tests, began = MODULES[str(path.relative_to(ROOT))], time.monotonic()
        if not survives(path, ast.parse(path.read_text()), tests, LONGEST):
            print(f"{path}: its tests fail without any mistake")
            return 1
        patience[path] = 10 + round(PATIENCE * (time.monotonic() - began))
    until = time.monotonic() + arguments.seconds
    tried, survived = 0, []
    for path, tree, told in drawn(arguments.modules, arguments.count, arguments.seed):
        if time.monotonic() > until:
            break
        tried += 1
        if survives(path, tree, MODULES[str(path.relative_to(ROOT))], patience[path]):
            survived.append(told)
            print(f"survived: {told}", flush=True)
    killed = tried - len(survived)
    print(f"mutation score: {killed} of {tried} noticed ({killed / max(1, tried):.0%})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
