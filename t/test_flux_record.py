# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of a scheduler in a real instance replays to the same decisions, every one."""

import random
import shutil

import pytest

from fluxinstance import Instance, config_text, jobspec
from fluxsched.service.parts import numbered
from fluxsched.traces.load import load
from fluxsched.twin.read import parts
from recorded import check

pytestmark = pytest.mark.flux

# Nodes of a job come back one by one, at times that differ.
MORE = """
[policy]
jobspec.defaults.system.queue = "batch"
[queues.batch]
[queues.fast]
requires = ["fast"]
[job-manager.housekeeping]
command = ["sh", "-c", "sleep 0.$(($$ % 4))"]
release-after = "0s"
"""
CONFIG = config_text(gpus="0", properties={"fast": "fake[2-3]"}, more=MORE)
STEPS = 45


class Play:
    """Random requests to one instance."""

    def __init__(self, instance, rng):
        self.instance = instance
        self.rng = rng
        self.jobs = []
        self.plugin = "sched.plugin1"

    def submit(self):
        """Jobs of several shapes, some with a short time to run."""
        specs = []
        for _ in range(self.rng.randrange(1, 6)):
            queue = self.rng.choice(["batch", "fast"])
            more = {"constraints": {"properties": ["fast"]}} if queue == "fast" else {}
            shape = self.rng.choice([
                {"slots": self.rng.randrange(1, 9)}, {"nodes": self.rng.randrange(1, 4), "slots": 1, "cores": 2},
                {"nodes": self.rng.randrange(1, 5), "exclusive": True}, {"slots": 1, "gpus": 1}, {"nodes": 12},
            ])
            specs.append(jobspec(duration=self.rng.choice([0.0, 30.0, 600.0]), queue=queue, **shape, **more))
        found = self.instance.submit(*specs, run=self.rng.choice([0.05, 0.3, 60.0]))
        self.jobs += found if isinstance(found, list) else [found]

    def ask(self, topic, **payload):
        """A request that may come too late, or change nothing."""
        try:
            self.instance.ask("rpc", topic=topic, payload=payload)
        except OSError:
            pass

    def cancel(self):
        for jobid in self.rng.sample(self.jobs, min(2, len(self.jobs))):
            self.ask("job-manager.raise", id=jobid, type="cancel", severity=0)

    def urgency(self):
        if self.jobs:
            self.ask("job-manager.urgency", id=self.rng.choice(self.jobs), urgency=self.rng.randrange(31))

    def drain(self):
        self.ask(self.rng.choice(["resource.drain", "resource.undrain", "resource.undrain"]),
                 targets=str(self.rng.randrange(4)))

    def stop(self):
        queue = self.rng.choice(["batch", "fast"])
        for start in (False, True):
            self.ask("job-manager.queue-start", name=queue, start=start, all=False, nocheckpoint=False)
            self.submit()

    def update(self):
        if self.jobs:
            seconds = self.rng.choice([120.0, 3600.0])
            self.ask("job-manager.update", id=self.rng.choice(self.jobs),
                     updates={"attributes.system.duration": seconds})

    def reload(self):
        """The configuration names the plugin, an argument its options."""
        options = self.rng.choice(["", "queue-depth=3", "order=multifactor", "order=f1"])
        self.instance.reload(*([f"plugin-opts={options}"] if options else []))

    def configure(self):
        """Another policy while the module stays."""
        path = self.instance.folder / "config.toml"
        self.plugin = "sched.plugin1" if self.plugin == "backfill.plugin1" else "backfill.plugin1"
        path.write_text(f'{CONFIG}\n[sched]\nplugin = "{self.plugin}"\n')
        self.instance.flux("config", "reload")


def exported(instance, folder):
    """The recipe of doc/traces.md: jobs with their jobspecs, which tell what they asked for."""
    first = instance.submit(jobspec(nodes=2, exclusive=True, duration=30.0, queue="batch"), run=0.05)
    depend = {"dependencies": [{"scheme": "afterany", "value": str(first)}]}
    jobids = [first, *instance.submit(
        jobspec(slots=3, cores=2, duration=30.0, queue="fast", constraints={"properties": ["fast"]}),
        jobspec(slots=1, gpus=1, duration=30.0, queue="batch", **depend), run=0.05)]
    instance.flux("queue", "drain")
    lines = [instance.flux("jobs", "-aA", "-c", "0", "--json")]
    lines += [f"{jobid} {instance.flux('job', 'info', str(jobid), 'jobspec')}" for jobid in jobids]
    (folder / "jobs.json").write_text("".join(lines))
    trace = load(folder / "jobs.json")
    place = [trace.job_id.tolist().index(jobid) for jobid in jobids]
    asked = [trace.requests[trace.asked[at]] for at in place]
    assert [request[:5] for request in asked] == [(2, 1, 1, 0, True), (0, 3, 2, 0, False), (0, 1, 1, 1, False)]
    assert [trace.constraint[at] >= 0 for at in place] == [False, True, False]
    assert trace.constraints == [{"properties": ["fast"]}] and trace.exclusive[place].tolist() == [True, False, False]
    assert trace.after.tolist() == [[place[2], place[0], 0]] and trace.asked.tolist().count(-1) == len(trace) - 3


def test_a_random_day_replays_to_the_same_decisions(tmp_path):
    rng = random.Random(3)
    record = tmp_path / "record"
    with Instance(tmp_path, config=CONFIG, record=str(record)) as instance:
        instance.flux("queue", "start", "--all")
        instance.load()
        play = Play(instance, rng)
        # So many decisions there are, however few jobs a slow machine comes to between what follows.
        instance.submit(*[jobspec(duration=30.0, queue="batch") for _ in range(16)])
        often = [
            *[play.submit] * 5, *[play.cancel] * 4, *[play.urgency] * 2, *[play.drain] * 3, play.stop, play.update,
        ]
        for step in range(STEPS):
            rng.choice(often)()
            if step % 15 == 7:
                play.configure()
            elif step % 15 == 14:
                play.reload()
        play.ask("resource.undrain", targets="0-3")
        instance.ask("rpc", topic="job-manager.raiseall", payload={
            "dry_run": False, "userid": 0xFFFFFFFF, "states": 0x7F, "severity": 0, "type": "cancel"})
        instance.flux("queue", "drain")
        exported(instance, tmp_path)
    run = check(record)
    assert run.decisions > 30 and run.warnings == [] and run.replayed == 4
    rows = [row.values for part in parts(record) for row in part.rows()]
    assert {"add", "cancel", "priority", "up", "down", "policy", "end", "adopt", "pass"} <= {row[0] for row in rows}
    assert any(row[0] == "free" and not row[4] for row in rows)
    for number, path in numbered(record):
        single = tmp_path / f"single{number}"
        single.mkdir()
        shutil.copy(path, single)
        check(single)
