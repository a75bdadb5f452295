# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Command lines: what is read without argparse is what argparse reads."""
from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.session.commands import cancel, jobs, options, submit
from fluxsched.session.commands.common import whole
from fluxsched.session.errors import CommandError


def wide():
    """A parser with all that the commands use."""
    p = options.Parser("wide", description="All kinds.", usage="flux wide")
    p.add_argument("-1", "--one", action="store_true")
    p.add_argument("-f", "--format", choices=("text", "json"), default="text")
    p.add_argument("--wait", action="store_const", const="clean", dest="event")
    p.add_argument("--event")
    p.add_argument("-w", "--width", type=whole(), nargs="?", const=0)
    p.add_argument("-c", "--count", type=whole(), default="7")
    g = p.add_argument_group("more")
    g.add_argument("-v", "--verbose", action="count", default=0)
    g.add_argument("-S", "--setattr", action="append")
    p.add_argument("first", type=whole())
    p.add_argument("second", nargs="?", default="x")
    return p


def several(nargs, **settings):
    p = options.Parser("several")
    p.add_argument("-q", "--quiet", action="store_true")
    p.add_argument("-n", "--number", type=whole())
    p.add_argument("key", nargs=nargs, **settings)
    return p


PARSERS = {
    "wide": wide(), "submit": submit.parser("submit"), "run": submit.parser("run"), "jobs": jobs.parser(),
    "many": several("*"), "default": several("*", default=["."]), "some": several("+", type=whole()),
    "two": several(None), "none": several("?", default="."),
}  # fmt: skip
WORDS = [
    "-1", "--one", "-f", "-fjson", "--format=text", "--format=no", "json", "--wait", "--event", "--event=", "-w", "-w3",
    "-c", "-c4", "-c=4", "-vv", "-v", "-S", "-Sa=1", "--setattr=b", "--setattr", "a=b c", "7", "-7", "x", "", "-", "--",
    "-n", "-n2", "-n=2", "--ntasks=3", "--ntasks", "-N1", "-qbatch", "-q", "--quiet", "--cc=1-2", "--env-remove=A",
    "-ux", "--env=A", "-l", "-a", "-A", "-o", "--json", "true", "sleep", "-x y", "--nosuch", "--ntas=3", "--number",
    "ƒ1",
]  # fmt: skip


def outcome(read, words, capsys=None):
    try:
        return read(words)
    except CommandError as error:
        return str(error), error.code


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
def test_plain_lines_are_read_as_argparse_reads_them(name, words):
    assert outcome(PARSERS[name].parse_args, words) == outcome(PARSERS[name].strict, words)


@pytest.mark.parametrize("name, words", [
    ("run", ["true"]), ("run", ["-n4", "-N", "2", "-o", "a=b", "--env=A=1", "--cwd=/", "echo", "-n", "--", "a b"]),
    ("submit", ["--cc=1-9", "--quiet", "--wait", "-xl", "true"][:3] + ["-x", "-l", "true"]),
    ("jobs", ["-a", "-c", "5", "--json"]), ("many", ["a", "b", "-q"]), ("wide", ["-f", "json", "-vv"[:2], "3", "b"]),
])  # fmt: skip
def test_usual_lines_do_without_argparse(name, words, monkeypatch):
    found = PARSERS[name].strict(words)
    monkeypatch.setattr(options.Parser, "strict", None)
    assert PARSERS[name].parse_args(words) == found


def test_an_error_is_of_the_command(capsys):
    with pytest.raises(CommandError, match="unrecognized arguments: --nosuch") as caught:
        cancel.main("cancel", ["--nosuch"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: flux cancel")
    with pytest.raises(AttributeError, match="no option nosuch"):
        print(options.Options(a=1).nosuch)
    assert repr(options.Options(a=1)) == "Options(a=1)"


def test_commands_of_every_day_import_little():
    """Each of these takes longer to import than the rest of a command; see fluxsched.native."""
    heavy = ("argparse", "asyncio", "collections", "datetime", "enum", "json", "re", "selectors", "signal", "socket",
             "subprocess", "threading", "typing", "urllib")  # fmt: skip
    code = "import sys; sys.path[:] = {!r}; from fluxsched.session.commands import attach, jobs, submit, teller; "
    code += "from fluxsched.session.main import main; submit.parser('run').parse_args(['-n1', 'true']); "
    code += "o = submit.parser('submit').parse_args(['--dependency=afterok:1', 'true']); "
    code += "submit.request_of(o, ['true']); "
    code += "jobs.OutputFormat(jobs.FORMATS['default'], jobs.jobfields.heading, jobs.jobfields.value); "
    code += "print([name for name in {!r} if name in sys.modules])"
    words = [sys.executable, "-IS", "-c", code.format(sys.path, heavy)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"
