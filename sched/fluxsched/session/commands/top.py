# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux top: the jobs and the plan, live in the terminal, with keys to change them.

It is drawn by curses of the standard library: no further dependency, a start of milliseconds, and only the characters
that have changed travel over ssh.  How much the session works for it is bounded: a question whose answer took long is
asked the less often.
"""
from __future__ import annotations

import errno
import locale
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Optional

from fluxsched.formats.quote import printable, quote
from fluxsched.program import flush
from fluxsched.session import jobid as ids
from fluxsched.session.commands import target, topview
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.commands.common import Parser, seconds, wrong
from fluxsched.session.commands.follow import Follower
from fluxsched.session.errors import CommandError
from fluxsched.session.signals import SignalPipe

INTERVAL = 1.0  # seconds between two pictures
SHARE = 0.01  # of the time that questions may take
PLAN_AGE = 30.0  # seconds after which the plan is asked for again though no job has changed
ENDED = 100  # jobs that have ended meanwhile and are still shown
OUTPUT_LINES = 5000  # of a job's output that are kept
LINE_MAX = 4096  # characters of one
NOTE = 5.0  # seconds that a note stays
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)

Answered = Callable[[Any, Optional[RPCError]], None]


class Pace:
    """When a question may be asked again: after `least` seconds, and so that answers take at most SHARE of the time."""

    def __init__(self, least: float) -> None:
        self.least = least
        self.due = 0.0
        self._asked = 0.0

    def ask(self, now: float) -> None:
        """It is asked now, and not again before the answer."""
        self._asked = now
        self.due = float("inf")

    def answered(self, now: float) -> None:
        """The answer has been dealt with."""
        self.due = max(self._asked + self.least, now + (now - self._asked) * (1 / SHARE - 1))


class Output(Follower):
    """The output of one job as lines, which are safe to show."""

    def __init__(self, jobid: int) -> None:
        super().__init__(jobid, events=False)
        self.lines: deque[str] = deque(maxlen=OUTPUT_LINES)
        self._rest = ""

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of output."""
        text = self._rest + data.decode("utf-8", "backslashreplace")
        *lines, self._rest = text.split("\n")
        self.lines.extend(printable(line[:LINE_MAX].expandtabs()) for line in lines)
        self._rest = self._rest[:LINE_MAX]

    def shown(self) -> list[str]:
        """The lines so far, with the one that is not ended yet."""
        return [*self.lines, *([printable(self._rest.expandtabs())] if self._rest else [])]


class Top:
    """The program: what it knows of the session, and what is chosen."""

    def __init__(self, client: Client, screen: Any, glyphs: topview.Glyphs, interval: float) -> None:
        self.client = client
        self.screen = screen
        self.glyphs = glyphs
        self.code: Optional[int] = None  # the exit code, once the program is to end
        self._host = socket.gethostname()
        self._handlers: dict[int, Answered] = {}
        self._view: Optional[dict[str, Any]] = None
        self._plan: Optional[dict[str, Any]] = None
        self._planned_for: Any = None  # the jobs that the plan was asked for
        self._view_pace, self._plan_pace = Pace(interval), Pace(interval)
        self._plan_asked = 0.0
        self._jobs: list[dict[str, Any]] = []
        self._ended: dict[int, dict[str, Any]] = {}
        self._chosen, self._top = 0, 0
        self._chosen_id: Optional[int] = None
        self._note, self._note_until = "", 0.0
        self._confirm: Optional[int] = None  # the job that is to be cancelled, if the next key is y
        self._output: Optional[Output] = None
        self._output_number = 0
        self._scroll = 0  # lines from the end of the output

    # questions and answers

    def _send(self, topic: str, payload: dict[str, Any], answered: Answered) -> int:
        number = self.client.send(topic, payload)
        self._handlers[number] = answered
        return number

    def ask(self, now: float) -> float:
        """Ask what is due; the time at which more is."""
        if now >= self._view_pace.due:
            self._view_pace.ask(now)
            self._send("session.overview", {"count": max(100, self.screen.getmaxyx()[0])}, self._viewed)
        state = self._state()
        old = now - self._plan_asked > PLAN_AGE
        if self._view is not None and now >= self._plan_pace.due and (state != self._planned_for or old):
            self._plan_pace.ask(now)
            self._plan_asked, self._planned_for = now, state
            self._send("sched.plan", {}, self._was_planned)
        due = self._view_pace.due
        return min(due, self._note_until) if self._note else due

    def _state(self) -> Any:
        """What a plan depends on."""
        if self._view is None:
            return None
        jobs = [(job["id"], job["state"], job["urgency"]) for job in self._view["running"] + self._view["waiting"]]
        return jobs, self._view["counts"], self._view["nodes"]

    def _viewed(self, answer: Any, error: Optional[RPCError]) -> None:
        self._view_pace.answered(time.monotonic())
        if error is not None:
            raise CommandError(error.text)
        before = {job["id"] for job in self._jobs} - set(self._ended)
        self._view = answer
        active = answer["running"] + answer["waiting"]
        now_active = {job["id"] for job in active}
        whole = len(active) == answer["counts"]["running"] + answer["counts"]["waiting"]
        gone = [jobid for jobid in before - now_active if whole or jobid in self._running_ids]
        if gone:
            self._send("job.list", {"ids": gone[:ENDED]}, self._were_ended)
        self._running_ids = {job["id"] for job in answer["running"]}
        self._arrange()

    _running_ids: set[int] = set()

    def _were_ended(self, answer: Any, error: Optional[RPCError]) -> None:
        for job in () if error is not None else answer["jobs"]:
            if job["state"] == "INACTIVE":
                self._ended[job["id"]] = job
        while len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]
        self._arrange()

    def _was_planned(self, answer: Any, error: Optional[RPCError]) -> None:
        self._plan_pace.answered(time.monotonic())
        if error is None:
            self._plan = answer
        elif error.errno not in (errno.ENOSYS, errno.EHOSTUNREACH):
            self.note(error.text)

    def _arrange(self) -> None:
        """Put the jobs in their order, and keep the chosen one chosen."""
        if self._view is None:
            return
        active = self._view["running"] + self._view["waiting"]
        known = {job["id"] for job in active}
        ended = [job for key, job in self._ended.items() if key not in known]
        ended.sort(key=lambda job: -job["t_inactive"])
        self._jobs = [*active, *ended]
        places = {job["id"]: i for i, job in enumerate(self._jobs)}
        self._choose(places.get(self._chosen_id or 0, self._chosen))

    def on_answers(self) -> None:
        """Take what the session has sent.  CommandError if it has gone."""
        for number, answer, error in self.client.arrived():
            if self._output is not None and number == self._output_number:
                self._output.arrived(answer, error)
                continue
            handler = self._handlers.pop(number, None)
            if handler is not None:
                handler(answer, error)

    # keys

    def _choose(self, at: int) -> None:
        self._chosen = max(0, min(at, len(self._jobs) - 1))
        self._chosen_id = self._jobs[self._chosen]["id"] if self._jobs else None

    def note(self, text: str) -> None:
        """Show a line at the bottom for a while."""
        self._note, self._note_until = printable(text), time.monotonic() + NOTE

    def key(self, key: str) -> None:
        """Act on a key, named as curses has it, or its character."""
        page = max(1, self.screen.getmaxyx()[0] - 5)
        moves = {"KEY_UP": -1, "k": -1, "KEY_DOWN": 1, "j": 1, "KEY_PPAGE": -page, "KEY_NPAGE": page,
                 "KEY_HOME": -(10**9), "KEY_END": 10**9}  # fmt: skip
        if self._confirm is not None:
            self._confirmed(key)
        elif key in moves and self._output is not None:
            self._scroll = max(0, min(self._scroll - moves[key], len(self._output.shown()) - 1))
        elif self._output is not None:
            if key in ("q", "o", "\x1b", "\n"):
                self._output = None
        elif key in moves:
            self._choose(self._chosen + moves[key])
        elif key == "q":
            self.code = 0
        elif key in ("c", "h", "+", "-", "o", "\n"):
            if self._chosen_id is None:
                self.note("there is no job")
            else:
                self._act(key, self._jobs[self._chosen])

    def _act(self, key: str, job: dict[str, Any]) -> None:
        name = f"{ids.show(job['id'])} ({job['name']})"
        if key in ("o", "\n"):
            self._output = Output(job["id"])
            self._output_number = self.client.send("job.watch", {"id": job["id"], "output": True})
            self._scroll = 0
        elif job["state"] == "INACTIVE":
            self.note(f"{name} is over")
        elif key == "c":
            self._confirm = job["id"]
            self.note(f"cancel {name}? y/n")
            self._note_until = float("inf")
        else:
            was = job["urgency"]
            to = {"h": 16 if was == 0 else 0, "+": min(31, was + 1), "-": max(0, was - 1)}[key]
            text = f"{name}: " + ("held" if to == 0 else "released" if was == 0 else f"urgency {to}")
            self._change("job-manager.urgency", {"id": job["id"], "urgency": to}, text)

    def _confirmed(self, key: str) -> None:
        jobid, self._confirm = self._confirm, None
        self._note = ""
        if key in ("y", "Y"):
            payload = {"id": jobid, "type": "cancel", "note": "by flux top"}
            self._change("job-manager.raise", payload, f"{ids.show(jobid or 0)} is canceled")

    def _change(self, topic: str, payload: dict[str, Any], done: str) -> None:
        def answered(answer: Any, error: Optional[RPCError]) -> None:
            self.note(done if error is None else error.text)
            if self._view_pace.due != float("inf"):
                self._view_pace.due = 0.0

        self._send(topic, payload, answered)

    # the screen

    def draw(self) -> None:
        """Bring the screen up to date."""
        lines, columns = self.screen.getmaxyx()
        if self._note and time.monotonic() > self._note_until:
            self._note = ""
        if self._output is not None:
            found = self._output_lines(self._output, lines, columns)
        elif self._view is None:
            found = [topview.Line(topview.fit("asking the session ...", columns))]
        else:
            rows = max(1, lines - 4)
            self._top = topview.window(len(self._jobs), self._chosen, rows, self._top)
            found = topview.screen(self._view, self._plan, self._jobs, self._chosen, self._top, self._note, self._host,
                                   (lines, columns), self.glyphs)  # fmt: skip
        self.screen.erase()
        for y, line in enumerate(found):
            self._put(y, line, lines, columns)
        self.screen.refresh()

    def _output_lines(self, output: Output, lines: int, columns: int) -> list[topview.Line]:
        kept = output.shown()
        rows = max(1, lines - 2)
        last = len(kept) - self._scroll
        shown = kept[max(0, last - rows) : max(last, min(rows, len(kept)))]
        name = ids.show(output.jobid)
        ended = " (it is over)" if output.done else ""
        found = [topview.Line(topview.fit(f"output of {name}{ended}", columns), "title")]
        found += [topview.Line(topview.fit(line, columns)) for line in shown]
        if not kept:
            why = output.error or ("none here; it may go to a file" if output.done or output.started else "none yet")
            found.append(topview.Line(topview.fit(why, columns)))
        found += [topview.Line(" " * columns)] * (lines - 1 - len(found))
        return [*found[: lines - 1], topview.Line(topview.fit("arrows scroll  q back", columns), "note")]

    def _put(self, y: int, line: topview.Line, lines: int, columns: int) -> None:
        import curses

        looks = {"title": curses.A_BOLD, "head": curses.A_UNDERLINE, "chosen": curses.A_REVERSE,
                 "ended": curses.A_DIM, "note": curses.A_BOLD}  # fmt: skip
        encoding = self.screen.encoding
        text = line.text.encode(encoding, "backslashreplace").decode(encoding)[:columns]
        if y >= lines:
            return
        try:
            self.screen.addstr(y, 0, text, looks.get(line.kind, curses.A_NORMAL))
        except curses.error:
            return  # the cursor cannot go on behind the last column of the last line, but the text is there

    # the loop

    def run(self) -> int:
        """Show and act, until the program is to end; its exit code.  CommandError if the session has gone."""
        poll = select.poll()
        noted = SignalPipe(SIGNALS)
        try:
            for fd in (0, self.client.fileno(), noted.fileno()):
                poll.register(fd, select.POLLIN)
            while self.code is None:
                due = self.ask(time.monotonic())
                self.draw()
                left = max(0.0, min(due - time.monotonic(), 3600.0))
                ready = dict(poll.poll(1 + int(left * 1000)))
                if noted.fileno() in ready:
                    self._on_signals(noted)
                if self.client.fileno() in ready:
                    self.on_answers()
                if 0 in ready:
                    self._on_keys(ready[0])
        finally:
            noted.close()
        return self.code

    def _on_signals(self, noted: SignalPipe) -> None:
        import curses

        for number in noted.take():
            if number != signal.SIGWINCH:
                self.code = 128 + number
                return
            try:
                size = os.get_terminal_size(1)
                curses.resizeterm(max(1, size.lines), max(1, size.columns))
                self.screen.clear()
            except (OSError, curses.error):
                continue  # the terminal has gone, or cannot be had at this size: its next signal says more

    def _on_keys(self, mask: int) -> None:
        import curses

        while self.code is None:
            try:
                key = self.screen.getkey()
            except curses.error:
                if not mask & select.POLLIN:
                    self.code = 128 + signal.SIGHUP  # the terminal has gone
                return
            self.key(key)


def main(name: str, words: list[str]) -> int:
    """flux top; the exit code."""
    p = Parser(name, description="Show jobs, resources and the plan, live; keys cancel, hold and reorder jobs.")
    p.add_argument("-d", "--delay", metavar="TIME", type=_delay, default=INTERVAL, help="between pictures (default 1s)")
    p.add_argument("target", metavar="TARGET", nargs="?", help=f"of another session: {target.TARGET}")
    o = p.parse_args(words)
    if not (os.isatty(0) and os.isatty(1)):
        raise CommandError("standard input and output must be a terminal; without one: flux jobs, flux sched plan")
    client = Client() if o.target is None else Client(target.find(o.target))
    try:
        import curses
    except ImportError:
        raise CommandError("this Python was built without curses") from None
    flush()
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.setupterm()
    except curses.error:
        raise CommandError(f"TERM={os.environ.get('TERM', '')}: no terminal of this name is known") from None
    os.environ.setdefault("ESCDELAY", "25")
    for size in ("LINES", "COLUMNS"):
        os.environ.pop(size, None)  # curses would take these for the size, and not the terminal's
    try:
        return int(curses.wrapper(lambda screen: _shown(screen, client, o.delay)))
    except curses.error:
        if _has_gone(1):
            return 128 + signal.SIGHUP
        raise


def _has_gone(fd: int) -> bool:
    """Whether the terminal behind a descriptor is no more."""
    try:
        os.get_terminal_size(fd)
    except OSError:
        return True
    return False


def _delay(text: str) -> float:
    found = seconds(text)
    if not 0.1 <= found <= 3600:
        raise wrong(f"expected 0.1 to 3600 seconds, got {quote(text)}")
    return found


def _shown(screen: Any, client: Client, interval: float) -> int:
    import curses

    screen.nodelay(True)
    try:
        curses.curs_set(0)
    except curses.error:
        pass  # the cursor of this terminal cannot be hidden
    try:
        "█░·".encode(screen.encoding)
        glyphs = topview.BLOCKS
    except UnicodeEncodeError:
        glyphs = topview.ASCII
    return Top(client, screen, glyphs, interval).run()
