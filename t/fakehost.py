# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A broker for the service's tests: one thread, a clock that is set by hand,
commits that wait until the test lets them through."""

import errno
import math

from fluxsched.formats import r
from fluxsched.service import annotate, forecast, passes
from fluxsched.service.host import Host
from fluxsched.service.protocol import SUCCESS
from fluxsched.service.service import Service

# The time that a pass, a forecast or a look at reasons takes is real, and the clock here is not: no pauses, and slices
# that are not cut short where the machine is slow, unless a test asks for them.
passes.PAUSE_MIN = math.inf
forecast.PAUSE = 0.0
annotate.SLICE = forecast.SLICE = 60.0

JOBID_ANY = -1


class FakeHost(Host):
    def __init__(self, config=None):
        self.time = 1000.0
        self.lines = []         # (level, text)
        self.answers = []       # (request, payload)
        self.errors = []        # (request, errnum, text)
        self.sent = []          # (topic, payload, callback)
        self.kvs = {}
        self.hold_commits = False
        self.commit_error = None
        self.held = []          # commits not yet done
        self.commits = []       # the puts of each commit
        self.written = []       # (time, puts) of each commit
        self.soon = []
        self.timers = []
        self.failed = None
        self.finished = None
        self.conf = config or {}
        self.unreadable = set()
        self.guests = {}        # request -> user id, of requests that are not the owner's

    # what the service asks

    def now(self):
        return self.time

    def log(self, level, text):
        self.lines.append((level, text))

    def respond(self, request, payload):
        self.answers.append((request, payload))

    def respond_error(self, request, errnum, text):
        self.errors.append((request, errnum, text))

    def asker(self, request):
        return self.guests.get(request)

    def request(self, topic, payload, callback, streaming=False):
        self.sent.append((topic, payload, callback))

    def read_r(self, jobid, callback):
        self.read(f"R:{jobid}", lambda value, error: callback(
            value, error or (OSError(errno.ENOENT, "no such key") if value is None else None)))

    def read(self, key, callback):
        if key in self.unreadable:
            self.soon.append(lambda: callback(None, OSError(errno.EIO, "cannot be read")))
        else:
            self.soon.append(lambda: callback(self.kvs.get(key), None))

    def commit(self, puts, callback):
        puts = dict(self._keys(puts))
        self.commits.append(puts)
        self.written.append((self.time, puts))
        self.held.append((puts, callback))

    @staticmethod
    def _keys(puts):
        """The puts of a commit, those of a record by field."""
        for key, value in puts.items():
            if key.startswith("lwj:") and value is not None:
                yield from ((f"lwj.{key[4:]}.{name}", each) for name, each in value.items())
            else:
                yield key.replace("lwj:", "lwj."), value

    def call_soon(self, callback):
        self.soon.append(callback)

    def call_later(self, seconds, callback):
        timer = Timer(self.time + seconds, callback)
        self.timers.append(timer)
        return timer

    def config(self):
        return self.conf

    def fatal(self, error):
        self.failed = error

    def finish(self, error):
        self.finished = error

    # what the test does

    def let_commit(self):
        """Let one commit through."""
        puts, callback = self.held.pop(0)
        if self.commit_error is not None:
            callback(self.commit_error)
            return
        for key, value in puts.items():
            if value is None:
                for name in [name for name in self.kvs if name == key or name.startswith(key + ".")]:
                    del self.kvs[name]
            else:
                self.kvs[key] = value
        callback(None)

    def run(self, seconds=0.0):
        """Run the event loop until it is idle and so many seconds have passed."""
        end = self.time + seconds
        while True:
            if self.soon:
                self.soon.pop(0)()
            elif self.held and not self.hold_commits:
                self.let_commit()
            else:
                due = [timer for timer in self.timers if not timer.done and timer.at <= end]
                if not due:
                    break
                timer = min(due, key=lambda timer: timer.at)
                self.time = max(self.time, timer.at)
                timer.fire()
        self.time = end

    def requests(self, topic):
        return [payload for name, payload, _ in self.sent if name == topic]

    def callback(self, topic):
        """The callback of the last request of a topic."""
        return [callback for name, _, callback in self.sent if name == topic][-1]

    def texts(self, level=7):
        return [text for at, text in self.lines if at <= level]


class Timer:
    def __init__(self, at, callback):
        self.at = at
        self.callback = callback
        self.done = False

    def fire(self):
        self.done = True
        self.callback()

    def cancel(self):
        self.done = True


def make_r(nnodes=4, cores=4, gpus=0, properties=None, expiration=0.0, starttime=0.0, hosts=None, ranks=None):
    ranks = list(range(nnodes)) if ranks is None else ranks
    ids = f"0-{cores - 1}" if cores > 1 else "0"
    gpu_ids = "" if not gpus else (f"0-{gpus - 1}" if gpus > 1 else "0")
    return r.emit(
        ranks, hosts or [f"node{rank}" for rank in ranks], [ids] * len(ranks), [gpu_ids] * len(ranks),
        properties, starttime, expiration,
    )


def jobspec(nodes=0, slots=1, cores=1, gpus=0, duration=0.0, exclusive=False, command=("true",), queue=None, **system):
    parts = [{"type": "core", "count": cores}]
    if gpus:
        parts.append({"type": "gpu", "count": gpus})
    vertex = {"type": "slot", "count": slots, "label": "task", "with": parts}
    if nodes:
        vertex = {"type": "node", "count": nodes, "with": [vertex]}
        if exclusive:
            vertex["exclusive"] = True
    attributes = {"duration": duration, **system}
    if queue:
        attributes["queue"] = queue
    return {
        "version": 1,
        "resources": [vertex],
        "tasks": [{"command": list(command), "slot": "task", "count": {"per_slot": 1}}],
        "attributes": {"system": attributes},
    }


class Bench:
    """A service on a fake broker, and the job manager's side of the talk."""

    def __init__(self, arguments=(), R=None, config=None, up="all", start=True, running=(), kvs=None, backlog=()):
        self.host = FakeHost(config)
        self.host.kvs.update(kvs or {})
        self.service = Service(self.host, list(arguments))
        self.R = R or make_r()
        if start:
            self.start(up, running, backlog)

    def start(self, up="all", running=(), backlog=()):
        ranks = r.parse(self.R).ranks
        self.service.start()
        payload = {"resources": self.R, "up": f"{ranks[0]}-{ranks[-1]}" if up == "all" and len(ranks) > 1 else up}
        if up == "all" and len(ranks) == 1:
            payload["up"] = str(ranks[0])
        self.acquired(payload)
        hello = self.host.callback("job-manager.sched-hello")
        for job in running:
            hello(job, None)
        hello(None, OSError(errno.ENODATA, "end of stream"))
        self.host.run()
        assert len(self.host.requests("job-manager.sched-ready")) == 1
        self.host.callback("job-manager.sched-ready")({"count": 0}, None)
        if self.host.requests("job-manager.events-journal"):
            for item in backlog:
                self.journal(item)
            self.journal({"id": JOBID_ANY, "events": []})
        self.host.run()

    def acquired(self, payload):
        self.host.callback("resource.acquire")(payload, None)

    def journal(self, payload):
        self.host.callback("job-manager.events-journal")(payload, None)

    def event(self, jobid, name, **context):
        self.journal({"id": jobid, "events": [{"timestamp": self.host.time, "name": name, "context": context}]})

    def send(self, topic, payload, request=None):
        self.service.handle(topic, request or topic, payload)

    def alloc(self, jobid, spec=None, priority=16, t_submit=None, run=True, userid=100, **shape):
        payload = {
            "id": jobid,
            "priority": priority,
            "userid": userid,
            "t_submit": self.host.time if t_submit is None else t_submit,
            "jobspec": spec if spec is not None else jobspec(**shape),
        }
        self.send("sched.alloc", payload, f"alloc-{jobid}")
        if run:
            self.host.run()

    def free(self, jobid, R=None, final=True):
        payload = {"id": jobid, "R": R if R is not None else self.given(jobid)}
        if final is not None:
            payload["final"] = final
        self.send("sched.free", payload)
        self.host.run()

    def to(self, jobid):
        """Answers to the alloc request of a job."""
        return [payload for request, payload in self.host.answers if request == f"alloc-{jobid}"]

    def kinds(self, jobid):
        return [payload["type"] for payload in self.to(jobid)]

    def given(self, jobid):
        return [payload["R"] for payload in self.to(jobid) if payload["type"] == SUCCESS][-1]

    def started(self, jobid):
        return 0 in self.kinds(jobid)

    def end_next(self, over):
        """Go on to the next expected end of running jobs, and end those that end then; `over`: the jobs that have."""
        engine = self.service.engine
        ends = {jobid: engine.times(jobid)[1] for jobid in engine.running_jobs()}
        last = min(ends.values())
        self.host.run(last - self.host.time)
        for jobid in sorted(ends):
            if ends[jobid] == last and jobid not in over:
                over.add(jobid)
                self.send("sched.free", {"id": jobid, "R": self.given(jobid), "final": True})
        self.host.run()

    def ranks(self, jobid):
        return r.parse(self.given(jobid)).ranks

    def annotations(self, jobid):
        """What the job manager shows for the job: annotations, merged."""
        shown = {}
        for payload in self.to(jobid):
            for key, value in payload.get("annotations", {}).get("sched", {}).items():
                if value is None:
                    shown.pop(key, None)
                else:
                    shown[key] = value
        return shown
