# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine against a naive model, on small machines of all kinds; see naive.Model for what is held true."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import Model, cores, machine, mixed, nodes, request
from oracle import Job, conservative, easy, fcfs, hybrid, replay

from fluxsched.core import Engine
from fluxsched.formats import idset

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CORE_SETS = ["0", "0-1", "0-3", "0-7", "1,3", "62-66", "64,130", "5,70-72"]
GPU_SETS = ["", "", "0", "0-1", "0-2", "64", "3,65"]


@st.composite
def machines(draw):
    """(cores, gpus) of each node: equal nodes (past one word of nodes, too), or different ones."""
    if draw(st.booleans()):
        count = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 63, 64, 65, 70]))
        ncores = draw(st.integers(1, 4 if count > 9 else 8))
        ngpus = draw(st.sampled_from([0, 0, 1, 2, 3]))
        return [(ncores, ngpus)] * count
    return draw(st.lists(st.tuples(st.sampled_from(CORE_SETS), st.sampled_from(GPU_SETS)), min_size=1, max_size=6))


@st.composite
def rank_sets(draw, most=69):
    """A few ranks, neighbours or not."""
    if draw(st.booleans()):
        first = draw(st.integers(0, most))
        return set(range(first, draw(st.integers(first, min(most, first + 30))) + 1))
    return draw(st.sets(st.integers(0, most), min_size=1, max_size=4))


DURATIONS = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 20])


@st.composite
def requests(draw, kinds=("nodes", "cores", "any"), queues=("",), constrained=True):
    """A request. Counts are small, or near the size of the machine: the caller's machine may refuse it."""
    kind = draw(st.sampled_from(kinds))
    more = {"duration": draw(DURATIONS), "queue": draw(st.sampled_from(queues))}
    if constrained and draw(st.integers(0, 3)) == 0:
        more["constraint"] = {"ranks": [idset.encode(sorted(draw(rank_sets())))]}
    size = draw(st.sampled_from([1, 1, 2, 2, 3, 4, 5, 7, 30, 64, 66]))
    if kind == "nodes":
        return nodes(size, cores=draw(st.integers(0, 1)), **more)
    if kind == "cores":
        return cores(size, **more)
    wanted = {"nslots": draw(st.integers(1, 3)), "cores": draw(st.integers(1, 4)), "gpus": draw(st.integers(0, 2))}
    if draw(st.integers(0, 5)) == 0:
        wanted.update(cores=0, gpus=draw(st.integers(1, 2)))
    elif draw(st.integers(0, 3)) == 0:
        wanted["exclusive"] = True
    if draw(st.booleans()):
        return request(nnodes=size, **wanted, **more)
    wanted["nslots"] *= size
    return request(**wanted, **more)


NUMBER = st.integers(0, 1000)


def events(wanted, disturb=True):
    """What happens between passes. Numbers choose among the jobs that there are, modulo."""
    calm = [
        st.tuples(st.just("add"), wanted, st.just(16)),
        st.tuples(st.just("add"), wanted, st.just(16)),
        st.tuples(st.just("add"), wanted, st.just(16)),
        st.tuples(st.just("pass"), st.integers(0, 6)),
        st.tuples(st.just("pass"), st.integers(0, 6)),
        st.tuples(st.just("end"), NUMBER),
        st.tuples(st.just("end_part"), NUMBER, NUMBER),
    ]
    rough = [
        st.tuples(st.just("add"), wanted, st.integers(14, 18)),
        st.tuples(st.just("cancel"), NUMBER),
        st.tuples(st.just("prio"), NUMBER, st.integers(14, 18)),
        st.tuples(st.just("mark_down"), rank_sets()),
        st.tuples(st.just("mark_up"), rank_sets()),
        st.tuples(st.just("remove"), rank_sets()),
        st.tuples(st.just("move_end"), NUMBER, st.integers(-2, 9)),
        st.tuples(st.just("overrun"), st.integers(0, 6)),
    ]
    return st.lists(st.one_of(calm * 2 + rough if disturb else calm), min_size=3, max_size=30)


def play(rows, plugin, options, depth, script):
    model = Model(lambda: Engine(mixed(*rows), plugin, options), depth)
    now = 0
    for name, *arguments in [*script, ("pass", 0), ("pass", 3), ("pass", 30)]:
        first = arguments[0]
        if name == "add":
            model.add(*arguments)
        elif name in ("pass", "overrun"):
            now += first
            if name == "pass":
                for jobid in [j for j, job in model.running.items() if job[2] is not None and job[2] <= now]:
                    model.end(jobid)
            model.schedule(now)
            model.check_status()
        elif name.startswith("m") and name != "move_end" or name == "remove":
            model.mark(name, {rank for rank in first if rank in model.ranks})
        elif name in ("cancel", "prio"):
            jobid = (model.order() or [99999])[first % max(len(model.waiting), 1)]
            if name == "cancel":
                model.cancel(jobid)
            else:
                model.reprioritize(jobid, arguments[1])
        elif model.running:
            jobid = sorted(model.running)[first % len(model.running)]
            if name == "end":
                model.end(jobid)
            elif name == "move_end":
                model.move_end(jobid, None if arguments[1] < 0 else now + 1 + arguments[1])
            else:
                ranks = sorted({rank for units in model.running[jobid][:2] for rank, _ in units})
                part = set(ranks[: 1 + arguments[1] % max(len(ranks), 1)])
                model.end_part(jobid, part | ({998} if arguments[1] % 7 == 0 else set()))
    return model


KINDS = st.sampled_from([("nodes",), ("cores",), ("nodes", "cores", "any"), ("any",)])
QUEUES = st.sampled_from([("",), ("",), ("a", "b")])


@st.composite
def plays(draw, disturb=True):
    wanted = requests(draw(KINDS), draw(QUEUES), constrained=draw(st.booleans()))
    return draw(machines()), draw(events(wanted, disturb))


@given(plays())
@QUICK
def test_first_come_first_served(case):
    rows, script = case
    play(rows, "sched.plugin1", "", None, script)


@given(plays(), st.sampled_from([-1, 0, 1, 1, 1, 2, 3]))
@QUICK
def test_backfill(case, depth):
    rows, script = case
    play(rows, "backfill.plugin1", {"reserve-depth": depth}, depth, script)


@given(plays(disturb=False))
@QUICK
def test_easy_keeps_its_reservation(case):
    rows, script = case
    play(rows, "backfill.plugin1", "", 1, script)


# Against the oracles, which count processors.


@st.composite
def traces(draw):
    procs = draw(st.sampled_from([1, 2, 3, 5, 8, 64, 67]))
    jobs = []
    submit = 0
    for _ in range(draw(st.integers(1, 25))):
        submit += draw(st.sampled_from([0, 0, 1, 2, 5]))
        wanted = draw(st.integers(1, 12))
        run = draw(st.integers(0, wanted))
        jobs.append(Job(submit, draw(st.sampled_from([run, wanted])), wanted, draw(st.integers(1, procs))))
    return procs, jobs


def as_nodes(procs):
    return machine, (procs, 2), nodes


def as_cores(procs):
    return machine, (1, procs), cores


def each_node(procs, *arguments, **more):
    """Nodes with a waiting job for a node that is down, for which the engine looks at each node."""
    e = machine(procs + 1, 2, *arguments, **more)
    e.mark_down(str(procs))
    e.add(10**6, nodes(1, constraint={"ranks": [str(procs)]}))
    return e


def as_each_node(procs):
    return each_node, (procs,), nodes


def lockstep(trace, kind, plugin, options, policy):
    """Replay a trace; in each pass, the engine and the oracle start the same jobs."""
    procs, jobs = trace
    make, arguments, unit = kind(procs)
    engine = make(*arguments, plugin=plugin, options=options)
    known = set()
    ends = {}

    def both(queue, running, free, now):
        for index in [index for index, end in ends.items() if end <= now]:
            engine.free(index)
            del ends[index]
        for index, job in queue:
            if index not in known:
                known.add(index)
                engine.add(index, unit(job.procs, job.request), 16, float(job.submit))
        started = engine.schedule(float(now)).started
        assert sorted(started) == sorted(policy(queue, running, free, now))
        for index in started:
            ends[index] = now + min(jobs[index].run, jobs[index].request)
        return started

    replay(jobs, procs, both)


@given(traces())
@QUICK
@pytest.mark.parametrize("kind", [as_nodes, as_cores, as_each_node])
def test_fcfs_oracle(kind, trace):
    lockstep(trace, kind, "sched.plugin1", "", fcfs)


@given(traces())
@QUICK
@pytest.mark.parametrize("kind", [as_nodes, as_cores, as_each_node])
def test_easy_oracle(kind, trace):
    lockstep(trace, kind, "backfill.plugin1", "", easy)


@given(traces(), st.integers(0, 4))
@QUICK
@pytest.mark.parametrize("kind", [as_nodes, as_cores])
def test_hybrid_oracle(kind, trace, depth):
    lockstep(trace, kind, "backfill.plugin1", {"reserve-depth": depth}, hybrid(depth))


@given(traces())
@QUICK
@pytest.mark.parametrize("kind", [as_nodes, as_cores])
def test_conservative_oracle(kind, trace):
    lockstep(trace, kind, "backfill.plugin1", "reserve-depth=-1", conservative)
