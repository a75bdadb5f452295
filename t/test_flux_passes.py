# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A pass that takes long, in a real instance: the module answers, and what was started goes out."""

import pytest

from fluxinstance import Instance, config_text, jobspec

pytestmark = pytest.mark.flux

JOBS = 400
SLOW = """
import time
from fluxsched.policy.pyplugin import GO_ON, RESOURCES


class Plugin:
    def __init__(self, options):
        self.queue_depth = -1

    def sched_loop_setup(self, engine):
        pass

    def find_resources(self, engine, job):
        time.sleep(0.01)
        return engine.fits_now(job)

    def select_resources(self, engine, job):
        return engine.select(job)

    def allocate_resources(self, engine, job):
        engine.start(job)

    def reserve_resources(self, engine, job):
        engine.explain(job, RESOURCES)
        return GO_ON
"""


def test_a_pass_that_takes_seconds_holds_nothing_up(tmp_path):
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    with Instance(tmp_path, size=1, config=config_text(hosts="fake0", cores="0-3"), record="") as instance:
        instance.load(f"plugin={plugin}")
        instance.flux("queue", "stop")
        instance.submit(*[jobspec() for _ in range(JOBS)], run=600.0)
        instance.flux("queue", "start")
        seen = [instance.stats()]

        def answered_within_a_pass():
            """A request is answered, and started jobs run, between two slices of one pass."""
            instance.ask("rpc", topic="feasibility.check", payload={"jobspec": jobspec()})
            seen.append(instance.stats())
            before, after = seen[-2]["pass"], seen[-1]["pass"]
            on = before["count"] == after["count"] and before["slices"] < after["slices"]
            return on and seen[-1]["jobs"]["running"] == 4 and seen[-1]["jobs"]["pending"] > 0

        instance.wait(answered_within_a_pass, "an answer while a pass goes on")
        instance.wait(lambda: instance.stats()["jobs"]["pending"] == JOBS - 4, "all jobs")
        instance.submit(run=600.0)
        instance.wait(lambda: instance.stats()["pass"]["max"] > 0.009 * JOBS, "a pass over all of them")
        stats = instance.stats()["pass"]
        assert stats["slices"] > 10 and stats["longest_slice"] < stats["max"] / 4
        instance.flux("cancel", "--all", "--quiet")
