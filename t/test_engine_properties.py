# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The engine against a naive model, on small machines of all kinds; see naive.Model for what is held true."""

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from fluxsched.formats import idset
from naive import Model, accepts, cores, machine, mixed, nodes, request, scheduler, units
from naive_tree import Shape, TreeModel
from oracle import Job, conservative, easy, fcfs, hybrid, replay

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CORE_SETS = ["0", "0-1", "0-3", "0-7", "1,3", "62-66", "64,130", "5,70-72"]
GPU_SETS = ["", "", "0", "0-1", "0-2", "64", "3,65"]


# A generator of whole plays from a source of random numbers: dense, where lists of hypothesis stay short.


def machine_rows(rng):
    """(cores, gpus) of each node: equal nodes (past one word of nodes, too), or different ones."""
    if rng.random() < 0.5:
        count = rng.choice([1, 2, 3, 4, 5, 7, 64, 66, 70])
        row = idset.encode(range(rng.randint(1, 4 if count > 9 else 8))), rng.choice(["", "", "0", "0-1", "0-2"])
        return [row] * count
    return [(rng.choice(CORE_SETS), rng.choice(GPU_SETS)) for _ in range(rng.randint(1, 6))]


def rank_set(rng, count):
    """A few of so many ranks, neighbours or not."""
    if rng.random() < 0.5:
        first = rng.randrange(count)
        return set(range(first, rng.randrange(first, count) + 1))
    return {rng.randrange(count) for _ in range(rng.randint(1, 4))}


def some_request(rng, rows, kinds, queues, constrained):
    """A request on a machine of these rows, most often one that it can serve. Some accept several sizes."""
    wanted = one_size(rng, rows, kinds, queues, constrained)
    nodes, slots = [wanted.nnodes], [wanted.nslots]
    for numbers in (nodes, slots):
        for _ in range(rng.choice([0] * 6 + [1, 3])):
            numbers.append(numbers[-1] + rng.choice([1, 1, 2, 7]))
    return accepts(wanted, nodes if wanted.nnodes else (), slots if wanted.cores or wanted.gpus else ())


def one_size(rng, rows, kinds, queues, constrained):
    kind = rng.choice(kinds)
    more = {"duration": rng.choice([0, 1, 2, 3, 5, 8, 13, 20]), "queue": rng.choice(queues)}
    if rng.random() < constrained:
        more["constraint"] = {"ranks": [idset.encode(sorted(rank_set(rng, len(rows))))]}
    # From one to all of what there is, now and then beyond it.
    part = rng.choice([0.0, 0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0, 1.0, 1.2])
    size = max(1, round(part * len(rows)))
    widest = max(len(units(cores)) for cores, _ in rows)
    if kind == "nodes":
        return nodes(size, cores=rng.randint(0, 1), **more)
    if kind == "cores":
        return cores(max(1, round(part * sum(len(units(cores)) for cores, _ in rows))), **more)
    wanted = {"cores": rng.randint(1, widest)}
    wanted["nslots"] = rng.randint(1, max(1, widest // wanted["cores"]))
    if any(gpus for _, gpus in rows):
        wanted["gpus"] = rng.choice([0, 0, 1, 2])
        if wanted["gpus"] and rng.random() < 0.3:
            wanted["cores"] = 0
    if wanted["cores"] and rng.random() < 0.2:
        wanted["exclusive"] = True
    if rng.random() < 0.5:
        return request(nnodes=size, **wanted, **more)
    wanted["nslots"] *= size
    return request(**wanted, **more)


CALM = ["add"] * 8 + ["pass"] * 5 + ["end", "end_part", "restart"]
ROUGH = [*CALM, "urgent", "urgent", "urgent", "cancel", "prio", "mark_down", "mark_up", "all_up", "move_end", "overrun"]


def some_events(rng, rows, disturb):
    """What happens. A number chooses among the jobs that there are, modulo."""
    kinds = rng.choice([("nodes",), ("cores",), ("nodes", "cores", "any"), ("any",)])
    queues = rng.choice([("",), ("",), ("a", "b")])
    constrained = rng.choice([0, 0, 0.1, 0.5])
    names = CALM if not disturb else ROUGH if rng.random() < 0.8 else [*ROUGH, "remove"]
    script = []
    for name in rng.choices(names, k=rng.choice([10, 30, 70])):
        if name == "add":
            script.append((name, some_request(rng, rows, kinds, queues, constrained), 16))
        elif name == "urgent":
            script.append(("add", some_request(rng, rows, kinds, queues, constrained), rng.randint(14, 18)))
        elif name in ("pass", "overrun"):
            script.append((name, rng.choice([0, 0, 1, 1, 2, 4, 9])))
        elif name in ("mark_down", "mark_up"):
            script.append((name, rank_set(rng, len(rows))))
        elif name == "all_up":
            script.append(("mark_up", set(range(len(rows)))))
        elif name == "remove":
            script.append((name, {rng.randrange(len(rows))}))
        else:
            script.append((name, rng.randrange(1000), rng.randint(0, 20)))
    return script


def play(rows, plugin, options, depth, script):
    model = Model(lambda: scheduler(mixed(*rows), plugin, options), depth)
    now = 0
    script = [*script, ("pass", 0), ("pass", 3), ("pass", 30)]
    note(f"{rows}\n{script}")
    for name, *arguments in script:
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
        elif name == "restart":
            model.restart()
        elif name in ("mark_up", "mark_down", "remove"):
            model.mark(name, first)
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
                model.move_end(jobid, None if arguments[1] < 2 else now + arguments[1])
            else:
                ranks = sorted({rank for taken in model.running[jobid][:2] for rank, _ in taken})
                part = set(ranks[: 1 + arguments[1] % max(len(ranks), 1)])
                model.end_part(jobid, part | ({998} if arguments[1] % 7 == 0 else set()))
        model.engine.sanity_check()
    return model


RANDOM = st.randoms(use_true_random=True)


@given(RANDOM)
@QUICK
def test_first_come_first_served(rng):
    rows = machine_rows(rng)
    play(rows, "sched.plugin1", "", None, some_events(rng, rows, True))


@given(RANDOM, st.sampled_from([-1, 0, 1, 1, 1, 2, 3]))
@QUICK
def test_backfill(rng, depth):
    rows = machine_rows(rng)
    play(rows, "backfill.plugin1", {"reserve-depth": depth}, depth, some_events(rng, rows, True))


@given(RANDOM)
@QUICK
def test_easy_keeps_its_reservation(rng):
    rows = machine_rows(rng)
    play(rows, "backfill.plugin1", "", 1, some_events(rng, rows, False))


# Requests through the tree.


def some_shape(rng, nnodes):
    kind = rng.choice(["sockets", "nodes", "nodes", "slots", "slots", "paths", "paths", "whole", "flat"])
    count = rng.choice([1, 1, 2, 3, nnodes, 2 * nnodes])
    return Shape(
        kind,
        min(count, nnodes + (rng.random() < 0.05)) if kind in ("nodes", "whole") else count,
        rng.randint(1, 4),
        rng.choice([0, 1, 400, 600, 1000, 1500, 2000]) if kind in ("nodes", "slots") else 0,
        rng.choice([10, 30, 50, 60]) if kind == "paths" else rng.randint(0, 1),
        rng.choice([0, 1, 2, 3, 5, 8, 13]),
    )


@given(RANDOM, st.sampled_from(["sched.plugin1", "backfill.plugin1"]))
@QUICK
def test_tree(rng, plugin):
    nnodes = rng.randint(1, 4)
    model = TreeModel(nnodes, rng.choice([100, 60, 1000]), rng.choice([60, 90]), plugin)
    now = 0
    script = []
    note(f"{nnodes} nodes, {model.all['width',]}, {model.all['width', 0]}")
    for jobid in range(rng.choice([5, 15, 30])):
        shape = some_shape(rng, nnodes)
        script.append(shape)
        model.add(jobid, shape)
        while rng.random() < 0.5:
            now += rng.choice([0, 1, 1, 2, 4])
            script.append(now)
            note(str(script))
            model.schedule(now)
            if model.running and rng.random() < 0.15:
                gone = rng.choice(sorted(model.running))
                script.append(f"end {gone}")
                model.end(gone)
            model.engine.sanity_check()


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


@given(st.randoms(use_true_random=False))
@settings(max_examples=6, deadline=None)
def test_conservative_oracle_long_queue(rng):
    # More shapes wait than the plan remembers starts of; many jobs are alike, so neighbours of the profile merge.
    procs = rng.choice([3, 8, 16])
    widths = rng.choice([[1], [1, 2], range(1, procs + 1)])
    jobs = []
    for _ in range(120):
        wanted = rng.randint(1, rng.choice([1, 4, 40]))
        jobs.append(Job(0 if rng.random() < 0.9 else rng.randint(1, 3), rng.randint(0, wanted), wanted,
                        rng.choice(widths)))
    jobs.sort(key=lambda job: job.submit)
    lockstep((procs, jobs), rng.choice([as_nodes, as_cores]), "backfill.plugin1", "reserve-depth=-1", conservative)
