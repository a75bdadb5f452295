# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A copy of an engine goes its own way: neither moves the other, and neither differs from one that was never copied."""

import builtins
import gc
import resource

import pytest
from fluxsched.core.engine import PluginError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Infeasible, Inventory, memory
from fluxsched.formats.constraint import ConstraintError
from naive import accepts, cores, hype, machine, mixed, nodes, request, scheduler, tree_request, vertex, waits

POLICIES = [
    ("sched.plugin1", ""), ("backfill.plugin1", ""), ("backfill.plugin1", "reserve-depth=-1"),
    ("backfill.plugin1", "order=sjf,aging=9,reserve-depth=2"), ("backfill.plugin1", "order=multifactor,half-life=5"),
    ("backfill.plugin1", "order=wfp3"), ("sched.plugin1", "order=f1,queue-depth=3"),
]

# Plugins in plain Python that have a state: one is copied, the other copies itself.
COUNTING = """
from fluxsched.policy.pyplugin import GO_ON

class Plugin:
    def __init__(self, options):
        self.starts = []

    def sched_loop_setup(self, engine):
        engine.reorder(lambda job: (job.id * 7 + len(self.starts)) % 11)

    def find_resources(self, engine, job):
        return engine.fits_now(job)

    def select_resources(self, engine, job):
        return engine.select(job)

    def allocate_resources(self, engine, job):
        engine.start(job)
        self.starts.append(job)

    def reserve_resources(self, engine, job):
        if engine.reserved(job) < 2:
            engine.reserve(job)
        return GO_ON
"""
COPYING = COUNTING + """
    def fork(self):
        out = Plugin({})
        out.starts = list(self.starts)
        return out
"""


def some_machine(rng):
    """An Inventory, and whether it has a tree: alike nodes, different ones, or a tree with memory and bandwidth."""
    kind = rng.randrange(3)
    if kind == 0:
        return Inventory.from_counts(rng.choice([3, 6, 70]), 4), False
    if kind == 1:
        return mixed(*[(rng.choice([2, 4, "0-1,66"]), rng.choice([0, 0, 2])) for _ in range(rng.randint(2, 6))]), False
    return Inventory.from_rdl(hype(rng.randint(2, 5), 400, 100)), True


def some_request(rng, inventory, tree):
    more = {"duration": rng.choice([0, 1, 2, 3, 5, 8, 13]), "queue": rng.choice(["", "", "a", "b"])}
    if rng.random() < 0.3:
        more["constraint"] = rng.choice([{"ranks": [f"{rng.randrange(inventory.nnodes)}-70"]}, {"properties": ["odd"]}])
    kind = rng.randrange(5 if tree else 4)
    if kind == 3:
        least = rng.randint(1, 2)
        wanted = request(rng.randint(0, 2), least, rng.randint(1, 2), **more)
        return accepts(wanted, (1, 3) if wanted.nnodes else (), (least, least + 1, least + 3))
    if kind == 0:
        return nodes(rng.randint(1, inventory.nnodes), **more)
    if kind == 1:
        return cores(rng.randint(1, 6), **more)
    if kind == 2:
        return request(nnodes=rng.randint(0, 2), nslots=rng.randint(1, 2), cores=rng.randint(1, 2), **more)
    return tree_request(vertex("slot", rng.randint(1, 2), vertex("core", 1), vertex("memory", 300)), **more)


NAMES = ["add"] * 8 + ["pass"] * 5 + ["end", "end", "slice", "free", "cancel", "prio", "down", "up", "move_end"] + [
    "give", "take", "expire", "adopt"]


def script(rng, inventory, tree, first, length):
    """What happens: (name, numbers …), so that the same can be done to another engine; ids of jobs from first on."""
    out = []
    for name in rng.choices(NAMES, k=length):
        if name == "add":
            out.append((name, first + len(out), some_request(rng, inventory, tree), rng.choice([16, 16, 17])))
        else:
            out.append((name, rng.randrange(1000), rng.randrange(1000), first + len(out)))
    return out


class Played:
    """An engine, its time, and what was said about each step."""

    def __init__(self, engine, now=100.0):
        self.engine = engine
        self.now = now
        self.more = False

    def fork(self):
        out = Played(self.engine.fork(), self.now)
        out.more = self.more
        return out

    def do(self, name, *facts):
        e, first, second = self.engine, facts[0], facts[1]
        running, waiting = e.running_jobs(), e.waiting()
        rank = first % e.inventory.nnodes
        try:
            if name == "add":
                return e.add(first, second, facts[2], self.now, user=first % 3)
            if name in ("pass", "slice"):
                self.now += (0, 0, 1, 2, 5)[first % 5]
                out = e.schedule(self.now, 1 + second % 3 if name == "slice" else -1)
                self.more = out.more
                return out
            if name in ("down", "up"):
                return (e.mark_down if name == "down" else e.mark_up)([rank])
            if name in ("give", "take"):
                return (e.property_add if name == "give" else e.property_remove)("odd", str(rank))
            if name == "expire":
                return e.set_expiration(self.now + 50 + second if second % 3 else 0)
            if name in ("cancel", "prio") and waiting:
                jobid = waiting[first % len(waiting)]
                return e.cancel(jobid) if name == "cancel" else e.reprioritize(jobid, 15 + second % 3)
            if running and name in ("end", "free", "move_end", "adopt"):
                jobid = running[first % len(running)]
                if name == "end":
                    return e.free(jobid)
                if name == "move_end":
                    return e.update_expiration(jobid, self.now + second % 20)
                if name == "adopt":
                    held = e.R(jobid, self.now, self.now + second % 30 + 1)
                    e.free(jobid)
                    return e.adopt(facts[2], held)
                return e.free(jobid, e.allocated_ranks(jobid).split(",")[0].split("-")[0], final=False)
        except (Infeasible, ConstraintError, ValueError) as error:
            return str(error)
        return None

    def facts(self):
        """All that an engine tells."""
        e = self.engine
        e.sanity_check()
        stats = e.stats()
        # A pass that is gone on with asks about fewer jobs.
        del stats["considered"], stats["passes"], stats["continued"]
        running = [(jobid, e.times(jobid), e.R(jobid), e.selection(jobid)) for jobid in e.running_jobs()]
        return stats, e.resource_status(), running, waits(e)


def finish_pass(*engines):
    """Let passes that are suspended come to their end."""
    while any(played.more for played in engines):
        assert len({str(played.do("pass", 0, 0, 0)) for played in engines}) == 1


@given(st.randoms(use_true_random=True), st.sampled_from(POLICIES))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_neither_moves_the_other(rng, policy):
    machine, tree = some_machine(rng)
    before = script(rng, machine, tree, 1, rng.choice([5, 40]))
    original, twin, twin_of_copy = [Played(scheduler(machine, *policy)) for _ in range(3)]
    for step in before:
        assert original.do(*step) == twin.do(*step) == twin_of_copy.do(*step)
    finish_pass(original, twin, twin_of_copy)
    copy = original.fork()
    assert copy.facts() == original.facts() == twin.facts()
    for step, other in zip(script(rng, machine, tree, 1000, 25), script(rng, machine, tree, 2000, 25)):
        assert original.do(*step) == twin.do(*step), step
        assert copy.do(*other) == twin_of_copy.do(*other), other
    assert original.facts() == twin.facts()
    assert copy.facts() == twin_of_copy.facts()


@given(st.randoms(use_true_random=True), st.sampled_from(POLICIES))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_suspended_pass_begins_anew_in_the_copy(rng, policy):
    machine, tree = some_machine(rng)
    original, twin = [Played(scheduler(machine, *policy)) for _ in range(2)]
    for step in [*script(rng, machine, tree, 1, 40), ("slice", 0, 0, 0)]:
        assert original.do(*step) == twin.do(*step)
    copy, other = original.fork(), original.fork()
    finish_pass(original, twin)
    assert original.facts() == twin.facts()
    finish_pass(copy, other)
    assert copy.facts() == other.facts()
    for step in script(rng, machine, tree, 1000, 20):
        assert original.do(*step) == twin.do(*step)
        assert copy.do(*step) == other.do(*step)
    assert original.facts() == twin.facts()
    assert copy.facts() == other.facts()


def test_resources_that_are_used_once():
    """What jobs had that are over stays lost where the plan is made anew."""
    engine = machine(3, 4, plugin="backfill.plugin1", sched_once=True)
    engine.add(1, nodes(1, 5))
    engine.add(2, request(nslots=1, cores=2, duration=5))
    engine.schedule(1.0)
    engine.free(1)
    engine.free(2)
    copy = engine.fork()
    for each in (engine, copy):
        each.add(3, request(nslots=4, cores=1, duration=5))
        each.add(4, request(nslots=3, cores=1, duration=5))
        assert each.schedule(7.0).started == [3]
        assert each.allocated_ranks(3) == "1-2"
        assert each.estimate(4) == 12.0
        each.free(3, final=False, ranks="1")
        each.free(3)
        each.schedule(13.0)
        assert each.estimate(4) is None
        each.sanity_check()


@pytest.mark.parametrize("source", [COUNTING, COPYING])
def test_plugin_in_plain_python(tmp_path, source):
    (tmp_path / "counting.py").write_text(source)
    original, twin, copy_twin = [Played(machine(2, 4, plugin=str(tmp_path / "counting.py"))) for _ in range(3)]

    def steps(first):
        for jobid in range(first, first + 12):
            yield "add", jobid, request(nslots=1 + jobid % 5, duration=3.0 + jobid % 4), 16
            yield "pass", 2, 0, 0
            yield "end", 0, 0, 0

    for step in steps(1):
        assert original.do(*step) == twin.do(*step) == copy_twin.do(*step)
    copy = original.fork()
    for step, other in zip(steps(100), steps(203)):
        assert original.do(*step) == twin.do(*step)
        assert copy.do(*other) == copy_twin.do(*other)
    assert original.facts() == twin.facts()
    assert copy.facts() == copy_twin.facts()


def test_a_plugin_that_cannot_be_copied(tmp_path):
    source = COUNTING.replace("self.starts = []", "self.starts = open(__file__)")
    (tmp_path / "held.py").write_text(source)
    engine = machine(2, plugin=str(tmp_path / "held.py"))
    with pytest.raises(PluginError, match="cannot be copied: TypeError: .*TextIOWrapper"):
        engine.fork()


def test_not_in_a_pass(tmp_path):
    (tmp_path / "inside.py").write_text(COUNTING.replace(
        "self.starts.append(job)", "import builtins; builtins.inside_engine.fork()"))
    engine = machine(2, plugin=str(tmp_path / "inside.py"))
    engine.add(1, cores(1))
    builtins.inside_engine = engine
    try:
        with pytest.raises(PluginError, match="cannot be copied in a pass"):
            engine.schedule(1.0)
    finally:
        del builtins.inside_engine


def test_attributes_of_a_policy_are_copied():
    engine = machine(2, plugin="backfill.plugin1", options="reserve-depth=3,queue-depth=7,io-aware=false")
    engine.policy.queue_depth = 5
    policy = engine.fork().policy
    assert policy is not engine.policy
    assert (policy.name, policy.options) == (engine.policy.name, engine.policy.options)
    for name in ("queue_depth", "io_aware", "steady", "quiet_after"):
        assert getattr(policy, name) == getattr(engine.policy, name)


def populated():
    """A small engine with one of everything: jobs that run and wait, constraints, queues, trees, users."""
    engine = scheduler(Inventory.from_rdl(hype(4, 400, 100)), "backfill.plugin1", "order=multifactor")
    engine.property_add("odd", "1,3")
    for jobid in range(1, 30):
        more = {"queue": "ab"[jobid % 2], "duration": 5.0 + jobid % 7}
        if jobid % 3 == 0:
            wanted = tree_request(vertex("slot", 1, vertex("core", 1), vertex("memory", 300)), **more)
        elif jobid % 4 == 0:
            wanted = accepts(request(**more), (), (1, 2, 3))
        else:
            constraint = {"properties": ["odd"]} if jobid % 5 == 0 else None
            wanted = request(nslots=1 + jobid % 3, constraint=constraint, **more)
        engine.add(jobid, wanted, 16, float(jobid), jobid % 4)
    engine.schedule(30.0)
    assert engine.running_jobs() and len(engine.waiting()) > 10
    return engine


def test_each_allocation_fails_in_turn():
    engine = populated()
    expected = Played(engine).facts()
    n = 0
    while True:
        n += 1
        memory.fail_allocation(n)
        try:
            copy = engine.fork()
        except MemoryError:
            assert memory.fail_allocation(0) == 0
            assert Played(engine).facts() == expected
            continue
        finally:
            left = memory.fail_allocation(0)
        assert left
        break
    assert Played(copy).facts() == expected == Played(engine).facts()
    # Arrays by the dozen, chunks of the queue, and what each job that runs holds.
    assert n > 60


def test_no_leak_in_100000_forks():
    engine = populated()

    def forks(count):
        for i in range(count):
            copy = engine.fork()
            if i % 100 == 0:
                copy.free(copy.running_jobs()[0])
                copy.schedule(31.0)
        del copy
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = forks(5000)
    # KiB; one leaked array of a job a fork would be megabytes.
    assert forks(95000) - before < 1500
