"""The build hook of the compiled wheel: what hatchling does when HATCH_BUILD_HOOK_ENABLE_CUSTOM is "true".

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true python -m pip wheel --no-deps .

Without it the wheel is pure. The modules to compile stand in `pyproject.toml`, at this hook. They become one
extension module, so that calls among them are calls of C, and a stub for each; their sources stay in the
wheel, for tracebacks. Beside them stand the extensions that are written in C. Nothing is written into the
checkout, where a stale stub would hide its source from everybody who works there; that is why this is not the
plug-in hatch-mypyc, which builds in place.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GROUP = "voice_gateway"
"""The extension module that holds everything: ``voice_gateway__mypyc``."""

HARDENED = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-missing-field-initializers",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",
    "-D_FORTIFY_SOURCE=2",
)
"""What C of ours is compiled with: it reads what strangers send."""


class CompiledWheel(BuildHookInterface[Any]):
    """Compiles with mypyc, and puts what comes of it into the wheel."""

    PLUGIN_NAME = "custom"

    _work: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable installation runs from the sources, and stays pure."""
        if self.target_name != "wheel" or version == "editable":
            return
        self._work = Path(mkdtemp(prefix="voice-gateway-wheel-"))
        built = self._work / "wheel"
        compile_modules(Path(self.root), self._work, self.config["modules"], self.config["optimisation"])
        compile_extensions(Path(self.root), self._work, self.config["extensions"])
        build_data["force_include"] |= {
            str(path): str(path.relative_to(built)) for path in sorted(built.rglob("*")) if path.is_file()
        }
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        if self._work is not None:
            shutil.rmtree(self._work)


def compile_modules(root: Path, work: Path, modules: list[str], optimisation: str) -> None:
    """Put extension modules into `work`/wheel, laid out as in a wheel.

    root: the checkout.
    work: an empty directory, for everything that is made.
    modules: paths from there.
    optimisation: the C compiler's level.
    """
    from mypyc.build import mypycify

    before = Path.cwd()
    os.chdir(root)  # mypyc names a module by its path from here
    try:
        extensions = mypycify(
            # What others' packages say is looked at where they are installed, and is not needed.
            [f"--cache-dir={work / 'mypy'}", "--config-file=", "--ignore-missing-imports", *modules],
            opt_level=optimisation,
            debug_level="0",
            multi_file=True,
            target_dir=str(work / "c"),
            group_name=GROUP,
        )
        _build(extensions, work)
    finally:
        os.chdir(before)


def compile_extensions(root: Path, work: Path, sources: list[str], flags: tuple[str, ...] = ()) -> None:
    """Put extension modules written in C into `work`/wheel: one a source, named by its path.

    flags: further ones for compiler and linker, such as a sanitizer's.
    """
    from setuptools import Extension

    extensions = [
        Extension(
            source.removesuffix(".c").replace("/", "."),
            [str(root / source)],
            extra_compile_args=[*HARDENED, *flags],
            extra_link_args=["-Wl,-z,relro,-z,now", *flags],
        )
        for source in sources
    ]
    _build(extensions, work)


def _build(extensions: list[Any], work: Path) -> None:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(work / "wheel"), str(work / "objects")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
