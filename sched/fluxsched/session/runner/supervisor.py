# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs one job in a worker, from its claim to its end.

What it does is a line each in the file of its worker: first its claim, then the events of the job.  The claim is made
by a link to that file, once, in the folder that the broker in charge has named: whoever cannot make it there does not
start the job.  In the job's directory is ``output`` (a JSON object per line), if there is any.

Tasks share one process group.  What leaves it is still found: the worker is the subreaper of all that is below it.

Nothing here waits for a path that a user has named: the job's folder, its input and its command are opened by the
worker's thread for that, its output is opened and written by threads.
"""

from __future__ import annotations

import base64
import errno
import os
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator

from fluxsched.errors import FluxSchedError
from fluxsched.session import starting
from fluxsched.session.runner import memory, pmi
from fluxsched.session.runner.exits import Exits
from fluxsched.session.runner.inputs import Inputs
from fluxsched.session.runner.processes import descendants
from fluxsched.session.runner.sinks import Sink
from fluxsched.session.runner.spawn import spawn
from fluxsched.session.runner.streams import Stream
from fluxsched.session.templates import fill
from fluxsched.session.watcher import READ
from fluxsched.session.wire import READY, Channel, encode

if TYPE_CHECKING:
    from fluxsched.session.runner.worker import Worker

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What is done a step at a time, and returns something.
Steps = Generator[None, None, Any]

SLOW = 10.0  # seconds that a broker has to read the last events
ENDED = 143  # exit code of a job that was ended before it started


class StartError(FluxSchedError):
    """A job that cannot start: why (empty if it was told to end meanwhile), and its exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Supervisor:
    """Runs the job that `spec` describes, in a worker."""

    def __init__(self, worker: Worker, spec: dict[str, Any]) -> None:
        self.worker = worker
        self.spec = spec
        self.dir = spec["dir"]
        self.watch = worker.watch
        self.timers = worker.timers
        self.followers: list[Channel] = []  # brokers
        self.events: list[bytes] = []  # lines
        self.unwritten = b""  # of the events, for want of room on the disk
        self.output_file = -1
        self.streams: set[Stream] = set()
        self.cwd: str = spec["cwd"]
        self.folder = -1  # that, once it is open
        self.sinks: dict[str, Sink] = {}  # by path
        self.inputs = Inputs(worker.watcher)
        self.tasks: dict[int, int] = {}  # pid -> task rank, not yet exited
        self.statuses: dict[int, int] = {}  # task rank -> exit code
        self.group = 0  # of the tasks
        self.starting: Iterator[None] | None = None
        self.spawning = False  # a task, just now; set by the worker's thread
        self.given_up = False  # no task is to be started any more
        self.ending = False  # told to end, by its time limit or by somebody
        self.abandoned = False  # its output is waited for no longer
        self.record_lost = False
        self.output_lost = False
        self.failure = 0
        self.warned = False  # of the time limit
        self.pmi: pmi.Server | None = None
        self.memory: memory.Limit | None = None
        self.exits = Exits(timers=self.timers, fail=self.fail, spared=self.has_session, **spec["exits"])

    # the record

    def claim(self) -> bool:
        """Make the claim; False if there is one, or if another broker is in charge by now."""
        worker = self.worker
        lent = worker.folder.lend(self.dir)
        worker.record.begin()
        worker.record.write(encode({"job": self.spec["job"], **worker.mark}))
        try:
            os.link(worker.path, self.spec["claim"])
        except (FileExistsError, FileNotFoundError):
            if lent:
                worker.folder.take_back(self.dir)
            return False
        return True

    def record(self, name: str, **context: Any) -> None:
        """Record an event, and send it to all followers."""
        entry = encode({"job": self.spec["job"], "event": name, "t": time.time(), "n": len(self.events), **context})
        self.events.append(entry)
        self.unwritten += entry
        self.write_events()
        for follower in list(self.followers):
            follower.queue_line(entry)
            if name != "finish" or follower is not self.worker.broker:
                follower.flush()  # an end goes with what the worker says then

    def write_events(self) -> None:
        """Write the events that are not in the file yet; if the disk is full, try again later."""
        record = self.worker.record
        try:
            while self.unwritten:
                self.unwritten = self.unwritten[record.write(self.unwritten) :]
        except OSError as error:
            if error.errno in FULL_DISK and record.linked:
                self.timers["events"] = (time.monotonic() + 0.5, self.write_events)
            else:
                self.unwritten = b""  # nobody will read them

    def lost(self, text: str) -> None:
        """Note that some output could not be written."""
        self.output_lost = True
        self.record("output-lost", text=f"output lost: {text}")

    def output(self, stream: Stream, data: bytes) -> None:
        """Pass a task's output to its file, or to the record of output."""
        if stream.sink is not None:
            if self.spec["label"]:
                prefix = b"%d: " % stream.rank
                data = b"".join(prefix + line for line in data.splitlines(True))
            stream.sink.put(data)
            if stream.sink.full:
                stream.pause(stream.sink)
            return
        entry = {"s": stream.name, "r": stream.rank}
        try:
            entry["d"] = data.decode()
        except UnicodeDecodeError:
            entry["b"] = base64.b64encode(data).decode()
        self.write_record(encode(entry))
        for follower in list(self.followers):
            if not follower.unsent:
                follower.send({"out": 1})

    def write_record(self, data: bytes) -> None:
        """Add a line to the record of output.  On a full disk it may be cut; readers skip such a line."""
        if self.record_lost:
            data = b"\n" + data
        try:
            if self.output_file < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self.output_file = os.open(os.path.join(self.dir, "output"), flags, 0o600)
            while data:
                data = data[os.write(self.output_file, data) :]
            self.record_lost = False
        except OSError as error:
            if not self.record_lost:
                self.record_lost = True
                self.lost(f"{self.dir}/output: {error.strerror}")

    # starting

    def run(self) -> bool:
        """Run the job to its end. Whether nothing is left of it, so that the worker can take the next one."""
        if not self.claim():
            return False
        if self.spec["memory"]:
            self.memory = memory.Limit(self.spec["memory"], self.worker.job_group, self.timers, self.take_memory_back)
        self.starting = self.start()
        self.expire_at(self.spec["expiration"])
        self.worker.hear_early()
        self.follow()
        self.clear()
        code = self.failure or max(self.statuses.values())
        self.record("finish", status=(code or int(self.output_lost)) << 8)
        for follower in list(self.followers):
            if follower is not self.worker.broker:
                follower.drain(SLOW)
            elif self.unwritten:
                follower.flush()
        while self.unwritten:  # a later broker is to find how the job has ended
            self.worker.turn()
        self.close()
        return not (self.failure or self.abandoned or self.worker.starter.busy)

    def clear(self) -> None:
        """Remove what the job needs no longer."""
        self.worker.folder.take_back(self.dir)
        self.worker.clear_group()

    def close(self) -> None:
        """Release what the worker is not to keep."""
        if self.pmi is not None:
            self.pmi.close()
        if self.memory is not None:
            self.memory.close()
        for fd in (self.output_file, self.folder):
            if fd >= 0:
                os.close(fd)
        for follower in self.followers:
            if follower is not self.worker.broker:
                follower.close()
        for name in ("expire", "warn", "kill", "look", "events"):
            self.timers.pop(name, None)

    def advance(self) -> None:
        """Take the next step of starting the job."""
        assert self.starting is not None
        try:
            next(self.starting)
            return
        except StopIteration:
            self.starting = None
            self.record("start", group=self.group)
        except StartError as error:
            self.starting = None
            self.given_up = True
            os.close(self.worker.spare)  # what ends the job must not fail for want of a descriptor
            self.failure = self.failure or error.code
            if str(error):
                self.record("exception", text=str(error))
            self.signal_all(signal.SIGKILL)
            self.inputs.close()

    def follow_with(self, sock: socket.socket) -> None:
        """Let a broker follow the job: it is sent all events, and sends commands."""
        channel = Channel(
            sock, self.watch, lambda message: self.command(channel, message), lambda reason: self.unfollow(channel)
        )
        self.followers.append(channel)
        for entry in self.events:
            channel.queue_line(entry)
        channel.flush()

    def unfollow(self, channel: Channel) -> None:
        """A broker has gone."""
        if channel in self.followers:
            self.followers.remove(channel)

    def start(self) -> Iterator[None]:
        """Start the tasks, a step at a time.  Raises StartError."""
        spec = self.spec
        try:
            for folder in spec["folders"]:
                os.mkdir(folder, 0o700)
        except OSError as error:
            raise StartError(f"{spec['tmpdir']}: {error.strerror}") from None
        if spec["stdout"] is not None or spec["stderr"] is not None or spec["stdin"][0] == "file":
            yield from self.blocking(self.open_folder)
        layout = [(task, self.values(task)) for task in spec["tasks"]]
        if spec["notes"]:
            self.output(Stream(self, -1, 0, "stderr", None), spec["notes"].encode())
        if spec["pmi"] is not None:
            self.pmi = pmi.Server(self.watch, len(layout), fail=self.fail, **spec["pmi"])
        for _, values in layout:
            for path in (spec["stdout"], spec["stderr"]):
                self.open_sink(path, values)
        yield from self.until(lambda: all(sink.opened or sink.error for sink in self.sinks.values()))
        for sink in self.sinks.values():
            if sink.error is not None:
                raise StartError(f"{os.path.join(self.cwd, sink.path)}: {sink.error.strerror}")
        base = self.worker.variables(spec["env"])
        for task, values in layout:
            try:
                yield from self.start_task(task, values, base)
            except OSError as error:
                raise StartError(f"task {task[0]}: start failed: {error.strerror}") from None

    def until(self, condition: Callable[[], bool]) -> Iterator[None]:
        """Wait for a condition.  Raises StartError if the job is told to end meanwhile."""
        while not condition():
            if self.ending:
                raise StartError("", ENDED)
            yield

    def blocking(self, work: Callable[[], Any]) -> Steps:
        """Have `work()` done by the worker's thread, and return what it returns.

        Raises what it raises, and StartError if the job is told to end meanwhile or there can be no thread."""
        try:
            outcome = self.worker.starter.do(work)
        except RuntimeError as error:
            raise StartError(str(error)) from None
        yield from self.until(lambda: outcome.ready)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def values(self, task: list[Any]) -> dict[str, Any]:
        """The values of the names in templates, for one task."""
        rank, node, local = task[:3]
        own = {"taskid": rank, "task.id": rank, "task.rank": rank, "task.index": local, "task.localid": local}
        return {**self.spec["values"], **self.spec["nodes"][str(node)], **own}

    def open_folder(self) -> None:
        """In the worker's thread: open the working directory, which must be one that can be entered; else /tmp in its
        place."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self.folder = os.open(os.path.join(self.cwd, "."), flags)
        except OSError as error:
            self.cwd = "/tmp"
            self.folder = os.open("/tmp/.", flags)
            text = f"ERROR: Could not change dir to {self.spec['cwd']}: {error.strerror}. Going to /tmp instead\n"
            stream = Stream(self, -1, 0, "stderr", None)
            self.worker.note(partial(self.output, stream, text.encode(errors="surrogateescape")))

    def sink(self, path: str | None, values: dict[str, Any]) -> Sink | None:
        """The file that output goes to, or None for the record."""
        return None if path is None else self.sinks[fill(path, values)]

    def open_sink(self, path: str | None, values: dict[str, Any]) -> None:
        """Open a file for output, unless it is open.  Raises StartError."""
        if path is None:
            return
        path = fill(path, values)
        if path not in self.sinks:
            try:
                self.sinks[path] = Sink(self.folder, path, self.worker.note, self.lost)
            except RuntimeError as error:
                raise StartError(f"{path}: {error}") from None

    def stdin_for(self, values: dict[str, Any]) -> Steps:
        """(end for the task, our end or -1).  Raises StartError."""
        kind, path = self.spec["stdin"]
        if kind == "service":
            return os.pipe()
        if kind != "file":
            return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
        path = fill(path, values)
        try:
            fd = yield from self.blocking(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder))
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from None
        return fd, -1

    def start_task(self, task: list[Any], values: dict[str, Any], base: dict[str, bytes]) -> Iterator[None]:
        """Start a task, with the environment `base` and its own.  Raises StartError, or OSError for want of means."""
        rank, node, local, cpus, gpus = task
        spec = self.spec
        out_sink = self.sink(spec["stdout"], values)
        err_sink = self.sink(spec["stderr"], values) if spec["stderr"] is not None else out_sink
        own = {name: fill(text, values) for name, text in spec.get("env_templates", {}).items()}
        own.update(spec["node_env"][str(node)])
        own.update(FLUX_TASK_RANK=str(rank), FLUX_TASK_LOCAL_ID=str(local))
        if gpus is not None:
            own.update(CUDA_VISIBLE_DEVICES=gpus, HIP_VISIBLE_DEVICES=gpus, CUDA_DEVICE_ORDER="PCI_BUS_ID")
        kept = -1
        if self.pmi is not None:
            connection = self.pmi.connect(rank)
            kept = connection.fileno()
            own.update(pmi.environment(kept, rank, len(spec["tasks"])))
        env = {**base, **{name: os.fsencode(f"{name}={value}") for name, value in own.items()}}
        stdin, our_end = yield from self.stdin_for(values)
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        argv = [fill(word, values) if "{{" in word else word for word in spec["argv"]]
        paths = self.paths(argv[0], own.get("PATH", spec["env"].get("PATH")))
        streams = (stdin, out_w, err_w)
        words = list(env.values())
        pid, number, why = yield from self.blocking(partial(self.spawn, paths, argv, words, streams, cpus or [], kept))
        for fd in streams:
            os.close(fd)
        if self.pmi is not None:
            connection.close()
        if number:
            code = 126 if number in (errno.EACCES, errno.ENOEXEC) else 127
            where = f"task {rank} (host {values['node.name']})"
            raise StartError(f"{where}: start failed: {argv[0]}: {why}", code)
        self.group = self.group or pid
        self.tasks[pid] = rank
        if our_end >= 0:
            self.inputs.add(our_end)
        for fd, name, sink in ((out_r, "stdout", out_sink), (err_r, "stderr", err_sink)):
            os.set_blocking(fd, False)
            stream = Stream(self, fd, rank, name, sink)
            self.streams.add(stream)
            self.watch(fd, READ, stream.ready)
        if self.ending:
            raise StartError("", ENDED)

    @staticmethod
    def paths(word: str, path: str | None) -> list[bytes]:
        """The files that a command may be, with the variable PATH of its environment."""
        command = os.fsencode(word)
        if b"/" in command:
            return [command]
        folders = os.fsencode(os.defpath if path is None else path).split(b":")
        return [folder + b"/" + command if folder else command for folder in folders]

    def spawn(
        self,
        paths: list[bytes],
        argv: list[str],
        env: list[bytes],
        streams: tuple[int, int, int],
        cpus: list[int],
        kept: int,
    ) -> Any:
        """In the worker's thread: start a process, unless the job has been given up; (process id, errno, why not)."""
        self.spawning = True
        try:
            if self.given_up:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            if self.folder < 0:
                self.open_folder()
            words = [os.fsencode(word) for word in argv]
            joins = -1 if self.memory is None else self.memory.joins
            limits = self.spec["nofile"]
            pid, number = spawn(paths, words, env, self.group, self.folder, streams, cpus, limits, kept, joins)
            return pid, number, starting.reason(number, paths, self.folder) if number else ""
        finally:
            self.spawning = False

    # watching

    def expire_at(self, t: float) -> None:
        """(Re)set the time limit, seconds since the epoch; 0 is none."""
        self.spec["expiration"] = t
        self.timers.pop("expire", None)
        self.timers.pop("warn", None)
        if not t:
            return
        left = t - time.time()
        self.timers["expire"] = (time.monotonic() + max(0.0, left), self.expired)
        if self.spec["warning"] is not None and not self.warned:
            self.timers["warn"] = (time.monotonic() + max(0.0, left - self.spec["warning"][1]), self.warn)

    def warn(self) -> None:
        """Send the signal that the job wants some time before its limit, as soon as all tasks run."""
        if self.starting is not None or (self.spec["is_session"] and not self.has_session()):
            self.timers["warn"] = (time.monotonic() + 0.05, self.warn)
            return
        self.warned = True
        self.signal(self.spec["warning"][0])

    def has_session(self) -> bool:
        """Whether a session is open in the job, as its first task: those of other tasks have left at once."""
        return os.path.exists(os.path.join(self.dir, READY))

    def expired(self) -> None:
        """The time limit has been reached."""
        if self.spec["expiration"] - time.time() > 0.001:  # the clock has been set back meanwhile
            self.expire_at(self.spec["expiration"])
            return
        self.record("timeout")
        self.end()

    def end(self) -> None:
        """End the job: it is told to, or its time is over."""
        self.ending = True
        self.exits.close()
        self.terminate()

    def fail(self, reason: str, code: int) -> None:
        """End the job for something that it did, with this exit code."""
        if not self.failure:
            self.failure = code
            self.record("exception", text=reason)
            self.end()

    def take_memory_back(self, reason: str) -> None:
        """End the job at once: it has more memory than it asked for."""
        self.fail(reason, memory.EXCEEDED)
        self.kill()

    def terminate(self) -> None:
        """SIGTERM to what runs now, SIGKILL after the grace."""
        self.signal_all(signal.SIGTERM)
        self.signal_all(signal.SIGCONT)
        self.timers.setdefault("kill", (time.monotonic() + self.spec["grace"], self.kill))

    def kill(self) -> None:
        """SIGKILL; and output that nobody takes is waited for no longer if the job is told to end."""
        self.signal_all(signal.SIGKILL)
        if self.ending and not self.abandoned:
            self.abandoned = True
            for sink in self.sinks.values():
                sink.abandon()
        # a process may have been forked between the look and the kill
        self.timers["kill"] = (time.monotonic() + 0.2, self.kill)

    def signal(self, number: int) -> None:
        """Signal the job: its processes, or, if its tasks are a session, that."""
        if not self.spec["is_session"]:
            self.signal_all(number)
            return
        for pid in self.tasks:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def signal_all(self, number: int) -> None:
        """Signal the tasks' process group, unless it is empty, and each descendant outside of it."""
        living = descendants(os.getpid())
        pids = [process.pid for process in living if process.group != self.group]
        if len(pids) < len(living):
            pids.insert(0, -self.group)
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def woken(self, stop: bool) -> None:
        """Something has happened to a process; with `stop` the worker was told to end."""
        self.reap()
        if stop:
            self.end()

    def reap(self) -> bool:
        """Collect what has ended.  True if there is nothing left below this process."""
        if self.starting is not None:
            return False  # the first task, if only as a zombie, keeps the group that the others are to join
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True  # orphans come to us, so without a child there is no descendant either
            if not pid:
                return False
            rank = self.tasks.pop(pid, None)
            if rank is not None:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
                self.statuses[rank] = code
                if not self.tasks:
                    self.exits.close()
                elif not self.ending:
                    self.exits.exited(rank, code)
                if self.memory is not None:
                    self.memory.check()

    def follow(self) -> None:
        """Run the loop until all tasks have exited, their output is written, and no process of the job is left."""
        swept = False
        while True:
            if self.starting is not None:
                self.advance()
                self.reap()
            if self.starting is None and not self.tasks and not self.spawning:
                self.inputs.close()
                if not self.streams:
                    if self.reap():
                        if self.sinks_closed():
                            return
                    else:
                        if not swept:
                            swept = True
                            self.terminate()
                        self.timers["look"] = (time.monotonic() + 0.02, lambda: None)
            elif self.spawning and self.given_up:
                self.timers["look"] = (time.monotonic() + 0.02, lambda: None)
            self.worker.turn()

    def sinks_closed(self) -> bool:
        """Whether all output is written, or waited for no longer."""
        for sink in self.sinks.values():
            if sink.opened and not sink.closing:
                sink.close()
        return self.abandoned or all(sink.closed or not sink.opened for sink in self.sinks.values())

    # commands

    def command(self, follower: Channel, message: dict[str, Any]) -> None:
        """What a broker asks for: {"op": "signal", "signal"}, "terminate", "expire" with "t", "stdin"."""
        op = message.get("op")
        if op == "signal":
            self.signal(message["signal"])
        elif op == "terminate":
            self.end()
        elif op == "expire":
            self.expire_at(message["t"])
        elif op == "stdin":
            self.inputs.put(follower, message["n"], base64.b64decode(message["data"]), message["eof"])
