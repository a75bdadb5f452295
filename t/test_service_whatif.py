# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""sched.whatif: what would become of the jobs that are there under other policies."""

import contextlib
import errno
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from fluxsched.core.comparison import Comparison
from hypothesis import given, settings
from hypothesis import strategies as st

from fakehost import Bench, make_r
from fluxsched.cli.instance import show_id
from fluxsched.cli.whatif import item, text
from fluxsched.core import Engine, Inventory
from fluxsched.errors import FluxSchedError
from fluxsched.policy import names
from fluxsched.service import aside, child, deadline, whatif
from test_forward import PLAIN_PYTHON
from test_service_ask import EASY, ask, busy, refusal

FCFS = ["plugin=sched.plugin1"]


def named(*policies):
    return [{"name": policy} for policy in policies]


def asked(bench, **payload):
    """The answer to sched.whatif; after a slice that took long the question pauses, and runs have their own threads."""
    count = len(bench.host.answers)
    bench.send("sched.whatif", payload, "what if")
    for _ in range(20000):
        bench.host.run(0.001)
        assert not bench.host.errors
        found = [answer for request, answer in bench.host.answers[count:] if request == "what if"]
        if found:
            json.dumps(found[0])
            return found[0]
        time.sleep(0.001)
    raise AssertionError("no answer")


def children():
    """The children of this process, of which other tests may have left some; those that nobody has waited for, too."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):      # it has just gone
            pid, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(pid))
    return found


def short():
    """One node; under FCFS job 2 (100 s) is before 3 (10 s) and 4 (10 s), which start at 1200 and 1210."""
    bench = Bench(FCFS, R=make_r(1, 1))
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=1, duration=100.0, userid=1)
    bench.alloc(3, nodes=1, duration=10.0, userid=2)
    bench.alloc(4, nodes=1, duration=10.0, userid=3)
    return bench


def test_measures_and_changes():
    answer = asked(short(), policies=named("easy+sjf", "fcfs"), starts=True)
    assert (answer["now"], answer["waiting"], answer["running"]) == (1000.0, 3, 1)
    assert (answer["times"], answer["plans"], answer["jobs"]) == ("requested", "limits", [2, 3, 4])
    assert answer["t_submit"] == [1000.0] * 3
    present, sjf, fcfs = answer["policies"]
    assert (present["name"], present["plugin"], present["options"]) == ("present", "sched.plugin1", {})
    assert present["starts"] == [1100.0, 1200.0, 1210.0] and present["against"] is None
    assert present["wait"] == {"mean": pytest.approx(510 / 3), "p95": 210.0}
    assert (present["started"], present["makespan"], present["problem"]) == (3, 220.0, None)
    assert (sjf["name"], sjf["plugin"]) == ("easy+sjf", "backfill.plugin1")
    assert sjf["options"] == {"reserve-depth": "1", "order": "sjf"}
    assert sjf["starts"] == [1120.0, 1100.0, 1110.0]
    assert sjf["wait"] == {"mean": pytest.approx(110.0), "p95": 120.0} and sjf["makespan"] == 220.0
    assert sjf["against"] == {
        "sooner": 2, "later": 1,
        "gain": [{"id": 3, "userid": 2, "name": "true", "seconds": 100.0},
                 {"id": 4, "userid": 3, "name": "true", "seconds": 100.0}],
        "lose": [{"id": 2, "userid": 1, "name": "true", "seconds": 20.0}]}
    assert fcfs["starts"] == present["starts"]
    assert fcfs["against"] == {"sooner": 0, "later": 0, "gain": [], "lose": []}
    assert all(policy["seconds"] > 0 for policy in answer["policies"])
    shown = text(answer)
    assert shown[0] == "3 jobs waiting, 1 running; each runs as long as it asked for"
    assert shown[2].split() == ["POLICY", "STARTED", "MEAN", "WAIT", "P95", "WAIT", "MAKESPAN", "SOONER", "LATER"]
    assert shown[3].split() == ["present", "3", "2m50s", "3m30s", "3m40s"]
    assert shown[4].split() == ["easy+sjf", "3", "1m50s", "2m", "3m40s", "2", "1"]
    assert shown[7] == "present: sched.plugin1"
    two, three, four = map(show_id, (2, 3, 4))
    assert shown[8].startswith(f"easy+sjf: start sooner, most: {three} (") and f"true) by 1m40s, {four} (" in shown[8]
    assert shown[9].startswith(f"easy+sjf: start later, most: {two} (") and shown[9].endswith("true) by 20s")
    assert shown[10:] == ["fcfs: no job starts sooner or later"]


def test_waits_count_from_submission_and_only_so_many_are_named():
    bench = short()
    bench.host.run(50.0)
    answer = asked(bench, policies=named("easy+sjf"), most=1)
    sjf = answer["policies"][1]
    assert sjf["wait"]["mean"] == pytest.approx(110.0) and sjf["makespan"] == 170.0
    assert [job["id"] for job in sjf["against"]["gain"]] == [3] and sjf["against"]["sooner"] == 2
    assert "starts" not in sjf and "jobs" not in answer


def test_the_live_policy_and_its_jobs_are_not_touched():
    bench = busy()
    before = ask(bench, "sched.stats")["engine"]
    order = [(job["id"], job["planned"]) for job in ask(bench, "sched.queue")["jobs"]]
    asked(bench, policies=named("conservative", "fcfs", "easy+saf", "hybrid2+wfp3"))
    after = ask(bench, "sched.stats")["engine"]
    assert after == before
    assert [(job["id"], job["planned"]) for job in ask(bench, "sched.queue")["jobs"]] == order
    bench.service.engine.sanity_check()
    bench.alloc(4, nodes=1, exclusive=True, duration=60.0)
    assert bench.started(4) and not bench.started(3)


def test_an_empty_queue():
    answer = asked(Bench(EASY), policies=named("fcfs"))
    assert (answer["waiting"], answer["running"]) == (0, 0)
    assert answer["policies"][0]["wait"] is None and answer["policies"][1]["makespan"] == 0.0
    assert text(answer)[3].split() == ["present", "0", "-", "-", "0s"]


def test_jobs_that_never_start():
    bench = Bench(FCFS, R=make_r(2, 1))
    bench.alloc(1, nodes=1)
    bench.alloc(2, nodes=2, duration=10.0)
    bench.alloc(3, nodes=1, duration=10.0)
    answer = asked(bench, policies=named("first-fit"))
    present, first = answer["policies"]
    assert (present["started"], present["wait"], present["makespan"]) == (0, None, 0.0)
    assert (first["started"], first["makespan"]) == (1, 10.0)
    assert first["against"]["gain"] == [{"id": 3, "userid": 100, "name": "true", "seconds": None}]
    shown = text(answer)
    assert shown[3].split()[:4] == ["present", "0", "of", "2"] and shown[4].split()[:4] == ["first-fit", "1", "of", "2"]
    assert shown[-1].endswith("true) instead of never")


def test_jobs_that_start_after_the_end_of_the_instance_do_not():
    bench = Bench(FCFS, R=make_r(1, 1, expiration=1100.0))
    bench.alloc(1, duration=99.0)
    bench.alloc(2, duration=50.0)
    bench.alloc(3, duration=1.0)
    present = asked(bench, policies=named("fcfs"))["policies"][0]
    assert (present["started"], present["makespan"]) == (1, 100.0)


def learnt(bench, part, user=100):
    for _ in range(5):
        bench.service.run_times.history.note(user, part, 1000.0)


def test_expected_run_times_are_the_default():
    bench = Bench(FCFS, R=make_r(1, 1))
    learnt(bench, 0.5)
    learnt(bench, 0.1, user=7)
    bench.alloc(1, duration=100.0)
    bench.alloc(2, duration=1000.0)
    bench.alloc(3, duration=1000.0, userid=7)
    bench.alloc(4)
    answer = asked(bench, policies=named("easy"), starts=True)
    assert (answer["times"], answer["plans"]) == ("expected", "limits")
    assert answer["policies"][0]["starts"] == [1050.0, 1550.0, 1650.0]
    assert answer["policies"][0]["makespan"] == 650.0
    assert text(answer)[0].endswith("each runs as long as is expected")
    answer = asked(bench, policies=named("easy"), times="requested", starts=True)
    assert answer["times"] == "requested" and answer["policies"][0]["starts"] == [1100.0, 2100.0, 3100.0]


def test_where_planning_anew_takes_too_long_all_plan_with_expected_run_times(monkeypatch):
    bench = Bench(EASY, R=make_r(2, 1))
    learnt(bench, 0.5)
    bench.alloc(1, nodes=1, duration=100.0)
    bench.alloc(2, nodes=2, duration=100.0)
    # With limits it cannot be told that it is over when 2 is to start.
    bench.alloc(3, nodes=1, duration=102.0)
    answer = asked(bench, policies=named("conservative"), starts=True)
    assert answer["plans"] == "limits" and answer["policies"][0]["starts"] == [1050.0, 1100.0]
    monkeypatch.setattr(whatif, "ANEW_MAX", -1.0)
    monkeypatch.setattr(aside, "FIRST", 1)
    monkeypatch.setattr(aside, "SLICE", 0.0)
    answer = asked(bench, policies=named("conservative"), starts=True)
    assert (answer["times"], answer["plans"]) == ("expected", "expected")
    for policy in answer["policies"]:
        assert policy["starts"] == [1050.0, 1100.0] and policy["started"] == 2
    assert text(answer)[0].endswith("as long as is expected, and the policies plan with that")
    assert bench.service.engine.times(1)[1] == 1100.0
    # Without a history there is nothing to fall back to.
    answer = asked(bench, policies=named("conservative"), times="requested")
    assert answer["plans"] == "limits"


def test_a_policy_that_takes_too_long(monkeypatch):
    bench = Bench(EASY, R=make_r(4, 1))
    for jobid in range(1, 30):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid)
    monkeypatch.setattr(whatif, "RUN_MAX", -1.0)
    monkeypatch.setattr(aside, "FIRST", 1)
    monkeypatch.setattr(aside, "SLICE", 0.0)
    answer = asked(bench, policies=named("conservative"))
    for policy in answer["policies"]:
        assert policy["problem"].startswith("it takes too long: after ") and policy["wait"] is None
    shown = text(answer)
    assert shown[4].split() == ["conservative", *"------"] and "conservative: it takes too long" in shown[-1]


def test_the_scheduler_answers_meanwhile(monkeypatch, tmp_path):
    monkeypatch.setattr(deadline, "DEADLINE", 60.0)
    bench = Bench(EASY, R=make_r(4, 1))
    for jobid in range(1, 60):
        bench.alloc(jobid, nodes=1 + jobid % 4, duration=10.0 + jobid)
    whole = asked(bench, policies=[{"name": "my.py", "source": PLAIN_PYTHON}], starts=True)
    go = tmp_path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.001)\n"
    late = {"name": "my.py", "source": waits + PLAIN_PYTHON}
    bench.send("sched.whatif", {"policies": [late], "starts": True}, "late")
    bench.host.run(1.0)
    # What comes meanwhile is not in the answer.
    bench.alloc(1000, nodes=4, duration=1.0)
    assert len(ask(bench, "sched.queue")["jobs"]) == whole["waiting"] + 1
    assert not [request for request, _ in bench.host.answers if request == "late"]
    go.touch()
    while not [request for request, _ in bench.host.answers if request == "late"]:
        bench.host.run(0.01)
        time.sleep(0.001)
    answer = bench.host.answers[-1][1]
    assert answer["jobs"] == whole["jobs"] and 1000 not in answer["jobs"]
    assert [row["starts"] for row in answer["policies"]] == [row["starts"] for row in whole["policies"]]


class Runs:
    """What an Aside runs: slices of a hundredth of a second, so many of them, and then an error."""

    started = 7

    def __init__(self, slices, error=None):
        self.left = slices
        self.error = error
        self.budgets = []

    def advance(self, until, budget):
        self.budgets.append(budget)
        time.sleep(0.01)
        if self.left == 0 and self.error is not None:
            raise self.error
        self.left -= 1
        return self.left > 0


def test_a_run_has_a_thread_of_its_own():
    run = aside.InThread(lambda: Runs(3), None, 5.0)
    looks = []
    while run.going:
        looks.append(run.look())
        time.sleep(looks[-1])
    assert (run.more, run.started, run.error) == (False, 7, None)
    assert looks[:3] == [0.001, 0.002, 0.004] and max(looks) <= 0.064
    run = aside.InThread(lambda: Runs(10**9), None, 5.0)
    run.end()
    assert run.more and not run.going and run.error is None
    run = aside.InThread(lambda: Runs(0, ZeroDivisionError("odd")), None, 5.0)
    run.end()
    assert run.error == "ZeroDivisionError: odd"
    with pytest.raises(ZeroDivisionError):
        aside.InThread(lambda: 1 / 0, None, 5.0)


def in_process(make, limit=5.0):
    engine = Engine(Inventory.from_counts(1, 1), names.load(names.choose("fcfs")))
    return child.InProcess(make, None, limit, Comparison(engine), 0.0)


def over(run):
    """Wait until a run is over."""
    while run.going:
        time.sleep(run.look())
    return run


def test_a_run_has_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(child, "ENDING_AT_ONCE", 60.0)      # here the machine may be as slow as it likes
    before = children()
    descriptors = len(os.listdir("/proc/self/fd"))
    run = over(in_process(lambda: 1 / 0))
    assert (run.more, run.started, run.error) == (True, 0, "ZeroDivisionError: division by zero")
    # What the child does is done here, too: the lines of a process that has gone are not counted.
    run._make = lambda: Runs(2)
    head, _, row = run._work().partition(b"\n")
    assert json.loads(head)["error"].startswith("TypeError: Argument 'forward' has incorrect type") and not row
    assert (run.more, run.started) == (False, 7)
    run = in_process(lambda: time.sleep(60.0))
    begin = time.monotonic()
    run.end()
    assert not run.going and run.error == "it was ended" and time.monotonic() - begin < 30.0
    run.end()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert children() == before


def test_no_process_can_be_made(monkeypatch):
    descriptors = len(os.listdir("/proc/self/fd"))

    def odd():
        raise BlockingIOError(errno.EAGAIN, "no more")

    monkeypatch.setattr(os, "fork", odd)
    answer = asked(busy(), policies=[{"name": "my.py", "source": PLAIN_PYTHON}, {"name": "fcfs"}])
    assert answer["policies"][1]["problem"].startswith("BlockingIOError: ") and answer["policies"][2]["started"] == 2
    assert len(os.listdir("/proc/self/fd")) == descriptors


# What is done in the process of a plugin, where it is loaded or first asked, and what is told of that.
CRASHES = [
    ("os.abort()", "its process ended before it had come to its end (Aborted)"),
    ("ctypes.string_at(0)", "its process ended before it had come to its end (Segmentation fault)"),
    ("os._exit(3)", "its process ended before it had come to its end"),
    ("os.kill(os.getpid(), 9)", "its process ended before it had come to its end"),
    # It holds the interpreter, so that no exception can end it.
    ("sum(range(10**15))", "it takes too long: it has not come back after "),
    ("time.sleep(10**6)", "it takes too long: it has not ended within 0.5 s"),
    ("[os.write(int(n), b'x' + bytes([10])) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/dev/fd/{n}')]",
     "its process told what cannot be read"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
]


@pytest.mark.parametrize("crash, problem", CRASHES)
def test_a_policy_that_crashes_is_a_row_with_a_problem(monkeypatch, crash, problem):
    long = 0.5 if "sleep" in crash else 60.0
    for name, value in (("GRACE", 0.1), ("PATIENCE", long)):
        monkeypatch.setattr(child, name, value)
    monkeypatch.setattr(whatif, "RUN_MAX", 0.1)
    head = "import ctypes, os, time\n"
    policies = [{"name": "load.py", "source": f"{head}{crash}\n{PLAIN_PYTHON}"},
                {"name": "run.py", "source": head + RAISES.format(crash)}, {"name": "fcfs"}]
    before = children()
    answer = asked(busy(), policies=policies)
    assert [row["problem"][:len(problem)] for row in answer["policies"][1:3]] == [problem] * 2
    assert answer["policies"][3]["problem"] is None and answer["policies"][3]["started"] == 2
    assert children() == before


# Tells by an error of its own what it has of the scheduler.
TELLS = """
import ctypes, json, os, signal
got = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(got), 0, 0, 0)
raise ValueError(json.dumps({
    "open": [os.readlink(f"/dev/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/dev/fd/{n}")],
    "death": got.value, "handled": [int(n) for n in signal.valid_signals() if signal.getsignal(n) != signal.SIG_DFL],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "group": os.getpgid(0) == os.getpid(),
    "nice": os.nice(0), "wakeup": signal.set_wakeup_fd(-1), "dumped": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}))
"""


def test_the_process_keeps_nothing_of_the_scheduler():
    handler, (read, write) = signal.signal(signal.SIGUSR1, lambda *_: None), os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write)
    try:
        answer = asked(busy(), policies=[{"name": "my.py", "source": TELLS}])
        assert signal.getsignal(signal.SIGUSR1) is not handler and not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGUSR1, handler)
        assert signal.set_wakeup_fd(wakeup) == write
        os.close(read)
        os.close(write)
    before, _, told = answer["policies"][1]["problem"].partition("{")
    assert before == "plugin my.py: it does not load: ValueError: "
    told = json.loads("{" + told)
    assert sorted(told["open"])[:3] == ["/dev/null"] * 3 and told["open"][3].startswith("pipe:")
    assert (told["death"], told["blocked"], told["group"], told["wakeup"], told["dumped"]) == (9, 0, True, -1, 0)
    assert set(told["handled"]) <= {signal.SIGKILL, signal.SIGSTOP}
    assert told["nice"] == min(os.nice(0) + child.NICE, 19)


def test_the_live_policy_in_python_is_run_in_a_process(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_PYTHON)
    bench = Bench([f"plugin={path}"], R=make_r(2, 1))
    for jobid in range(1, 8):
        bench.alloc(jobid, nodes=1 + jobid % 2, duration=10.0)
    answer = asked(bench, policies=[{"name": "same.py", "source": PLAIN_PYTHON}], starts=True)
    present, same = answer["policies"]
    assert present["started"] == answer["waiting"] and present["aside"] > 0.0
    assert bench.service.engine.policy.plugin.passes == 7
    assert sum(same["against"][key] for key in ("sooner", "later")) >= 0


def test_a_plugin_that_is_not_our_own_is_not_loaded_here(tmp_path):
    path = tmp_path / "odd.so"
    path.write_bytes(b"no library")
    answer = asked(busy(), policies=named(str(path)))
    assert "does not load: ImportError" in answer["policies"][1]["problem"]


def test_an_error_in_a_thread_is_told(monkeypatch):
    def odd(self, forward):
        raise MemoryError("no more")

    monkeypatch.setattr(aside.Aside, "_advance", odd)
    answer = asked(busy(), policies=named("easy"))
    assert [policy["problem"] for policy in answer["policies"]] == ["MemoryError: no more"] * 2


def test_the_end_of_the_module_ends_the_question(monkeypatch):
    stopped = lambda self: [time.sleep(0.001) for _ in iter(lambda: self._stop, True)]  # noqa: E731
    monkeypatch.setattr(aside.InThread, "_run", stopped)
    bench = busy()
    bench.send("sched.whatif", {"policies": named("easy")}, "what if")
    while not [each for each in threading.enumerate() if each.name == "whatif"]:
        bench.host.run(0.1)
    bench.service.stop()
    assert not [each for each in threading.enumerate() if each.name == "whatif"]
    bench.host.run(1.0)
    assert bench.host.answers[-1][0] != "what if" and not bench.host.texts(3)


def test_a_plugin_that_the_client_sends(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(PLAIN_PYTHON)
    bench = busy()
    sent = item(f"{path}:depth=2")
    assert sent == {"name": f"{path}:depth=2", "source": PLAIN_PYTHON}
    path.unlink()
    _, own = asked(bench, policies=[sent])["policies"]
    assert (own["plugin"], own["options"], own["problem"], own["started"]) == (str(path), {"depth": "2"}, None, 2)
    with pytest.raises(FluxSchedError, match=r"my\.py: No such file"):
        item(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FluxSchedError, match="in UTF-8"):
        item(str(path))
    assert item("easy+saf:aging=0") == {"name": "easy+saf:aging=0"}
    assert item("./x.so:a=b")["name"].startswith("/") and item("./x.so:a=b")["name"].endswith("/x.so:a=b")


RAISES = PLAIN_PYTHON.replace("return engine.fits_now(job)", "{}")


@pytest.mark.parametrize("source, problem", [
    (RAISES.format("return 1 / 0"), "ZeroDivisionError: division by zero"),
    (RAISES.format("raise SystemExit(3)"), "SystemExit: 3"),
    (RAISES.format("return engine.start(job)"), "PluginError"),
])
def test_an_error_in_a_policy_is_its_own(source, problem):
    bench = busy()
    answer = asked(bench, policies=[{"name": "my.py", "source": source}, {"name": "fcfs"}])
    assert answer["policies"][1]["problem"].startswith(problem) or problem == "PluginError"
    assert answer["policies"][1]["problem"] and answer["policies"][1]["wait"] is None
    assert answer["policies"][2]["started"] == 2
    assert not bench.host.texts(3)


@pytest.mark.parametrize("loop", [
    "\n        while True:\n            try:\n                pass\n            except Exception: pass",
    "\n        while True: pass",
    # It catches what is not its own.
    "\n        try:\n            while True: pass\n        except BaseException: pass",
    "\n        return all(turn == 0 for turn in iter(int, 1))",
])
def test_a_policy_that_does_not_come_back(monkeypatch, loop):
    monkeypatch.setattr(deadline, "DEADLINE", 0.2)      # what else there is to do is to take less
    answer = asked(busy(), policies=[{"name": "my.py", "source": RAISES.format(loop)}, {"name": "fcfs"}])
    problem = answer["policies"][1]["problem"]
    assert problem.startswith("it has not come back within 0.2 s (my.py, line "), problem
    assert answer["policies"][2]["started"] == 2
    endless = {"name": "my.py", "source": "while True:\n    n = 0\n"}
    problem = asked(busy(), policies=[endless])["policies"][1]["problem"]
    assert problem.startswith("it has not come back within 0.2 s (my.py, line ")


@pytest.mark.parametrize("source, problem", [
    ("x =", "plugin my.py: it does not load: SyntaxError: invalid syntax"),
    ("raise SystemExit", "plugin my.py: it does not load: SystemExit"),
    ("x = 1", "plugin my.py: my.py has no class Plugin"),
])
def test_a_text_that_is_no_plugin(source, problem):
    answer = asked(busy(), policies=[{"name": "my.py", "source": source}])
    assert answer["policies"][1]["problem"].startswith(problem)


@pytest.mark.parametrize("payload, number, said", [
    ({}, errno.EPROTO, "sched.whatif: field 'policies' is missing"),
    ({"policies": "easy"}, errno.EPROTO, "sched.whatif: field 'policies': expected a list of at most 12 items"),
    ({"policies": named("easy") * 13}, errno.EPROTO, "sched.whatif: field 'policies': expected a list of at most 12"),
    ({"policies": [{}]}, errno.EINVAL, "sched.whatif: policies: expected objects of name and perhaps source"),
    ({"policies": [{"name": "easy", "text": ""}]}, errno.EINVAL, "sched.whatif: policies: expected objects of name"),
    ({"policies": [{"name": "easy", "source": 5}]}, errno.EINVAL, "sched.whatif: source: expected text"),
    ({"policies": named("easy"), "times": "odd"}, errno.EPROTO, "sched.whatif: field 'times': expected one of"),
    ({"policies": named("easy"), "most": -1}, errno.EPROTO, "sched.whatif: field 'most'"),
    ({"policies": named("odd")}, errno.EINVAL,
     "policy 'odd': expected fcfs, easy, easy++, conservative, first-fit, hybridN, each also with +ORDER (fcfs, sjf"),
    ({"policies": named("easy+odd")}, errno.EINVAL, "policy 'easy+odd': unknown order 'odd'; one of fcfs, sjf"),
    ({"policies": named("easy:depth=2")}, errno.EINVAL, "plugin backfill.plugin1: unknown option 'depth'; it knows"),
    ({"policies": named("")}, errno.EINVAL, "policy ''"),
    ({"policies": named("/odd.so")}, errno.EINVAL, "plugin /odd.so: there is no such file"),
])
def test_refusals(payload, number, said):
    got, why = refusal(busy(), "sched.whatif", payload)
    assert got == number and why.startswith(said), why


def test_only_the_owner_may_ask():
    from fluxsched.service.service import RPCS

    assert not RPCS["sched.whatif"].guests


def test_what_is_in_time_is_left_alone():
    for _ in range(50):
        with contextlib.suppress(deadline.Overrun), deadline.limited(0.001):
            sum(range(20000))
    with pytest.raises(ZeroDivisionError), deadline.limited(5.0):
        print(1 / 0)
    for _ in range(1000):       # nothing comes late
        pass
    end = time.monotonic() + 60.0
    while [each for each in threading.enumerate() if each.name == "deadline"]:
        time.sleep(0.01)
        assert time.monotonic() < end


def test_a_policy_that_cannot_be_copied(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_PYTHON.replace("self.passes = 0", "self.passes = 0; self.kept = (x for x in ())"))
    bench = Bench([f"plugin={path}"], R=make_r(1, 1))
    number, why = refusal(bench, "sched.whatif", {"policies": named("easy")})
    assert number == errno.EINVAL and "cannot be copied" in why


POLICIES = ["fcfs", "easy", "conservative", "hybrid2", "first-fit", "easy+saf", "fcfs+sjf", "hybrid3+f1", "easy+wfp3"]
SHAPES = st.fixed_dictionaries({
    "nodes": st.integers(0, 4), "slots": st.integers(1, 2), "cores": st.integers(1, 2),
    "duration": st.sampled_from([7.0, 20.0, 50.0]), "priority": st.sampled_from([16, 16, 20]),
})


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(POLICIES), st.sampled_from(POLICIES), st.lists(SHAPES, min_size=1, max_size=12))
def test_it_comes_true(present, other, shapes):
    """Where another policy is loaded, and all takes as long as it asked for and none comes, jobs start as was told."""
    def load(policy):
        choice = names.choose(policy)
        return [f"plugin={choice.plugin}", f"plugin-opts={names.options_text(choice.options)}"]

    def submit(bench, first):
        for jobid, shape in enumerate(shapes, first):
            bench.alloc(jobid, run=False, **shape)

    bench = Bench(load(present), R=make_r(4, 4))
    bench.alloc(1, nodes=4, exclusive=True, duration=30.0)
    submit(bench, 2)
    bench.host.run()
    told = asked(bench, policies=named(other), starts=True)
    starts = dict(zip(told["jobs"], told["policies"][1]["starts"]))
    live = Bench(load(other), R=make_r(4, 4))
    live.alloc(1, nodes=4, exclusive=True, duration=30.0)
    submit(live, 2)
    live.host.run()
    seen = {}
    over = set()
    while len(seen) < len(shapes):
        engine = live.service.engine
        for jobid in engine.running_jobs():
            if jobid > 1:
                seen.setdefault(jobid, engine.times(jobid)[0])
        if len(seen) == len(shapes):
            break
        live.end_next(over)
    assert starts == {jobid: pytest.approx(start, abs=1e-5) for jobid, start in seen.items()}


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from fluxsched.simulate.whatifplot import draw, waits

    answer = json.loads(json.dumps(asked(short(), policies=named("easy+sjf"), starts=True)))
    assert waits(answer, answer["policies"][1]).tolist() == [100.0, 110.0, 120.0]
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        path = tmp_path / f"x.{kind}"
        draw(answer, path, kind)
        assert path.read_bytes().startswith(begin)
    empty = asked(Bench(EASY), policies=named("fcfs"), starts=True)
    draw(empty, tmp_path / "empty.png", "png")
