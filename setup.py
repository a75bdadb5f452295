# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compile and lay out flux-sched.

``setup.py build_tree`` is what ``make build`` runs: the package goes to build/lib/fluxsched (pure Python files
as symbolic links, so an edit is seen at once) and the loadables to sched/.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Command, Extension, find_packages, setup
from setuptools.command.build_ext import build_ext as _build_ext

TOP = Path(__file__).resolve().parent
os.chdir(TOP)
SOURCE = Path("sched")
BUILD = Path("build")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
CFLAGS = ["-O3", "-Wall", "-Wno-unused-function"]

# The loader opens a plugin under a name without dots, so the module is sched_plugin1 and its file sched.plugin1.so.
PLUGINS = {"sched_plugin1": "sched.plugin1.so", "backfill_plugin1": "backfill.plugin1.so"}


def package_extensions():
    found = []
    for path in sorted((SOURCE / "fluxsched").rglob("*.pyx")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[1] == "flux":
            continue
        found.append(Extension(".".join(parts), [str(path)], extra_compile_args=CFLAGS))
    return found


def plugin_extensions():
    return [
        Extension(name, [str(path)], extra_compile_args=CFLAGS)
        for name, path in ((name, SOURCE / "plugins" / (name + ".pyx")) for name in PLUGINS)
        if path.exists()
    ]


def compiled(extensions):
    if not extensions:
        return []
    return cythonize(
        extensions, include_path=[str(SOURCE)], build_dir=str(BUILD / "cython"), compiler_directives=DIRECTIVES
    )


class build_ext(_build_ext):
    def get_ext_filename(self, fullname):
        name = fullname.split(".")[-1]
        if name in PLUGINS:
            return os.path.join(*fullname.split(".")[:-1], PLUGINS[name])
        return super().get_ext_filename(fullname)


class build_tree(Command):
    """Build inside the source tree."""

    description = "build in place: build/lib/fluxsched and the loadables in sched/"
    user_options = []

    def initialize_options(self):
        pass

    def finalize_options(self):
        pass

    def run(self):
        self.mirror(SOURCE / "fluxsched", BUILD / "lib" / "fluxsched")
        self.build(compiled(package_extensions()), BUILD / "lib")
        self.build(compiled(plugin_extensions()), SOURCE)

    def build(self, extensions, where):
        if not extensions:
            return
        self.distribution.ext_modules = extensions
        command = build_ext(self.distribution)
        command.build_lib = str(where)
        command.build_temp = str(BUILD / "temp")
        command.ensure_finalized()
        command.run()

    def mirror(self, source, target):
        """Link every pure Python file; drop what has lost its source."""
        target.mkdir(parents=True, exist_ok=True)
        for path in source.rglob("*"):
            if path.suffix not in (".py", ".pxd", ".lua") or "__pycache__" in path.parts:
                continue
            link = target / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            goal = os.path.relpath(path, link.parent)
            if not (link.is_symlink() and os.readlink(link) == goal):
                link.unlink(missing_ok=True)
                link.symlink_to(goal)
        for link in target.rglob("*"):
            if link.is_symlink() and not link.exists():
                link.unlink()


setup(
    name="flux-sched-cython",
    version="0.1.0",
    package_dir={"": "sched"},
    packages=find_packages("sched", include=["fluxsched", "fluxsched.*"]),
    cmdclass={"build_ext": build_ext, "build_tree": build_tree},
)
