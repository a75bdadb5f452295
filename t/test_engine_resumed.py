# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""An engine that goes on by itself, with inputs that are told to come."""

import math

from fluxsched.core.resumed import Resumed

from fluxsched.core import Inventory
from naive import nodes, scheduler


def test_starts_ends_parts_and_denials():
    engine = scheduler(Inventory.from_counts(4, 1), "backfill.plugin1", "")
    engine.add(1, nodes(2, 100.0))
    engine.add(2, nodes(4, 50.0))
    engine.add(3, nodes(1, 500.0))
    assert engine.schedule(0.0).started == [1]
    copy = engine.fork()
    seen = []
    inputs = [lambda: copy.remove("3"), lambda: copy.add(4, nodes(1, 10.0), t_submit=30.0)]
    lengths = {1: 80.0, 3: math.inf}

    def part(jobid, number):
        seen.append((jobid, number))
        copy.free(jobid, copy.allocated_ranks(jobid).split(",")[0].split("-")[0], final=False)

    run = Resumed(
        copy, 1.0, [20.0, 30.0], lambda i: inputs[i](), lambda jobid, start: lengths.get(jobid, 10.0),
        lambda jobid, start: [0.5, 60.0, 90.0] if jobid == 1 else [], part,
    )  # fmt: skip
    assert (run.start, run.end, run.denied) == ({1: 0.0}, {}, set())
    run.advance(25.0)
    # Four nodes are no more: job 2 cannot start ever, and what it kept from starting does.
    assert run.denied == {2} and run.start == {1: 0.0, 3: 20.0} and not copy.waits(2)
    run.advance(1000.0)
    # Of job 1 a node came back at 60 (a part before now is done, one after its end never is), where 4 begins.
    assert seen == [(1, 2)] and run.start == {1: 0.0, 3: 20.0, 4: 60.0} and run.end == {4: 70.0, 1: 80.0}
    assert engine.waiting() == [2, 3]
