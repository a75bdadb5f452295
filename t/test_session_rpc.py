# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Requests from anybody: every field has a type and a range, and nothing ends the session or makes it hang."""

import errno
import json
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded import Session
from fluxsched.service.rpc import JOB_MANAGER
from fluxsched.service.service import RPCS
from fluxsched.session import wire
from fluxsched.session.broker import rpc
from fluxsched.session.broker.bulk import Bulk
from fluxsched.session.broker.job_info import JobInfo
from fluxsched.session.broker.job_manager import Manager
from fluxsched.session.broker.kvs import KVS
from fluxsched.session.broker.modules import Modules
from fluxsched.session.broker.queues import Queues
from fluxsched.session.broker.ranks import Resources
from fluxsched.session.broker.sched_module import Scheduler
from fluxsched.session.broker.update import Updates
from fluxsched.session.commands.client import Client, RPCError
from fluxsched.session.errors import RequestError

OWNERS = (Manager, Bulk, Queues, JobInfo, Updates, Scheduler, Resources, KVS, Modules)


def declarations():
    """Every RPC of the session, with those that it hands on to the scheduler."""
    found = rpc.Router(*(owner.__new__(owner) for owner in OWNERS)).declarations()
    handed_on = [entry for entry in RPCS.values() if entry.sender != JOB_MANAGER]
    return found + [rpc.Declaration(entry.topic, entry.fields, (rpc.OWNER,), None) for entry in handed_on]


@pytest.fixture(scope="module")
def session():
    with Session("-s2") as session:
        yield session


class Raw:
    """A client that sends what it likes."""

    def __init__(self, session):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(session.uri[len("local://") :])
        self.file = self.sock.makefile("rb")

    def ask(self, number, topic, payload):
        self.sock.sendall(wire.encode({"id": number, "topic": topic, "payload": payload}))
        line = self.file.readline()
        return json.loads(line) if line else None

    def close(self):
        self.file.close()
        self.sock.close()


# declarations


def test_every_field_has_a_type_and_a_range():
    found = declarations()
    assert len(found) >= 29
    for entry in found:
        assert entry.callers
        for field in entry.fields.values():
            assert isinstance(field, rpc.Field)
            assert field.expected
    ids = [entry.fields["id"] for entry in found if "id" in entry.fields]
    assert len(ids) >= 8
    assert not any(field.check(-1) or field.check(2**64) for field in ids)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (rpc.Int(0, 7), [0, 7], [-1, 8, 1.0, True, None, "1", []]),
        (rpc.Number(0, 10), [0, 2.5, 10], [-0.1, 11, float("inf"), float("nan"), True, "1"]),
        (rpc.Bool(), [True, False], [0, 1, None, "true"]),
        (rpc.Text(3), ["", "abc", "äöü"], ["abcd", "a\0", "\udcff", 5, None]),
        (rpc.Text(3, raw=True), ["\udcff"], ["\ud800", "a\0"]),
        (rpc.Text(words=("", "a")), ["", "a"], ["b", None]),
        (rpc.Octets(3), ["\0\xff"], ["\u0100", "abcd", 5]),
        (rpc.Object(), [{}, {"a": 1}], [[], None, "x"]),
        (rpc.ListOf(rpc.Int(0, 1), 2), [[], [0, 1]], [[2], [0, 0, 0], {}, None]),
        (rpc.Tuple(rpc.Int(0, 1), rpc.Text(1)), [[0, "a"]], [[0], ["a", 0], [0, "a", 0], None]),
        (rpc.Nullable(rpc.Int(0, 1)), [None, 1], [2, "x"]),
    ],
)
def test_fields(field, good, bad):
    assert [value for value in good if not field.check(value)] == []
    assert [value for value in bad if field.check(value)] == []
    assert field.expected


class Handlers:
    @rpc.rpc("t.one", n=rpc.Int(0, 9), m=rpc.Int(0, 9, default=4), u=rpc.Int(0, 1, default=0, refusal="u is odd"))
    def one(self, request, n, m, u):
        request.append((n, m, u))

    @rpc.rpc("t.two", callers=(rpc.MODULE,))
    def two(self, request):
        request.append("two")


def test_router():
    router = rpc.Router(Handlers())
    got = []
    router.call(got, rpc.OWNER, "t.one", {"n": 3})
    router.call(got, rpc.MODULE, "t.two", {})
    assert got == [(3, 4, 0), "two"]
    for caller, topic, payload, number, text in [
        (rpc.OWNER, "t.one", {}, errno.EPROTO, "t.one: n: missing, expected an integer from 0 to 9"),
        (rpc.OWNER, "t.one", {"n": 10}, errno.EPROTO, "t.one: n: expected an integer from 0 to 9"),
        (rpc.OWNER, "t.one", {"n": 1, "x": 1}, errno.EPROTO, "t.one: 'x': this request has no such field"),
        (rpc.OWNER, "t.one", {"n": 1, "u": 2}, errno.EINVAL, "u is odd"),
        (rpc.OWNER, "t.two", {}, errno.ENOSYS, "No service matching t.two is registered"),
        (rpc.OWNER, "t.three", {}, errno.ENOSYS, "No service matching t.three is registered"),
    ]:
        with pytest.raises(RequestError) as caught:
            router.call(got, caller, topic, payload)
        assert (caught.value.errno, caught.value.text) == (number, text)
    with pytest.raises(ValueError, match=r"t\.one: declared twice"):
        rpc.Router(Handlers(), Handlers())


# the codec


@given(st.lists(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none()))), st.integers(1, 7))
def test_lines_in_pieces(messages, step):
    data = b"".join(map(wire.encode, messages))
    lines = wire.Lines()
    found = []
    for start in range(0, len(data), step):
        found += [wire.decode(line) for line in lines.feed(data[start : start + step])]
    assert found == messages


def test_text_that_is_no_utf8_travels():
    assert wire.decode(wire.encode({"a": "r\udcff"})[:-1]) == {"a": "r\udcff"}


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b'{"a":NaN}', b"\xff", b"[" * 100000, b"{}x"])
def test_what_is_no_message(line):
    with pytest.raises(wire.WireError):
        wire.decode(line)


def test_a_line_that_is_too_long():
    for data in (b"x" * 11, b"x" * 11 + b"\n", b"a\n" + b"x" * 11):
        with pytest.raises(wire.WireError, match="more than 10 bytes"):
            wire.Lines(10).feed(data)


# the session


def test_negative_ids(session):
    raw = Raw(session)
    count = 0
    for entry in declarations():
        if "id" not in entry.fields:
            continue
        for number in (-1, -(2**63), 2**64, True, 1.5, "1", 2**63):
            count += 1
            answer = raw.ask(count, entry.topic, {"id": number})
            assert "errnum" in answer, (entry.topic, number, answer)
    answer = raw.ask(count + 1, "job.list", {"ids": [-1]})
    assert answer["errnum"] == errno.EPROTO
    answer = raw.ask(count + 2, "job.info", {"id": 2**64 - 1, "key": "R"})
    assert (answer["errnum"], "unknown job id" in answer["error"]) == (errno.ENOENT, True)
    raw.close()
    assert session("getattr", "size") == "2"


VALUES = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**70), 1.5, -0.0, 1e308, "", "x", "\udcff", "a\0b", "0-1",
    "sched", "x" * 5000, [], [1], [[]], ["a"], [["a", "b"]], {}, {"a": 1}, {"version": 1}, [None] * 50,
]  # fmt: skip
# These would take the module away, or end what the other tests use.
# They remove the scheduler, stop the queue, or wait for its end.
SPARED = (
    "module.load", "module.remove", "module.reload", "job-manager.queue-enable", "job-manager.queue-start",
    "job-manager.drain", "job-manager.idle", "session.shutdown",
)  # fmt: skip


def guess(rng, field):
    """A value that is often right and often nearly so."""
    if rng.random() < 0.4:
        return rng.choice(VALUES)
    if isinstance(field, rpc.Nullable):
        field = field.field
    if isinstance(field, (rpc.Int, rpc.Number)):
        return rng.choice([field.low, field.high, field.low - 1, field.high + 1, field.low + 1])
    if isinstance(field, rpc.Bool):
        return rng.random() < 0.5
    if isinstance(field, rpc.Text) and field.words:
        return rng.choice(field.words)
    if isinstance(field, rpc.ListOf):
        return [guess(rng, field.item) for _ in range(rng.randrange(4))]
    if isinstance(field, rpc.Tuple):
        return [guess(rng, item) for item in field.items]
    return rng.choice(VALUES)


@pytest.mark.parametrize("seed", range(3))
def test_fuzz(session, seed):
    """Random and nearly right requests are each answered, and none is a fault of ours."""
    rng = random.Random(seed)
    session("dmesg", "-C")
    raw = Raw(session)
    found = [entry for entry in declarations() if entry.topic not in SPARED]
    for number in range(1, 600):
        entry = rng.choice(found)
        payload = {name: guess(rng, field) for name, field in entry.fields.items() if rng.random() < 0.9}
        if rng.random() < 0.1:
            payload[rng.choice(["x", "", "id", "\udcff"])] = rng.choice(VALUES)
        if entry.topic == "log.read" and payload.get("follow") is True:
            payload["follow"] = None  # else a stream without an end
        answer = raw.ask(number, entry.topic, payload)
        stream = entry.topic == "log.read" or (entry.topic == "job.list" and payload.get("pieces") is True)
        while stream and "payload" in answer:
            answer = json.loads(raw.file.readline())
        assert answer is not None and answer["id"] == number, (entry.topic, payload)
        assert answer.get("errnum") != errno.EIO, (entry.topic, payload, answer)
    raw.close()
    assert session("getattr", "size") == "2"
    assert session.run("submit", "true").returncode == 0


def test_fuzz_of_bytes(session):
    """Bytes that are no requests end their connection, and nothing else."""
    rng = random.Random(7)
    for _ in range(100):
        line = bytearray(wire.encode({"id": 1, "topic": "attr.get", "payload": {"name": "size"}}))
        for _ in range(rng.randrange(1, 6)):
            line[rng.randrange(len(line) - 1)] = rng.randrange(256)
        raw = Raw(session)
        raw.sock.sendall(bytes(line) + b"{}\n")
        while raw.file.readline():
            pass
        raw.close()
    assert session("getattr", "size") == "2"


def test_events_that_are_asked_for(session):
    jobid = session("submit", "--urgency=hold", "true")
    session("cancel", "-m", "why", jobid)
    session.wait_state(jobid, "INACTIVE")
    raw = Raw(session)
    number = int(session("job", "id", jobid))
    answer = raw.ask(1, "job.watch", {"id": number, "output": False, "events": ["exception", "nosuch"]})
    assert answer["payload"]["event"]["name"] == "exception"
    assert answer["payload"]["event"]["context"]["note"] == "why"
    assert json.loads(raw.file.readline())["errnum"] == errno.ENODATA
    raw.close()


def test_an_id_that_is_in_use(session):
    raw = Raw(session)
    message = wire.encode({"id": 1, "topic": "log.read", "payload": {"follow": True, "new": True}})
    raw.sock.sendall(message + message)
    assert raw.file.readline() == b""
    raw.close()
    assert "used the id of a request twice" in session.log()


def test_long_lists_come_in_pieces(session):
    session("submit", "--quiet", "--urgency=hold", "--cc=1-2100", "true")
    session("submit", "--quiet", "--urgency=0", "--job-name=ä\U0001f600", "true")
    client = Client(session.uri)
    whole = client.rpc("job.list", {"count": 0})["jobs"]
    pieces = list(client.stream("job.list", {"count": 0, "pieces": True}))
    assert [job for piece in pieces for job in piece["jobs"]] == whole and len(pieces) > 1
    assert [json.loads(text) for text in Client(session.uri).texts("job.list", {"count": 0, "pieces": True})] == pieces
    some = [job["id"] for job in client.rpc("job.list", {"count": 3})["jobs"]]
    assert some == [job["id"] for job in whole[:3]]
    # What passes through the command as it comes, and what the command reads.
    direct, read = session.run("jobs", "--json", "-c0"), session.run("jobs", "--json", "-c0", "--filter=pending")
    assert json.loads(direct.stdout) == json.loads(read.stdout) == {"jobs": whole}
    with pytest.raises(RPCError, match="no such field"):
        list(Client(session.uri).texts("job.list", {"nosuch": 1}))
    session("cancel", "--all")
    assert json.loads(session("jobs", "--json")) == {"jobs": []}


def test_a_job_is_submitted_and_followed_by_one_request(session):
    spec = json.loads(session("submit", "--dry-run", "sh", "-c", "echo out; exit 3"))
    answers = list(Client(session.uri).stream("job.submit", {"jobspec": spec, "follow": True}))
    assert list(answers[0]) == ["id"]
    events = [answer["event"]["name"] for answer in answers[1:] if "event" in answer]
    assert (events[0], events[-1]) == ("submit", "clean") and events.count("finish") == 1
    assert [answer["output"][0]["d"] for answer in answers[1:] if "output" in answer] == ["out\n"]
