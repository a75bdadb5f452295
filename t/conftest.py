# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every test, and every process a test starts, sees what was built in the tree."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

TOP = Path(__file__).resolve().parent.parent
# Or a build for looking for faults, which make debug, asan and coverage name, such as build/debug.
BUILD = TOP / os.environ.get("FLUXSCHED_BUILD", "build")
LIB = BUILD / "lib"

# Also "import fluxsched" of test modules at collection needs it, so this cannot be a fixture.
sys.path.insert(0, str(LIB))
os.environ["PYTHONPATH"] = str(LIB)
# A session that the developer keeps open is not to be found.
os.environ["XDG_STATE_HOME"] = str(BUILD / "nowhere")
os.environ.pop("XDG_RUNTIME_DIR", None)
os.environ["FLUX_MODULE_PATH"] = str(TOP / "sched" if BUILD == TOP / "build" else BUILD / "sched")

# A shell without job control lets what it runs in the background ignore Ctrl-C, which is tested here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about the code. The examples of make check are always the
# same, so that a change is never blamed for what another one broke, and so are those of make coverage; other builds for
# looking for faults, or FLUXSCHED_EXPLORE=1, try new ones.
EXPLORE = BUILD not in (TOP / "build", TOP / "build" / "coverage") or "FLUXSCHED_EXPLORE" in os.environ
settings.register_profile("fluxsched", deadline=None, derandomize=not EXPLORE)
settings.load_profile("fluxsched")


# How names of the files that take longest begin: begun last, they would leave all cores but one idle at the end.
LONGEST = ("test_install", "test_flux_", "test_session_", "test_build", "test_lint", "test_engine_prop", "test_plugins")


def pytest_xdist_auto_num_workers(config):
    """What -n auto means: two more than the cores of this process, as half the time of sessions and instances is
    waiting; none beside this one for tests of a single file."""
    files = {argument.split("::")[0] for argument in config.args}
    if len(files) == 1 and all(Path(name).is_file() for name in files):
        return 0
    return len(os.sched_getaffinity(0)) + 2


def pytest_collection_modifyitems(items):
    """The longest files first."""
    items.sort(key=lambda item: [not item.path.stem.startswith(begin) for begin in LONGEST])


@pytest.fixture(scope="session")
def top():
    """The top of the source tree."""
    return TOP


@pytest.fixture(scope="session")
def build_config():
    """What configure found: the contents of build/config.json."""
    return json.loads((TOP / "build" / "config.json").read_text())


def pytest_terminal_summary(terminalreporter):
    """Real Flux instances are a group of their own: say how they fared, or why they were skipped."""
    found = {}
    reasons = set()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if "flux" not in getattr(report, "keywords", {}):
                continue
            found[outcome] = found.get(outcome, 0) + 1
            if outcome == "skipped" and isinstance(report.longrepr, tuple):
                reasons.add(report.longrepr[2].replace("Skipped: ", "", 1))
    if found:
        text = ", ".join(f"{count} {outcome}" for outcome, count in found.items())
        terminalreporter.write_sep("-", f"real Flux instances: {text}")
        for reason in sorted(reasons):
            terminalreporter.write_line(f"skipped: {reason}")
