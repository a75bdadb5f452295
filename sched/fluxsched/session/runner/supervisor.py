# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The process that runs one job, and outlives the broker.

In the job's directory a supervisor keeps ``claim`` (locked for as long as anything
of the job lives), ``events`` and ``output`` (a JSON object per line), and ``ctl`` (a
socket on which a broker, also a later one, follows and commands).  The claim is
made once, in the folder that the broker in charge has named: whoever cannot make
it there does not start the job.

Tasks share one process group.  What leaves it is still found: the supervisor is
the subreaper of all that is below it.

Nothing here waits for a path that a user has named: the job's folder and its
output are opened and written by threads, its input is opened by the task itself.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import time
from collections import deque
from typing import Any, Callable, Iterator

from fluxsched.errors import FluxSchedError
from fluxsched.session.runner import cgroups
from fluxsched.session.runner.inputs import Inputs
from fluxsched.session.runner.processes import become_subreaper, descendants, start_time
from fluxsched.session.runner.sinks import Sink, in_thread
from fluxsched.session.runner.streams import Follower, Stream
from fluxsched.session.wire import READ, watch_with

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
ACCEPT_PAUSE = 0.5  # seconds until a connection is taken for which there was no descriptor
ENDED = 143  # exit code of a job that was ended before it started


def template(text: str, values: dict[str, Any]) -> str:
    """Fill ``{{name}}`` in; an unknown name stays as it is."""
    parts = text.split("{{")
    out = parts[0]
    for part in parts[1:]:
        name, closed, rest = part.partition("}}")
        if closed and name.strip() in values:
            out += str(values[name.strip()]) + rest
        else:
            out += "{{" + part
    return out


class StartError(FluxSchedError):
    """A job that cannot start: why (empty if it was told to end meanwhile), and its exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Supervisor:
    """Runs the job that `spec` describes, for the broker at the other end of `sock`.

    `claim` is a locked file of the name `claim_path`, which becomes the job's claim.
    """

    def __init__(self, spec: dict[str, Any], sock: socket.socket, claim: int, claim_path: str) -> None:
        self.spec = spec
        self.dir = spec["dir"]
        self.selector = selectors.DefaultSelector()
        self.watch = watch_with(self.selector)
        self.first = sock
        self.lock = claim
        self.claim_path = claim_path
        self.followers: list[Follower] = []
        self.events: list[dict[str, Any]] = []
        self.unwritten = b""  # of the events, for want of room on the disk
        self.streams: set[Stream] = set()
        self.folder = -1  # the working directory
        self.sinks: dict[str, Sink] = {}  # by path
        self.inputs = Inputs(self.selector)
        self.tasks: dict[int, int] = {}  # pid -> task rank, not yet exited
        self.statuses: dict[int, int] = {}  # task rank -> exit code
        self.group = 0  # of the tasks
        self.cgroup = -1  # descriptor through which the tasks join their control group
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}  # name -> (monotonic time, function)
        self.notes: deque[Callable[[], None]] = deque()  # from threads, for the loop to call
        self.starting: Iterator[None] | None = None
        self.ending = False  # told to end, by its time limit or by somebody
        self.abandoned = False  # its output is waited for no longer
        self.record_lost = False
        self.output_lost = False
        self.failure = 0

    # the record

    def claim(self) -> bool:
        """Make the claim; False if there is one, or if another broker is in charge by now."""
        spec = self.spec
        mark = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": spec["boot"], "cgroup": spec["cgroup"]}
        try:
            os.write(self.lock, json.dumps(mark).encode())
            os.link(self.claim_path, spec["claim"])
            os.rename(self.claim_path, os.path.join(self.dir, "claim"))
        except (FileExistsError, FileNotFoundError):
            try:
                os.unlink(self.claim_path)
            except FileNotFoundError:
                pass  # with the session's folder
            return False
        return True

    def record(self, name: str, **context: Any) -> None:
        """Add an event to the events file, and send it to all followers."""
        entry = {"event": name, "t": time.time(), "n": len(self.events), **context}
        self.events.append(entry)
        for follower in list(self.followers):
            follower.send(entry)
        self.unwritten += json.dumps(entry).encode() + b"\n"
        self.write_events()

    def write_events(self) -> None:
        """Write the events that are not in the file yet; if the disk is full, try again later."""
        try:
            while self.unwritten:
                self.unwritten = self.unwritten[os.write(self.event_file, self.unwritten) :]
        except OSError as error:
            if error.errno in FULL_DISK and os.fstat(self.event_file).st_nlink:
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
        self.write_record(json.dumps(entry).encode() + b"\n")
        for follower in list(self.followers):
            if not follower.channel.unsent:
                follower.send({"out": 1})

    def write_record(self, data: bytes) -> None:
        """Add a line to the record of output.  On a full disk it may be cut; readers skip such a line."""
        if self.record_lost:
            data = b"\n" + data
        try:
            while data:
                data = data[os.write(self.output_file, data) :]
            self.record_lost = False
        except OSError as error:
            if not self.record_lost:
                self.record_lost = True
                self.lost(f"{self.dir}/output: {error.strerror}")

    # starting

    def run(self) -> None:
        """Run the job to its end."""
        os.setsid()
        if not self.claim():
            return
        become_subreaper()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.event_file = os.open(os.path.join(self.dir, "events"), flags, 0o600)
        self.output_file = os.open(os.path.join(self.dir, "output"), flags, 0o600)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if self.spec["cgroup"]:
            self.cgroup = cgroups.enter(self.spec["cgroup"])
        self.listen()
        self.catch_signals()
        Follower(self, self.first)
        self.record("claimed", pid=os.getpid())
        self.starting = self.start()
        self.expire_at(self.spec["expiration"])
        self.follow()
        shutil.rmtree(self.spec["tmpdir"], ignore_errors=True)
        if self.spec["cgroup"]:
            cgroups.remove(self.spec["cgroup"])
        code = self.failure or max(self.statuses.values())
        self.record("finish", status=(code or int(self.output_lost)) << 8)
        for follower in list(self.followers):
            follower.finish()
        while self.unwritten:  # a later broker is to find how the job has ended
            self.turn()

    def advance(self) -> None:
        """Take the next step of starting the job."""
        assert self.starting is not None
        try:
            next(self.starting)
            return
        except StopIteration:
            self.starting = None
            self.record("start", group=self.group, started=self.group_started)
        except StartError as error:
            self.starting = None
            os.close(self.spare)  # what ends the job must not fail for want of a descriptor
            self.failure = error.code
            if str(error):
                self.record("exception", text=str(error))
            self.signal_all(signal.SIGKILL)
            self.inputs.close()

    def listen(self) -> None:
        """Open the socket for later brokers."""
        # a socket's path may be 107 bytes long, the state directory's may be longer
        directory = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setblocking(False)
        self.listener.bind(f"/proc/self/fd/{directory}/ctl")
        self.listener.listen(4)
        os.close(directory)
        self.accept_again()

    def catch_signals(self) -> None:
        """Make signals wake the loop; note() uses the same pipe."""
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        for number in (signal.SIGCHLD, *STOPPING):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)
        self.watch(self.wake_r, READ, self.woken)

    def note(self, function: Callable[[], None]) -> None:
        """Make the loop call a function. For use in threads."""
        self.notes.append(function)
        try:
            os.write(self.wake_w, b"\0")
        except BlockingIOError:
            pass  # full: the loop is awake

    def accept_again(self) -> None:
        """Take connections of brokers."""
        self.watch(self.listener.fileno(), READ, self.accept)

    def accept(self, mask: int) -> None:
        """A broker connects."""
        try:
            sock, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # Out of descriptors: who wants to connect waits, and we do not turn round and round.
            self.watch(self.listener.fileno(), 0, None)
            self.timers["accept"] = (time.monotonic() + ACCEPT_PAUSE, self.accept_again)
            return
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid == os.getuid():
            Follower(self, sock)
        else:
            sock.close()

    def start(self) -> Iterator[None]:
        """Start the tasks, a step at a time.  Raises StartError."""
        spec = self.spec
        try:
            os.makedirs(spec["tmpdir"], mode=0o700, exist_ok=True)
        except OSError as error:
            raise StartError(f"{spec['tmpdir']}: {error.strerror}") from None
        self.in_thread(self.open_folder)
        yield from self.until(lambda: self.folder >= 0)
        layout = [(task, self.values(task)) for task in spec["tasks"]]
        for _, values in layout:
            for path in (spec["stdout"], spec["stderr"]):
                self.open_sink(path, values)
        yield from self.until(lambda: all(sink.opened or sink.error for sink in self.sinks.values()))
        for sink in self.sinks.values():
            if sink.error is not None:
                raise StartError(f"{os.path.join(self.cwd, sink.path)}: {sink.error.strerror}")
        waits = []
        for task, values in layout:
            try:
                rank, node, local, cores, gpus = task
                waits.append(self.spawn(rank, node, local, cores, gpus, values))
            except OSError as error:
                raise StartError(f"task {task[0]}: start failed: {error.strerror}") from None
            if task[0] == 0:
                self.group_started = start_time(self.group)
                yield from self.started(*waits.pop())  # what the first cannot run, the others cannot
        for wait in waits:
            yield from self.started(*wait)

    def until(self, condition: Callable[[], bool]) -> Iterator[None]:
        """Wait for a condition.  Raises StartError if the job is told to end meanwhile."""
        while not condition():
            if self.ending:
                raise StartError("", ENDED)
            yield

    def in_thread(self, work: Callable[[], None]) -> None:
        """Run `work()` in a thread.  Raises StartError if there can be none."""
        try:
            in_thread(work)
        except RuntimeError as error:
            raise StartError(str(error)) from None

    def values(self, task: list[Any]) -> dict[str, Any]:
        """The values of the names in templates, for one task."""
        rank, node, local = task[:3]
        own = {"taskid": rank, "task.id": rank, "task.rank": rank, "task.index": local, "node.id": node}
        return {**self.spec["values"], **own}

    def open_folder(self) -> None:
        """In a thread: open the working directory, which must be one that can be entered."""
        problem, cwd = None, self.spec["cwd"]
        try:
            folder = os.open(os.path.join(cwd, "."), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            problem, cwd = error, "/tmp"
            folder = os.open("/tmp/.", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.note(lambda: self.folder_opened(folder, cwd, problem))

    def folder_opened(self, folder: int, cwd: str, problem: OSError | None) -> None:
        """The working directory is there, or /tmp in its place."""
        self.folder = folder
        self.cwd = cwd
        if problem is not None:
            text = f"ERROR: Could not change dir to {self.spec['cwd']}: {problem.strerror}. Going to /tmp instead\n"
            self.output(Stream(self, -1, 0, "stderr", None), text.encode(errors="surrogateescape"))

    def sink(self, path: str | None, values: dict[str, Any]) -> Sink | None:
        """The file that output goes to, or None for the record."""
        return None if path is None else self.sinks[template(path, values)]

    def open_sink(self, path: str | None, values: dict[str, Any]) -> None:
        """Open a file for output, unless it is open.  Raises StartError."""
        if path is None:
            return
        path = template(path, values)
        if path not in self.sinks:
            try:
                self.sinks[path] = Sink(self.folder, path, self.note, self.lost)
            except RuntimeError as error:
                raise StartError(f"{path}: {error}") from None

    def stdin_for(self, values: dict[str, Any]) -> tuple[int, int, str]:
        """(end for the task or -1, our end or -1, path that the task opens)"""
        kind, path = self.spec["stdin"]
        if kind == "service":
            return *os.pipe(), ""
        return -1, -1, template(path, values) if kind == "file" else "/dev/null"

    def spawn(
        self, rank: int, node: int, local: int, cores: list[int] | None, gpus: str, values: dict[str, Any]
    ) -> tuple[int, int, int]:
        """Fork a task; (descriptor that tells whether it became its command, rank, node).  Raises OSError."""
        spec = self.spec
        out_sink = self.sink(spec["stdout"], values)
        err_sink = self.sink(spec["stderr"], values) if spec["stderr"] is not None else out_sink
        env = dict(spec["env"])
        for name, text in spec.get("env_templates", {}).items():
            env[name] = template(text, values)
        env.update(spec["node_env"][str(node)])
        env["FLUX_TASK_RANK"] = str(rank)
        env["FLUX_TASK_LOCAL_ID"] = str(local)
        env["CUDA_VISIBLE_DEVICES"] = gpus
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        in_r, in_w, in_path = self.stdin_for(values)
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        fail_r, fail_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.become(env, cores, in_r, in_path, out_w, err_w, fail_w)
        self.group = self.group or pid
        try:
            os.setpgid(pid, self.group)
        except OSError:
            pass  # it has done so itself, and gone on
        self.tasks[pid] = rank
        for fd in (in_r, out_w, err_w, fail_w):
            if fd >= 0:
                os.close(fd)
        if in_w >= 0:
            self.inputs.add(in_w)
        for fd, name, sink in ((out_r, "stdout", out_sink), (err_r, "stderr", err_sink)):
            os.set_blocking(fd, False)
            stream = Stream(self, fd, rank, name, sink)
            self.streams.add(stream)
            self.watch(fd, READ, stream.ready)
        return fail_r, rank, node

    def started(self, fail_r: int, rank: int, node: int) -> Iterator[None]:
        """Wait until the task has become its command.  Raises StartError."""
        os.set_blocking(fail_r, False)
        said: list[bytes] = []

        def ready(mask: int) -> None:
            said.append(os.read(fail_r, 4096))
            if not said[-1]:
                self.watch(fail_r, 0, None)
                os.close(fail_r)

        self.watch(fail_r, READ, ready)
        while not said or said[-1]:
            yield
        if self.ending:
            raise StartError("", ENDED)
        number, _, path = b"".join(said).partition(b" ")
        if number and path:
            raise StartError(f"{os.fsdecode(path)}: {os.strerror(int(number))}")
        if number:
            code = 126 if int(number) in (errno.EACCES, errno.ENOEXEC) else 127
            where = f"task {rank} (host {self.spec['hosts'][str(node)]})"
            raise StartError(f"{where}: start failed: {self.spec['argv'][0]}: {os.strerror(int(number))}", code)

    def become(
        self, env: dict[str, str], cores: list[int] | None, stdin: int, path: str, stdout: int, stderr: int, failed: int
    ) -> None:
        """In the child: turn into the task.  Does not return."""
        number, what = errno.EINVAL, ""
        try:
            os.setpgid(0, self.group)
            if self.cgroup >= 0:
                cgroups.join(self.cgroup)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGCHLD, *STOPPING, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(name, signal.SIG_DFL)
            if cores:
                try:
                    os.sched_setaffinity(0, cores)
                except OSError:
                    pass  # the machine has taken a core away since the session began: run where we may
            os.fchdir(self.folder)
            if stdin < 0:
                what = path
                stdin = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                what = ""
            for target, fd in enumerate((stdin, stdout, stderr)):
                os.dup2(fd, target)
            soft, hard = self.spec["nofile"]
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.execvpe(self.spec["argv"][0], self.spec["argv"], env)
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(failed, b"%d" % number + (b" " + os.fsencode(what) if what else b""))
            os._exit(127)

    # watching

    def expire_at(self, t: float) -> None:
        """(Re)set the time limit, seconds since the epoch; 0 is none."""
        self.spec["expiration"] = t
        self.timers.pop("expire", None)
        if t:
            self.timers["expire"] = (time.monotonic() + max(0.0, t - time.time()), self.expired)

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
        self.terminate()

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

    def woken(self, mask: int) -> None:
        """Handle signals that have come, and notes of threads."""
        try:
            numbers = os.read(self.wake_r, 4096)
        except BlockingIOError:
            return
        while self.notes:
            self.notes.popleft()()
        self.reap()
        if any(number in numbers for number in STOPPING):
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

    def follow(self) -> None:
        """Run the loop until all tasks have exited, their output is written, and no process of the job is left."""
        swept = False
        while True:
            if self.starting is not None:
                self.advance()
                self.reap()
            if self.starting is None and not self.tasks:
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
            self.turn()

    def sinks_closed(self) -> bool:
        """Whether all output is written, or waited for no longer."""
        for sink in self.sinks.values():
            if sink.opened and not sink.closing:
                sink.close()
        return self.abandoned or all(sink.closed or not sink.opened for sink in self.sinks.values())

    def turn(self) -> None:
        """Wait for what happens next, and handle it."""
        now = time.monotonic()
        for name in [name for name, (t, _) in self.timers.items() if t <= now]:
            self.timers.pop(name)[1]()
        wait = None
        if self.timers:
            wait = max(0.0, min(t for t, _ in self.timers.values()) - time.monotonic())
        for key, mask in self.selector.select(wait):
            if self.selector.get_map().get(key.fd) is key:
                key.data(mask)

    # commands

    def command(self, follower: Follower, message: dict[str, Any]) -> None:
        """What a broker asks for: {"op": "signal", "signal"}, "terminate", "expire" with "t", "stdin"."""
        op = message.get("op")
        if op == "signal":
            self.signal_all(message["signal"])
        elif op == "terminate":
            self.end()
        elif op == "expire":
            self.expire_at(message["t"])
        elif op == "stdin":
            self.inputs.put(follower, message["n"], base64.b64decode(message["data"]), message["eof"])
