# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module flux of a session, used by programs of their own, which have nothing but Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedded import Session, clean_environment
from fluxsched.session import pythonpath

TOP = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def session():
    with Session("-s2") as session:
        yield session


def python(session, program, *words, check=True, **environ):
    """What a program in Python prints in the session. It has no library but the module, and is told so (-I -S)."""
    path = pythonpath.FOLDER
    start = f"import sys; sys.path.insert(0, {path!r})\nimport flux, flux.job, os, errno, json\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program, *words],
        env=dict(session.env, **environ), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if check:
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip() if check else done


JOB = "def job(*words, **more): return flux.job.JobspecV1.from_command(list(words), **more)\n"
RAISES = """
def raises(kind, function, *arguments, **more):
    try:
        function(*arguments, **more)
    except kind as error:
        return str(error)
    raise AssertionError(f"{function} raised nothing")
"""


def test_a_program_submits_waits_and_lists(session, tmp_path):
    program = JOB + """
handle = flux.Flux()
assert handle.attr_get("size") == "2" and handle.get_rank() == 0
jobs = [flux.job.submit(handle, job("sh", "-c", f"exit {n}", name=f"n{n}"), waitable=True) for n in range(3)]
ended = {}
for _ in jobs:
    one = flux.job.wait(handle)
    ended[one.jobid] = (one.success, one.errstr)
assert ended[jobs[0]] == (True, b"") and ended[jobs[2]] == (False, b"task(s) exited with exit code 2"), ended
assert flux.job.wait(handle, jobs[1]).success is False
result = flux.job.result(handle, jobs[2])
assert (result.returncode, result.result, result.state, result.status_abbrev) == (2, "FAILED", "INACTIVE", "F")
assert result.id == jobs[2] and result.id.f58 == str(jobs[2]) == result.to_dict()["jobid"] and result.runtime >= 0
assert result.exception.occurred is False and result.sched.nothing is None and result.dependencies == []
assert result.result_id == flux.constants.FLUX_JOB_RESULT_FAILED and result.get_runtime() >= 0
names = [one.name for one in flux.job.JobList(handle, filters=["failed"]).jobs()]
assert sorted(names) == ["n1", "n2"], names
assert [one.id for one in flux.job.JobList(handle, ids=[jobs[0], "f1"]).jobs()] == [jobs[0]]
assert {one["result"] for one in flux.job.job_list(handle, name="n2").get_jobs()} == {2}
assert len(flux.job.job_list(handle, max_entries=2).get_jobs()) == 2
assert len(list(flux.job.job_list_inactive(handle, name="n1").get_jobinfos())) == 1
assert flux.job.job_list(handle, states=flux.constants.FLUX_JOB_STATE_PENDING).get_jobs() == []
assert flux.job.get_job(handle, jobs[0])["name"] == "n0" and flux.job.get_job(handle, 1) is None
assert flux.job.JobList(handle, user="all").jobs() and not flux.job.JobList(handle, user="4294967000").jobs()
kept = flux.job.job_kvs_lookup(handle, jobs[0], ["jobspec", "R", "eventlog"])
assert kept["jobspec"]["attributes"]["system"]["cwd"] == os.getcwd() and kept["eventlog"][0]["name"] == "submit"
print(len(ended))
"""
    assert python(session, program) == "3"
    assert json.loads(session("jobs", "-a", "--json", "--name=n0"))["jobs"][0]["cwd"] == os.getcwd()


def test_events_output_signals_and_cancellation(session, tmp_path):
    program = JOB + """
handle = flux.Flux()
spec = job("sh", "-c", "echo to $FLUX_TASK_RANK; echo err >&2", num_tasks=2)
jobid = flux.job.submit(handle, spec)
names = [event.name for event in flux.job.event_watch(handle, jobid)]
assert names[0] == "submit" and names[-1] == "clean" and "start" in names, names
assert flux.job.event_wait(handle, jobid, "finish").context == {"status": 0}
output = flux.job.job_output(handle, jobid)
assert sorted(output.stdout.split("\\n")) == ["", "to 0", "to 1"] and output.stderr == "err\\nerr\\n", output
assert flux.job.job_output(handle, jobid, tasks="1", labelio=True).stdout == "1: to 1\\n"
assert sorted(flux.job.output_watch_lines(handle, jobid))[0] == ("stderr", "err")
sleeper = flux.job.submit(handle, job("sleep", "60"))
flux.job.event_wait(handle, sleeper, "start")
flux.job.kill(handle, sleeper, 10)
assert flux.job.result(handle, sleeper).returncode == 138
held = flux.job.submit(handle, job("true"), urgency=0)
flux.job.cancel(handle, held, "no more")
try:
    flux.job.event_wait(handle, held, "start")
except flux.job.JobException as error:
    assert (error.type, error.severity, str(error)) == ("cancel", 0, "job.exception: type=cancel: no more")
try:
    flux.job.job_output(handle, held)
except flux.job.JobException as error:
    print(error.note)
rest = flux.Flux()
futures = [flux.job.submit_async(rest, job("true")) for _ in range(3)]
got = []
for future in futures:
    future.then(lambda future, more: got.append((future.get_id(), more)), "x")
assert rest.reactor_run() == 0 and len(set(got)) == 3 and all(future.is_ready() for future in futures)
def stop(future):
    got.append(future.get_event())
    rest.reactor_stop()
flux.job.event_watch_async(rest, held).then(stop)
rest.reactor_run()
assert got[-1].name == "submit" and got[-1].context_string.startswith("{") and "submit" in str(got[-1])
"""
    assert python(session, program) == "no more"


def test_a_jobspec_has_what_was_asked_for(session):
    program = JOB + RAISES + """
import datetime, pathlib
spec = job("a", "b", num_tasks=3, cores_per_task=2, gpus_per_task=1, num_nodes=2, exclusive=True, duration="2m", name="n",
           cwd=pathlib.Path("/tmp"), output="/tmp/o", error="kvs", input="/dev/null", label_io=True, unbuffered=True,
           queue="q", environment={"A": "b"}, env_expand={"R": "{{taskid}}"})
system = spec.attributes["system"]
assert (spec.duration, spec.queue, spec.cwd, spec.environment, system["job"]) == (120, "q", "/tmp", {"A": "b"}, {"name": "n"})
options = system["shell"]["options"]
assert (spec.stdin, spec.stdout, spec.error, spec.unbuffered) == ("/dev/null", "/tmp/o", None, True)
assert options["output"]["stdout"]["label"] is True and options["env-expand"] == {"R": "{{taskid}}"}
assert spec.resource_counts() == {"node": 2, "slot": 4, "core": 8, "gpu": 4} and spec.tasks[0]["count"] == {"total": 3}
assert [one["type"] for one in spec] == ["node", "slot", "core", "gpu"] and spec.version == 1
assert flux.job.Jobspec(**json.loads(spec.dumps())).jobspec == spec.jobspec and "JobspecV1" in repr(spec) and "node" in str(spec)
spec.setattr("user.note", 1)
spec.duration = datetime.timedelta(minutes=1)
assert spec.getattr("attributes.user.note") == 1 and spec.getattr("duration") == 60 and spec.getattr("system.queue") == "q"
per = flux.job.JobspecV1.per_resource(["x"], ncores=4, nnodes=2, per_resource_type="node", per_resource_count=2)
assert per.getattr("shell.options.per-resource") == {"type": "node", "count": 2} and per.resource_counts()["core"] == 4
assert flux.job.JobspecV1.per_resource(["x"], ncores=4).resource_counts() == {"slot": 4, "core": 4}
wrong = [
    (TypeError, dict(command="text"), "command: expected a list of words, with at least one"),
    (TypeError, dict(command=[]), "command: expected a list of words, with at least one"),
    (ValueError, dict(num_tasks=0), "num_tasks: expected a whole number of at least 1, got 0"),
    (ValueError, dict(cores_per_task=True), "cores_per_task: expected a whole number of at least 1, got True"),
    (ValueError, dict(gpus_per_task=-1), "gpus_per_task: expected a whole number of at least 0, got -1"),
    (ValueError, dict(num_nodes=2), "num_nodes: expected at most num_tasks, which is 1, got 2"),
    (ValueError, dict(exclusive=True), "exclusive: expected with num_nodes"),
    (ValueError, dict(duration=-1), "duration: expected a finite time that is not negative, got -1"),
    (ValueError, dict(duration="x"), "expected a duration such as 30s, 5m, 1.5h, 1d or inf, got 'x'"),
    (TypeError, dict(duration=[]), "duration: expected seconds, text or a timedelta, got list"),
    (TypeError, dict(queue=1), "queue: expected a string, got int"),
    (TypeError, dict(cwd=1), "cwd: expected a path, got int"),
    (TypeError, dict(output=1), "stdout: expected a path, got int"),
    (TypeError, dict(environment=[]), "environment: expected a mapping, got list"),
]
for kind, more, text in wrong:
    assert raises(kind, flux.job.JobspecV1.from_command, **{"command": ["x"], **more}) == text, (more, text)
per = flux.job.JobspecV1.per_resource
assert raises(ValueError, per, ["x"], 4, per_resource_count=1).startswith("per_resource_type and per_resource_count")
assert raises(ValueError, per, ["x"], 4, None, "gpu", 1) == "per_resource_type: expected node or core, got 'gpu'"
assert raises(ValueError, per, ["x"], 3, 2) == "ncores: expected a multiple of nnodes, got 3"
assert raises(ValueError, per, ["x"]).startswith("nnodes: expected") and raises(ValueError, per, ["x"], None, 2).startswith("ncores")
spec = flux.job.Jobspec
assert raises(TypeError, spec, 1, [], {}, 1) == "resources: expected a list of objects"
assert raises(TypeError, spec, [], [1], {}, 1) == "tasks: expected a list of objects"
assert raises(TypeError, spec, [], [], [], 1) == "attributes: expected an object"
assert raises(ValueError, spec, [], [], {}, 0).startswith("version:")
assert raises(ValueError, flux.job.JobspecV1, [], [], {}, 2) == "version: expected 1, got 2"
assert raises(KeyError, per(["x"], 1).getattr, "a.b") == "'a.b'"
assert raises(TypeError, per(["x"], 1).setattr, "duration.x", 1) == "duration.x: duration is no object"
assert raises(ValueError, per(["x"], 1).setattr, "a..b", 1) == "expected a dotted name, got 'a..b'"
print("ok")
"""  # noqa: E501
    assert python(session, program) == "ok"


def test_sessions_in_jobs(session):
    """A nested command, and a script, each with a session of its own."""
    program = JOB + RAISES + """
handle = flux.Flux()
V1 = flux.job.JobspecV1
conf = {"queues": {"inner": {"requires": []}}}
nested = V1.from_nest_command(["flux", "queue", "list", "-no", "{queue}"], num_slots=2, num_nodes=2, conf=conf)
batch = V1.from_batch_command("#!/bin/sh\\necho $1 $(flux getattr size) $(flux run hostname | wc -l)\\n", "mine", ["a"])
ids = [flux.job.submit(handle, spec) for spec in (nested, batch)]
print(*(flux.job.job_output(handle, one).stdout.strip() for one in ids), sep="|")
assert flux.job.result(handle, ids[1]).name == "mine"
assert V1.from_nest_command(["x"], broker_opts=["-v"]).tasks[0]["command"] == ["flux", "start", "-v", "--", "x"]
assert raises(TypeError, V1.from_nest_command, "x").startswith("command: ")
assert raises(ValueError, V1.from_batch_command, "true", "x").startswith("script: expected text that begins with #!")
assert raises(TypeError, batch.add_file, "x", 7) == "data: expected text or a dict, got int"
"""
    assert python(session, program) == "inner|a 1 1"


def test_what_is_wrong_is_said(session):
    program = JOB + RAISES + """
handle = flux.Flux()
submit, job_ = flux.job.submit, flux.job
assert raises(OSError, submit, handle, None) == f"[Errno {errno.EINVAL}] jobspec must not be None"
assert raises(OSError, submit, handle, "{").startswith(f"[Errno {errno.EINVAL}] jobspec: ")
assert raises(OSError, submit, handle, b"[]") == f"[Errno {errno.EINVAL}] jobspec: expected an object"
assert raises(TypeError, submit, handle, 1) == "jobspec: expected a Jobspec or its JSON, got int"
assert raises(ValueError, submit, handle, job("x"), pre_signed=True).startswith("pre_signed:")
assert "unsatisfiable" in raises(OSError, submit, handle, job("x", cores_per_task=9999)), "a job that can never run"
assert raises(OSError, submit, handle, job("x"), urgency=99).endswith("urgency range is [0:31]")
assert raises(FileNotFoundError, job_.result, handle, 1)
assert raises(OSError, job_.wait, handle) == f"[Errno {errno.ECHILD}] there are no more waitable jobs"
assert raises(OSError, job_.submit_get_id, None).endswith("future must not be None")
assert raises(FileNotFoundError, list, job_.event_watch(handle, 1))
assert raises(ValueError, job_.event_watch_async, handle, 1, "guest.output").startswith("eventlog: ")
assert raises(OSError, job_.cancel, handle, 1) and raises(FileNotFoundError, job_.kill, handle, 1)
done = submit(handle, job("true"))
assert raises(OSError, job_.event_wait, handle, done, "nothing").startswith(f"[Errno {errno.ENODATA}]")
assert raises(ValueError, job_.JobList, handle, filters=["pending,x"]).startswith("filters: expected one of depend")
assert raises(ValueError, job_.JobList, handle, user="no such user") == "user: there is no 'no such user'"
assert raises(ValueError, job_.job_list, handle, constraint={}).startswith("constraint: ")
assert raises(ValueError, job_.JobID, "x!") == "invalid JobID value: 'x!'"
assert raises(ValueError, job_.id_encode, 1, "emoji").startswith("encoding: expected one of dec, hex")
assert raises(AttributeError, getattr, job_.result(handle, done), "nonsense") == "invalid JobInfo attribute 'nonsense'"
assert raises(TypeError, handle.rpc, "attr.get", []) == "payload: expected a dict, got list"
assert raises(OSError, handle.attr_get, "nonsense")
assert raises(TimeoutError, handle.rpc("job-manager.drain").wait_for, 0) if job_.submit(handle, job("true"), urgency=0) else 0
one = handle.rpc("attr.get", {"name": "size"}).then(print)
assert raises(OSError, one.then, print).endswith("this future has a callback already")
assert handle.rpc("session.uptime").get_str().startswith('{"') and handle.log(6, "from a program") is None
assert raises(OSError, flux.Flux, "local:///nowhere/local-0").startswith(f"[Errno {errno.ENOENT}] Unable to connect to Flux: ")
ids = {form: getattr(job_.JobID(10**12), form) for form in ("dec", "f58", "f58plain", "hex", "dothex", "kvs")}
assert {int(job_.JobID(text)) for text in ids.values()} == {10**12} and repr(job_.JobID(7)) == "JobID(7)", ids
assert job_.JobID(job_.JobID("0x10")).orig == "0x10" and job_.id_encode(job_.id_parse("7"), "dec") == "7"
print("ok")
"""  # noqa: E501
    assert python(session, program).endswith("ok")
    session("cancel", "--all")
    assert "from a program" in session.log()


def test_resources(session):
    cores = len(os.sched_getaffinity(0))
    program = JOB + """
import flux.resource
handle = flux.Flux()
jobid = flux.job.submit(handle, job("sleep", "60"))
flux.job.event_wait(handle, jobid, "start")
found = flux.resource.list.resource_list(handle).get()
print(found.all.nnodes, found.up.ncores, found["allocated"].ncores, found.free.ncores, found.down.nnodes, found.all.ngpus)
assert found.all.ranks == "0-1" and found.all.nodelist and "2 nodes" in str(found.all)
try:
    found["nonsense"]
except KeyError:
    flux.job.cancel(handle, jobid)
"""  # noqa: E501
    assert python(session, program).split() == ["2", str(2 * cores), "1", str(2 * cores - 1), "0", "0"]


def test_an_executor_of_jobs(session):
    program = JOB + RAISES + """
import threading, concurrent.futures, time
events = []
with flux.job.FluxExecutor(threads=2, thread_name_prefix="mine") as executor:
    done = executor.submit(job("sh", "-c", "exit 3"))
    done.add_event_callback("start", lambda future, event: events.append(event.name))
    done.add_event_callback("finish", lambda future, event: events.append(raises(RuntimeError, future.result)))
    done.add_jobid_callback(lambda future: events.append(future.jobid()))
    assert isinstance(done.jobid(30), flux.job.JobID) and done.result(30) == 3 and done.exception() is None
    done.add_event_callback("submit", lambda future, event: events.append(event.context["urgency"]))
    refused = executor.submit(job("x", cores_per_task=9999))
    assert isinstance(refused.exception(30), OSError) and "could not be submitted" in raises(RuntimeError, refused.jobid)
    assert isinstance(executor.submit(7).exception(30), TypeError) and isinstance(executor.submit(None).exception(30), OSError)
    held = executor.submit(job("true"), urgency=0)
    assert raises(concurrent.futures.TimeoutError, held.result, 0) == "" and not held.done()
    flux.job.cancel(flux.Flux(), held.jobid())
    assert isinstance(held.exception(30), flux.job.JobException) and not held.cancel()
    again = executor.attach(int(done.jobid()))
    assert again.result(30) == 3 and str(executor.attach(1).exception(30)) == "job ID does not match any job"
    assert raises(ValueError, done.add_event_callback, "nonsense", print).startswith("event: expected one of alloc")
    late = flux.job.FluxExecutorFuture()
    assert raises(concurrent.futures.TimeoutError, late.jobid, 0) == "" and late.cancel()
    assert raises(concurrent.futures.CancelledError, late.jobid) == "" and late.add_jobid_callback(print) is late
    assert {thread.name for thread in threading.enumerate()} >= {"mine-0", "mine-1"}
assert raises(RuntimeError, executor.submit, job("true")) == "cannot schedule new futures after shutdown"
assert events[:2] == [done.jobid(), "start"] or sorted(map(str, events[:2])), events
assert 16 in events and any(str(one).startswith("a callback cannot wait") for one in events), events
assert raises(ValueError, flux.job.FluxExecutor, threads=0) == "threads: expected a whole number of at least 1, got 0"
left = flux.job.FluxExecutor().submit(job("sh", "-c", "exit 5"))
left.add_done_callback(lambda future: print(future.result(), flush=True))
"""  # noqa: E501
    out = python(session, program).splitlines()
    # the last one has been waited for at the end of the program
    assert out[-1] == "5"


def test_an_executor_whose_session_goes():
    with Session() as session:
        program = JOB + RAISES + """
executor = flux.job.FluxExecutor()
futures = [executor.submit(job("true"), urgency=0) for _ in range(3)]
print(futures[0].jobid(), flush=True)
for future in futures:
    assert isinstance(future.exception(60), OSError), future
sys.stdin.readline()        # it takes the session a moment to be gone
assert "no session any more" in raises(RuntimeError, executor.submit, job("true"))
executor.shutdown()
handle_error = raises(OSError, flux.Flux)
print("told")
"""
        start = f"import sys; sys.path.insert(0, {pythonpath.FOLDER!r})\nimport flux, flux.job\n"
        words = [sys.executable, "-I", "-S", "-c", start + program]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(words, env=session.env, text=True, **pipes)
        jobid = process.stdout.readline().strip()
        session.wait_state(jobid, "SCHED")
        session.close()
        out, err = process.communicate("\n", timeout=60)
        assert (process.returncode, out, err) == (0, "told\n", "")


def test_where_the_module_is_found(session, tmp_path):
    """In the session's command and in its jobs, also those submitted elsewhere; a job's own PYTHONPATH stays behind."""
    code = "import flux, os; print(flux.__file__, os.environ['PYTHONPATH'])"
    folder = os.path.join(pythonpath.FOLDER, "flux")
    env = {"PYTHONPATH": f"{os.environ['PYTHONPATH']}:{tmp_path}"}
    found, path = session("run", sys.executable, "-c", code, env=env).split()
    assert (os.path.dirname(found), path) == (folder, f"{pythonpath.FOLDER}:{env['PYTHONPATH']}")
    assert pythonpath.pythonpath(path) == path and pythonpath.pythonpath(None) == pythonpath.FOLDER
    done = subprocess.run(
        [sys.executable, "-m", "fluxsched.session.main", "start", sys.executable, "-c", code],
        env=clean_environment(PYTHONPATH=os.environ["PYTHONPATH"]), capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.split()[0] == found


def test_flux_cores_own_module_is_not_hidden(session, tmp_path):
    """Where FLUX_URI is that of a Flux instance, as in one that a job has started, its own module is imported."""
    other = tmp_path / "site" / "flux"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("WHOSE = 'flux-core'\n")
    (other / "job.py").write_text("WHOSE = 'flux-core'\n")
    (tmp_path / "run").mkdir()
    env = {"PYTHONPATH": f"{pythonpath.FOLDER}:{tmp_path / 'site'}", "FLUX_URI": f"local://{tmp_path}/run/local-0"}
    code = "import flux, flux.job; print(flux.WHOSE, flux.job.WHOSE)"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=clean_environment(**env), capture_output=True, text=True, check=True)
    assert done.stdout == "flux-core flux-core\n"
    # without it there is ours, which says what is wrong
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "local-0"))
        listener.listen()
        done = python(session, "flux.Flux()", check=False, FLUX_URI=env["FLUX_URI"])
        assert done.returncode == 1 and "a Flux instance, which has its own Python module" in done.stderr


@pytest.mark.flux
def test_real_flux_keeps_its_module(tmp_path):
    """Where FLUX_URI is a real instance's, flux-core's module is had, with our folder on PYTHONPATH."""
    from fluxinstance import flux_command

    code = "import flux, flux.job; print(flux.__file__, flux.job.submit.__code__.co_filename)"
    env = clean_environment(PYTHONPATH=pythonpath.FOLDER, FLUX_URI=f"local://{tmp_path}/local-0")
    words = [flux_command(), "python", "-c", code]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout and pythonpath.FOLDER not in done.stdout


def test_executorlib_runs_functions_as_jobs(session, tmp_path):
    """executorlib (PyPI), as it is: functions of Python, each in a job."""
    executable = os.environ.get("FLUXSCHED_EXECUTORLIB", sys.executable)
    words = [executable, "-c", "import executorlib, zmq"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("executorlib is not installed (FLUXSCHED_EXECUTORLIB names a Python that has it)")
    program = tmp_path / "program.py"
    program.write_text(
        "from executorlib import FluxJobExecutor\n"
        "def add(a, b):\n    import os\n    return a + b, os.environ['FLUX_JOB_ID']\n"
        "with FluxJobExecutor(max_cores=2) as executor:\n"
        "    first = executor.submit(add, 1, 2, resource_dict={'cores': 1})\n"
        "    second = executor.submit(add, 10, 20, resource_dict={'cores': 1})\n"
        "    print(first.result()[0], second.result()[0], first.result()[1] != second.result()[1])\n"
    )
    env = dict(session.env, PYTHONPATH=pythonpath.FOLDER)
    done = subprocess.run(
        [executable, str(program)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3 30 True\n"), done.stderr
