# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The limit of time for policies in plain Python, in an interpreter that is traced."""

import contextlib
import sys
import threading

from fluxsched.service import deadline


def test_a_tracer_goes_on_after_a_limit():
    # Where the interpreter was told to raise nothing any more it looked for it for ever.
    lines = []

    def limits():
        with contextlib.suppress(deadline.Overrun), deadline.limited(0.0):
            while True:
                pass
        with deadline.limited(60.0):
            pass
        sys.settrace(lambda *_: None)
        lines.append(deadline.deadline(None, 0.0))

    thread = threading.Thread(target=limits, daemon=True)
    thread.start()
    thread.join(60.0)
    assert not thread.is_alive() and len(lines) == 1
