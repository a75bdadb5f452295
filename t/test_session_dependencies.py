# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that wait for other jobs, for a time, or for their turn."""

import errno
import json
import re
import time
from datetime import datetime
from types import SimpleNamespace

import pytest

from embedded import Session, until
from fluxsched.session.broker import dependencies
from fluxsched.session.commands import begintime


@pytest.fixture(scope="module")
def session():
    with Session("-s8") as session:
        yield session


def submit(session, *words):
    return session("submit", *words)


def notes(session, jobid):
    """The notes of a job's exceptions."""
    return [event["context"]["note"] for event in session.events(jobid) if event["name"] == "exception"]


def names(session, jobid):
    return [event["name"] for event in session.events(jobid)]


def shown(session, jobid, what):
    return session("jobs", "-a", "-no", f"{{{what}}}", jobid)


def over(session, *jobids):
    """Wait until jobs are over."""
    until(lambda: set(session("jobs", "-a", "-no", "{state}", *jobids).split()) == {"INACTIVE"}, "the end of jobs")


def test_after_each_outcome(session):
    outcomes = {}
    gate = submit(session, "--job-name=gate", "sleep", "60")
    for scheme in ("afterstart", "afterany", "afterok", "afternotok", "afterexcept"):
        outcomes[scheme] = submit(session, f"--dependency={scheme}:{gate}", "true")
    session.wait_state(outcomes["afterstart"], "INACTIVE")
    assert shown(session, outcomes["afterok"], "state") == "DEPEND"
    assert shown(session, outcomes["afterok"], "dependencies") == f"after-success={gate}"
    assert shown(session, outcomes["afterok"], "contextual_info") == f"depends:after-success={gate}"
    text = session("sched", "why", outcomes["afterok"])
    assert text == (f"{outcomes['afterok']} waits for what it depends on, and has not been handed to the scheduler: "
                    f"after-success={gate}")
    later = submit(session, "--begin-time=2100-01-31 12:00", "true")
    assert session("sched", "why", later).endswith("the scheduler: begin-time 2100-01-31 12:00")
    session("cancel", gate, later)
    over(session, *outcomes.values())
    never = f"dependency after-success={gate} can never be satisfied: "
    assert session("sched", "why", outcomes["afterok"]).startswith(f"{outcomes['afterok']} is over: FAILED: {never}")
    for scheme, jobid in outcomes.items():
        assert shown(session, jobid, "result") == ("FAILED" if scheme == "afterok" else "COMPLETED")
    assert notes(session, outcomes["afterok"]) == [
        f"dependency after-success={gate} can never be satisfied: the job failed or was canceled"]
    assert names(session, outcomes["afternotok"])[2:6] == ["dependency-add", "dependency-remove", "depend", "priority"]
    line = session("jobs", "-a", "-no", "{t_depend} {t_priority} {t_sched} {t_run}", outcomes["afternotok"])
    stamps = [float(word) for word in line.split()]
    assert stamps == sorted(stamps) and stamps[0] < stamps[1]


def test_jobs_that_are_over_already(session):
    good, bad = submit(session, "true"), submit(session, "false")
    over(session, good, bad)
    uris = [f"afterok:{good}", f"after:{good}", f"afterany:{bad}", f"afternotok:{bad}"]
    assert session.run("run", *[f"--dependency={uri}" for uri in uris], "true").returncode == 0
    for uri, text in [
        (f"afterok:{bad}", f"dependency: afterok: job {bad}: failed or was canceled"),
        (f"afternotok:{good}", f"dependency: afternotok: job {good}: succeeded"),
        (f"afterexcept:{bad}", f"dependency: afterexcept: job {bad}: no exception"),
        ("afterok:ƒ1", "dependency: afterok: id ƒ1: job not found"),
        ("afterok:" + "9" * 30, "is not a valid jobid"),
        ("afterok", "dependency: afterok: '' is not a valid jobid"),
        ("odd:1", "dependency: scheme 'odd' is not supported: expected one of after, "),
        ("singleton", "dependency: singleton jobs require a job name"),
        ("begin-time:soon", "dependency: Invalid begin-time='soon': expected seconds since the epoch"),
        ("begin-time:nan", "dependency: Invalid begin-time='nan'"),
        (":1", "--dependency: Invalid dependency URI ':1': expected SCHEME:VALUE"),
        ("Afterok:1", "--dependency: Invalid dependency URI 'Afterok:1'"),
        ("after ok:1", "--dependency: Invalid dependency URI 'after ok:1'"),
    ]:
        done = session.run("submit", "--dependency=" + uri, "true")
        assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr, uri
    canceled = submit(session, "--urgency=hold", "true")
    session("cancel", canceled)
    for scheme in ("afterstart", "afterok", "afternotok", "afterexcept"):
        done = session.run("submit", f"--dependency={scheme}:{canceled}", "true")
        assert done.returncode == 1 and f"job {canceled}: never started" in done.stderr


@pytest.mark.parametrize("value, text", [
    ("1", "attributes.system.dependencies: expected a list of at most 1000"),
    ("[1]", "attributes.system.dependencies[0]: expected an object with scheme and value, both strings"),
    ('[{"scheme":"afterok","value":1}]', "attributes.system.dependencies[0]: expected an object"),
])
def test_malformed(session, value, text):
    done = session.run("submit", "--setattr=dependencies=" + value, "true")
    assert done.returncode == 1 and text in done.stderr


def test_a_chain_ends_with_its_first(session):
    first = submit(session, "--urgency=hold", "true")
    chain = [first]
    for _ in range(5):
        chain.append(submit(session, f"--dependency=afterok:{chain[-1]}", "true"))
    last = submit(session, f"--dependency=afterany:{chain[-1]}", f"--dependency=afterany:{chain[-1]}", "true")
    assert session.run("job", "urgency", chain[1], "20").returncode == 0
    assert session.run("update", chain[2], "duration=5m").returncode == 0
    session("cancel", first)
    session.wait_state(last, "INACTIVE")
    assert sorted(session("jobs", "-a", "-no", "{result}", *chain).split()) == ["CANCELED"] + ["FAILED"] * 5
    assert names(session, last).count("dependency-add") == 1 and shown(session, last, "result") == "COMPLETED"
    assert shown(session, chain[1], "urgency") == "20" and shown(session, chain[2], "duration") == "300.0"


def test_a_job_that_waits_is_canceled(session):
    first = submit(session, "--urgency=hold", "true")
    second = submit(session, f"--dependency=afterok:{first}", "true")
    session("cancel", second)
    session.wait_state(second, "INACTIVE")
    assert names(session, second)[-2:] == ["exception", "clean"] and shown(session, second, "result") == "CANCELED"
    session("cancel", first)


def test_copies_wait(session):
    first = submit(session, "--urgency=hold", "true")
    copies = submit(session, "--cc=0-2", f"--dependency=afterok:{first}", "true").split()
    assert set(session("jobs", "-no", "{state}", *copies).split()) == {"DEPEND"}
    session("job", "urgency", first, "default")
    over(session, *copies)
    assert set(session("jobs", "-a", "-no", "{result}", *copies).split()) == {"COMPLETED"}


def test_singletons_run_one_after_another(session):
    copies = submit(session, "--cc=1-4", "--job-name=one", "--dependency=singleton", "sleep", "0.05").split()
    over(session, *copies)
    lines = session("jobs", "-a", "-no", "{t_run} {t_inactive}", *copies).splitlines()
    spans = sorted([float(word) for word in line.split()] for line in lines)
    assert len(spans) == 4 and all(before[1] <= after[0] for before, after in zip(spans, spans[1:]))
    other = submit(session, "--job-name=one", "--urgency=hold", "true")
    waiting = submit(session, "--job-name=one", "--dependency=singleton", "true")
    assert shown(session, waiting, "contextual_info") == "depends:singleton"
    session("cancel", other)
    session.wait_state(waiting, "INACTIVE")


def test_begin_time(session):
    before = time.time()
    jobid = submit(session, "--begin-time=+1s", "true")
    assert shown(session, jobid, "contextual_info").startswith("depends:begin@")
    session.wait_state(jobid, "INACTIVE")
    assert float(shown(session, jobid, "t_sched")) >= before + 1
    later = submit(session, "--begin-time=2030-01-31 12:00:05", "true")
    assert shown(session, later, "dependencies") == "begin@Jan31-12:00:05"
    session("cancel", later)
    session.wait_state(submit(session, "--begin-time=now", "true"), "INACTIVE")


def test_waits_over_a_kill(tmp_path):
    options = [f"--statedir={tmp_path}/state"]
    with Session(*options) as session:
        first = submit(session, "--urgency=hold", "--job-name=x", "true")
        second = submit(session, f"--dependency=afterok:{first}", "true")
        third = submit(session, f"--dependency=afterok:{second}", "true")
        turn = submit(session, "--job-name=x", "--dependency=singleton", "true")
        canceled = submit(session, f"--dependency=afternotok:{first}", "true")
        soon = submit(session, "--begin-time=+1s", "true")
        session.kill()
    with Session(*options) as session:
        assert session("jobs", "-no", "{state}", second, third, turn, canceled).split() == ["DEPEND"] * 4
        session("job", "urgency", first, "default")
        over(session, second, third, turn, canceled, soon)
        for jobid in (second, third, turn, canceled, soon):
            assert shown(session, jobid, "result") == ("FAILED" if jobid == canceled else "COMPLETED")
            assert names(session, jobid).count("dependency-remove") == (jobid != canceled)


def test_a_limit_of_two_months(session):
    """Selectors wait for 24 days at the most."""
    assert session("run", "-t60d", "echo", "ran") == "ran"
    jobid = submit(session, "-t60d", "--setattr=exec.test.run_duration=50d", "true")
    session.wait_state(jobid, "RUN")
    session("cancel", jobid)
    session.wait_state(jobid, "INACTIVE")


def test_dry_run(session):
    options = ["--dependency=afterok:ƒ1?a=1&b=2&b=3", "--dependency=singleton", "--begin-time=+1h"]
    spec = json.loads(session("submit", "--dry-run", *options, "true"))
    first, second, third = spec["attributes"]["system"]["dependencies"]
    assert first == {"scheme": "afterok", "value": "ƒ1", "a": "1", "b": ["2", "3"]}
    assert second == {"scheme": "singleton", "value": ""}
    assert third["scheme"] == "begin-time" and abs(float(third["value"]) - time.time() - 3600) < 60


@pytest.mark.parametrize("text, expected", [
    ("2030-01-31 12:00", datetime(2030, 1, 31, 12, 0)),
    ("Jan 31 2030 8am", datetime(2030, 1, 31, 8, 0)),
])
def test_times(text, expected):
    assert begintime.parse(text) == expected.astimezone().timestamp()


@pytest.mark.parametrize("text, message", [
    ("gurke", "'gurke': expected a time such as +30m"),
    ("", "expected a time such as"),
    ("+", "expected a duration"),
    ("+inf", "expected a time since 1970"),
    ("-100000d", "expected a time since 1970"),
    ("x" * 300, "expected a time such as"),
])
def test_times_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        begintime.parse(text)


def test_a_job_that_is_forgotten_can_never_hold():
    """The record of the other job may be gone from the store after a restart."""
    def lookup(jobid):
        raise dependencies.RequestError(errno.ENOENT, "unknown job id")

    told = []
    manager = SimpleNamespace(lookup=lookup, active={}, exception=lambda job, *rest: told.append(rest))
    waiting = SimpleNamespace(id=7, state=dependencies.DEPEND, info={"dependencies": ["after-success=ƒ1"]})
    manager.active[7] = waiting
    dependencies.Dependencies(manager)._look_again(7)
    text = "dependency after-success=ƒ1 can never be satisfied: the job is not known any more"
    assert told == [("dependency", 0, text)]
