# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which lines of the package's Cython modules ran in the coverage build, also in code without the GIL.

gcc counts how often each line of the C files ran. Cython marks in them where the code of each of its lines begins
(``__Pyx_TraceLine``). The first line of C after a mark that has a counter says whether the Cython line ran; a line that
compiles to no code of its own, such as ``pass`` at the end of a loop, or ``if DEBUG``, has none and is left out.
"""
from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterable

TOP = Path(__file__).resolve().parent.parent
SOURCE = re.compile(r' */\* +"(.+)":[0-9]+$')
MARK = re.compile(r" *__Pyx_TraceLine\(([0-9]+),")


def marks(text: Iterable[str]) -> list[tuple[int, str, int]]:
    """(line of C, source file as Cython names it, line of it) of each mark in the lines of a C file."""
    found = []
    source = ""
    for number, line in enumerate(text, 1):
        if match := SOURCE.match(line):
            source = match[1]
        elif (match := MARK.match(line)) and source:
            found.append((number, source, int(match[1])))
    return found


def ran(text: Iterable[str], counts: dict[int, int]) -> dict[str, dict[int, bool]]:
    """For each source file of a C file its lines that have code, and whether they ran, from the counts by line of C."""
    counted = sorted(counts)
    found: dict[str, dict[int, bool]] = {}
    at = 0
    places = marks(text)
    for (mark, source, line), (end, *_) in zip(places, [*places[1:], (counted[-1] + 1 if counted else 0, "", 0)]):
        while at < len(counted) and counted[at] <= mark:
            at += 1
        # A loop's head is marked twice, at its begin and after its body.
        if at < len(counted) and counted[at] < end:
            lines = found.setdefault(source, {})
            lines[line] = lines.get(line, False) or counts[counted[at]] > 0
    return found


def counts_of(report: dict[str, Any], name: str) -> dict[int, int]:
    """How often each line of the C file ``name`` ran, from gcov's JSON. A function in several copies counts in each."""
    counts: dict[int, int] = {}
    for entry in report["files"]:
        if Path(entry["file"]).name == name:
            for line in entry["lines"]:
                counts[line["line_number"]] = counts.get(line["line_number"], 0) + line["count"]
    return counts


def gcov(compiler: str) -> str:
    """The gcov that reads what this compiler writes; its name says which where several are installed."""
    command = Path(shlex.split(compiler)[0]).name
    name = command.replace("gcc", "gcov") if "gcc" in command else "gcov"
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"make coverage: the compiler {compiler} has no {name}: install it, or name a gcc by CC=gcc")
    return path


def forget(temp: Path) -> None:
    """Drop the counts of earlier runs, to which later ones would add."""
    for path in temp.rglob("*.gcda"):
        path.unlink()


def entries(folder: Path, tool: str) -> dict[str, dict[str, Any]]:
    """Of each .pyx file of the build in ``folder`` what coverage.py's JSON report says of a Python file.

    Keys are paths below the top of the tree; ``tool`` is gcov. setuptools puts what it compiles below temp/ where the
    C file lies below the top.
    """
    found = {}
    for notes in sorted((folder / "temp").rglob("*.gcno")):
        translated = TOP / notes.relative_to(folder / "temp").with_suffix(".c")
        source = translated.relative_to(folder / "cython").with_suffix(".pyx")
        if not (TOP / source).exists():  # a module that is no more
            continue
        done = subprocess.run([tool, "--json-format", "--stdout", str(notes)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"make coverage: {tool} {notes}: {done.stderr.strip()}")
        with open(translated) as text:
            files = ran(text, counts_of(json.loads(done.stdout), translated.name))
        found[str(source)] = entry(files.get(str(source.relative_to("sched")), {}))
    return found


def entry(lines: dict[int, bool]) -> dict[str, Any]:
    """What the report says of a file, from its lines and whether they ran."""
    missing = sorted(line for line, was_run in lines.items() if not was_run)
    share = 100.0 * (len(lines) - len(missing)) / len(lines) if lines else 100.0
    return {"summary": {"num_statements": len(lines), "percent_covered": share}, "missing_lines": missing}
