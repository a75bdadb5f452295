# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""One base for the errors that tell people something, and what programs do with it."""

import importlib
import pkgutil
import sys

import pytest

import fluxsched
from fluxsched import program
from fluxsched.errors import FluxSchedError
from fluxsched.session.errors import CommandError


def modules():
    for found in pkgutil.walk_packages(fluxsched.__path__, "fluxsched."):
        if not found.name.startswith(("fluxsched.plugins.", "fluxsched.share.", "fluxsched.session.runner.libpmi")):
            try:
                yield importlib.import_module(found.name)
            except ImportError as error:
                if not found.name.startswith("fluxsched.flux"):  # there is no flux-core
                    raise AssertionError(found.name) from error


def test_every_error_has_the_one_base():
    found = {
        value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert len(found) > 20
    assert {error for error in found if not issubclass(error, FluxSchedError)} == set()


@pytest.mark.parametrize(("error", "code"), [(FluxSchedError("no"), 1), (CommandError("no", 3), 3)])
def test_a_program_ends_with_the_text_and_the_code(error, code, capsys):
    def fails():
        print("before")
        raise error

    assert program.run("flux-x", fails) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("before\n", "flux-x: no\n")


def test_a_mistake_of_ours_is_no_error_of_the_user():
    with pytest.raises(ZeroDivisionError):
        program.run("flux-x", lambda: 1 // 0)


def test_text_is_fit_for_a_terminal(capsys):
    def fails():
        raise FluxSchedError("a\x1b[2J")

    assert program.run("flux-x", fails) == 1
    assert capsys.readouterr().err == "flux-x: a\\x1b[2J\n"
    assert sys.stdout is not None
