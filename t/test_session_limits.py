# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What jobs may ask for in a session: the limits of the configuration and of its queues, and the defaults."""

import json

import pytest

import specs
from embedded import Session, configured
from fluxsched.formats import jobspec
from fluxsched.session import config
from fluxsched.session.broker.limits import Limits, sizes
from fluxsched.session.commands import buildspec, submit
from fluxsched.session.commands.client import RPCError
from fluxsched.session.errors import RequestError, SessionError

CONFIG = {
    "resource": {"config": [{"hosts": "n[0-3]", "cores": "0-3", "gpus": "0"},
                            {"hosts": "n[2-3]", "cores": "0-3", "properties": ["big"]}]},
    "policy": {
        "jobspec": {"defaults": {"system": {"queue": "small", "duration": "10m"}}},
        "limits": {"duration": "1h", "job-size": {"max": {"nnodes": 2, "ncores": 6, "ngpus": 1}, "min": {"ncores": 2}}},
    },
    "queues": {
        "small": {},
        "big": {"requires": ["big"], "policy": {
            "jobspec": {"defaults": {"system": {"duration": "20m"}}},
            "limits": {"duration": "2h", "job-size": {"max": {"nnodes": -1, "ncores": -1}, "min": {"ncores": 0}}}}},
        "free": {"policy": {"limits": {"duration": "0", "job-size": {"min": {"ncores": -1, "nnodes": 2}}}}},
    },
}  # fmt: skip

#: (options, what is said; "" if the job is taken)
CASES = [
    ("-n2", ""),
    ("-n2 -t 1h", ""),
    ("-n2 -t 61m", "the job has a time limit of 1.017h, but it may have at most 1h in queue small"),
    ("-n6", ""),
    ("-n7", "the job asks for 7 cores, but it may ask for at most 6 in queue small"),
    ("-n1", "the job asks for 1 cores, but it may ask for at least 2 in queue small"),
    ("-n2 -g1", "the job asks for 2 gpus, but it may ask for at most 1 in queue small"),
    ("-N3 -n3", "the job asks for 3 nodes, but it may ask for at most 2 in queue small"),
    ("-N2 -n2", ""),
    ("-qbig -n1 -t 2h", ""),
    ("-qbig -n1 -t 121m", "the job has a time limit of 2.017h, but it may have at most 2h in queue big"),
    ("-qbig -N2 -n8", ""),
    ("-qbig -n2 -g1", "the job asks for 2 gpus, but it may ask for at most 1 in queue big"),
    ("-qfree -N2 -n2 -t 1d", ""),
    ("-qfree -n2", "the job asks for 0 nodes, but it may ask for at least 2 in queue free"),
    ("-qodd -n2", "'odd' is not a valid queue"),
]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with Session(configured(tmp_path_factory.mktemp("limits"), CONFIG)) as session:
        yield session


def test_what_jobs_may_ask_for(session):
    for words, text in CASES:
        o = submit.parser("submit").parse_args([*words.split(), "true"])
        spec = buildspec.build(o, ["true"])
        try:
            session.ask("job.submit", jobspec=spec, urgency=0)
            said = ""
        except RPCError as refusal:
            said = refusal.text
        assert said == text, words
    assert session.fail("submit", "--cc=1-2", "-n7", "true") == f"flux-submit: ERROR: {CASES[4][1]}"
    assert session.fail("batch", "-n1", "--wrap", "true") == f"flux-batch: ERROR: {CASES[5][1]}"
    session("cancel", "--all")


def test_defaults_of_configuration_and_queue(session):
    for words, duration in [("-n2", 600), ("-qbig -n2", 1200), ("-qfree -N2 -n2", 600), ("-n2 -t 5m", 300)]:
        jobid = session("submit", *words.split(), "--urgency=hold", "true")
        job = session.job(jobid)
        assert (job["duration"], job["queue"]) == (duration, "big" if "big" in words else "free" if "free" in words
                                                   else "small")  # fmt: skip
        session("cancel", jobid)


def test_limits_are_listed(session):
    rows = [line.split() for line in session("queue", "list").splitlines()]
    assert rows == [
        ["QUEUE", "EN", "ST", "TDEFAULT", "TLIMIT", "NNODES", "NCORES", "NGPUS", "REQUIRES"],
        ["small*", "y", "y", "10m", "1h", "0-2", "2-6", "0-1"],
        ["big", "y", "y", "20m", "2h", "0-2", "0-8", "0-1", "big"],
        ["free", "y", "y", "10m", "inf", "2-2", "0-6", "0-1"],
    ]
    assert session("queue", "list", "-n", "-o", "policy", "-q", "big").split()[5:8] == ["0-inf", "0-inf", "0-1"]
    form = "{queue} {limits.min.nnodes} {limits.max.ncores} {resources.all.ncores} {submission} {scheduling}"
    session("queue", "stop", "big")
    session("queue", "disable", "free")
    assert session("queue", "list", "-n", "-o", form).splitlines() == [
        "small 0 6 16 enabled started", "big 0 inf 8 enabled stopped", "free 2 6 16 disabled started"]  # fmt: skip
    session("queue", "start", "--all")
    session("queue", "enable", "--all")
    assert session.fail("queue", "list", "-q", "odd") == "flux-queue: ERROR: 'odd' is not a valid queue"
    assert session.fail("queue", "list", "-o", "{odd}").startswith("flux-queue: ERROR: --format: ")


def test_waiting_for_one_queue(session):
    waits = session("submit", "-n2", "--urgency=hold", "true")
    session("queue", "drain", "big")
    assert session("queue", "idle", "big") == "0 jobs"
    assert session("queue", "idle", "small") == "1 jobs"
    assert session.fail("queue", "drain", "-t", "0.1s", "small").endswith("ERROR: drain: timeout")
    assert session.fail("queue", "drain", "odd").endswith("'odd' is not a valid queue")
    session("cancel", waits)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"policy": {"limits": {"duration": "x"}}}, "policy.limits.duration: "),
        ({"policy": {"limits": {"job-size": {"max": {"nnodes": -2}}}}},
         "policy.limits.job-size.max.nnodes: expected a number, or -1 for no limit, got -2"),
        ({"policy": {"limits": {"job-size": {"min": {"ncores": "1"}}}}},
         "policy.limits.job-size.min.ncores: expected a number, or -1 for no limit, got '1'"),
        ({"queues": {"q": {"policy": {"limits": {"duration": -1}}}}}, "queues.q.policy.limits.duration: "),
        ({"queues": {"q": {"policy": {"limits": {"job-size": {"min": {"ngpus": 1.5}}}}}}},
         "queues.q.policy.limits.job-size.min.ngpus: expected a number, or -1 for no limit, got 1.5"),
    ],
)  # fmt: skip
def test_limits_that_are_none(table, text, tmp_path):
    path = tmp_path / "flux.json"
    path.write_text(json.dumps(table))
    with pytest.raises(SessionError) as error:
        config.read(str(path))
    assert str(error.value).startswith(f"{path}: {text}")


def test_of_several_sizes_all_must_be_allowed():
    request = jobspec.parse(specs.make(specs.node("2-4", specs.slot(1, specs.core(3)))))
    assert sizes(request) == ((2, 6, 0), (4, 12, 0))
    for limits, text in [
        ({"max": {"nnodes": 4}, "min": {"nnodes": 2}}, None),
        ({"max": {"nnodes": 3}}, "4 nodes"),
        ({"min": {"nnodes": 3}}, "2 nodes"),
    ]:
        found = Limits({"policy": {"limits": {"job-size": limits}}})
        if text is None:
            found.check(request)
        else:
            with pytest.raises(RequestError, match=f"the job asks for {text}, but it may ask for at"):
                found.check(request)
    with pytest.raises(RequestError, match="the job has no time limit, but it may have at most 1h"):
        Limits({"policy": {"limits": {"duration": "1h"}}}).check(request._replace(duration=0.0))
