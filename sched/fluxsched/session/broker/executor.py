# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs jobs: launches a supervisor for each, follows it, and finds it again after a restart.

A launch is committed to the store before it is made, and claimed by the
supervisor with a file that can be made only once.  So what a restart finds is one
of: no claim (nobody started the job: start it), a claim whose lock is held (the
job runs: follow it), a claim without its lock (the supervisor is gone: its record
says how the job ended, or else the job is lost).

The claims are in a folder that each broker gives a new name as it begins.  A
launch names the folder, so what an earlier broker has asked for and a stopped
launcher does later finds no folder, and is not done.
"""

import base64
import errno
import fcntl
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from syslog import LOG_ERR, LOG_INFO, LOG_WARNING

from fluxsched.session import jobid as ids
from fluxsched.session.broker import layout
from fluxsched.session.broker import loop as loops
from fluxsched.session.wire import encode

LIBRARY = str(Path(__file__).absolute().parents[3])
RUNNER = (
    f"import sys; sys.path.insert(0, {LIBRARY!r}); "
    "from fluxsched.session.runner.launcher import main; main(int(sys.argv[1]))"
)
CLAIMS = "claims-"
HELD_BACK = 0.5  # seconds until a launch that found no descriptor is tried again
CLOSE_WAIT = 2.0  # seconds that the end of a session waits for its launcher
CONNECT_TRIES = 50
CONNECT_PAUSE = 0.1
LEFTOVER_PAUSE = 0.02  # seconds between two looks at what a dead supervisor has left


def boot_id():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def raise_limit():
    """Raise the limit of open files as far as it goes; (soft, hard) as they were, for jobs and the command."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    return limits


def _open_claims(base):
    """The folder of claims under its new name."""
    path = os.path.join(base, CLAIMS + secrets.token_hex(8))
    earlier = [name for name in os.listdir(base) if name.startswith(CLAIMS)]
    if earlier:
        os.rename(os.path.join(base, earlier[0]), path)
    else:
        os.mkdir(path, 0o700)
    return path


class Running:
    """A job that has, or is about to have, a supervisor."""

    def __init__(self, executor, job):
        self.executor = executor
        self.job = job
        self.dir = executor.directory(job.id)
        self.sock = None
        self.inbuf = b""
        self.outbuf = b""
        # Events handled, also by an earlier broker: noted in the change of the store that each leads to.
        self.seen = job.info.get("exec_seen", 0)
        self.finished = False
        self.failed = None  # why the launcher could not fork
        self.queued = []  # commands for before the connection
        self.acks = {}
        self.next_ack = 0
        self.tries = 0

    # the connection

    def connected(self, sock):
        self.sock = sock
        sock.setblocking(False)
        self.executor.loop.watch(sock.fileno(), loops.READ, self.ready)
        queued, self.queued = self.queued, []
        for message in queued:
            self.command(message)

    def command(self, message):
        if self.sock is None:
            self.queued.append(message)
            return
        self.outbuf += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self):
        try:
            while self.outbuf:
                self.outbuf = self.outbuf[self.sock.send(self.outbuf) :]
        except BlockingIOError:
            pass
        except OSError:
            self.outbuf = b""  # the end shows when reading
        mask = loops.READ | (loops.WRITE if self.outbuf else 0)
        self.executor.loop.watch(self.sock.fileno(), mask, self.ready)

    def ready(self, mask):
        if mask & loops.WRITE:
            self.flush()
        if not mask & loops.READ:
            return
        try:
            data = self.sock.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.disconnect()
            if not self.finished:
                self.executor.disconnected(self)
            return
        lines = (self.inbuf + data).split(b"\n")
        self.inbuf = lines.pop()
        grown = False
        for line in lines:
            message = json.loads(line)
            if "event" in message:
                self.event(message)
            elif "out" in message:
                grown = True
            elif "ack" in message:
                callback = self.acks.pop(message["ack"], None)
                if callback is not None:
                    callback(message["open"])
            elif "failed" in message:
                self.failed = message["failed"]
        if grown:
            self.executor.jobs.output_grew(self.job)

    def disconnect(self):
        if self.sock is not None:
            self.executor.loop.watch(self.sock.fileno(), 0, None)
            self.sock.close()
            self.sock = None
        acks, self.acks = self.acks, {}
        for callback in acks.values():
            callback(False)

    def event(self, entry):
        """One event of the supervisor, each once whichever way it comes."""
        if entry["n"] < self.seen or self.finished:
            return
        self.seen = self.job.info["exec_seen"] = entry["n"] + 1
        jobs, job, kind = self.executor.jobs, self.job, entry["event"]
        if kind == "start":
            jobs.on_start(job, entry["t"])
        elif kind == "timeout":
            jobs.on_timeout(job, entry["t"])
        elif kind == "exception":
            jobs.on_exec_exception(job, entry["text"], entry["t"])
        elif kind == "output-lost":
            self.executor.log("job-exec", LOG_ERR, f"{ids.f58(job.id)}: {entry['text']}")
            jobs.exception(job, "output", 1, entry["text"], t=entry["t"])
        elif kind == "finish":
            self.finished = True
            self.executor.forget(self)
            jobs.on_finish(job, entry["status"], entry["t"])

    def stdin(self, data, eof, callback):
        """Pass stdin on; `callback(open)` when there is room for more."""
        if self.finished:
            callback(False)
            return
        self.next_ack += 1
        self.acks[self.next_ack] = callback
        self.command({"op": "stdin", "n": self.next_ack, "data": base64.b64encode(data).decode(), "eof": eof})


class Executor:
    def __init__(self, loop, log, jobs, directory, uri_of, cpus, grace):
        """`uri_of(rank)` is the FLUX_URI of a rank; `cpus` stand for cores 0, 1, ...; `grace` seconds from
        SIGTERM to SIGKILL."""
        self.loop = loop
        self.log = log
        self.jobs = jobs
        self.base = os.path.join(directory, "jobs")
        self.uri_of = uri_of
        self.cpus = cpus
        self.grace = grace
        self.boot = boot_id()
        self.nofile = raise_limit()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.most = max(1, limit * 3 // 4 - 8)  # jobs that run at a time; the rest is for commands and files
        self.held_back = deque()  # jobs that wait for a descriptor
        self.running = {}
        self.mock = {}  # job id -> (timer, finish) of pretended runs
        self._launcher = None
        os.makedirs(self.base, mode=0o700, exist_ok=True)
        self.claims = _open_claims(directory)
        self._start_launcher()

    def _claim_path(self, job):
        return os.path.join(self.claims, str(job.id))

    def directory(self, jobid):
        """The folder of a job: its output, and what its supervisor keeps."""
        return os.path.join(self.base, str(jobid))

    # launching

    def _start_launcher(self):
        if self._launcher is not None:
            self._control.close()
            self._launcher.kill()  # it does not take launches: what it has not claimed, the next one gets
            self._launcher.wait()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(CLOSE_WAIT)  # a launcher that is stopped does not stop us
        number = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)  # the standard streams may be closed
        theirs.close()
        theirs = socket.socket(fileno=number)
        self._launcher = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", RUNNER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        theirs.close()

    def launch(self, job):
        """Start a job whose launch is committed, as soon as there are descriptors for it."""
        if len(self.running) >= self.most or self.held_back:
            self.held_back.append(job)
            return
        self._launch(job)

    def _launch(self, job):
        job.info["exec_seen"] = 0
        running = self.running[job.id] = Running(self, job)
        try:
            spec = self._spec(job)
            ours, theirs = socket.socketpair()
        except OSError as error:
            del self.running[job.id]
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.running:
                self.held_back.appendleft(job)
                self.loop.call_later(HELD_BACK, self._next)
            else:
                self._not_started(job, error.strerror)
            return
        except Exception as error:
            del self.running[job.id]
            self._not_started(job, error)
            return
        data = encode(spec)
        for attempt in (1, 2):
            try:
                sent = socket.send_fds(self._control, [data], [theirs.fileno()])
                self._control.sendall(data[sent:])
                break
            except OSError as error:
                if attempt == 2:
                    running.failed = str(error)
                    break
                self.log("job-exec", LOG_WARNING, f"the launcher of jobs ended or is stuck ({error}); started again")
                self._start_launcher()
        theirs.close()
        running.connected(ours)

    def _next(self):
        """Launch what was held back, as far as there is room."""
        while self.held_back and len(self.running) < self.most:
            job = self.held_back.popleft()
            before = len(self.held_back)
            self._launch(job)
            if len(self.held_back) > before:
                return

    def _not_started(self, job, why):
        self.jobs.on_exec_exception(job, f"cannot start: {why}")
        self.jobs.on_finish(job, 1 << 8)

    def _end_held_back(self, job, status):
        """End a job that was held back; False if it was not."""
        if job not in self.held_back:
            return False
        self.held_back.remove(job)
        self.loop.call_soon(lambda: self.jobs.on_finish(job, status))
        return True

    def _spec(self, job):
        full = self.jobs.full_jobspec(job)
        system = full["attributes"]["system"]
        options = system.get("shell", {}).get("options", {})
        output = options.get("output", {})
        rows = layout.held(job.R)
        tasks = layout.tasks(full, job.R, self.cpus)
        name = ids.f58(job.id)
        tmpdir = os.path.join(self.directory(job.id), "tmp")
        env = dict(system.get("environment", {}))
        env.update(
            FLUX_JOB_ID=name,
            FLUX_JOB_ID_PATH="/" + name,
            FLUX_JOB_SIZE=str(len(tasks)),
            FLUX_JOB_NNODES=str(len(rows)),
            FLUX_JOB_TMPDIR=tmpdir,
        )
        values = {
            "id": name,
            "jobid": name,
            "id.f58": name,
            "id.f58plain": ids.f58(job.id, plain=True),
            "id.dec": job.id,
            "id.hex": hex(job.id),
            "name": job.info["name"],
            "size": len(tasks),
            "nnodes": len(rows),
            "tmpdir": tmpdir,
        }
        stdin = options.get("input", {}).get("stdin", {})
        return {
            "dir": self.directory(job.id),
            "claim": self._claim_path(job),
            "nofile": self.nofile,
            "boot": self.boot,
            "argv": full["tasks"][0]["command"],
            "cwd": system.get("cwd", "/"),
            "env": env,
            "env_templates": options.get("env-expand", {}),
            "tasks": tasks,
            "hosts": {str(node): row[1] for node, row in enumerate(rows)},
            "node_env": {str(node): {"FLUX_URI": self.uri_of(row[0])} for node, row in enumerate(rows)},
            "stdin": [stdin.get("type", "none"), stdin.get("path", "")],
            "stdout": output.get("stdout", {}).get("path"),
            "stderr": output.get("stderr", {}).get("path"),
            "label": bool(output.get("stdout", {}).get("label")),
            "unbuffered": output.get("stdout", {}).get("buffer", {}).get("type") == "none",
            "values": values,
            "tmpdir": tmpdir,
            "expiration": job.R["execution"].get("expiration", 0.0),
            "grace": self.grace,
        }

    # pretended runs

    def pretend(self, job, left, timeout):
        """End the job in `left` seconds, by its time limit if `timeout`; in the place of what was set before."""
        earlier = self.mock.pop(job.id, None)
        if earlier is not None:
            earlier[0].cancel()

        def finish(status=0):
            timer.cancel()
            self.mock.pop(job.id, None)
            if status == 0 and timeout:
                self.jobs.on_timeout(job)
                status = 142 << 8
            self.jobs.on_finish(job, status)

        timer = self.loop.call_later(left, finish)
        self.mock[job.id] = (timer, finish)

    def _end_pretended(self, job, status):
        if job.id in self.mock:
            self.mock[job.id][1](status)

    # finding jobs again

    def recover(self, job, launch):
        """Take up a job that an earlier broker was to launch; `launch` is what it committed then."""
        running = self.running[job.id] = Running(self, job)
        claim = self._claim(running)
        if claim is None:
            del self.running[job.id]
            if launch.get("boot") == self.boot:
                self.log("job-exec", LOG_INFO, f"{ids.f58(job.id)}: had not been started; starting it")
                self.launch(job)
            else:
                self._lost(running, "the machine was restarted while the job was about to start")
            return
        self.log("job-exec", LOG_INFO, f"{ids.f58(job.id)}: found again")
        self._follow(running)

    def _claim(self, running):
        """The claim's contents, or None if there is no claim."""
        try:
            with open(self._claim_path(running.job)) as file:
                return json.loads(file.read() or "{}")
        except FileNotFoundError:
            return None
        except ValueError:
            return {}

    def claimed(self, job):
        """Whether the job was ever started."""
        return os.path.exists(self._claim_path(job))

    def _alive(self, running):
        try:
            fd = os.open(self._claim_path(running.job), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _follow(self, running):
        """Connect to the supervisor if it lives, else read what it has left."""
        if running.finished or self.running.get(running.job.id) is not running:
            return
        if not self._alive(running):
            self._collect(running)
            return
        try:
            running.connected(self._dial(running))
        except OSError as error:
            running.tries += 1
            if running.tries > CONNECT_TRIES:
                # alive and not answering: its cores are in use, so do not give them away
                if running.tries == CONNECT_TRIES + 1:
                    self.log("job-exec", LOG_ERR, f"{ids.f58(running.job.id)}: its supervisor does not answer: {error}")
            self.loop.call_later(CONNECT_PAUSE, lambda: self._follow(running))

    def _dial(self, running):
        directory = os.open(running.dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(f"/proc/self/fd/{directory}/ctl")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(directory)
        return sock

    def disconnected(self, running):
        """The connection ended without the job's end."""
        if running.failed is not None or self._claim(running) is None:
            del self.running[running.job.id]
            why = running.failed or "the process that was to run it ended at once"
            self._not_started(running.job, why)
            self._next()
            return
        self._follow(running)

    def _collect(self, running):
        """The supervisor is gone: its events tell the rest."""
        entries = []
        try:
            with open(os.path.join(running.dir, "events"), "rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        entries.append(json.loads(line))
        except (FileNotFoundError, ValueError):
            pass  # cut off: what there is counts
        for entry in entries:
            running.event(entry)
        if not running.finished:
            started = [entry for entry in entries if entry["event"] == "start"]
            claim = self._claim(running) or {}
            if claim.get("boot") == self.boot:
                self._end_leftover(running, started[0]["group"] if started else 0, claim.get("pid"))
            else:
                self._lost(running, "the machine was restarted")

    def _end_leftover(self, running, group, session):
        """The job is over when nothing of it is left: a process takes a moment to die, and may have forked before."""
        if self.running.get(running.job.id) is not running:
            return
        if self._kill_leftover(running.job, group, session):
            self.loop.call_later(LEFTOVER_PAUSE, lambda: self._end_leftover(running, group, session))
        else:
            self._lost(running, "its supervisor process was killed")

    def _kill_leftover(self, job, group, session):
        """Kill what a dead supervisor and a dead launcher have left: who has the job's environment, in whatever group,
        and who is in its group and session, with whatever environment; how many there were.  (A launcher that lives
        has done it by now.)"""
        left = 0
        mark = b"FLUX_JOB_TMPDIR=" + os.fsencode(os.path.join(self.directory(job.id), "tmp"))
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    state, _, *own = file.read().rpartition(b")")[2].split()[:4]
                if state in (b"Z", b"X"):
                    continue
                with open(f"/proc/{entry}/environ", "rb") as file:
                    marked = mark in file.read().split(b"\0")
                if marked or (int(own[0]), int(own[1])) == (group, session):
                    left += 1
                    os.kill(int(entry), signal.SIGKILL)
            except (OSError, ValueError, IndexError):
                continue  # it ended while we looked
        return left

    def _lost(self, running, why):
        running.finished = True
        self.forget(running)
        self.log("job-exec", LOG_ERR, f"{ids.f58(running.job.id)}: lost: {why}")
        self.jobs.on_exec_exception(running.job, f"job lost: {why}")
        self.jobs.on_finish(running.job, 1 << 8)

    # commanding

    def terminate(self, job):
        """SIGTERM, and after the grace SIGKILL.  False if the job is not with us."""
        if job.id in self.mock:
            self.loop.call_soon(lambda: self._end_pretended(job, 143 << 8))
            return True
        running = self.running.get(job.id)
        if running is None:
            return self._end_held_back(job, 143 << 8)
        running.command({"op": "terminate"})
        return True

    def signal(self, job, number):
        if job.id in self.mock:
            self.loop.call_soon(lambda: self._end_pretended(job, (128 + number) << 8))
            return True
        running = self.running.get(job.id)
        if running is None:
            return job in self.held_back
        running.command({"op": "signal", "signal": number})
        return True

    def expire(self, job, t):
        running = self.running.get(job.id)
        if running is not None:
            running.command({"op": "expire", "t": t})

    def forget(self, running):
        """The job is over."""
        running.disconnect()
        self.running.pop(running.job.id, None)
        self._next()

    def tidy(self, job):
        """The end of a job is committed: keep its output, drop the rest."""
        directory = self.directory(job.id)
        files = [os.path.join(directory, name) for name in ("claim", "events", "ctl")]
        for path in (*files, self._claim_path(job)):
            try:
                os.unlink(path)
            except OSError:
                pass  # never made
        shutil.rmtree(os.path.join(directory, "tmp"), ignore_errors=True)
        try:
            if os.path.getsize(os.path.join(directory, "output")) == 0:
                os.unlink(os.path.join(directory, "output"))
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                self.log("job-exec", LOG_WARNING, f"{directory}: {error.strerror}")

    def close(self):
        """Let go of the jobs, which go on without us."""
        for running in list(self.running.values()):
            running.disconnect()
        try:
            self.claims = _open_claims(os.path.dirname(self.claims))  # nothing is launched from here on
        except OSError:
            pass  # the folder is gone, and with it the claims
        self._control.close()
        try:
            self._launcher.wait(CLOSE_WAIT)
        except subprocess.TimeoutExpired:
            return  # it is stopped, or has jobs that do not end
