# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make coverage``: which lines of Python and Cython the tests of engine, formats and service run.

The build of its own in build/coverage tells each line, also of code without the GIL, and is slow for that. A file of
core/, service/ or formats/ under 95 % is a failure, and its lines that were not run are named.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import requirements

TOP = Path(__file__).resolve().parent.parent
FOLDER = TOP / "build" / "coverage"
PACKAGE = "sched/fluxsched/"
HELD_TO = ("core/", "service/", "formats/")
LEAST = 95.0
TESTS = (
    "test_engine*.py", "test_nodeview.py", "test_plugins.py", "test_simulate_o*.py", "test_simulate_exact.py",
    "test_jobspec*.py", "test_r.py", "test_constraint.py", "test_idset.py", "test_hostlist.py", "test_duration.py",
    "test_eventlog.py", "test_text.py", "test_rdl*.py", "test_fuzz.py", "test_service*.py", "test_trace_*.py",
    "test_config.py", "test_session_config.py", "test_taskmap.py",
    "test_fork.py", "test_forward.py", "test_forecast.py", "test_queues.py", "test_record*.py", "test_twin.py",
    "test_backfill_kinds.py", "test_simulate_outages.py", "test_simulate_site.py",
)  # fmt: skip
CONFIG = """\
[run]
plugins = cython_lines
source = sched/fluxsched
omit = *.pxd
data_file = build/coverage/data
core = ctrace
disable_warnings = no-data-collected, module-not-imported, couldnt-parse, plugin-not-used

[report]
exclude_also =
    if TYPE_CHECKING
    if DEBUG
    raise NotImplementedError
    # in a fork$
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


def judge(report: dict[str, dict]) -> tuple[list[str], list[str]]:
    """A line for each file of coverage.py's JSON report, and one for each fault: a file that has too little."""
    table, short = [], []
    if not any(name.endswith(".pyx") for name in report["files"]):
        short.append("core/: no line of Cython was told")
    for name, entry in sorted(report["files"].items()):
        name = name.removeprefix(PACKAGE)
        summary = entry["summary"]
        share = summary["percent_covered"]
        table.append(f"{share:6.1f} % {summary['num_statements']:5} lines  {name}")
        if name.startswith(HELD_TO) and share < LEAST:
            short.append(f"{name}: {share:.1f} %, not run: {missing_ranges(entry['missing_lines'])}")
    return table, short


def main(tests: list[str]) -> int:
    """Build, run the tests (or those that are named), report; 0 if all is well."""
    trouble = requirements.install("coverage")
    if trouble:
        print(trouble, file=sys.stderr)
        return 1
    if subprocess.run([sys.executable, "setup.py", "-q", "build_tree", "--mode=coverage"], cwd=TOP).returncode:
        return 1
    config = FOLDER / "coveragerc"
    config.write_text(CONFIG)
    environment = dict(os.environ, FLUXSCHED_BUILD="build/coverage", PYTHONPATH=str(TOP / "tools"))
    coverage = [sys.executable, "-m", "coverage"]
    paths = tests or sorted({str(path) for pattern in TESTS for path in (TOP / "t").glob(pattern)})
    command = [*coverage, "run", f"--rcfile={config}", "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
    code = subprocess.run(command, cwd=TOP, env=environment).returncode
    report = FOLDER / "report.json"
    words = [*coverage, "json", f"--rcfile={config}", "-q", "-i", "-o", str(report)]
    if subprocess.run(words, cwd=TOP, env=environment).returncode:
        return 1
    table, short = judge(json.loads(report.read_text()))
    print("\n".join(table))
    for line in short:
        print(f"under {LEAST:g} %: {line}", file=sys.stderr)
    return code or (1 if short else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
