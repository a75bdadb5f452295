# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The workers that run jobs of the embedded session, and how they start a process."""

import errno
import os
import resource
import signal

import pytest
from fluxsched.session.runner.spawn import spawn

from embedded import Session, alive, children, claim_of, until
from fluxsched.session.runner import launcher

LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.fixture
def start(tmp_path):
    """Start a process in `tmp_path`; (its wait status, errno, output)."""
    folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    null = os.open("/dev/null", os.O_RDONLY)

    def run(paths, *argv, env=(), group=0, cpus=(), limits=LIMITS, joins=-1):
        out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        pid, number = spawn(paths, list(argv), list(env), group, folder, (null, out, out), cpus, limits, -1, joins)
        status = os.waitpid(pid, 0)[1]
        os.close(out)
        return os.waitstatus_to_exitcode(status), number, (tmp_path / "out").read_text()

    yield run
    os.close(folder)
    os.close(null)


def shell(start, script, **options):
    return start([b"/bin/sh"], b"sh", b"-c", script, **options)


def test_process_is_as_asked_for(start, tmp_path):
    assert shell(start, b'pwd; echo "$A,$B"; ulimit -n', env=[b"A=1 2", b"B=\xc3\xa4"], limits=(55, LIMITS[1])) == (
        0, 0, f"{tmp_path}\n1 2,ä\n55\n",
    )  # fmt: skip
    cpu = max(os.sched_getaffinity(0))
    assert shell(start, b"grep Cpus_allowed_list /proc/self/status", cpus=[cpu])[2].split() == [
        "Cpus_allowed_list:", str(cpu),
    ]  # fmt: skip
    assert shell(start, b"exit 7")[:2] == (7, 0)


def test_process_has_a_group_of_its_own_and_no_signals_of_ours(start):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        group, pid, *rest = shell(start, b"ps -o pgid=,pid= -p $$; grep Sig /proc/self/status")[2].split()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert group == pid
    # 32 and 33 are the C library's own, which nobody else may set; make leaves them ignored.
    assert int(rest[rest.index("SigIgn:") + 1], 16) & ~(3 << 31) == 0
    assert rest[rest.index("SigBlk:") + 1] == "0" * 16


def test_files_are_tried_in_their_order(start, tmp_path):
    there, no = tmp_path / "there", tmp_path / "no"
    there.write_text("#!/bin/sh\necho there\n")
    there.chmod(0o755)
    no.write_text("")
    files = [os.fsencode(path) for path in (tmp_path / "missing", no, there)]
    assert start(files, b"x") == (0, 0, "there\n")
    assert start(files[:2], b"x") == (127, errno.EACCES, "")
    assert start(files[:1], b"x") == (127, errno.ENOENT, "")
    assert start([files[2] + b"/x"], b"x") == (127, errno.ENOTDIR, "")


def test_process_joins_a_control_group(start, tmp_path):
    """By a 0 in its file, which is any file here; and it does not run elsewhere."""
    procs = os.open(tmp_path / "procs", os.O_RDWR | os.O_CREAT)
    assert shell(start, b"cat procs", joins=procs) == (0, 0, "0")
    os.close(procs)
    no = os.open(tmp_path / "procs", os.O_RDONLY)
    assert shell(start, b"exit 0", joins=no)[:2] == (127, errno.EBADF)
    os.close(no)


def test_what_a_process_cannot_be_given(start):
    assert shell(start, b"exit 0", limits=(2 * LIMITS[1] + 2, LIMITS[1]))[1] == errno.EINVAL
    for cpu in (-1, 1 << 13):
        with pytest.raises(ValueError, match=f"cpu {cpu}: expected a number from 0 to 8191"):
            shell(start, b"exit 0", cpus=[cpu])
    with pytest.raises(TypeError):
        start(["text"], b"x")


# workers


def worker(session, jobid):
    """The process id in a running job's claim."""
    return claim_of(session("getattr", "statedir"), session("job", "id", jobid))["pid"]


def workers(session):
    return [pid for pid, _ in children(next(pid for pid, name in children(session.process.pid) if "runner" in name))]


@pytest.fixture
def session():
    with Session() as one:
        yield one


def test_jobs_one_after_the_other_have_one_worker(session):
    seen = {session("run", "sh", "-c", "echo $PPID") for _ in range(3)}
    assert len(seen) == 1
    assert workers(session) == [int(pid) for pid in seen]


def test_job_leaves_nothing_to_the_next(session, tmp_path):
    """Its environment, folder, cores, output file and open descriptors are its own."""
    where = "ls /proc/self/fd | wc -l; pwd; echo $X; ls $FLUX_JOB_TMPDIR"
    first = session.run("run", "--env=X=1", f"--cwd={tmp_path}", f"--output={tmp_path}/out", "sh", "-c",
                        f"{where}; touch $FLUX_JOB_TMPDIR/a; echo end")  # fmt: skip
    assert first.returncode == 0
    count, folder, value, end = (tmp_path / "out").read_text().splitlines()
    assert (folder, value, end) == (str(tmp_path), "1", "end")
    again = session("run", "--cwd=/", "sh", "-c", where).splitlines()
    assert again == [count, "/"]  # standard output has lost its last, empty lines
    assert len(workers(session)) == 1


def test_worker_that_is_killed_between_two_jobs(session):
    session("run", "true")
    (before,) = workers(session)
    os.kill(before, signal.SIGKILL)
    assert session("run", "echo", "on") == "on"
    until(lambda: not alive(before), "the worker to end")
    assert before not in workers(session)


def test_worker_that_is_stopped_and_killed_with_the_next_job_given_to_it(session):
    """The job was not claimed, so another worker runs it."""
    session("run", "true")
    (before,) = workers(session)
    os.kill(before, signal.SIGSTOP)
    jobid = session("submit", "echo", "on")
    session.wait_state(jobid, "RUN")
    os.kill(before, signal.SIGKILL)
    session.wait_state(jobid, "INACTIVE")
    assert session("job", "attach", jobid) == "on"


def test_job_that_cannot_start_does_not_harm_the_next(session):
    for _ in range(2):
        failed = session.run("run", "no-such-command")
        assert failed.returncode == 127 and "No such file or directory" in failed.stderr
        assert session("run", "echo", "on") == "on"


def test_workers_go_with_their_broker(tmp_path):
    with Session(f"--statedir={tmp_path}/state") as session:
        session("run", "true")
        idle = workers(session)
        jobid = session("submit", "sleep", "60")
        pid = worker(session, jobid)
        assert [pid] == idle
        session("run", "true")
        idle = [each for each in workers(session) if each != pid]
        session.kill()
        until(lambda: not any(alive(each) for each in idle), "the idle workers to end")
        assert alive(pid)
    with Session(f"--statedir={tmp_path}/state") as session:
        session("cancel", jobid)
        session.wait_state(jobid, "INACTIVE")
        until(lambda: not alive(pid), "the worker of the first broker to end")
    until(lambda: os.listdir(tmp_path / "state" / "workers") == [], "their files to go")


def test_files_of_dead_workers_are_removed(tmp_path):
    state = tmp_path / "state"
    with Session(f"--statedir={state}") as session:
        session("run", "true")
        victims = [*(pid for pid, _ in children(session.process.pid)), *workers(session)]
        session.kill()
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    (state / "workers" / "0123.ctl").touch()
    (state / "workers" / "4567").touch()
    with Session(f"--statedir={state}") as session:
        assert os.listdir(state / "workers") == []
        assert session("run", "echo", "on") == "on"


def test_files_of_a_worker_that_were_never_made(tmp_path):
    launcher.remove(str(tmp_path / "none"))
    (tmp_path / "some").touch()
    launcher.remove(str(tmp_path / "some"))
    assert os.listdir(tmp_path) == []
