# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Starts that are foretold in an embedded session."""

import json

import pytest

from embedded import Session, until

CONFIG = """
[[resource.config]]
hosts = "n[0-1]"
cores = "0-3"

[sched]
plugin = "{}"
"""
PRETEND = "--setattr=exec.test.run_duration=600s"


@pytest.mark.parametrize("plugin", ["sched.plugin1", "backfill.plugin1"])
def test_every_waiting_job_has_a_start(tmp_path, plugin):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(plugin))
    with Session("-c", str(path)) as session:
        first = session("submit", "-N2", "-t10m", PRETEND, "true")
        session.wait_state(first, "RUN")
        waiting = [session("submit", "-N2", "-t2m", PRETEND, "true") for _ in range(4)]
        words = ("jobs", "-no", "{annotations.sched.t_estimate} {annotations.sched.t_late}")

        def told():
            rows = [session(*words, jobid).split() for jobid in waiting]
            return [[float(word) for word in row] for row in rows] if all(len(row) == 2 for row in rows) else None

        until(told, "the starts")
        rows = told()
        steps = [later[0] - earlier[0] for earlier, later in zip(rows, rows[1:])]
        assert steps == [pytest.approx(120.0, abs=0.01)] * 3
        assert all(start == late for start, late in rows)
        # The history is kept over a reload.
        session("cancel", first)
        session.wait_state(waiting[0], "RUN")
        session("module", "reload", "sched")
        kept = json.loads(session("kvs", "get", "sched.history"))
        assert [len(parts) for parts in kept["users"].values()] == [1]
        until(lambda: session("jobs", "-no", "{annotations.sched.t_likely}", waiting[3]).strip(), "the start")
        session("cancel", *waiting)
