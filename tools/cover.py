# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make coverage``: which lines of Python and Cython the tests of engine, formats and service run.

The build of its own in build/coverage counts lines: see cython_lines.py; those of Python are coverage.py's. A file of
core/, service/ or formats/ under 95 % is a failure, and its lines that were not run are named.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cython_lines
import requirements

TOP = Path(__file__).resolve().parent.parent
FOLDER = TOP / "build" / "coverage"
PACKAGE = "sched/fluxsched/"
HELD_TO = ("core/", "service/", "formats/")
LEAST = 95.0
TESTS = (
    "test_engine*.py", "test_nodeview.py", "test_plugins.py", "test_simulate_o*.py", "test_simulate_exact.py",
    "test_jobspec*.py", "test_r.py", "test_constraint.py", "test_idset.py", "test_hostlist.py", "test_duration.py",
    "test_eventlog.py", "test_text.py", "test_rdl*.py", "test_fuzz.py", "test_service*.py",
    "test_config.py", "test_session_config.py", "test_taskmap.py",
    "test_fork.py", "test_forward.py", "test_forecast.py", "test_queues.py", "test_record*.py", "test_twin.py",
    "test_backfill_kinds.py", "test_simulate_outages.py", "test_simulate_site.py",
)  # fmt: skip
# Long plays and many lines, which run no others than short ones do.
LEFT_OUT = ("long_queue", "a_quarter", "100000_forks", "10000_waiting")
# Parts of the tests, each with a process of its own, which says what it has run when it ends.
PARTS = 12
OPTIONS = ("-q", "-p", "no:cacheprovider")
CONFIG = """\
[run]
source = {top}/sched/fluxsched
data_file = {top}/build/coverage/data
parallel = true
patch = subprocess
disable_warnings = no-data-collected, module-not-imported, couldnt-parse

[report]
exclude_also =
    if TYPE_CHECKING
    raise NotImplementedError
    [#] in a fork$
    ^\\s*\\.\\.\\.$
"""


def missing_ranges(lines: list[int]) -> str:
    """Lines as "3-5 9"."""
    words: list[str] = []
    start = before = None
    for line in [*sorted(lines), None]:
        if start is not None and (line is None or before is None or line != before + 1):
            words.append(str(start) if start == before else f"{start}-{before}")
            start = None
        if start is None:
            start = line
        before = line
    return " ".join(words)


def judge(files: dict[str, dict]) -> tuple[list[str], list[str]]:
    """A line for each file, and one for each fault: a file that has too little.

    ``files`` is what coverage.py's JSON report calls so.
    """
    table, short = [], []
    if not any(name.endswith(".pyx") and entry["summary"]["percent_covered"] for name, entry in files.items()):
        short.append("core/: no line of Cython was counted")
    for name, entry in sorted(files.items()):
        name = name.removeprefix(PACKAGE)
        summary = entry["summary"]
        share = summary["percent_covered"]
        table.append(f"{share:6.1f} % {summary['num_statements']:5} lines  {name}")
        if name.startswith(HELD_TO) and share < LEAST:
            short.append(f"{name}: {share:.1f} %, not run: {missing_ranges(entry['missing_lines'])}")
    return table, short


def parts(tests: list[str]) -> list[list[str]]:
    """What pytest is given in each part: tests that are named are one."""
    if tests:
        return [tests]
    paths = sorted({str(path) for pattern in TESTS for path in (TOP / "t").glob(pattern)})
    short = " and ".join(f"not {word}" for word in LEFT_OUT)
    return [["-k", short, *paths[first::PARTS]] for first in range(PARTS)]


def main(tests: list[str]) -> int:
    """Build, run the tests (or those that are named), report; 0 if all is well."""
    trouble = requirements.install("coverage")
    if trouble:
        print(trouble, file=sys.stderr)
        return 1
    compiler = os.environ.get("CC") or json.loads((TOP / "build" / "config.json").read_text())["cc"]
    tool = cython_lines.gcov(compiler)
    if subprocess.run([sys.executable, "setup.py", "-q", "build_tree", "--mode=coverage"], cwd=TOP).returncode:
        return 1
    cython_lines.forget(FOLDER / "temp")
    config = FOLDER / "coveragerc"
    config.write_text(CONFIG.format(top=TOP))
    environment = dict(os.environ, FLUXSCHED_BUILD="build/coverage")

    def coverage(command: str, *words: str) -> int:
        called = [sys.executable, "-m", "coverage", command, f"--rcfile={config}", *words]
        return subprocess.run(called, cwd=TOP, env=environment).returncode

    coverage("erase")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = list(pool.map(lambda part: coverage("run", "-m", "pytest", *OPTIONS, *part), parts(tests)))
    report = FOLDER / "report.json"
    if coverage("combine", "-q") or coverage("json", "-q", "-i", "-o", str(report)):
        return 1
    files = json.loads(report.read_text())["files"]
    files.update(cython_lines.entries(FOLDER, tool))
    table, short = judge(files)
    print("\n".join(table))
    for line in short:
        print(f"under {LEAST:g} %: {line}", file=sys.stderr)
    return max(done) or (1 if short else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
