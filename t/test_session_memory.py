# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory as a request: --mem, how it is given out, and what becomes of a job that takes more."""

import errno
import json
import os
import subprocess
import sys

import pytest

from embedded import Session, configured, flux, until
from fluxsched.formats import jobspec, sizes
from fluxsched.service import memory as pools
from fluxsched.session.broker import machine
from fluxsched.session.broker import memory as requests
from fluxsched.session.commands import buildspec
from fluxsched.session.commands import submit as commands
from fluxsched.session.runner import cgroups, memory

# sizes


@pytest.mark.parametrize(
    "text, size",
    [("4G", 4 << 30), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("100GB", 10**11), ("2k", 2048), ("1K", 1024),
     ("1kB", 1000), ("0.5T", 1 << 39), ("1PB", 10**15)],
)  # fmt: skip
def test_sizes(text, size):
    assert sizes.parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "4", "G", "-1G", "4g", "4 G", "4GiBs", "1e3M", "\u0664G", "1" * 16 + "M", 4, None]
)
def test_what_is_no_size(text):
    with pytest.raises(sizes.SizeError, match="expected a size such as 4G or 512M, got"):
        sizes.parse(text)


@pytest.mark.parametrize("text", ["0G", "0.000000001k", "2P"])
def test_sizes_have_bounds(text):
    with pytest.raises(sizes.SizeError, match="expected a size above 0 and of at most 1PB, got"):
        sizes.parse(text)


def test_sizes_as_people_read_them():
    shown = [sizes.show(size) for size in (0, 999, 1000, 1536, 4 << 30, 10**11, 10**15)]
    assert shown == ["0B", "999B", "1kB", "1.54kB", "4.29GB", "100GB", "1PB"]


# what there is


def test_memory_of_the_machine(tmp_path):
    assert machine.memory() > 100
    (tmp_path / "meminfo").write_text("MemTotal:       24683656 kB\nMemFree: 1 kB\n")
    assert machine.memory(str(tmp_path)) == 25276
    assert machine.memory(str(tmp_path / "none")) == 0


# what is asked for


def spec(*words):
    options = commands.parser("submit").parse_args([*words, "true"])
    return buildspec.build(options, options.command, env={})


@pytest.mark.parametrize(
    "words, amount, total",
    [
        (["--mem=1G"], 1074, 1074),
        (["--mem=1GB", "-n3"], 334, 1002),
        (["--mem=1G", "-N2", "-n4"], 1074, 2148),
        (["--mem=1G", "-N2"], 1074, 2148),
        (["--mem=1G", "--cores=2", "--tasks-per-node=1"], 537, 1074),
        (["--mem=1k"], 1, 1),
    ],
)
def test_request(words, amount, total):
    found = spec(*words)
    assert found["resources"][0]["with"][-1] == {"type": "memory", "count": amount, "unit": "MB"}
    request = jobspec.parse(found)
    assert pools.requested(request) == total
    assert requests.total(request, {}) == total * 10**6


def test_requests_without_memory():
    request = jobspec.parse(spec("-N2", "-n4", "-g1"))
    assert pools.requested(request) == 0
    assert requests.total(request, {}) == 0


def test_a_job_of_open_size_has_what_it_got():
    found = spec("--mem=100MB", "-N2")
    found["resources"][0]["count"] = {"min": 2, "max": 4}
    R = {"scheduling": {"pools": [[0, 100], [2, 100], [3, 100]]}}
    assert requests.total(jobspec.parse(found), R) == 300 * 10**6


def test_what_ranks_hold():
    held = [{"scheduling": {"pools": [[0, 5], [1, 7]]}}, {}, {"scheduling": {"pools": [[1, 1], [9, 9]]}}]
    assert requests.held(held, [2, 4]) == {2: 5, 4: 8}


def test_bad_size_is_refused():
    done = flux("run", "--mem=4", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ERROR: --mem: expected a size such as 4G or 512M, got '4'" in done.stderr


# keeping to it


@pytest.fixture
def watched(monkeypatch):
    """A limit of 100 bytes: what its looks see, and what it says."""

    class Watched:
        def __init__(self):
            self.timers, self.failed, self.rss, self.pss = {}, [], 0, 0

        def look(self, rss, pss):
            self.rss, self.pss = rss, pss
            self.timers.pop("memory")[1]()

    one = Watched()
    monkeypatch.setattr(memory, "descendants", lambda pid: [])
    monkeypatch.setattr(memory, "resident", lambda pids: one.rss)
    monkeypatch.setattr(memory, "proportional", lambda pids: one.pss)
    return one


def test_a_job_is_looked_at_again_and_again(watched):
    limit = memory.Limit(100, None, watched.timers, watched.failed.append)
    watched.look(100, 100)
    watched.look(300, 100)  # shared by three
    assert watched.failed == []
    limit.check()  # a process has ended; nobody but the kernel would have killed it
    watched.look(300, 101)
    assert watched.failed == ["memory: the job has 101B, and asked for 100B"]
    assert watched.timers == {}
    memory.Limit(100, None, watched.timers, watched.failed.append).close()
    assert watched.timers == {}


def test_kernel_keeps_the_limit_where_there_is_the_controller(watched, tmp_path):
    group = tmp_path / "group"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "cgroup.procs"):
        (group / name).write_text("")
    (group / "memory.events").write_text("low 0\nmax 5\noom 0\noom_kill 0\n")
    limit = memory.Limit(10**8, str(group), watched.timers, watched.failed.append)
    assert watched.timers == {}
    assert [(group / f"memory.{name}").read_text() for name in ("max", "swap.max", "oom.group")] == [
        "100000000", "0", "1",
    ]  # fmt: skip
    os.write(limit.joins, b"0")
    assert (group / "cgroup.procs").read_text() == "0"
    limit.check()
    assert watched.failed == []
    (group / "memory.events").write_text("oom 1\noom_kill 1\n")
    limit.check()
    assert watched.failed == ["memory: the job took more than the 100MB that it asked for"]
    limit.close()
    with pytest.raises(OSError):
        os.fstat(limit.joins)


def test_a_group_without_the_controller_is_looked_at(watched, tmp_path):
    """It is made and removed again; the kernel would have had the file in it."""
    group = tmp_path / "group"
    limit = memory.Limit(10**8, str(group), watched.timers, watched.failed.append)
    assert (list(watched.timers), limit.joins, group.exists()) == (["memory"], -1, False)
    assert not memory.killed(str(group))
    limit.close()
    group.mkdir()
    for name in ("memory.max", "cgroup.procs"):  # no swap to bound
        (group / name).write_text("")
    joins = memory.confine(str(group), 7)
    assert joins >= 0
    os.close(joins)


DELEGATE = """
import os, sys
from fluxsched.session.runner import cgroups
controller, own = sys.argv[1:]
cgroups.write(own, "cgroup.procs", "0")
path = cgroups.base(controller)
words = lambda name: sorted(cgroups._words(path, name))
print(controller in words("cgroup.subtree_control"), os.listdir(own).count("flux"), words("cgroup.procs"))
print(open("/proc/self/cgroup").read().split("0::")[1].split()[0].rpartition("/")[2])
os.makedirs(path + "/worker" + cgroups.JOB)
print(sorted(name for name in os.listdir(path + "/worker.job") if name.startswith(controller))[:1] != [])
os.rmdir(path + "/worker.job")
cgroups.leave(path, controller)
print(os.path.exists(path), cgroups._words(own, "cgroup.subtree_control"), cgroups._words(own, "cgroup.procs") != [])
cgroups.write(os.path.dirname(own), "cgroup.procs", "0")
"""


@pytest.fixture
def delegated():
    """An empty control group of ours, and a controller that it has."""
    top = cgroups._own()
    try:
        folder = os.path.join(top or "/none", f"flux-test-{os.getpid()}")
        os.mkdir(folder)
    except OSError:
        pytest.skip("no control groups: neither root nor in a delegated group (cgroup v2)")
    try:
        known = cgroups._words(top, "cgroup.controllers")
        found = next((name for name in ("memory", "hugetlb", "pids") if name in known), None)
        before = cgroups._words(top, "cgroup.subtree_control")
        if found is not None and found not in before:
            cgroups.write(top, "cgroup.subtree_control", f"+{found}")
    except OSError:
        found = None
    if found is None:
        os.rmdir(folder)
        pytest.skip("no controller can be had here")
    yield found, folder
    os.rmdir(folder)
    if found not in before:
        cgroups.write(top, "cgroup.subtree_control", f"-{found}")


def test_a_session_alone_in_its_group_has_the_controller(delegated):
    """With any controller that this machine gives, for the memory controller may be with the first version."""
    controller, folder = delegated
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    words = [sys.executable, "-c", DELEGATE, controller, folder]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True 0 []", cgroups.SESSION, "True", "False [] True"]


def test_a_session_that_is_not_alone_moves_nobody(tmp_path, monkeypatch):
    own, path = tmp_path / "own", tmp_path / "own/flux"
    path.mkdir(parents=True)

    def write(folder, name, text):
        written.append((os.path.basename(folder), name, text))
        if name == "cgroup.subtree_control" and folder == str(own):
            raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(cgroups, "write", write)
    (own / "cgroup.subtree_control").write_text("cpu\n")
    for controllers, procs, expected in (
        ("cpu pids", "1", []),
        ("cpu memory", f"1\n{os.getpid()}", [("own", "cgroup.subtree_control", "+memory")]),
    ):
        written = []
        (own / "cgroup.controllers").write_text(controllers)
        (own / "cgroup.procs").write_text(procs)
        cgroups._delegate(str(own), str(path), "memory")
        assert written == expected
        assert not (path / cgroups.SESSION).exists()
    # Alone, but it may not have it all the same: it goes back.
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    written = []
    cgroups._delegate(str(own), str(path), "memory")
    assert written[1:] == [
        (cgroups.SESSION, "cgroup.procs", "0"), ("own", "cgroup.subtree_control", "+memory"),
        ("own", "cgroup.procs", "0"),
    ]  # fmt: skip
    assert not (path / cgroups.SESSION).exists()
    # Where it is there already, nothing moves.
    (own / "cgroup.subtree_control").write_text("cpu memory\n")
    written = []
    cgroups._delegate(str(own), str(path), "memory")
    assert written == [("flux", "cgroup.subtree_control", "+memory")]


def test_what_processes_have():
    own = [os.getpid(), 2**22 + 1]
    assert 5 << 20 < memory.proportional(own) <= memory.resident(own) < 1 << 32


# a session


NODES = {"resource": {"config": [{"hosts": "n[1-2]", "cores": "0-3", "memory": "1GB"}]}}


@pytest.fixture
def start(tmp_path):
    option = configured(tmp_path, NODES)
    return lambda: Session(option, f"--statedir={tmp_path}/state")


HOG = "x = b'x' * (80 << 20); import time; time.sleep(600)"


def test_memory_is_given_out(start):
    with start() as session:
        assert session("run", "sh", "-c", "echo plain") == "plain"
        assert "scheduling" not in json.loads(session("job", "info", session("job", "last"), "R"))
        lines = session("resource", "list", "-m").splitlines()
        assert lines[0].strip() == "STATE NNODES NCORES NGPUS   MEMORY NODELIST"
        assert lines[1] == "      free      2      8     0     2000 n[1-2]"
        said = session.fail("submit", "--mem=2G", "true")
        assert "unsatisfiable request" in said
        done = session.run("run", "--mem=40MB", sys.executable, "-S", "-c", HOG)
        assert done.returncode == 137
        assert "MB, and asked for 40MB" in done.stderr
        events = session.events(session("job", "last"))
        [note] = [entry["context"]["note"] for entry in events if entry["name"] == "exception"]
        assert note.startswith("memory: the job has ") and note.endswith("MB, and asked for 40MB")
        inner = session("run", "-n1", "--mem=300MB", "flux", "start", "flux", "resource", "list", "-mn", "-s", "free")
        assert inner.split()[4] == "300"
        first, second = (session("submit", "-N1", "-n1", "--mem=600MB", "sleep", "600") for _ in range(2))
        session.wait_state(second, "RUN")
        third = session("submit", "--mem=600MB", "echo", "third")
        plain = session("run", "echo", "others go on")
        assert plain == "others go on"
        assert session.state(third) == "SCHED"
        assert "1 core, 6 free, but not with 600 MB of memory" in session("sched", "why", third)
        assert session("jobs", "-n", "-o", "{id} {memory}", first) == f"{first} 600"
        assert session("resource", "list", "-mn", "-s", "free,allocated").split()[4:11:6] == ["800", "1200"]
        session.kill()
    # A session that is started again counts what its jobs hold.
    with start() as session:
        assert session.state(third) == "SCHED"
        session("cancel", first)
        assert session("job", "attach", third) == "third"
        assert session.job(second)["state"] == "RUN"
        session("cancel", second)
        until(lambda: session.state(second) == "INACTIVE", "its end")
