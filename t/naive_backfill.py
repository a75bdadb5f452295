# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Plain statements of two kinds of backfill that remember something from pass to pass, for tests to compare with: with
run times that are predicted, and with reservations that are kept and compressed.

Slow and simple on purpose, on processor counts; nothing of the package is used. A job is oracle.Job, with times in
whole microseconds here.
"""
from oracle import Profile

SECOND = 10**6
# By what a prediction that was too low is raised, one time after another.
RAISED = [60, 300, 900, 1800, 3600, 7200, 18000, 36000, 72000, 180000, 360000]


def replay(jobs, procs, policy):
    """Start time of each job under a policy: an object with ended(index, run) and start(queue, running, free, now), the
    indices of jobs to start; queue: waiting indices in order of submission; running: {index: start}. The events of an
    instant are those of oracle.replay, and of jobs that end at one instant the first of the queue ended first."""
    start, queue, running = {}, [], {}
    coming = 0
    free = procs
    while coming < len(jobs) or running:
        ends = {i: start[i] + min(jobs[i].run, jobs[i].request) for i in running}
        times = list(ends.values())
        if coming < len(jobs):
            times.append(jobs[coming].submit)
        now = min(times)
        for index in sorted(i for i, end in ends.items() if end == now):
            policy.ended(index, now - start[index])
            free += jobs[index].procs
            del running[index]
        while coming < len(jobs) and jobs[coming].submit == now:
            queue.append(coming)
            coming += 1
        for index in policy.start(list(queue), dict(running), free, now):
            queue.remove(index)
            start[index] = running[index] = now
            free -= jobs[index].procs
            assert free >= 0
    assert not queue
    return [start[i] for i in range(len(jobs))]


class Predicting:
    """EASY++: EASY by predicted run times, and backfill in their order."""

    def __init__(self, jobs, users, shortest=True):
        self.jobs, self.users, self.shortest = jobs, users, shortest
        self.runs = {user: [] for user in users}
        self.predicted = {}                         # of the jobs that have started

    def ended(self, index, run):
        self.runs[self.users[index]].append(run)

    def prediction(self, index):
        """Of a job that waits: the mean of its user's last two, at least a second, at most what it asked for."""
        last = self.runs[self.users[index]][-2:]
        if len(last) < 2:
            return self.jobs[index].request
        return min(max(sum(last) // 2, SECOND), self.jobs[index].request)

    def end(self, index, start, now):
        """When a job that runs is expected to end."""
        end, last = start + self.predicted[index], start + self.jobs[index].request
        for step in RAISED:
            if end <= now:
                end += step * SECOND
        return end if now < end < last else last

    def start(self, queue, running, free, now):
        jobs, started = self.jobs, []
        ends = [(self.end(i, start, now), jobs[i].procs) for i, start in running.items()]
        while queue and jobs[queue[0]].procs <= free:
            index = queue.pop(0)
            self.predicted[index] = self.prediction(index)
            ends.append((now + self.predicted[index], jobs[index].procs))
            free -= jobs[index].procs
            started.append(index)
        if not queue:
            return started
        head = queue.pop(0)
        shadow = min(end for end, _ in ends
                     if free + sum(count for e, count in ends if e <= end) >= jobs[head].procs)
        extra = free + sum(count for end, count in ends if end <= shadow) - jobs[head].procs
        if self.shortest:
            queue.sort(key=self.prediction)         # stable: in order of submission where it is equal
        for index in queue:
            length, count = self.prediction(index), jobs[index].procs
            if count > free or (now + length > shadow and count > extra):
                continue
            if now + length > shadow:
                extra -= count
            self.predicted[index] = length
            free -= count
            started.append(index)
        return started


class Compressing:
    """Conservative backfill whose reservations stay. After an early end each in turn, the earliest first, is given back
    and made anew at the earliest start that the others leave: it may only move earlier."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.reserved = {}                          # index -> start
        self.ends = {}                              # of the jobs that ran after the last pass: when they were to end

    def ended(self, index, run):
        pass

    def start(self, queue, running, free, now):
        jobs, started = self.jobs, []
        early = any(end > now for i, end in self.ends.items() if i not in running)
        profile = Profile([(start + jobs[i].request, jobs[i].procs) for i, start in running.items()], free, now)
        for index, at in self.reserved.items():
            profile.take(at, jobs[index].request, jobs[index].procs)
        for index in sorted(queue, key=lambda i: self.reserved.get(i, float("inf"))):    # stable
            job, old = jobs[index], self.reserved.get(index)
            if old is not None and old > now and not early:
                continue
            if old is not None:
                profile.take(old, job.request, -job.procs)
            at = profile.earliest(job.request, job.procs)
            assert old is None or at <= old
            profile.take(at, job.request, job.procs)
            self.reserved[index] = at
            if at == now:
                del self.reserved[index]
                started.append(index)
        self.ends = {i: start + jobs[i].request for i, start in running.items()}
        self.ends.update((i, now + jobs[i].request) for i in started)
        return started
