# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Starts that are foretold in a real Flux."""

import pytest

from fluxinstance import Instance, config_text, flux_command

pytestmark = pytest.mark.flux


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_every_waiting_job_has_a_start(tmp_path, plugin):
    flux_command()
    with Instance(tmp_path, size=2, config=config_text()) as instance:
        instance.load(f"plugin={plugin}")
        first = instance.submit(nodes=2, exclusive=True, duration=600.0, run=600.0)
        instance.event(first, "start")
        waiting = [instance.submit(nodes=2, exclusive=True, duration=100.0, run=100.0) for _ in range(4)]
        endless = instance.submit(nodes=2, exclusive=True, run=100.0)
        behind = instance.submit(nodes=2, exclusive=True, duration=100.0, run=100.0)
        for jobid in waiting:
            instance.wait(lambda jobid=jobid: instance.annotation(jobid, "t_estimate") is not None, "an estimate")
        instance.wait(lambda: instance.annotation(endless, "t_estimate"), "an estimate")
        said = "without a time limit"
        instance.wait(lambda: said in (instance.annotation(behind, "reason_pending") or ""), "a word of no limit")
        assert instance.annotation(behind, "t_estimate") is None
        rows = instance.ask("rpc", topic="sched.forecast")["jobs"]
        assert [row["id"] for row in rows] == [*waiting, endless, behind]
        starts = [row["t_estimate"] for row in rows]
        steps = [later - earlier for earlier, later in zip(starts[:4], starts[1:4])]
        assert steps == [pytest.approx(100.0, abs=0.01)] * 3 and starts[5] is None
        # A move by less than a hundredth of the wait is not told.
        for key in ("t_estimate", "t_late"):
            assert [instance.annotation(jobid, key) for jobid in waiting] == pytest.approx(starts[:4], abs=12.0)
        # What the first one did with its time is kept over a reload.
        instance.end(first)
        instance.wait(lambda: instance.ask("rpc", topic="sched.stats-get")["counts"]["free"] == 1, "the end")
        instance.flux("module", "reload", "sched", f"plugin={plugin}")
        assert '"users"' in instance.flux("kvs", "get", "sched.history")
        def sooner():
            likely, latest = [instance.annotation(waiting[2], key) for key in ("t_likely", "t_estimate")]
            # What runs may have run for longer than was likely, and then counts for its limit; the next one does not.
            return likely is not None and likely < latest - 80

        instance.wait(sooner, "a start that is likely to be sooner")
        instance.end(*waiting, endless, behind)
