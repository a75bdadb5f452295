# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The walls inside the session: commands, broker and runner share what lies in session/, and nothing else."""

import ast
import importlib
from pathlib import Path

import pytest

from embedded import flux
from fluxsched.session import commands
from fluxsched.session.commands import help as help_command

TOP = Path(__file__).resolve().parent.parent
SESSION = TOP / "sched" / "fluxsched" / "session"


def imports(path):
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


WALLS = {"commands": ("broker", "runner"), "broker": ("commands",), "runner": ("commands", "broker")}


@pytest.mark.parametrize(("room", "walled"), WALLS.items(), ids=list(WALLS))
def test_rooms_do_not_reach_into_each_other(room, walled):
    files = sorted((SESSION / room).glob("*.py"))
    assert files
    reached = {
        f"{path.name}: {name}"
        for path in files
        for name in imports(path)
        if name.startswith(tuple(f"fluxsched.session.{other}" for other in walled))
    }
    assert reached == set()


def test_a_command_is_a_line_and_a_file():
    assert len(commands.COMMANDS) == len(commands.TABLE)
    text = flux("help").stdout
    assert text == commands.overview() == flux("--help").stdout == flux("-h").stdout
    for command in commands.TABLE:
        module = importlib.import_module(f"fluxsched.session.commands.{command.file}")
        assert callable(module.main)
        assert f"\n   {command.name:<18} {command.summary}\n" in text


PAGE = r"""
.TH FLUX\-X 1 "2026" "flux-sched"
.SH NAME
flux\-x \- does \fIx\fP, and says \(lqwell\(rq
.SS Options
.TP
.B \-n, \-\-name
the \f[B]name\f[R] of it
.PP
.nf
flux x \-\-name=\e
.fi
"""


def test_page_without_man(tmp_path, monkeypatch, capsys):
    page = tmp_path / "man1" / "flux-x.1"
    page.parent.mkdir()
    page.write_text(PAGE)
    monkeypatch.setattr(help_command, "folders", lambda: [tmp_path])
    monkeypatch.setenv("PATH", str(tmp_path))
    for topic in ("x", "flux-x"):
        assert help_command.main("help", [topic]) == 0
        assert capsys.readouterr().out == (
            "NAME\nflux-x - does x, and says \"well\"\n\nOptions\n\n-n, --name\nthe name of it\n\n"
            "flux x --name=\\\n"
        )


def test_page_by_man(tmp_path, monkeypatch, capfd):
    """man is told where the page is; if it cannot show it, the text is printed."""
    page = tmp_path / "share" / "man5" / "rdl.5"
    page.parent.mkdir(parents=True)
    page.write_text(".SH NAME\nrdl\n")
    monkeypatch.setattr(help_command, "folders", lambda: [tmp_path / "share"])
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    man = tmp_path / "man"
    man.write_text('#!/bin/sh\necho "$MANPATH|$*"\n')
    man.chmod(0o755)
    assert help_command.main("help", ["rdl"]) == 0
    path, words = capfd.readouterr().out.strip().split("|")
    assert (path.split(":")[0], words) == (str(tmp_path / "share"), "5 rdl")
    man.write_text("#!/bin/sh\nexit 16\n")
    assert help_command.main("help", ["rdl"]) == 0
    assert capfd.readouterr().out == "NAME\nrdl\n"


def test_help_without_a_page():
    done = flux("help", "nosuch")
    assert (done.returncode, done.stderr) == (1, "flux-help: nosuch: no such command or page\n")
    assert flux("help", "../../etc/passwd").returncode == 1
    assert flux("help", "x" * 5000).returncode == 1
