# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plain statements of the scheduling policies on processor counts, for tests to compare with.

Slow and simple on purpose: one function a policy, nothing shared with the package.  A job is (submit, run,
request, procs), whole seconds, in queue order: by submit time, then place in the trace; request >= 1.
"""
from collections import namedtuple

Job = namedtuple("Job", "submit run request procs")


def replay(jobs, procs, pass_, order=None):
    """Start time of each job.

    At one instant: all completions, then all arrivals, then one pass.  A job of run time 0 that was started
    in that pass ends in a further round at the same instant: completions, then a pass.

    pass_(queue, running, free, now) gives the jobs to start: queue is [(index, job)] in queue order, running is
    [(expected end, procs)].
    order(index, job, now): sort key of the queue at each pass; the submit order without it.
    """
    start = {}
    queue = []
    ends = {}                 # index -> when it will really end
    free = procs
    coming = 0
    while coming < len(jobs) or ends:
        times = list(ends.values())
        if coming < len(jobs):
            times.append(jobs[coming].submit)
        now = min(times)
        for index in [i for i, end in ends.items() if end == now]:
            free += jobs[index].procs
            del ends[index]
        while coming < len(jobs) and jobs[coming].submit == now:
            queue.append(coming)
            coming += 1
        if order:
            queue.sort(key=lambda i: (order(i, jobs[i], now), i))
        running = [(start[i] + jobs[i].request, jobs[i].procs) for i in ends]
        for index in pass_([(i, jobs[i]) for i in queue], running, free, now):
            queue.remove(index)
            start[index] = now
            ends[index] = now + min(jobs[index].run, jobs[index].request)
            free -= jobs[index].procs
            assert free >= 0
    assert not queue
    return [start[i] for i in range(len(jobs))]


def fcfs(queue, running, free, now):
    """First come, first served: the first job that does not fit holds back all behind it."""
    started = []
    for index, job in queue:
        if job.procs > free:
            break
        free -= job.procs
        started.append(index)
    return started


def easy(queue, running, free, now):
    """EASY: start from the head while it fits; then the head alone has a reservation.

    The shadow time is when enough processors will be free for the head if the running jobs use all their
    requested time; extra are the processors then free beyond what it needs.  A later job starts if it fits
    now and either ends by the shadow time or fits in the extra ones, which it then uses up.  (Lifka: The ANL/IBM
    SP scheduling system, JSSPP 1995; Mu'alem and Feitelson, IEEE TPDS 12(6), 2001.)
    """
    started = []
    running = list(running)
    queue = list(queue)
    while queue and queue[0][1].procs <= free:
        index, job = queue.pop(0)
        free -= job.procs
        running.append((now + job.request, job.procs))
        started.append(index)
    if not queue:
        return started
    head = queue.pop(0)[1]
    shadow, extra = None, free
    for end, count in sorted(running):
        if shadow is not None and end > shadow:
            break
        extra += count
        if extra >= head.procs:
            shadow = end                  # all that end at this very time count
    extra -= head.procs
    for index, job in queue:
        if job.procs > free:
            continue
        if now + job.request <= shadow:
            pass
        elif job.procs <= extra:
            extra -= job.procs
        else:
            continue
        free -= job.procs
        started.append(index)
    return started


class Profile:
    """Free processors from now on: steps [time, free], in order of time, the last one without end."""

    def __init__(self, running, free, now):
        self.steps = [[now, free]]
        for end, count in sorted(running):
            self.free_from(end, count)

    def split(self, at):
        """Make `at` a step; returns its place."""
        for i, (time, _) in enumerate(self.steps):
            if time == at:
                return i
            if time > at:
                self.steps.insert(i, [at, self.steps[i - 1][1]])
                return i
        self.steps.append([at, self.steps[-1][1]])
        return len(self.steps) - 1

    def free_from(self, at, count):
        for step in self.steps[self.split(at):]:
            step[1] += count

    def fits(self, at, length, count):
        i = max(k for k, step in enumerate(self.steps) if step[0] <= at)
        return all(free >= count for time, free in self.steps[i:] if time < at + length)

    def earliest(self, length, count):
        return next(time for time, _ in self.steps if self.fits(time, length, count))

    def take(self, at, length, count):
        begin = self.split(at)
        end = self.split(at + length)
        for step in self.steps[begin:end]:
            step[1] -= count
            assert step[1] >= 0


def conservative(queue, running, free, now):
    """Conservative backfill: every waiting job, in order, gets the earliest reservation that all before it leave."""
    profile = Profile(running, free, now)
    started = []
    for index, job in queue:
        at = profile.earliest(job.request, job.procs)
        profile.take(at, job.request, job.procs)
        if at == now:
            started.append(index)
    return started


def hybrid(depth):
    """The first `depth` jobs that cannot start have reservations; a job behind them starts if it delays none."""
    def pass_(queue, running, free, now):
        profile = Profile(running, free, now)
        started = []
        reserved = 0
        for index, job in queue:
            if profile.fits(now, job.request, job.procs):
                profile.take(now, job.request, job.procs)
                started.append(index)
            elif reserved < depth:
                at = profile.earliest(job.request, job.procs)
                profile.take(at, job.request, job.procs)
                reserved += 1
        return started
    return pass_
