# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux top, driven at a terminal of its own whose screen is read by an emulator."""

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

import pyte
import pytest

from embedded import FLUX, WAIT, Session, flux, open_terminal, until
from fluxsched.session.commands import top, topview


class Terminal:
    """A terminal of so many lines and columns with a program in it."""

    def __init__(self, words, env, size=(24, 80)):
        self.outer, inner = open_terminal()
        self.screen = pyte.Screen(size[1], size[0])
        self.stream = pyte.ByteStream(self.screen)
        self.resize(size, tell=False)
        self.process = subprocess.Popen(
            words, env=env, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.modes = termios.tcgetattr(inner)
        self.inner = inner
        self.read = b""

    def resize(self, size, tell=True):
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        if tell:
            self.screen.resize(*size)

    def pump(self):
        while select.select([self.outer], [], [], 0)[0]:
            try:
                data = os.read(self.outer, 65536)
            except OSError:
                return
            self.read += data
            self.stream.feed(data)

    def text(self):
        self.pump()
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, *texts, gone=()):
        """Wait until the screen has all the texts, and none of those that are to be gone; the screen."""
        deadline = time.monotonic() + WAIT
        while True:
            shown = self.text()
            if all(text in shown for text in texts) and not any(text in shown for text in gone):
                return shown
            assert time.monotonic() < deadline, (texts, gone, shown)
            time.sleep(0.02)

    def keys(self, text):
        os.write(self.outer, text.encode())

    def end(self):
        """The exit code, once the program has ended; the terminal is as it was before."""
        until(lambda: self.text() is not None and self.process.poll() is not None, "the program to end")
        assert termios.tcgetattr(self.inner) == self.modes
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT)
        for fd in (self.outer, self.inner):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def terminal():
    """A function that opens one; all are closed at the end."""
    opened = []

    def start(session, *words, size=(24, 80), **environ):
        environ = {"TERM": "xterm", "LC_ALL": "C.UTF-8", **environ}
        opened.append(Terminal([*FLUX, "top", *words], dict(session.env, **environ), size))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def module_session():
    with Session() as session:
        yield session


@pytest.fixture
def session(module_session):
    yield module_session
    module_session("cancel", "--all")
    until(lambda: not module_session.ask("session.overview")["counts"]["running"], "the jobs to end")


def test_jobs_are_shown_and_changed_by_keys(session, terminal):
    cores = len(os.sched_getaffinity(0))
    script = "for i in $(seq 40); do echo line $i; done; printf '\\033[31mred\\tx\\n'; exec sleep 60"
    first = session("submit", "-t5m", f"-c{cores}", "--job-name=first", "sh", "-c", script)
    session.wait_state(first, "RUN")
    second = session("submit", "-t5m", f"-c{cores}", "--job-name=evil\x1b[2J\nname", "sleep", "2")
    third = session("submit", "-t5m", f"-c{cores}", "--job-name=größe-日本語-long", "true")
    seen = terminal(session)
    # the first screen: what runs first, what waits in its order, with bars of the plan one after the other
    shown = seen.wait("1 running, 2 waiting", f"cores {cores}/{cores} [█", "░").split("\n")
    assert shown[0].startswith("flux top  ") and shown[0].endswith("backfill.plugin1")
    assert shown[2].split() == ["JOBID", "NAME", "ST", "URG", "CORES", "TIME", "now", "+5m", "+10m", "+15m"]
    assert [line.split()[0] for line in shown[3:6]] == [first, second, third]
    assert " first " in shown[3] and "evil\\x1b[2J+" in shown[4] and "größe-日本+" in shown[5].replace("日 本 ", "日本")
    bars = [line.rstrip() for line in shown[3:6]]
    assert bars[0].endswith("█") and bars[1].endswith("░") and len(bars[0]) <= len(bars[1]) < len(bars[2])
    assert shown[23] == topview.HELP
    # urgency: the third one comes before the second, then the second is held and released
    seen.keys("G")  # no such key
    seen.keys("\x1bOB\x1bOB+")
    seen.wait(f"{third} (größe")
    until(lambda: session.job(third)["urgency"] == 17, "the urgency to be 17")
    until(lambda: [line.split()[0] for line in seen.text().split("\n")[4:6]] == [third, second], "the order to change")
    seen.keys("-")
    until(lambda: session.job(third)["urgency"] == 16, "the urgency to be 16")
    until(lambda: [line.split()[0] for line in seen.text().split("\n")[4:6]] == [second, third], "the order to change")
    seen.keys("kh")
    seen.wait(": held", "  held")
    assert session.job(second)["urgency"] == 0
    seen.keys("h")
    seen.wait(": released")
    until(lambda: [line.split()[0] for line in seen.text().split("\n")[4:6]] == [second, third], "the order to change")
    seen.keys("kh")  # what runs cannot be held
    seen.wait("urgency cannot be changed")
    # output, as it comes, with its control characters as escapes; the end first, then further up
    seen.keys("o")
    shown = seen.wait(f"output of {first}", "line 40", "\\x1b[31mred", "q back")
    assert "line 15" not in shown
    seen.keys("\x1b[5~\x1b[5~")
    seen.wait("line 5\n", gone=["line 40"])
    seen.keys("q")
    # cancel, after a question
    seen.keys("c")
    seen.wait(f"cancel {first} (first)? y/n")
    seen.keys("n")
    seen.wait(topview.HELP)
    assert session.state(first) == "RUN"
    seen.keys("cy")
    seen.wait("Canceled: by flux top")
    # what has ended is still there, and cannot be changed any more
    seen.wait("0 running, 0 waiting", " CD ")
    seen.keys("\x1bOH" + "c")
    seen.wait("is over")
    seen.keys("q")
    assert seen.end() == 0
    assert "\x1b[2J\nname" not in seen.read.decode()


def test_a_small_terminal_a_change_of_its_size_and_many_jobs(session, terminal):
    session("submit", "--quiet", "--urgency=hold", "--cc=1-50", "--job-name=j{cc}", "true")
    seen = terminal(session, "--delay=0.2s", size=(10, 40), LINES="24", COLUMNS="80")
    seen.wait("0 running, 50 w+", "j1 ", "j6 ", gone=["j7 "])
    seen.keys("\x1b[6~")
    seen.wait("j6 ", gone=["j50 "])
    seen.keys("\x1bOF")
    seen.wait("j50 ", gone=["j1 "])
    seen.resize((24, 100))
    seen.wait("j50 ", "j31 ", topview.HELP, "held")
    seen.resize((3, 12))
    until(lambda: seen.text().startswith("flux top"), "the picture of a tiny terminal")
    seen.resize((24, 80))
    seen.wait("j50 ", topview.HELP)
    os.kill(seen.process.pid, signal.SIGTERM)
    assert seen.end() == 143


def test_ctrl_c_and_no_jobs(session, terminal):
    seen = terminal(session, LC_ALL="C", TERM="vt100", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    shown = seen.wait("0 running, 0 waiting", "no jobs")
    assert "[...." in shown and "·" not in shown
    seen.keys("co")
    seen.wait("there is no job")
    seen.keys("\x03")
    assert seen.end() == 130


def test_of_another_session(session, terminal):
    nested = session("alloc", "--bg", "-n1", "--job-name=outer")
    session("proxy", nested, *FLUX, "submit", "--urgency=hold", "--job-name=inside", "true")
    top = terminal(session, nested)
    top.wait("inside", gone=["outer"])
    top.keys("q")
    assert top.end() == 0
    assert "expected a job id, or a path of them" in session.fail("uri", "nosuch")


def test_the_terminal_goes(session, terminal):
    seen = terminal(session)
    seen.wait("no jobs")
    os.close(seen.inner)
    os.close(seen.outer)
    assert seen.process.wait(WAIT) in (128 + signal.SIGHUP, 1)


def test_the_session_goes(terminal):
    with Session() as session:
        seen = terminal(session)
        seen.wait("no jobs")
        session.close()
        assert seen.end() == 1
        assert "lost the connection to the session" in seen.text()


def test_what_it_needs(session, terminal):
    done = session.run("top")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard input and output must be a terminal" in done.stderr
    seen = terminal(session, TERM="no-such-terminal")
    assert seen.end() == 1 and "TERM=no-such-terminal: no terminal of this name is known" in seen.text()
    for value in ("0", "1d", "x", ""):
        assert "-d/--delay" in session.fail("top", f"--delay={value}")
    seen = terminal(session, FLUX_URI="local:///nowhere/local-0")
    assert seen.end() == 1 and "cannot reach the session at /nowhere" in seen.text()


def test_a_session_without_a_scheduler(terminal):
    with Session("--no-sched", "-s2") as session:
        jobid = session("submit", "true")
        session("resource", "drain", "1")
        seen = terminal(session)
        seen.wait(jobid, "nodes 2, 1 drained", "0 running, 1 waiting")
        seen.keys("q")
        assert seen.end() == 0


def test_an_overview_is_bounded(session):
    ids = session("submit", "--urgency=hold", "--cc=1-3", "true").split()
    found = session.ask("session.overview", count=2)
    assert [job["jobid"] for job in found["waiting"]] == ids[:2] and found["counts"] == {"running": 0, "waiting": 3}
    assert flux("top", "--help").returncode == 0


@pytest.mark.parametrize(
    ("text", "columns", "wanted"),
    [("abc", 5, "abc  "), ("abcdef", 4, "abc+"), ("日本語", 5, "日本+"), ("日本語", 4, "日+ "), ("a\x1b", 5, "a\\x1b"),
     ("e\u0301x", 2, "e\u0301x"), ("abc", 0, "")],
)  # fmt: skip
def test_text_is_cut_to_columns(text, columns, wanted):
    assert topview.fit(text, columns) == wanted


def test_bars_and_meters():
    g = topview.ASCII
    assert topview.bar((0.0, 50.0), 0.0, 100.0, 10, g, True) == "#####"
    assert topview.bar((50.0, None), 0.0, 100.0, 10, g, False) == "     -----"
    assert topview.bar((-50.0, 0.1), 0.0, 100.0, 10, g, True) == "#"
    assert topview.bar((500.0, 600.0), 0.0, 100.0, 10, g, False) == " " * 10
    assert topview.bar(None, 0.0, 100.0, 10, g, True) == ""
    assert topview.meter("cores", [1, 4], 40, g) == "cores 1/4 [#####...............]"
    assert topview.meter("gpus", [0, 0], 40, g) == "gpus 0/0"
    assert topview.horizon(0.0, []) == 60.0 and topview.horizon(0.0, [(0.0, 61.0)]) == 120.0
    assert topview.horizon(0.0, [(1e9, None)]) == topview.STEPS[-1]
    assert topview.axis(0.0, 240.0, 40) == "now       +1m       +2m       +3m"


@pytest.mark.parametrize(
    ("count", "chosen", "rows", "before", "wanted"),
    [(50, 0, 9, 0, 0), (50, 9, 9, 0, 1), (50, 49, 9, 0, 41), (50, 5, 9, 20, 5), (3, 2, 9, 2, 0), (0, 0, 9, 5, 0)],
)
def test_the_chosen_job_is_in_sight(count, chosen, rows, before, wanted):
    assert topview.window(count, chosen, rows, before) == wanted


def test_slow_answers_are_asked_for_seldom():
    pace = top.Pace(1.0)
    assert pace.due == 0.0
    pace.ask(10.0)
    assert pace.due == float("inf")
    pace.answered(10.001)
    assert pace.due == 11.0
    pace.ask(11.0)
    pace.answered(12.0)
    assert pace.due == 12.0 + 99.0
