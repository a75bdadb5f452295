# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux-sched plugin``: compile a policy plugin, check one, list those there are."""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

import fluxsched
from fluxsched.formats.quote import printable
from fluxsched.policy.loader import load_plugin, search_path

PACKAGE_PARENT = Path(fluxsched.__file__).parent.parent


@click.group()
def plugin() -> None:
    """Compile, check and list policy plugins."""


@plugin.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder for the loadable (default: that of SOURCE).")
def build(source: Path, folder: Path | None) -> None:
    """Compile SOURCE, a Cython file NAME.pyx, to the loadable NAME.so.

    Needs Cython, setuptools and a C compiler.
    """
    if source.suffix != ".pyx":
        raise click.ClickException(f"{source}: expected a Cython file that ends in .pyx")
    try:
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError
        from setuptools import Distribution, Extension
    except ImportError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install cython setuptools") from None
    name = source.stem.replace(".", "_").replace("-", "_")
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / (name + ".pyx")
        shutil.copyfile(source, copy)
        try:
            modules = cythonize([Extension(name, [str(copy)], extra_compile_args=["-O3"])],
                                include_path=[str(PACKAGE_PARENT)], language_level=3, quiet=True)
        except CompileError:
            raise click.ClickException(f"{source}: does not compile, see above") from None
        distribution = Distribution({"ext_modules": modules})
        command = distribution.get_command_obj("build_ext")
        command.build_lib = command.build_temp = work
        command.ensure_finalized()
        command.run()
        target = (folder or source.parent) / (source.stem + ".so")
        shutil.move(command.get_ext_fullpath(name), target)
    load_plugin(str(target.resolve()))
    click.echo(f"{target}: built, loads, has all operations")


@plugin.command()
@click.argument("name")
@click.argument("options", default="")
def check(name: str, options: str) -> None:
    """Load the plugin NAME (or a path) with OPTIONS key=value,… as a session would."""
    load_plugin(name, options)
    click.echo(f"{name}: loads, has all operations, takes the options")


@plugin.command(name="list")
def list_() -> None:
    """List the plugins along FLUX_MODULE_PATH and beside the package."""
    for folder in search_path():
        for path in sorted([*folder.glob("*.plugin*.so"), *folder.glob("*.plugin*.py")]):
            click.echo(printable(str(path)))
