# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""In which order the service hands jobs to the engine: by priority, then as they were submitted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fakehost import Bench, make_r


def starts(bench, jobids):
    """Let one job after the other run, on a machine that holds one; the order in which they start."""
    order = []
    left = set(jobids)
    while left:
        [running] = [jobid for jobid in left if bench.started(jobid)]
        order.append(running)
        left.remove(running)
        bench.free(running)
    return order


def test_a_clock_that_is_set_back():
    bench = Bench(R=make_r(1, 1))
    for jobid, t_submit in ((1, 900.0), (2, 990.0), (3, 10.0), (4, 20.0)):
        bench.alloc(jobid, t_submit=t_submit)
    assert starts(bench, (1, 2, 3, 4)) == [1, 2, 3, 4]


@settings(max_examples=30, deadline=None)
@given(jobs=st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 2000.0)), min_size=1, max_size=8), data=st.data())
def test_priority_then_id_whatever_the_clock_said(jobs, data):
    """The job manager's own order, in whatever order requests arrive."""
    bench = Bench(R=make_r(1, 1))
    bench.alloc(500, priority=9)
    ids = data.draw(st.permutations(range(1, len(jobs) + 1)))
    for jobid in ids:
        priority, t_submit = jobs[jobid - 1]
        bench.alloc(jobid, priority=priority, t_submit=t_submit)
    bench.free(500)
    assert starts(bench, ids) == sorted(ids, key=lambda jobid: (-jobs[jobid - 1][0], jobid))


def test_order_is_kept_by_another_engine():
    bench = Bench(R=make_r(1, 1))
    for jobid, t_submit in ((1, 900.0), (2, 990.0), (3, 10.0)):
        bench.alloc(jobid, t_submit=t_submit)
    bench.host.conf = {"sched": {"sched-once": True}}
    before = bench.service.engine
    bench.service.reconfigure()
    assert bench.service.engine is not before
    assert bench.service.engine.waiting() == [2, 3]
