# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""PMI-1 for the tasks of a job: the lines, what is refused, and MPI programs."""

import json
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embedded import Session, configured, job_processes
from fluxsched.session import jobid as ids
from fluxsched.session.broker import mpi
from fluxsched.session.runner import pmi

CLIENT = Path(__file__).with_name("pmiclient.py")
PYTHON = [sys.executable, "-S", "-E"]

# the server alone


class Job:
    """A server and one end of a connection for each of its tasks."""

    def __init__(self, size, mapping="(vector,(0,1,2))"):
        self.watched = {}
        self.failed = []
        self.server = pmi.Server(self.watch, size, "name", mapping, lambda text, code: self.failed.append((text, code)))
        self.tasks = [self.server.connect(rank) for rank in range(size)]

    def watch(self, fd, mask, callback):
        if callback is None:
            self.watched.pop(fd, None)
        else:
            self.watched[fd] = callback

    def turn(self):
        while True:
            ready = select.select(list(self.watched), [], [], 0)[0]
            if not ready:
                return
            for fd in ready:
                if fd in self.watched:
                    self.watched[fd](1)

    def tell(self, rank, data):
        self.tasks[rank].sendall(data)
        self.turn()

    def ask(self, rank, data):
        self.tell(rank, data + b"\n")
        self.tasks[rank].setblocking(False)
        try:
            return self.tasks[rank].recv(1 << 16)
        except BlockingIOError:
            return None

    def close(self):
        self.server.close()
        for task in self.tasks:
            task.close()


@pytest.fixture
def job():
    one = Job(2)
    yield one
    one.close()
    assert not one.watched


@pytest.mark.parametrize(
    "line, answer",
    [
        (b"cmd=init pmi_version=1 pmi_subversion=1", b"cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1\n"),
        (b"cmd=init pmi_version=2 pmi_subversion=0", b"cmd=response_to_init rc=-1 pmi_version=1 pmi_subversion=1\n"),
        (b"cmd=get_maxes", b"cmd=maxes rc=0 kvsname_max=64 keylen_max=64 vallen_max=1024\n"),
        (b" cmd=get_appnum  ", b"cmd=appnum rc=0 appnum=0\n"),
        (b"cmd=get_universe_size", b"cmd=universe_size rc=0 size=2\n"),
        (b"cmd=get_my_kvsname", b"cmd=my_kvsname rc=0 kvsname=name\n"),
        (b"cmd=get kvsname=name key=PMI_process_mapping", b"cmd=get_result rc=0 value=(vector,(0,1,2))\n"),
        (b"cmd=get kvsname=name key=none", b"cmd=get_result rc=4\n"),
        (b"cmd=get kvsname=" + b"n" * 64 + b" key=k", b"cmd=get_result rc=8\n"),
        (b"cmd=get kvsname=name key=" + b"k" * 64, b"cmd=get_result rc=5\n"),
        (b"cmd=put kvsname=name key=" + b"k" * 63 + b" value=" + b"v" * 1023, b"cmd=put_result rc=0\n"),
        (b"cmd=put kvsname=" + b"n" * 64 + b" key=k value=v", b"cmd=put_result rc=8\n"),
        (b"cmd=put kvsname=name key=" + b"k" * 64 + b" value=v", b"cmd=put_result rc=5\n"),
        (b"cmd=put kvsname=name key= value=v", b"cmd=put_result rc=5\n"),
        (b"cmd=put kvsname=name key=k value=" + b"v" * 1024, b"cmd=put_result rc=7\n"),
        (b"cmd=publish_name service=s port=p", b"cmd=publish_result rc=-1 msg=not_served\n"),
        (b"cmd=unpublish_name service=s", b"cmd=unpublish_result rc=-1 msg=not_served\n"),
        (b"cmd=lookup_name service=s", b"cmd=lookup_result rc=-1 msg=not_served\n"),
        (b"mcmd=spawn\nnprocs=1\nexecname=x\nendcmd", b"cmd=spawn_result rc=-1\n"),
        (b"cmd=finalize", b"cmd=finalize_ack rc=0\n"),
        (b"cmd=barrier_in", None),
    ],
)
def test_answers(job, line, answer):
    assert job.ask(0, line) == answer
    assert job.failed == []


def test_what_one_task_puts_all_get(job):
    assert job.ask(0, b"cmd=put kvsname=name key=k value= a=b  \xff ") == b"cmd=put_result rc=0\n"
    assert job.ask(1, b"cmd=get kvsname=name key=k") == b"cmd=get_result rc=0 value= a=b  \xff \n"
    # Lines may come in pieces, and several at a time.
    job.tell(1, b"cmd=get_app")
    assert job.ask(1, b"num\ncmd=get_appnum") == b"cmd=appnum rc=0 appnum=0\n" * 2


def test_barrier(job):
    for _ in range(2):
        assert job.ask(0, b"cmd=barrier_in") is None
        assert job.ask(1, b"cmd=barrier_in") == b"cmd=barrier_out rc=0\n"
        assert job.tasks[0].recv(100) == b"cmd=barrier_out rc=0\n"
    # One that waits in the barrier counts, even if it has died since.
    job.ask(0, b"cmd=barrier_in")
    job.tasks[0].close()
    job.turn()
    assert job.ask(1, b"cmd=barrier_in") == b"cmd=barrier_out rc=0\n"
    assert job.failed == []
    job.ask(1, b"cmd=barrier_in")
    assert job.failed == [
        ("task 0: PMI: closed its connection, and enters no barrier in which 1 of 2 tasks wait", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data, said",
    [
        (b"\0\1\xff\n", "expected words NAME=VALUE, got '\\x00\\x01\\ufffd'"),
        (b"\n", "expected cmd=COMMAND, got ''"),
        (b"cmd=frob\n", "expected cmd=COMMAND, got 'cmd=frob'"),
        (b"cmd=get kvsname=name\n", "get: expected key="),
        (b"cmd=put key=k value=v\n", "put: expected kvsname="),
        (b"cmd=put kvsname=name key=k\n", "put: expected value="),
        (b"cmd=init\n", "init: expected pmi_version and pmi_subversion, two whole numbers"),
        (b"cmd=init pmi_version=x pmi_subversion=1\n", "init: expected pmi_version and pmi_subversion"),
        (b"cmd=" + b"x" * 4096 + b"\n", "expected lines of at most 4096 bytes, got 4100"),
        (b"x" * 4097, "expected lines of at most 4096 bytes"),
        (b"mcmd=spawn\n" + b"x" * 4097 + b"\n", "expected lines of at most 4096 bytes"),
        (b"cmd=barrier_in\ncmd=barrier_in\n", "barrier_in: is in the barrier already"),
        (b"cmd=get_maxes\n" * 20000, "does not read its answers"),
    ],
)
def test_nonsense_ends_the_job(job, data, said):
    job.tasks[1].settimeout(10)
    sent = 0
    while sent < len(data) and not job.failed:
        sent += job.tasks[1].send(data[sent : sent + 4096])
        job.turn()
    [(text, code)] = job.failed
    assert text.startswith(f"task 1: PMI: {said}")
    assert code == 1
    assert len(text) < 200
    assert not job.watched  # nobody else is listened to either


def test_a_line_that_is_cut_off_ends_the_job(job):
    job.tasks[1].sendall(b"cmd=ini")
    job.tasks[1].close()
    job.turn()
    assert job.failed == [("task 1: PMI: closed its connection in the middle of a line", 1)]


def test_store_is_bounded(job, monkeypatch):
    monkeypatch.setattr(pmi, "STORE_MAX", 100)
    assert job.ask(0, b"cmd=put kvsname=name key=k value=" + b"v" * 99) == b"cmd=put_result rc=0\n"
    job.ask(0, b"cmd=put kvsname=name key=k value=")
    assert job.failed == [("task 0: PMI: put: the job has put more than 100 bytes", 1)]


@pytest.mark.parametrize(
    "words, said, code",
    [
        (b"", "PMI_Abort", 1),
        (b" exitcode=42", "PMI_Abort", 42),
        (b" exit_code=300 error_msg=out of it", "PMI_Abort: 'out of it'", 44),
        (b" exitcode=0", "PMI_Abort", 1),
        (b" exitcode=x", "PMI_Abort", 1),
    ],
)
def test_abort(job, words, said, code):
    job.ask(0, b"cmd=abort" + words)
    assert job.failed == [(f"task 0: PMI: {said}", code)]


def test_mapping_that_is_too_long_is_left_out():
    job = Job(1, "(vector" + ",(0,1,1)" * 200 + ")")
    assert job.ask(0, b"cmd=get kvsname=name key=PMI_process_mapping") == b"cmd=get_result rc=4\n"
    job.close()


# a job's tasks


def test_who_is_served():
    tasks = [[0, 0, 0, None, "-1"], [1, 1, 0, None, "-1"]]
    assert mpi.server({}, "x", tasks) == {"name": "x", "mapping": "(vector,(0,2,1))"}
    assert mpi.server({}, "x", tasks[:1]) is None
    assert mpi.server({"pmi": "off"}, "x", tasks) is None
    env = {"PMI_FD": "7", "PMI_RANK": "3", "A": "b", "FLUX_PMI_LIBRARY_PATH": "/other"}
    mpi.set_environment(env, {"pmi": "off"})
    assert env == {"A": "b"}
    mpi.set_environment(env, {})
    assert env == {"A": "b", "FLUX_PMI_LIBRARY_PATH": pmi.library()}


def test_open_mpi_has_a_folder_for_each_node():
    assert mpi.folders({}, {}, "/t", 1) == ["/t"]
    assert mpi.folders({}, {}, "/t", 2) == ["/t/node0", "/t/node1"]
    assert mpi.folders({mpi.BACKING: "/mine"}, {}, "/t", 2) == []
    assert mpi.folders({}, {"pmi": "off"}, "/t", 2) == []


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two nodes of four cores, whatever the machine has."""
    config = {"resource": {"config": [{"hosts": "n[1-2]", "cores": "0-3"}]}}
    with Session(configured(tmp_path_factory.mktemp("pmi"), config)) as one:
        yield one


def test_tasks_exchange_what_they_put(session):
    out = session("run", "-n4", "-N2", *PYTHON, str(CLIENT), "exchange").splitlines()
    assert [line.split()[:2] for line in sorted(out)] == [[str(rank), "4"] for rank in range(4)]
    assert {line.split()[3] for line in out} == {"(vector,(0,2,2))"}
    assert len({line.split()[2] for line in out}) == 1
    cyclic = session("run", "-n4", "-N2", "--taskmap=cyclic", *PYTHON, str(CLIENT), "exchange").splitlines()
    assert {line.split()[3] for line in cyclic} == {"(vector,(0,2,1),(0,2,1))"}


@pytest.mark.parametrize(
    "what, said, code",
    [
        ("junk", "PMI: expected words NAME=VALUE, got ", 1),
        ("megabyte", "PMI: expected lines of at most 4096 bytes", 1),
        ("half", "PMI: closed its connection in the middle of a line", 1),
        ("absent", "PMI: closed its connection, and enters no barrier in which 1 of 2 tasks wait", 1),
        ("abort", "PMI: PMI_Abort: 'no more'", 42),
    ],
)
def test_a_task_that_talks_nonsense_ends_its_job_alone(session, what, said, code):
    done = session.run("run", "-n2", *PYTHON, str(CLIENT), what)
    assert done.returncode == code
    assert f"task 1: {said}" in done.stderr
    [job] = session.ask("job.list", inactive=True, count=1)["jobs"]
    assert job["exception"]["note"].startswith(f"task 1: {said}")
    assert not job_processes(ids.f58(job["id"]))


def test_pmi_is_of_the_job_alone(session):
    """One task has none, nor what the shell that submits it has; neither has a job that asks for none."""
    show = ["sh", "-c", "echo ${PMI_FD-none} ${PMI_RANK-none} ${PMI_SIZE-none}"]
    env = {"PMI_FD": "3", "PMI_RANK": "9", "PMI_SIZE": "10"}
    assert session("run", *show, env=env) == "none none none"
    assert session("run", "-n2", "--setopt=pmi=off", *show, env=env) == "none none none\nnone none none"
    assert re.fullmatch(r"\d+ [01] 2\n\d+ [01] 2", session("run", "-n2", *show, env=env))
    found = f'echo $FLUX_PMI_LIBRARY_PATH; [ "${mpi.BACKING}" = $FLUX_JOB_TMPDIR ] && echo own'
    assert session("run", "sh", "-c", found).splitlines() == [pmi.library(), "own"]
    bad = session.fail("submit", "--setopt=pmi=pmix", "true")
    assert "--setopt: pmi: expected simple or off, got 'pmix'" in bad
    spec = json.loads(session("submit", "--dry-run", "true"))
    spec["attributes"]["system"]["shell"]["options"]["pmi"] = 1
    bad = session.fail("job", "submit", input=json.dumps(spec))
    assert "jobspec: attributes.system.shell.options.pmi: expected simple or off, got 1" in bad


def test_library(session):
    """What Open MPI opens: by lines among several tasks, and for a single one by itself."""
    words = [*PYTHON, str(CLIENT), "library"]
    cyclic = session("run", "-N2", "-n4", "--taskmap=cyclic", *words).splitlines()
    assert sorted(cyclic) == ["0 4 4 0 [0, 2]", "1 4 4 0 [1, 3]", "2 4 4 0 [0, 2]", "3 4 4 0 [1, 3]"]
    assert session("run", *words) == "0 1 1 0 [0]"
    done = session.run("run", "-n2", *words, "abort")
    assert done.returncode == 9
    assert "PMI: PMI_Abort: 'two  lines'" in done.stderr


# MPI programs, where the machine has what they need

PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, size, sum, next;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Sendrecv(&rank, 1, MPI_INT, (rank + size - 1) % size, 0, &next, 1, MPI_INT, (rank + 1) % size, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (argc > 1 && rank == 1)
        MPI_Abort(MPI_COMM_WORLD, 17);
    if (argc > 1)
        MPI_Barrier(MPI_COMM_WORLD);
    printf("%d of %d, then %d, together %d\n", rank, size, next, sum);
    MPI_Finalize();
    return 0;
}
"""


@pytest.fixture(scope="module", params=["mpich", "openmpi"])
def program(request, tmp_path_factory):
    """An MPI program, compiled with one of the implementations."""
    compiler = shutil.which(f"mpicc.{request.param}")
    if compiler is None:
        pytest.skip(f"no mpicc.{request.param}: Debian's lib{request.param}-dev is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "program.c").write_text(PROGRAM)
    subprocess.run([compiler, "-o", folder / "program", folder / "program.c"], check=True)
    return str(folder / "program")


def test_mpi_program(session, program):
    # More tasks than the machine has cores: they are not to spin.
    patient = "--env=OMPI_MCA_mpi_yield_when_idle=1"
    lines = session("run", "-N2", "-n4", "-o", "pmi=simple", patient, program).splitlines()
    assert sorted(lines) == [f"{i} of 4, then {(i + 1) % 4}, together 6" for i in range(4)]
    assert session("run", program) == "0 of 1, then 0, together 0"
    done = session.run("run", "-n2", program, "abort")
    assert done.returncode == 17, (done.stdout, done.stderr)


def test_mpi4py(session):
    """With the system's own Python, which Debian's mpi4py is for."""
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import mpi4py"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mpi4py: Debian's python3-mpi4py is not installed")
    script = "from mpi4py import MPI; c = MPI.COMM_WORLD; print(c.rank, c.allreduce(c.rank))"
    assert sorted(session("run", "-n3", python, "-c", script).splitlines()) == ["0 3", "1 3", "2 3"]
