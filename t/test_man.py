# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Manual pages: made without a warning, complete, and shown by flux help and man."""

import os
import re
import shutil
import subprocess

import click
import pytest

import man as man_tool
import requirements
from embedded import flux
from fluxsched.cli.main import COMMANDS as TOOLS
from fluxsched.cli.main import main as flux_sched
from fluxsched.session import commands
from fluxsched.session.commands import help as help_command

needs_sphinx = pytest.mark.skipif(bool(requirements.missing("man")), reason="no Sphinx: make man installs it")
needs_man = pytest.mark.skipif(shutil.which("man") is None, reason="no man")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of the pages, made anew."""
    folder = tmp_path_factory.mktemp("man")
    assert man_tool.sphinx(folder / "man", folder / "doctrees") == ""
    return folder / "man"


def text_of(page):
    """The page as help shows it where there is no man, in one line."""
    return " ".join(help_command.plain(page.read_text()).split())


@needs_sphinx
def test_every_command_and_topic_has_a_page(pages):
    found = {path.name for path in pages.glob("man*/*")}
    wanted = {f"flux-session-{name}.1" for name in commands.COMMANDS}
    wanted |= {"flux-session.1", "flux-waitjob.1", "flux-wreckrun.1", "flux-sched.1"}
    wanted |= {f"flux-sched-{name}.1" for name in TOOLS}
    wanted |= {"flux-sched-rdl.5", "flux-sched-traces.5", "flux-sched-config.5", "flux-sched.7", "flux-sched-plugins.7"}
    wanted |= {"flux-session-python.7"}
    assert found == wanted


@needs_sphinx
@needs_man
def test_pages_render_without_warning(pages):
    for page in sorted(pages.glob("man*/*")):
        env = dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8")
        done = subprocess.run(["man", "-l", "--warnings=all", str(page)], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), page.name
        assert "SYNOPSIS" in done.stdout or "DESCRIPTION" in done.stdout, page.name
        assert "SEE ALSO" in done.stdout, page.name


@needs_sphinx
def test_pages_refer_to_pages_that_exist(pages):
    names = {path.name for path in pages.glob("man*/*")} | {"flux-run.1"}
    for page in pages.glob("man*/*"):
        refers = {f"{name}.{section}" for name, section in re.findall(r"(flux-[\w-]+)\((\d)\)", text_of(page))}
        assert refers - names == set(), page.name
        assert refers - {page.name}, page.name


@needs_sphinx
@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_page_has_every_option_of_its_command(name, pages):
    """Also those of its subcommands."""
    text = text_of(pages / "man1" / f"flux-sched-{name}.1")
    command = flux_sched.get_command(None, name)
    for one in [command, *getattr(command, "commands", {}).values()]:
        for parameter in one.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option


@needs_sphinx
def test_tables_and_links_have_the_form_of_a_manual(pages):
    text = (pages / "man7" / "flux-sched.7").read_text()
    assert ".TS" not in text
    assert ".B \\fBrdl\\-conf=FILE\\fP" in text
    assert "(default: what the instance discovered)" in text_of(pages / "man7" / "flux-sched.7")
    assert "see flux-sched-traces(5)" in text_of(pages / "man1" / "flux-sched-simulate.1")
    assert "arguments: see flux-sched(7)" in text_of(pages / "man1" / "flux-session-module.1")
    for page in pages.glob("man*/*"):
        assert not re.search(r"doc/\w+\.md|\w\.md\b", text_of(page)), page.name


@needs_sphinx
def test_help_shows_the_pages(pages, monkeypatch, capfd):
    monkeypatch.setattr(help_command, "folders", lambda: [pages])
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for path in (os.environ["PATH"], str(pages)):  # with man, and without
        monkeypatch.setenv("PATH", path)
        for page in pages.glob("man*/*"):
            assert help_command.main("help", [page.name]) == 0
            out = capfd.readouterr().out
            assert "NAME" in out and f"{page.stem} - " in " ".join(out.split()), page.name
            assert "rst2man" not in out


@pytest.mark.parametrize(
    ("topic", "file"),
    [("submit", "man1/flux-session-submit.1"), ("rdl", "man1/flux-sched-rdl.1"), ("rdl.5", "man5/flux-sched-rdl.5"),
     ("rdl(5)", "man5/flux-sched-rdl.5"), ("sched", "man7/flux-sched.7"), ("flux-sched", "man7/flux-sched.7"),
     ("waitjob", "man1/flux-waitjob.1.gz"), ("nosuch", None), ("rdl.9", None), ("../rdl", None), ("", None)],
)  # fmt: skip
def test_which_page_a_topic_means(topic, file, tmp_path, monkeypatch):
    for name in ("man1/flux-session-submit.1", "man1/flux-sched-rdl.1", "man5/flux-sched-rdl.5", "man7/flux-sched.7",
                 "man1/flux-waitjob.1.gz", "man1/submit.1"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(help_command, "folders", lambda: [tmp_path])
    assert help_command.page(topic) == (tmp_path / file if file else None)


def test_help_of_a_command_without_pages(monkeypatch, capsys):
    monkeypatch.setattr(help_command, "folders", list)
    with pytest.raises(SystemExit) as stopped:
        help_command.main("help", ["submit"])
    assert stopped.value.code in (0, None)
    assert capsys.readouterr().out == flux("submit", "--help").stdout


def test_pages_that_cannot_be_made(monkeypatch):
    """Nothing is touched, and the reason is told; install says it and goes on."""
    monkeypatch.setattr(man_tool, "up_to_date", lambda: False)
    monkeypatch.setattr(requirements, "install", lambda group: f"{group} could not be installed: no network")
    assert man_tool.build() == "man could not be installed: no network"


def test_what_a_tool_needs(monkeypatch):
    assert [text.split(">")[0] for text in requirements.missing("test")] == []
    monkeypatch.setattr(requirements, "missing", lambda group: ["no-such-thing>=1"])
    done = subprocess.CompletedProcess([], 1, stdout="Looking\nERROR: No matching distribution found\n")
    monkeypatch.setattr(requirements.subprocess, "run", lambda *args, **kwargs: done)
    assert requirements.install("test") == (
        "no-such-thing>=1 could not be installed: ERROR: No matching distribution found"
    )
    assert requirements.main(["test"]) == 1
    monkeypatch.setattr(requirements, "missing", lambda group: [])
    assert requirements.main(["test", "man"]) == 0
