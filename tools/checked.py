# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make debug`` and ``make asan``: the tests of the engine on a build that looks for faults.

``debug`` has assertions, bounds checks and the core's own ``sanity_check()`` after each step; ``asan`` has the
AddressSanitizer and the UndefinedBehaviorSanitizer. Words after the mode go to pytest in place of the usual tests.
"""
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
# What runs in the core: passes, plans, plugins, the simulator's loop, the scanner of traces, and random plays of them.
TESTS = ("test_engine*.py", "test_backfill_kinds.py", "test_fork.py", "test_forward.py", "test_nodeview.py",
         "test_plugins*.py", "test_queues.py", "test_simulate_exact.py", "test_simulate_oracle.py",
         "test_simulate_order.py", "test_trace_swf.py", "test_trace_generator.py")  # fmt: skip


def sanitizer_environment() -> dict[str, str]:
    """What a Python that is not built with the sanitizers needs to load extensions that are.

    Python leaves memory to the end of the process, so leaks are not looked for; its own allocator would hide the
    bounds of blocks.
    """
    compiler = shlex.split(os.environ.get("CC") or json.loads((TOP / "build/config.json").read_text())["cc"])
    names = ("libasan.so", "libubsan.so")
    libraries = [
        subprocess.check_output([*compiler, f"-print-file-name={name}"], text=True).strip() for name in names
    ]
    missing = [name for name, path in zip(names, libraries) if not os.path.isabs(path)]
    if missing:
        raise SystemExit(f"make asan: the compiler has no {' and no '.join(missing)}: install it, or use gcc by CC=gcc")
    return {
        "LD_PRELOAD": " ".join(os.path.realpath(path) for path in libraries),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:abort_on_error=1",
        "PYTHONMALLOC": "malloc",
        # Tests compile plugins, and a compiler with the sanitizer in it takes minutes.
        "CC": f"env -u LD_PRELOAD {shlex.join(compiler)}",
    }


def main(words: list[str]) -> int:
    """Build in a mode and run the tests; their exit code."""
    mode, *tests = words
    built = subprocess.run([sys.executable, "setup.py", "-q", "build_tree", f"--mode={mode}"], cwd=TOP)
    if built.returncode:
        return built.returncode
    environment = dict(os.environ, FLUXSCHED_BUILD=f"build/{mode}")
    if mode == "asan":
        environment.update(sanitizer_environment())
    paths = [str(path) for pattern in TESTS for path in sorted((TOP / "t").glob(pattern))]
    # What a sanitizer writes before it ends the process must not be kept by pytest.
    options = ["-q", "-p", "no:cacheprovider", "--capture=sys"]
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", *options, *(tests or paths)]
    return subprocess.run(command, cwd=TOP, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
