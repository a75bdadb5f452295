# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A part of a record may begin at any point between two calls of the engine, and stands alone: what it begins with is
all that decides from there on."""

import json
import random
import shutil
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxsched.core import Inventory
from fluxsched.formats.jobspec import Request
from fluxsched.policy.loader import load_plugin
from fluxsched.service import parts as files
from fluxsched.service.recording import RecordedEngine, head, state
from fluxsched.service.settings import parse
from fluxsched.twin.replay import Replay

NODES, CORES = 4, 2

# Counts passes, and lets two jobs of a queue run at a time.
COUNTS = """
from fluxsched.policy.pyplugin import GO_ON
class Plugin:
    def __init__(self, options):
        self.passes = 0
    def sched_loop_setup(self, engine):
        self.passes += 1
        engine.reorder(lambda job: (job.predicted or 0) * (1 if self.passes % 3 else -1))
    def find_resources(self, engine, job):
        queue = engine.info(job).queue
        return sum(each.queue == queue for each in engine.running()) < 2 and engine.fits_now(job)
    def select_resources(self, engine, job):
        return engine.select(job)
    def allocate_resources(self, engine, job):
        engine.start(job)
    def reserve_resources(self, engine, job):
        if not engine.reserved(job):
            engine.reserve(job)
        return GO_ON
"""
POLICIES = [
    ("sched.plugin1", "order=sjf,aging=40"), ("backfill.plugin1", "reserve-depth=-1,queue-depth=3"),
    ("backfill.plugin1", "order=multifactor,half-life=20,max-age=30"), ("backfill.plugin1", "order=f1,aging=30"),
    ("backfill.plugin1", "reserve-depth=1,run-times=predicted,backfill-order=shortest"),
    ("backfill.plugin1", "reserve-depth=-1,compression=true"),
    ("backfill.plugin1", "reserve-depth=-1,compression=true,compression-interval=20"),
    ("backfill.plugin1", "reserve-depth=-1,compression=true,order=sjf,aging=0"), ("counts", ""),
]


class Play:
    """A live engine that is told random things; `rows` is what a recorder hears."""

    def __init__(self, rng, plugin, options):
        self.rng = rng
        self.time = 1000.0
        self.jobs = 0
        # Where all is used once, there is little to see.
        once = rng.random() < 0.1
        self.engine = RecordedEngine(Inventory.from_counts(NODES, CORES, 1), load_plugin(plugin, options), once)
        self.engine.clock = lambda: self.time
        self.rows = []
        self.engine.note = self.rows.append

    def cut(self):
        """A part begins here: the rows of its state; what was heard before is forgotten."""
        about = {**head(self.engine, self.time), "continues": False, "settings": parse([])._asdict()}
        first = [["head", about], *state(self.engine, self.time), ["begun", self.time]]
        self.rows.clear()
        self.engine.plan_anew()
        return json.loads(json.dumps(first))

    def act(self):
        rng, engine = self.rng, self.engine
        self.time += rng.choice([0.0, 0.0, 1.0, 5.0, 13.0, 13.0])
        waiting = [job for job in engine.asked if engine.waits(job)]
        running = engine.running_jobs()
        what = rng.random()
        ranks = str(rng.randrange(NODES))
        if what < 0.3:
            self.add()
        elif what < 0.55:
            engine.schedule(self.time, rng.choice([-1, -1, -1, 1, 2]))
        elif what < 0.7 and running:
            job = rng.choice(running)
            if rng.random() < 0.2 and engine.allocated_ranks(job):
                engine.free(job, engine.allocated_ranks(job).split(",")[0].split("-")[0], False)
            else:
                # At its end, or early.
                if rng.random() < 0.5:
                    self.time = max(self.time, engine.times(job)[1])
                engine.free(job)
        elif what < 0.76 and waiting:
            engine.cancel(rng.choice(waiting))
        elif what < 0.8 and waiting:
            engine.reprioritize(rng.choice(waiting), rng.choice([8, 16, 24]))
        elif what < 0.85 and running:
            engine.update_expiration(rng.choice(running), rng.choice([0.0, self.time + 3.0, self.time + 60.0]))
        elif what < 0.87:
            engine.set_expiration(rng.choice([0.0, self.time + 50.0, self.time + 500.0]))
        elif what < 0.91:
            engine.mark_down(ranks)
        elif what < 0.96:
            engine.mark_up(ranks)
        elif what < 0.98:
            change = rng.choice([engine.property_add, engine.property_remove])
            change(rng.choice("ab"), ranks)
        elif what < 0.985:
            engine.remove(ranks)

    def add(self):
        rng = self.rng
        self.jobs += 1
        constraint = rng.choice([None, None, None, {"properties": ["a"]}, {"not": [{"properties": ["b"]}]}])
        duration = rng.choice([0.0, 5.0, 10.0, 10.0, 20.0, 40.0])
        queue = rng.choice(["", "", "q"])
        if rng.random() < 0.6:
            request = Request(rng.randint(1, NODES), 1, CORES, 0, True, duration, queue, constraint, None)
        else:
            request = Request(0, rng.randint(1, 3), 1, rng.choice([0, 0, 1]), False, duration, queue, constraint, None)
        try:
            self.engine.add(self.jobs, request, rng.choice([16, 16, 20]), self.time, rng.randint(1, 3), self.jobs)
        except ValueError:
            pass    # a decision, too


def replayed(rows):
    """What a replay of a part finds, which is of these rows."""
    folder = tempfile.mkdtemp(prefix="part")
    try:
        writer = files.Parts(folder, 2**30, 1e9)
        writer.begin([json.dumps(row).encode() for row in rows])
        writer.complete()
        writer.close()
        run = Replay(folder)
        run.run()
        return run
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("plugin, options", POLICIES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), before=st.integers(1, 40), length=st.integers(1, 50))
def test_a_part_begins_anywhere(tmp_path_factory, plugin, options, seed, before, length):
    if plugin == "counts":
        plugin = str(tmp_path_factory.getbasetemp() / "counts.py")
        with open(plugin, "w") as file:
            file.write(COUNTS)
    play = Play(random.Random(seed), plugin, options)
    for _ in range(before):
        play.act()
    first = play.cut()
    for _ in range(length):
        play.act()
    run = replayed(first + play.rows)
    assert run.difference is None, run.difference._replace(part=None)
    # What the next part would begin with is the same, too.
    now = play.time
    assert json.loads(json.dumps(state(run.engine, now))) == json.loads(json.dumps(state(play.engine, now)))


COMPRESSION = ("backfill.plugin1", "reserve-depth=-1,compression=true")


def whole(nodes, duration):
    return Request(nodes, 1, CORES, 0, True, duration, "", None, None)


def up(play):
    play.engine.mark_up("3")


def cancelled(play):
    play.engine.cancel(2)


@pytest.mark.parametrize("change", [up, cancelled])
@pytest.mark.parametrize("first", [True, False])
def test_what_becomes_free_early_at_the_begin_of_a_part_is_noticed(change, first):
    """A node that comes up and a reservation that is given back let the next pass compress, before and after a part
    has begun."""
    play = Play(random.Random(1), *COMPRESSION)
    engine = play.engine
    if change is up:
        engine.mark_down("3")
    engine.add(1, whole(3, 10.0), sequence=1)
    engine.add(2, whole(3, 50.0), sequence=2)
    engine.add(3, whole(1 if change is up else 3, 70.0), sequence=3)
    assert engine.schedule(play.time).started == [1]
    if first:
        change(play)
        rows = play.cut()
    else:
        rows = play.cut()
        change(play)
    if change is up:
        play.time += 1.0
    else:
        play.time += 10.0
        engine.free(1)
    assert engine.schedule(play.time).started == [3]
    assert replayed(rows + play.rows).difference is None


def test_a_part_begins_with_a_job_whose_nodes_have_lost_what_it_asks_for():
    play = Play(random.Random(1), "sched.plugin1", "")
    play.engine.property_add("a", "0-1")
    play.engine.add(1, whole(2, 5.0)._replace(constraint={"properties": ["a"]}), sequence=1)
    play.engine.property_remove("a", "0")
    rows = play.cut()
    play.engine.property_add("a", "2")
    assert play.engine.schedule(play.time).started == [1]
    assert replayed(rows + play.rows).difference is None
