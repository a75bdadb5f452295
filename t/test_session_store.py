# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The state directory under attack: full, cut, damaged, removed, read by others; nothing is lost without a word."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import time

import pytest

from embedded import FLUX, Session, clean_environment, flux, job_processes, until
from fluxsched.session import jobid as ids
from fluxsched.session.broker import background, database, loop, statedir, store
from fluxsched.session.errors import SessionError

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def refused(state):
    """The one line with which a session on this state directory is refused."""
    done = flux("start", f"--statedir={state}", "true")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def used(state, kill=True):
    """A state directory with a job in it that waits; its id."""
    with Session("--no-sched", f"--statedir={state}") as session:
        jobid = session("submit", "true")
        if kill:
            session.kill()
    return jobid


def no_growth(session, state):
    """No file of the broker can grow, as on a full disk."""
    size = os.path.getsize(state / "session.sqlite-wal")
    resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# text that is no UTF-8


def test_text_that_is_no_utf8(state):
    odd = b"a=\xff".decode("utf-8", "surrogateescape")
    with Session(f"--statedir={state}") as session:
        running = session("submit", "true")
        session("kvs", "put", odd, "b=1")
        session("resource", "drain", "0", odd)
        session("job", "wait", running)
        assert "cannot write" not in session.log()
        session.kill()
    with Session("--no-sched", f"--statedir={state}") as session:
        done = subprocess.run([*FLUX, "kvs", "get", "--raw", "a"], env=session.env, capture_output=True)
        assert done.returncode == 0
        assert b"\xff" in done.stdout or b"\\xff" in done.stdout or b"\\udcff" in done.stdout
        assert "drained" in session("resource", "drain")
        assert session.job(running)["result"] == "COMPLETED"
        assert "kvs.put: pairs" in session.fail("kvs", "put", "k\udcff=1")
        assert session("kvs", "get", "b") == "1"
    kept = store.Store(str(state))
    assert kept.kvs_text("a") == "\udcff"
    assert kept.drained()[0][1] == odd
    kept.close()


@pytest.mark.parametrize("poison", [2**70, "\udcff", object()])
def test_a_write_that_cannot_be_stored_takes_nothing_along(tmp_path, poison):
    lines = []
    kept = store.Store(str(tmp_path), log=lambda *words: lines.append(words))
    calls = []
    bad = [("INSERT OR REPLACE INTO kvs VALUES ('bad', 0, ?)", (poison,))]
    kept.change(kept.ops_kvs("a", "1"), lambda: calls.append("a"))
    kept.request(bad, lambda error: calls.append(type(error)))
    kept.change(bad, lambda: calls.append("bad"))
    kept.change(kept.ops_kvs("b", "2"), lambda: calls.append("b"))
    assert kept.flush()
    assert calls == ["a", OSError, "bad", "b"]
    assert [words[2].startswith("cannot keep a change") for words in lines] == [True]
    assert not kept._db.in_transaction
    kept.close()
    again = store.Store(str(tmp_path))
    assert again.kvs_below("") == [("a", "1"), ("b", "2")]
    again.close()


# what is lost or damaged is named


def test_a_database_that_was_cut(state):
    used(state, kill=False)
    (state / "session.sqlite").write_bytes(b"")
    assert "commits are missing" in refused(state)
    # nothing was taken, and nothing made in its place
    assert "commits are missing" in refused(state)


def test_a_log_that_was_lost(state):
    used(state)
    (state / "session.sqlite-wal").unlink()
    assert "its log session.sqlite-wal was lost" in refused(state)


def test_a_log_that_was_cut(state):
    used(state)
    log = state / "session.sqlite-wal"
    os.truncate(log, os.path.getsize(log) - 100)
    assert "commits are missing" in refused(state)


def test_flipped_bits(state):
    """Whatever bits are flipped: the session goes on or says what is wrong, in one line."""
    jobid = used(state, kill=False)
    whole = (state / "session.sqlite").read_bytes()
    rng = random.Random(3)
    named = 0
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[rng.randrange(100, len(damaged))] ^= 1 << rng.randrange(8)
        copy = state.parent / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(state, copy)
        (copy / "session.sqlite").write_bytes(damaged)
        try:
            kept = store.Store(str(copy))
            list(kept.active(64))
            kept.close()
        except SessionError as error:
            named += 1
            assert str(copy) in str(error)
    assert named
    # and through the command: a byte of the job's JSON
    at = whole.index(b'"urgency":') + 2
    (state / "session.sqlite").write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    assert "it is damaged" in refused(state)
    (state / "session.sqlite").write_bytes(whole)
    (state / "lock").unlink()  # it has counted one more start
    with Session("--no-sched", f"--statedir={state}") as session:
        assert session.state(jobid) == "SCHED"


def test_a_damaged_job_is_left_out_of_a_list(state):
    with Session(f"--statedir={state}") as session:
        first, second = session("submit", "true"), session("submit", "true")
        session("job", "wait", second)
        session("job", "wait", first)
        number = session("job", "id", first)
    database = sqlite3.connect(state / "session.sqlite")
    with database:
        database.execute("UPDATE jobs SET info='{\"a\":1}' WHERE id=?", (number,))
    database.close()
    with Session(f"--statedir={state}") as session:
        assert session("jobs", "-ano", "{id}").split() == [second]
        assert "damaged" in session.log()


def test_state_directory_removed_under_a_session(state):
    with Session("--no-sched", f"--statedir={state}") as session:
        session("submit", "true")
        shutil.rmtree(state)
        assert "the state directory was removed or replaced" in session.fail("submit", "true")
        assert "removed or replaced" in session.fail("kvs", "put", "a=1")
        assert "removed or replaced" in session.log()
        assert len(session("jobs", "-no", "{id}").split()) == 1
        began = time.monotonic()
        session.close()
        assert time.monotonic() - began < 9  # it does not wait for what cannot come


# a full disk


def test_a_job_that_ends_on_a_full_disk(state):
    with Session(f"--statedir={state}") as session:
        gate = state.parent / "gate"
        jobid = session("submit", "sh", "-c", f"until [ -e {gate} ]; do sleep 0.05; done")
        until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
        no_growth(session, state)
        gate.touch()
        session.wait_state(jobid, "INACTIVE")
        assert session.run("job", "status", jobid).returncode == 0
        assert session("jobs", "-ano", "{id} {status}").split() == [jobid, "COMPLETED"]
        assert session.run("job", "attach", jobid, timeout=20).returncode == 0
        assert session.run("waitjob", jobid).returncode == 0
        assert "kept and tried again" in session.log()
        resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        until(lambda: "can be written again" in session.log(), "room")
        session.kill()
    with Session(f"--statedir={state}") as session:
        assert session.job(jobid)["result"] == "COMPLETED"


def test_a_session_on_a_full_disk_shows_and_cancels(state):
    jobid = used(state)
    code = "import resource, sys, os; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)); "
    code += "os.execvp(sys.argv[1], sys.argv[1:])"
    python = FLUX[0]
    command = f"{python} -B -m {FLUX[-1]}"  # which writes no compiled files, as these would be cut
    script = f"{command} jobs -no '{{id}}'; {command} cancel {jobid}; {command} jobs -ano '{{id}} {{status}}'; "
    script += f"{command} submit true"
    done = subprocess.run(
        [python, "-c", code, *FLUX, "start", "--no-sched", f"--statedir={state}", "sh", "-c", script],
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [jobid, jobid, "CANCELED"], done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=2m,mode=700 small "$1"
shift
set +e
"$@"
"""

FULL = """
flux run true
job=$(flux submit -n1 sh -c 'until [ -e "$0/go" ]; do sleep 0.05; done; '"$LAST" "$PLACE")
flux job wait-event $job start >/dev/null
cat /dev/zero >"$SMALL/fill" 2>/dev/null
touch "$PLACE/go"
flux job status $job; echo "status $?"
echo "listed $(flux jobs -ano '{id} {status}' | grep "^$job" | cut -d' ' -f2)"
timeout -s KILL 20 flux job attach $job >/dev/null; echo "attach $?"
flux submit true >/dev/null 2>&1; echo "submit $?"
rm "$SMALL/fill"
until flux dmesg | grep -q "can be written again"; do sleep 0.05; done
flux job status $job; echo "later $?"
"""


def on_a_small_disk(folder, words, env):
    """Run a program where `folder` is a file system of 2 MiB; skipped where none can be mounted."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    inside = [*namespace, "sh", "-c", ON_A_SMALL_DISK, "sh", str(folder)]
    try:
        if subprocess.run([*inside, "true"], capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    return subprocess.run([*inside, *words], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("last", "code", "state"), [("true", "0", "COMPLETED"), ("echo over", "1", "FAILED")])
def test_a_job_that_ends_on_a_full_file_system(last, code, state, tmp_path):
    """The disk is full for the broker and for who runs the job: its end is known, now and later.

    Output that is lost makes it fail, and is told.
    """
    small = tmp_path / "small"
    small.mkdir()
    env = clean_environment(SMALL=str(small), PLACE=str(tmp_path), LAST=last)
    done = on_a_small_disk(small, [*FLUX, "start", f"--statedir={small}/st", "sh", "-c", FULL], env)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found == {"status": code, "listed": state, "attach": code, "submit": "1", "later": code}, done
    assert ("output lost" in done.stderr) == (code == "1")
    assert "Traceback" not in done.stderr


# whose files


def test_files_are_ours_alone(state):
    state.mkdir(mode=0o755)
    old = os.umask(0)
    try:
        with Session("--no-sched", f"--statedir={state}") as session:
            session("submit", "true")
            files = sorted(path for path in state.iterdir() if path.is_file())
            assert {path.name for path in files} >= {"lock", "session.sqlite", "session.sqlite-wal"}
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
            session.kill()
    finally:
        os.umask(old)
    for path in files:
        path.chmod(0o644)
    with Session("--no-sched", f"--statedir={state}"):
        assert stat.S_IMODE((state / "session.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["lock", "session.sqlite", "session.sqlite-wal"])
def test_links_are_not_followed(state, name):
    state.mkdir()
    victim = state.parent / "victim"
    victim.write_text("dear to me")
    (state / name).symlink_to(victim)
    assert "symbolic link" in refused(state)
    assert victim.read_text() == "dear to me"


def test_a_hard_link_is_refused(state):
    state.mkdir()
    victim = state.parent / "victim"
    victim.write_text("dear to me")
    os.link(victim, state / "lock")
    assert "not a file of ours alone" in refused(state)
    assert victim.read_text() == "dear to me"


def test_a_folder_that_others_may_write(state):
    state.mkdir()
    state.chmod(0o777)
    assert "others may write to it" in refused(state)


@pytest.mark.parametrize("name", ["flux-mine", "mine"])
def test_a_folder_in_the_note_is_not_removed(state, name):
    dear = state.parent / name
    dear.mkdir(mode=0o700)
    (dear / "file").write_text("dear to me")
    state.mkdir()
    (state / "lock").write_text(json.dumps({"pid": 1, "rundir": str(dear)}))
    assert flux("start", f"--statedir={state}", "true").returncode == 0
    assert (dear / "file").read_text() == "dear to me"


# sessions that were killed


def test_what_a_killed_session_left_is_tidied(tmp_path):
    with Session(TMPDIR=str(tmp_path)) as session:
        jobid = session("submit", "sleep", "600")
        session.wait_state(jobid, "RUN")
        until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
        session.kill()
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 2
    with Session(f"--statedir={tmp_path}/kept", TMPDIR=str(tmp_path)) as session:
        until(lambda: not job_processes(jobid), "the job to end")
        until(lambda: not set(left) & set(os.listdir(tmp_path)), "its folders to go")
        assert session.run("run", "true").returncode == 0


def test_a_live_session_is_left_alone(tmp_path):
    with Session(TMPDIR=str(tmp_path)) as first:
        jobid = first("submit", "sleep", "600")
        first.wait_state(jobid, "RUN")
        with Session(TMPDIR=str(tmp_path)) as second:
            assert second.run("run", "true").returncode == 0
        assert first.state(jobid) == "RUN"
        first("cancel", jobid)


def test_events_are_told_once(state):
    """However often the broker is killed while a job runs."""
    with Session(f"--statedir={state}") as session:
        jobid = session("submit", "-t", "600", "sleep", "600")
        until(lambda: any(e["name"] == "start" for e in session.events(jobid)), "start")
        session.kill()
    for _ in range(3):
        with Session(f"--statedir={state}") as session:
            assert session.state(jobid) == "RUN"
            session.kill()
    with Session(f"--statedir={state}") as session:
        session("cancel", jobid)
        session.wait_state(jobid, "INACTIVE")
        names = [entry["name"] for entry in session.events(jobid)]
    assert len(names) == len(set(names)), names
    assert names.count("start") == 1


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_points(state, seed):
    """What was answered is there: jobs, keys, drains, in the order of their answers."""
    rng = random.Random(seed)
    answered, keys = [], {}
    for turn in range(3):
        with Session("--no-sched", f"--statedir={state}") as session:
            submitting = session.popen("submit", "--cc=1-2000", "true")
            for number in range(rng.randrange(3)):
                session("kvs", "put", f"k{turn}.{number}={number}")
                keys[f"k{turn}.{number}"] = str(number)
            time.sleep(rng.random() * 0.3)
            session.process.send_signal(signal.SIGKILL)
            answered += submitting.communicate()[0].split()
            session.kill()
    with Session("--no-sched", f"--statedir={state}") as session:
        there = session("jobs", "-c0", "-no", "{id}").split()
        assert [jobid for jobid in there if jobid in set(answered)] == answered
        assert {key: session("kvs", "get", key) for key in keys} == keys


# the clock


def test_a_clock_before_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    with pytest.raises(SessionError, match="the clock says 2001-09-09, before 2026-01-01"):
        store.Store(str(tmp_path))


def test_a_state_directory_of_1970(tmp_path):
    kept = store.Store(str(tmp_path))
    kept._db.execute("UPDATE meta SET value='5.0' WHERE key='epoch'")
    assert kept.epoch() == database.EARLIEST
    assert 0 < ids.Generator(kept.epoch())() < 2**63
    kept.close()


def test_ids_that_cannot_be_stored():
    make = ids.Generator(epoch=0.0)
    with pytest.raises(OverflowError, match="no more job ids: the clock is too far from 1970-01-01"):
        make()
    last = ids.Generator(epoch=4e9, last=2**63 - 2)
    assert last() == 2**63 - 1
    with pytest.raises(OverflowError):
        last()


def test_order_is_the_order_of_submission(state):
    """Also when the clock was an hour ahead before."""
    first = used(state)
    database = sqlite3.connect(state / "session.sqlite")
    with database:
        number, text = database.execute("SELECT id, info FROM jobs").fetchone()
        info = json.loads(text)
        info["t_submit"] = info["t_turn"] = info["t_submit"] + 3600
        database.execute("UPDATE jobs SET info=? WHERE id=?", (json.dumps(info), number))
    database.close()
    with Session("--no-sched", f"--statedir={state}") as session:
        second = session("submit", "-n1", "true")
        third = session("submit", "-n1", "true")
        assert session("jobs", "-no", "{id}").split() == [first, second, third]
        session("module", "load", "sched", "queue-depth=1")
        for jobid in (first, second, third):
            session.wait_state(jobid, "INACTIVE")
        session.kill()
    database = sqlite3.connect(state / "session.sqlite")
    turns = [json.loads(row[0])["t_turn"] for row in database.execute("SELECT info FROM jobs ORDER BY id")]
    begun = []
    for row in database.execute("SELECT id FROM jobs ORDER BY id"):
        rows = database.execute("SELECT entry FROM events WHERE id=? ORDER BY seq", row)
        events = [entry for (text,) in rows for entry in json.loads(text)]
        begun.append(next(e["timestamp"] for e in events if e["name"] == "alloc"))
    database.close()
    assert turns == sorted(turns) and len(set(turns)) == 3
    assert begun == sorted(begun)


# the lock's note


def test_the_note_survives_a_full_disk(tmp_path):
    opened = statedir.StateDir.open(str(tmp_path))
    opened.committed(7)
    opened.take_over("/tmp/flux-x")
    size = os.path.getsize(tmp_path / "lock")
    opened.committed(12345678901)
    assert os.path.getsize(tmp_path / "lock") == size == statedir.NOTE_SIZE
    opened.close()
    again = statedir.StateDir.open(str(tmp_path))
    assert (again.commits, again.note["rundir"]) == (12345678901, "/tmp/flux-x")
    again.close()


def test_requests_are_answered_when_the_log_is_on_the_disk(tmp_path, monkeypatch):
    """A sync that fails is made again, and until then nobody is told that anything is durable."""
    answers, lines, calls = [OSError(errno.EIO, "no"), None], [], []
    monkeypatch.setattr(database, "sync", lambda path: answers.pop(0) if answers else None)
    answers.insert(0, None)  # of the new database
    kept = store.Store(str(tmp_path), log=lambda *words: lines.append(words))
    kept.when_durable(lambda: calls.append("before"))
    kept.request(kept.ops_kvs("a", "1"), calls.append)
    assert kept.flush()
    kept.when_durable(lambda: calls.append("after"))
    assert calls == ["before"]
    assert len(lines) == 1 and "cannot be brought to the disk: no" in lines[0][2]
    kept.change(kept.ops_kvs("b", "1"))
    assert kept.flush()
    assert calls == ["before", None, "after"]
    kept.close()


def test_background_does_one_thing_after_the_other(tmp_path):
    turn, told = loop.Loop(lambda error: told.append(error)), []
    thread = background.Background(turn)
    for i in range(3):
        thread.do(lambda i=i: OSError(i, "x") if i == 1 else None, told.append)
    thread.do(lambda: None, lambda error: turn.stop())
    turn.run()
    assert [told[0], told[1].errno, told[2]] == [None, 1, None]
    thread.do(lambda: None, lambda error: told.append("last"))
    thread.close()
    assert told[3:] == ["last"]
    turn.close()
    (tmp_path / "file").touch()
    assert background.sync(str(tmp_path / "file")) is None
    assert background.sync(str(tmp_path / "none")).errno == errno.ENOENT
    assert background.sync("/dev/null").errno == errno.EINVAL


def spec(**environment):
    return {"attributes": {"system": {"environment": environment, "duration": 0}}, "version": 1}


def test_environments_are_stored_once(tmp_path):
    kept = store.Store(str(tmp_path))
    base = {f"V{i}": str(i) for i in range(20)}
    jobspecs = [
        spec(**base), spec(**base, FLUX_JOB_CC="1"), spec(**{**base, "V3": "other"}),
        spec(**dict(list(base.items())[:-1])), spec(**dict.fromkeys(base, "all")), spec(),
        {"attributes": {"system": {"duration": 0}}, "version": 1},
    ]  # fmt: skip
    for jobid, jobspec in enumerate(jobspecs):
        kept.change(kept.ops_insert([(jobid, 8, kept.split(jobspec), {}, [{"name": "submit"}])]))
    assert kept.flush()
    kept.close()
    kept = store.Store(str(tmp_path))
    assert [kept.jobspec(jobid) for jobid in range(len(jobspecs))] == jobspecs
    assert kept._read("SELECT count(*) FROM environments") == [(4,)]
    kept.change(kept.ops_insert([(9, 8, kept.split(spec(**base)), {}, [])]))
    assert kept.flush()
    assert kept.jobspec(9) == jobspecs[0]
    assert kept._read("SELECT count(*) FROM environments") == [(5,)]
    kept.close()


def test_events_of_a_turn_are_one_row(tmp_path):
    kept = store.Store(str(tmp_path))
    kept.change(kept.ops_insert([(1, 8, kept.split(spec()), {"a": 1}, [{"name": "submit"}, {"name": "validate"}])]))
    kept.flush()
    info = {"a": 2}
    for seq, name in enumerate(("alloc", "start", "finish"), 2):
        kept.event(1, seq, {"name": name})
        kept.info(1, 16, info)
    info["a"] = 3
    assert kept.unwritten and kept.flush()
    assert [event["name"] for event in kept.events(1)] == ["submit", "validate", "alloc", "start", "finish"]
    assert kept._read("SELECT seq FROM events ORDER BY seq") == [(0,), (2,)]
    assert kept.job(1)[1::4] == (16, {"a": 3})
    kept.close()


def test_database_of_the_first_version_is_taken_up(tmp_path):
    old = sqlite3.connect(tmp_path / "session.sqlite")
    old.executescript("""
        CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
        CREATE TABLE jobs (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, jobspec TEXT NOT NULL, R TEXT,
                           launch TEXT, info TEXT NOT NULL);
        CREATE INDEX jobs_by_state ON jobs (state);
        CREATE TABLE events (id INTEGER NOT NULL, seq INTEGER NOT NULL, entry TEXT NOT NULL,
                             PRIMARY KEY (id, seq)) WITHOUT ROWID;
        CREATE TABLE kvs (key TEXT PRIMARY KEY, json INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE drain (rank INTEGER PRIMARY KEY, t REAL NOT NULL, reason TEXT NOT NULL);
        INSERT INTO meta VALUES ('epoch', '1.0'), ('commits', '1');
        PRAGMA user_version=1;
    """)
    old.execute("INSERT INTO jobs VALUES (5, 8, ?, NULL, NULL, '{}')", (json.dumps(spec(A="1")),))
    old.executemany("INSERT INTO events VALUES (5, ?, ?)", [(0, '{"name":"submit"}'), (1, '{"name":"validate"}')])
    old.commit()
    old.close()
    for names in (["submit", "validate"], ["submit", "validate", "alloc"]):
        kept = store.Store(str(tmp_path))
        assert kept.jobspec(5) == spec(A="1")
        assert [event["name"] for event in kept.events(5)] == names
        kept.event(5, 2, {"name": "alloc"})
        kept.flush()
        kept.close()
    assert [row[0] for row in store.Store(str(tmp_path))._read("PRAGMA user_version")] == [2]


def test_tables_are_put_as_their_keys_one_by_one(tmp_path):
    """Whatever is there before: values where a directory is to be, and directories where a value is to be."""
    chance = random.Random(5)
    names = ["a", "b", "a.a", "a.b", "b.a.a", "ab", "a.a.b"]
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = store.Store(str(tmp_path / "one")), store.Store(str(tmp_path / "other"))
    for _ in range(150):
        directory = chance.choice(["d", "d.a", "e", "d.a.b"])
        values = {chance.choice(names): chance.choice([1, "text"]) for _ in range(chance.randint(1, 2))}
        if any(f"{a}.".startswith(f"{b}.") for a in values for b in values if a != b):
            continue  # nobody puts a value and what is below it at once
        one.change(one.ops_tables({directory: values}))
        for name, value in values.items():
            other.change(other.ops_kvs(f"{directory}.{name}", value))
        assert one.kvs_below("") == other.kvs_below(""), (directory, values)
    assert one.kvs_below("")
    one.close()
    other.close()
