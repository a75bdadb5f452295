# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The process that runs one job, and outlives the broker.

In the job's directory a shepherd keeps ``claim`` (locked for as long as it
lives, and made once: whoever finds it there does not start the job again),
``events`` and ``output`` (a JSON object per line), and ``ctl`` (a socket on which
a broker, also a later one, follows and commands).

Tasks share one process group.  What leaves it is still found: the shepherd is
the subreaper of all that is below it.
"""

import base64
import ctypes
import errno
import fcntl
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import time

from streams import READ, WRITE, Link, Stream

STDIN_LOW = 1 << 16  # more stdin is asked for when a task has less than this to read
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid):
    """Start of a process in clock ticks since boot, which with its number names it."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def template(text, values):
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


class StartError(Exception):
    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


class Shepherd:
    def __init__(self, spec, sock):
        self.spec = spec
        self.dir = spec["dir"]
        self.selector = selectors.DefaultSelector()
        self.first = sock
        self.links = []
        self.events = []
        self.streams = set()
        self.sinks = {}  # path -> fd
        self.stdins = []  # of each task that still reads: [fd, bytes it has not taken]
        self.stdin_eof = False
        self.stdin_acks = []  # (link, n): answered when the tasks have taken what was sent
        self.tasks = {}  # pid -> task rank, not yet exited
        self.statuses = {}  # task rank -> exit code
        self.group = 0
        self.timers = {}  # name -> (monotonic time, function)
        self.output_lost = False
        self.failure = 0

    # the record

    def claim(self):
        """Make the claim file, locked; False if there is one."""
        own = os.path.join(self.dir, f"claim.{os.getpid()}")
        self.lock = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        mark = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": self.spec["boot"]}
        os.write(self.lock, json.dumps(mark).encode())
        try:
            os.link(own, os.path.join(self.dir, "claim"))
        except FileExistsError:
            return False
        finally:
            os.unlink(own)
        return True

    def record(self, name, **context):
        """One more event, to the file and to whoever follows."""
        entry = {"event": name, "t": time.time(), "n": len(self.events), **context}
        self.events.append(entry)
        data = json.dumps(entry).encode() + b"\n"
        for link in list(self.links):
            link.send(entry)
        while data:
            try:
                data = data[os.write(self.event_file, data) :]
            except OSError as error:
                # A broker that follows has heard it.  Without one the end of a job waits for room on the disk.
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or self.links:
                    return
                time.sleep(0.5)

    def output(self, stream, data):
        if stream.sink is not None:
            if self.spec["label"]:
                prefix = b"%d: " % stream.rank
                data = b"".join(prefix + line for line in data.splitlines(True))
            self.write_all(stream.sink, data)
            return
        entry = {"s": stream.name, "r": stream.rank}
        try:
            entry["d"] = data.decode()
        except UnicodeDecodeError:
            entry["b"] = base64.b64encode(data).decode()
        self.write_all(self.output_file, json.dumps(entry).encode() + b"\n")
        for link in list(self.links):
            if not link.out:
                link.send({"out": 1})

    def write_all(self, fd, data):
        if self.output_lost:
            return
        try:
            while data:
                data = data[os.write(fd, data) :]
        except OSError as error:
            self.output_lost = True
            self.record("output-lost", text=f"output lost: {error.strerror}")

    # starting

    def run(self):
        os.setsid()
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        if not self.claim():
            return
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.event_file = os.open(os.path.join(self.dir, "events"), flags, 0o600)
        self.output_file = os.open(os.path.join(self.dir, "output"), flags, 0o600)
        self.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile[1], self.nofile[1]))
        self.listen()
        self.catch_signals()
        Link(self, self.first)
        self.record("claimed", pid=os.getpid())
        try:
            self.start()
        except StartError as error:
            self.failure = error.code
            self.record("exception", text=str(error))
            self.signal_all(signal.SIGKILL)
            self.close_stdins()
        else:
            self.record("start", group=self.group, started=start_time(self.group))
        self.expire_at(self.spec["expiration"])
        self.watch()
        shutil.rmtree(self.spec["tmpdir"], ignore_errors=True)
        code = self.failure or max(self.statuses.values())
        self.record("finish", status=code << 8)
        for link in list(self.links):
            link.finish()

    def listen(self):
        # a socket's path may be 107 bytes long, the state directory's may be longer
        directory = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setblocking(False)
        self.listener.bind(f"/proc/self/fd/{directory}/ctl")
        self.listener.listen(4)
        os.close(directory)
        self.selector.register(self.listener, READ, self.accept)

    def catch_signals(self):
        self.wake_r, wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(wake_w, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: self.terminate())
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        self.selector.register(self.wake_r, READ, self.woken)

    def accept(self, mask):
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid == os.getuid():
            Link(self, sock)
        else:
            sock.close()

    def start(self):
        spec = self.spec
        try:
            os.makedirs(spec["tmpdir"], mode=0o700, exist_ok=True)
        except OSError as error:
            raise StartError(f"{spec['tmpdir']}: {error.strerror}") from None
        self.cwd = spec["cwd"]
        try:
            os.chdir(self.cwd)
        except OSError as error:
            self.cwd = "/tmp"
            os.chdir(self.cwd)
            text = f"ERROR: Could not change dir to {spec['cwd']}: {error.strerror}. Going to /tmp instead\n"
            self.output(Stream(self, -1, 0, "stderr", None), text.encode(errors="surrogateescape"))
        starting = []
        for rank, node, local, cores, gpus in spec["tasks"]:
            values = dict(spec["values"])
            values.update({"taskid": rank, "task.id": rank, "task.rank": rank, "task.index": local, "node.id": node})
            try:
                starting.append(self.spawn(rank, node, local, cores, gpus, values))
            except OSError as error:
                raise StartError(f"task {rank}: start failed: {error.strerror}") from None
            if rank == 0:
                self.started(*starting.pop())  # what the first cannot run, the others cannot
        for task in starting:
            self.started(*task)
        os.chdir("/")

    def sink(self, path, values):
        """The file that output goes to, or None for the record."""
        if path is None:
            return None
        path = os.path.join(self.cwd, template(path, values))
        if path not in self.sinks:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            try:
                self.sinks[path] = os.open(path, flags, 0o666)
            except OSError as error:
                raise StartError(f"{path}: {error.strerror}") from None
        return self.sinks[path]

    def stdin_for(self, values):
        """(end for the task, our end or -1)"""
        kind, path = self.spec["stdin"]
        if kind == "service":
            return os.pipe()
        path = template(path, values) if kind == "file" else "/dev/null"
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC), -1
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from None

    def spawn(self, rank, node, local, cores, gpus, values):
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
        in_r, in_w = self.stdin_for(values)
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        fail_r, fail_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.become(env, cores, in_r, out_w, err_w, fail_w)
        self.group = self.group or pid
        try:
            os.setpgid(pid, self.group)
        except OSError:
            pass  # it has done so itself, and gone on
        self.tasks[pid] = rank
        for fd in (in_r, out_w, err_w, fail_w):
            os.close(fd)
        if in_w >= 0:
            os.set_blocking(in_w, False)
            self.stdins.append([in_w, b""])
        for fd, name, sink in ((out_r, "stdout", out_sink), (err_r, "stderr", err_sink)):
            os.set_blocking(fd, False)
            stream = Stream(self, fd, rank, name, sink)
            self.streams.add(stream)
            self.selector.register(fd, READ, stream.ready)
        return fail_r, rank, node

    def started(self, fail_r, rank, node):
        """Wait until the task has become its command, or raise."""
        with os.fdopen(fail_r, "rb") as file:
            failed = file.read()
        if failed:
            number = int(failed)
            code = 126 if number in (errno.EACCES, errno.ENOEXEC) else 127
            where = f"task {rank} (host {self.spec['hosts'][str(node)]})"
            raise StartError(f"{where}: start failed: {self.spec['argv'][0]}: {os.strerror(number)}", code)

    def become(self, env, cores, stdin, stdout, stderr, failure):
        """In the child: turn into the task.  Does not return."""
        number = errno.EINVAL
        try:
            os.setpgid(0, self.group)
            signal.set_wakeup_fd(-1)
            for name in ("SIGCHLD", "SIGTERM", "SIGHUP", "SIGINT", "SIGPIPE", "SIGXFSZ"):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            if cores:
                try:
                    os.sched_setaffinity(0, cores)
                except OSError:
                    pass  # the machine has taken a core away since the session began: run where we may
            resource.setrlimit(resource.RLIMIT_NOFILE, self.nofile)
            for target, fd in enumerate((stdin, stdout, stderr)):
                os.dup2(fd, target)
            os.execvpe(self.spec["argv"][0], self.spec["argv"], env)
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(failure, b"%d" % number)
            os._exit(127)

    # watching

    def expire_at(self, t):
        """(Re)set the time limit, seconds since the epoch; 0 is none."""
        self.spec["expiration"] = t
        self.timers.pop("expire", None)
        if t:
            self.timers["expire"] = (time.monotonic() + max(0.0, t - time.time()), self.expired)

    def expired(self):
        if self.spec["expiration"] - time.time() > 0.001:  # the clock has been set back meanwhile
            self.expire_at(self.spec["expiration"])
            return
        self.record("timeout")
        self.terminate()

    def terminate(self):
        """SIGTERM now, SIGKILL after the grace."""
        self.signal_all(signal.SIGTERM)
        self.signal_all(signal.SIGCONT)
        self.timers.setdefault("kill", (time.monotonic() + self.spec["grace"], self.kill))

    def kill(self):
        self.signal_all(signal.SIGKILL)
        # a process may have been forked between the look and the kill
        self.timers["kill"] = (time.monotonic() + 0.2, self.kill)

    def signal_all(self, number):
        """Signal the group as one, as long as there is somebody in it, and who has left it."""
        living = self.descendants()
        if any(group == self.group for _, group in living):
            living = [(-self.group, 0)] + [entry for entry in living if entry[1] != self.group]
        for pid, _ in living:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def descendants(self):
        """(pid, process group) of every live process below this one."""
        below = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", "rb") as file:
                        state, parent, group = file.read().rpartition(b")")[2].split()[:3]
                except (OSError, ValueError):
                    continue  # it ended while we looked
                below.setdefault(int(parent), []).append((int(entry), int(group), state))
        found = []
        todo = [os.getpid()]
        while todo:
            for pid, group, state in below.get(todo.pop(), ()):
                todo.append(pid)
                if state not in (b"Z", b"X"):
                    found.append((pid, group))
        return found

    def woken(self, mask):
        try:
            os.read(self.wake_r, 4096)
        except BlockingIOError:
            pass
        self.reap()

    def reap(self):
        """Collect what has ended.  True if there is nothing left below this process."""
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

    def watch(self):
        """Until the tasks have exited, their output has ended, and nothing of the job is left."""
        self.reap()
        swept = False
        while True:
            if not self.tasks:
                self.close_stdins()
                if not self.streams:
                    if self.reap():
                        return
                    if not swept:
                        swept = True
                        self.terminate()
                    self.timers["look"] = (time.monotonic() + 0.02, lambda: None)
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

    def command(self, link, message):
        op = message["op"]
        if op == "signal":
            self.signal_all(message["signal"])
        elif op == "terminate":
            self.terminate()
        elif op == "expire":
            self.expire_at(message["t"])
        elif op == "stdin":
            data = base64.b64decode(message["data"])
            self.stdin_eof = self.stdin_eof or message["eof"]
            self.stdin_acks.append((link, message["n"]))
            for entry in list(self.stdins):
                entry[1] += data
                self.feed(entry)
            self.acknowledge()

    def feed(self, entry):
        fd = entry[0]
        try:
            while entry[1]:
                entry[1] = entry[1][os.write(fd, entry[1]) :]
        except BlockingIOError:
            if fd not in self.selector.get_map():
                self.selector.register(fd, WRITE, lambda mask: (self.feed(entry), self.acknowledge()))
            return
        except OSError:
            self.close_stdin(entry)
            return
        if fd in self.selector.get_map():
            self.selector.unregister(fd)
        if self.stdin_eof:
            self.close_stdin(entry)

    def close_stdin(self, entry):
        if entry[0] in self.selector.get_map():
            self.selector.unregister(entry[0])
        os.close(entry[0])
        self.stdins.remove(entry)

    def close_stdins(self):
        for entry in list(self.stdins):
            self.close_stdin(entry)
        self.acknowledge()

    def acknowledge(self):
        if all(len(entry[1]) < STDIN_LOW for entry in self.stdins):
            acks, self.stdin_acks = self.stdin_acks, []
            for link, n in acks:
                link.send({"ack": n, "open": bool(self.stdins)})
