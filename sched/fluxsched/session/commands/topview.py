# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What `flux top` shows, as lines of text: no terminal is needed here."""
from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

from fluxsched.formats.quote import printable
from fluxsched.session import fsd
from fluxsched.session import jobid as ids
from fluxsched.session.commands import jobfields

Job = dict[str, Any]

LEFT = 47  # columns of a job's words; the rest of a line is its bar
SHORTEST = 60.0  # seconds that the chart spans at least
# Spans whose quarters read well.
STEPS = (60, 120, 240, 480, 1200, 2400, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 1382400, 5529600,
         31536000)  # fmt: skip

HELP = "c cancel  h hold/release  + - urgency  o output  arrows choose  q quit"


class Glyphs(NamedTuple):
    """The characters of bars: of what runs, of what is planned, of a meter, of what is free in it."""

    running: str
    planned: str
    meter: str
    free: str


BLOCKS = Glyphs("█", "░", "█", "·")
ASCII = Glyphs("#", "-", "#", ".")


class Line(NamedTuple):
    """A line of the screen: its text, and what it is: "title", "head", "job", "chosen", "ended", "note" or ""."""

    text: str
    kind: str = ""


def width(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """`text`, which comes from users, in exactly so many columns; what is cut ends in +."""
    text = printable(text)
    if width(text) <= columns:
        return text + " " * (columns - width(text))
    out, used = "", 0
    for char in text:
        if used + _columns(char) > columns - 1:
            break
        out += char
        used += _columns(char)
    return out + "+" + " " * (columns - 1 - used) if columns > 0 else ""


def meter(name: str, use: Sequence[int], columns: int, glyphs: Glyphs) -> str:
    """How many of something are in `use`, of how many, as "cores 3/8 [###.....]"."""
    used, total = use
    head = f"{name} {used}/{total} "
    room = max(0, min(columns - len(head) - 2, 20))
    if not total or room < 4:
        return head.rstrip()
    filled = min(room, round(room * used / total))
    return f"{head}[{glyphs.meter * filled}{glyphs.free * (room - filled)}]"


def title(view: dict[str, Any], plugin: str, host: str, columns: int) -> str:
    """The first line."""
    clock = time.strftime("%H:%M:%S", time.localtime(view["now"]))
    counts = view["counts"]
    text = f"flux top  {host}  {clock}  {counts['running']} running, {counts['waiting']} waiting"
    return fit(f"{text}  {plugin}".rstrip(), columns)


def meters(view: dict[str, Any], columns: int, glyphs: Glyphs) -> str:
    """The second line: what is in use."""
    half = columns // 2 - 2
    parts = [meter("cores", view["cores"], half, glyphs)]
    if view["gpus"][1]:
        parts.append(meter("gpus", view["gpus"], half, glyphs))
    drained, nodes = view["nodes"]
    if nodes > 1 or drained:
        parts.append(f"nodes {nodes}" + (f", {drained} drained" if drained else ""))
    return fit("   ".join(parts), columns)


def spans(view: dict[str, Any], plan: Optional[dict[str, Any]]) -> dict[int, tuple[float, Optional[float]]]:
    """(start, end) of each job that runs or is planned, by id; an end of None is not known."""
    found: dict[int, tuple[float, Optional[float]]] = {}
    for job in (plan or {}).get("jobs", ()):
        found[job["id"]] = (job["start"], job["end"])
    for job in view["running"]:
        if "t_run" in job:
            end = job.get("expiration") or None
            found[job["id"]] = (job["t_run"], end)
    return found


def horizon(now: float, found: Iterable[tuple[float, Optional[float]]]) -> float:
    """Seconds from now on that the chart spans: until all that is shown has ended, in a round number."""
    last = max([end if end is not None else start for start, end in found], default=now) - now
    return float(next((step for step in STEPS if step >= max(last, SHORTEST)), STEPS[-1]))


def bar(span: Optional[tuple[float, Optional[float]]], now: float, seconds: float, columns: int, glyphs: Glyphs,
        runs: bool) -> str:
    """The bar of a job on a line of so many columns, which are `seconds` from now on."""
    if span is None or columns < 1:
        return ""
    start, end = span
    first = min(columns, max(0, int((start - now) / seconds * columns)))
    last = columns if end is None else min(columns, max(first + 1, round((end - now) / seconds * columns)))
    return " " * first + (glyphs.running if runs else glyphs.planned) * (last - first)


def axis(now: float, seconds: float, columns: int) -> str:
    """The times over the bars."""
    text = "now"
    for part in (0.25, 0.5, 0.75):
        at, label = int(columns * part), "+" + fsd.show(seconds * part)
        if at > len(text) and at + len(label) <= columns:
            text = text.ljust(at) + label
    return text[:columns]


def head(now: float, seconds: float, columns: int) -> str:
    """The heads of the jobs' columns."""
    words = f"{'JOBID':>13} {'NAME':<12} {'ST':>2} {'URG':>3} {'CORES':>5} {'TIME':>6}"
    return fit(f"{words}  {axis(now, seconds, columns - LEFT - 1)}", columns)


def job_line(job: Job, span: Optional[tuple[float, Optional[float]]], now: float, seconds: float, columns: int,
             glyphs: Glyphs) -> str:
    """A job: its words, and its bar or why it waits."""
    status = jobfields.value(job, "status_abbrev")
    spent = float(jobfields.value(job, "contextual_time") or 0.0)
    shown = _short(spent) if spent else "-"
    jobid = ids.show(job["id"])
    words = f"{jobid:>13} {fit(job['name'], 12)} {status:>2} {job['urgency']:>3} {job['ncores']:>5} {shown:>6}"
    room = columns - LEFT - 1
    tail = bar(span, now, seconds, room, glyphs, job["state"] in ("RUN", "CLEANUP"))
    if not tail:
        tail = str(jobfields.value(job, "inactive_reason" if job["state"] == "INACTIVE" else "contextual_info"))
    return fit(f"{words}  ", LEFT + 1) + fit(tail, room) if room > 0 else fit(words, columns)


def _short(seconds: float) -> str:
    """A time in at most six columns."""
    if seconds < 60:
        return f"{seconds:.0f}s"
    text = fsd.show(seconds)
    return text if len(text) <= 6 else f"{float(text[:-1]):.3g}{text[-1]}"[:6]


def window(count: int, chosen: int, rows: int, top: int) -> int:
    """The first job to show, so that the chosen one is among the `rows` shown; `top` is what it was."""
    top = min(max(top, chosen - rows + 1), chosen)
    return max(0, min(top, count - rows))


def screen(view: dict[str, Any], plan: Optional[dict[str, Any]], jobs: Sequence[Job], chosen: int, top: int, note: str,
           host: str, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """The whole screen of (lines, columns) `size`, with jobs from `top` on."""
    lines, columns = size
    rows = max(0, lines - 4)
    now = view["now"]
    found = spans(view, plan)
    shown = jobs[top : top + rows]
    seconds = horizon(now, [found[job["id"]] for job in shown if job["id"] in found])
    out = [
        Line(title(view, (plan or {}).get("plugin", ""), host, columns), "title"),
        Line(meters(view, columns, glyphs)),
        Line(head(now, seconds, columns), "head"),
    ]
    for i, job in enumerate(shown, top):
        kind = "chosen" if i == chosen else "ended" if job["state"] == "INACTIVE" else "job"
        out.append(Line(job_line(job, found.get(job["id"]), now, seconds, columns, glyphs), kind))
    if not jobs and rows:
        out.append(Line(fit("no jobs", columns)))
    out += [Line(" " * columns)] * (lines - 1 - len(out))
    out.append(Line(fit(note or HELP, columns), "note"))
    return out[:lines]
