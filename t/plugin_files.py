# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plugins in Python that tests write to files."""

import textwrap

# A whole plugin; what a test changes is put in its place.
OPERATIONS = {
    "sched_loop_setup": "(self, engine): pass",
    "find_resources": "(self, engine, job): return engine.fits_now(job)",
    "select_resources": "(self, engine, job): return engine.select(job)",
    "allocate_resources": "(self, engine, job): engine.start(job)",
    "reserve_resources": "(self, engine, job): return GO_ON",
}


def write_plugin(folder, name="mine", init="self.options = options", leave_out=(), **operations):
    """A plugin in Python; operations replace bodies: "(self, engine, job): …"."""
    lines = [
        "from fluxsched.policy.pyplugin import GO_ON, HOLD, RESERVED, RESOURCES, STOP",
        "class Plugin:",
        "    passes = []",
        "    def __init__(self, options):",
        textwrap.indent(textwrap.dedent(init), " " * 8),
    ]
    for operation, body in {**OPERATIONS, **operations}.items():
        if operation not in leave_out:
            lines.append(f"    def {operation}{body}")
    path = folder / (name + ".py")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def add(engine, *requests, first=1):
    for i, wanted in enumerate(requests):
        engine.add(first + i, wanted)
