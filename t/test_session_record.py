# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of a session's scheduler, through SIGKILLs."""

import os
import random
import stat
import time

from embedded import Session, flux, until
from fluxsched.service.parts import numbered


def play(session, rng, jobs):
    """Do something at random."""
    action = rng.random()
    if action < 0.5 or not jobs:
        words = rng.choice([["-n1"], ["-n2"], ["-N1", "--exclusive"], ["-n1", "--urgency=20"], ["-n1", "-t1m"]])
        jobs.append(session("submit", *words, "sleep", rng.choice(["0", "0.2", "60"])))
    elif action < 0.75:
        session.run("cancel", jobs.pop(rng.randrange(len(jobs))))
    elif action < 0.85:
        session.run("job", "urgency", rng.choice(jobs), str(rng.randrange(1, 31)))
    elif action < 0.9:
        session("queue", "stop")
        session("queue", "start")
    else:
        session("module", "reload", "sched", f"plugin={rng.choice(['sched.plugin1', 'backfill.plugin1'])}")


def test_a_record_goes_through_kills(tmp_path):
    """Jobs come and go at random, the session is killed twice, and the module is reloaded: every decision is the same
    again."""
    rng = random.Random(11)
    record = tmp_path / "record"
    jobs = []
    for kill in (True, True, False):
        with Session(f"--statedir={tmp_path}/state", FLUX_SCHED_RECORD=str(record)) as session:
            for _ in range(6):
                play(session, rng, jobs)
            if kill:
                session.kill()
            else:
                session("cancel", "--all")
                session("queue", "drain")
    assert stat.S_IMODE(os.stat(record).st_mode) == 0o700
    assert all(stat.S_IMODE(os.stat(path).st_mode) == 0o600 for _, path in numbered(record))
    assert len(numbered(record)) >= 3
    done = flux("sched", "replay", str(record))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " decisions, all the same (" in done.stdout


def test_what_is_older_than_a_second_survives_a_kill(tmp_path):
    record = tmp_path / "record"
    with Session(FLUX_SCHED_RECORD="") as session:
        session("module", "load", "sched", f"record={record}")
        session("submit", "--wait", "true")
        time.sleep(1.1)
        session.kill()
    last = numbered(record)[-1][1].read_text()
    assert '"pass"' in last and '"free"' in last
    assert "all the same" in flux("sched", "replay", str(record)).stdout


def test_a_folder_that_cannot_be_used_is_refused_at_load(tmp_path):
    (tmp_path / "file").write_text("")
    with Session("--no-sched") as session:
        assert "Not a directory" in session.fail("module", "load", "sched", f"record={tmp_path}/file")
        assert "No such file" in session.fail("module", "load", "sched", f"record={tmp_path}/a/b")
        assert "record-age" in session.fail("module", "load", "sched", "record-age=never")
        session("module", "load", "sched", "record=here", cwd=tmp_path)
        until(lambda: (tmp_path / "here" / "part-000001.jsonl").exists())
