# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux queue: stopped and disabled queues, and waiting for them to be empty."""

import json
import threading
from types import SimpleNamespace

import pytest

from embedded import Session, until
from fluxsched.session.broker.queues import Queues

STARTED, STOPPED = "Scheduling is started", "Scheduling is stopped"


@pytest.fixture
def session():
    with Session("-s1") as session:
        yield session


@pytest.fixture
def queues(tmp_path):
    """The options of a session with two queues."""
    config = tmp_path / "flux.json"
    config.write_text(json.dumps({"queues": {"batch": {}, "debug": {}}}))
    return [f"--config-path={config}", f"--statedir={tmp_path}/state"]


def failure(session, *words):
    done = session.run(*words)
    assert done.returncode == 1, done
    return done.stderr.strip()


def reason(session, jobid):
    return session.job(jobid)["annotations"].get("sched", {}).get("reason_pending")


def test_stopped_queue_starts_nothing_until_it_is_started(session, tmp_path):
    running = session("submit", "sleep", "60")
    session.wait_state(running, "RUN")
    assert session("queue", "stop", "-m", "for repair") == f"{STOPPED}: for repair"
    ids = [session("submit", "true") for _ in range(3)]
    ids += session("submit", "--cc=1-2", "true").split()
    assert {session.job(each)["state"] for each in ids} == {"SCHED"}
    assert {reason(session, each) for each in ids} == {"the queue is stopped: for repair"}
    assert session.job(running)["state"] == "RUN"
    assert session("queue", "status", "-v").splitlines() == [
        "Job submission is enabled", f"{STOPPED}: for repair", "5 alloc requests queued",
        "0 alloc requests pending to scheduler", "1 running jobs",
    ]  # fmt: skip
    assert session("queue", "start") == STARTED
    for each in ids:
        session.wait_state(each, "INACTIVE")
        assert session.job(each)["result"] == "COMPLETED"
    session("cancel", running)


def test_jobs_that_the_scheduler_knows_are_taken_back(session):
    running = session("submit", "-N1", "sleep", "60")
    session.wait_state(running, "RUN")
    jobid = session("submit", "true")
    until(lambda: reason(session, jobid), "a reason of the scheduler")
    assert session("queue", "stop") == STOPPED
    until(lambda: reason(session, jobid) == "the queue is stopped", "its reason")
    session("cancel", running)
    session.wait_state(running, "INACTIVE")
    assert session.job(jobid)["state"] == "SCHED"
    session("job", "urgency", jobid, "20")
    assert session.job(jobid)["state"] == "SCHED"
    session("queue", "start", "--quiet")
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["result"] == "COMPLETED"
    stopped = session("queue", "stop")
    assert stopped == STOPPED
    jobid = session("submit", "true")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")


def test_disabled_queue_takes_nothing(session):
    assert session("queue", "disable") == "Job submission is disabled: disabled by administrator"
    assert failure(session, "submit", "true").endswith("job submission is disabled: disabled by administrator")
    assert failure(session, "submit", "--cc=1-3", "true").endswith("is disabled: disabled by administrator")
    assert session("queue", "disable", "-m", "later") == "Job submission is disabled: later"
    assert failure(session, "run", "true").endswith("job submission is disabled: later")
    assert session("queue", "status") == f"Job submission is disabled: later\n{STARTED}"
    assert session("queue", "enable") == "Job submission is enabled"
    assert session.run("run", "true").returncode == 0


def test_each_queue_by_its_name(queues):
    with Session(*queues) as session:
        for verb in ("stop", "start", "disable", "enable"):
            text = failure(session, "queue", verb)
            assert text.endswith("ERROR: Named queues are defined. Specify queues or use --all."), text
            assert failure(session, "queue", verb, "odd").endswith("ERROR: 'odd' is not a valid queue")
            assert failure(session, "queue", verb, "-q", "batch", "debug").endswith("ERROR: specify the queue once")
        assert failure(session, "queue", "status", "odd").endswith("ERROR: 'odd' is not a valid queue")
        assert session("queue", "stop", "batch") == f"batch: {STOPPED}"
        assert session("queue", "disable", "-q", "debug", "-m", "no") == "debug: Job submission is disabled: no"
        waits = session("submit", "-q", "batch", "true")
        assert failure(session, "submit", "-q", "debug", "true").endswith("job submission to debug is disabled: no")
        assert reason(session, waits) == "queue batch is stopped"
        assert session("queue", "status").splitlines() == [
            "batch: Job submission is enabled", f"batch: {STOPPED}",
            "debug: Job submission is disabled: no", f"debug: {STARTED}",
        ]  # fmt: skip
        assert session("queue", "enable", "--all").splitlines() == [
            "batch: Job submission is enabled", "debug: Job submission is enabled",
        ]  # fmt: skip
        assert session.run("run", "-q", "debug", "true").returncode == 0
        assert session.job(waits)["state"] == "SCHED"
        session("queue", "start", "-a", "--quiet")
        session.wait_state(waits, "INACTIVE")


def test_what_is_set_outlives_the_session_unless_asked_not_to(queues):
    with Session(*queues) as session:
        session("queue", "stop", "batch", "-m", "kept")
        session("queue", "disable", "batch", "-m", "kept, too")
        session("queue", "stop", "debug", "--nocheckpoint")
        session("queue", "disable", "debug", "--nocheckpoint")
        waits = session("submit", "-q", "debug", "true") if session("queue", "enable", "debug") else ""
        session.kill()
    with Session(*queues) as session:
        assert session("queue", "status").splitlines() == [
            "batch: Job submission is disabled: kept, too", f"batch: {STOPPED}: kept",
            "debug: Job submission is enabled", f"debug: {STARTED}",
        ]  # fmt: skip
        session.wait_state(waits, "INACTIVE")
        session.kill()


@pytest.mark.parametrize("text", [None, "", "[]", "no json", '{"stopped":5}'])
def test_what_was_kept_and_is_damaged_stops_nothing(text):
    store = SimpleNamespace(meta=lambda key: text)
    found = Queues(SimpleNamespace(config={}, store=store))
    assert (found.stopped, found.disabled) == ({}, {})
    assert found.check("") is None
    assert found.why_stopped({"queue": ""}) is None


def test_waiting_for_the_queue_to_be_empty_and_for_jobs_to_end(session):
    session("queue", "drain")
    assert session("queue", "idle") == "0 jobs"
    assert session("queue", "idle", "--quiet") == ""
    running = session("submit", "sleep", "60")
    held = session("submit", "--urgency=0", "true")
    assert failure(session, "queue", "drain", "-t0.2s").endswith("ERROR: drain: timeout")
    assert failure(session, "queue", "idle", "--timeout=200ms").endswith("ERROR: idle: timeout")
    found = {}
    threads = [
        threading.Thread(target=lambda verb=verb: found.update({verb: session("queue", verb)}))
        for verb in ("idle", "drain")
    ]
    for thread in threads:
        thread.start()
    session("cancel", running)
    threads[0].join()
    assert found == {"idle": "1 jobs"}
    session("cancel", held)
    threads[1].join()
    assert found["drain"] == ""
    assert session.run("queue", "drain", "-todd").returncode == 2


def test_queue_without_a_scheduler():
    with Session("--no-sched") as session:
        assert session("queue", "status").splitlines()[1] == f"{STOPPED}: no scheduler is loaded"
        assert session("queue", "stop", "-m", "why") == f"{STOPPED}: why"
        jobid = session("submit", "true")
        session("module", "load", "sched")
        assert session.job(jobid)["state"] == "SCHED"
        session("queue", "start")
        session.wait_state(jobid, "INACTIVE")
