# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What if another policy were loaded? What would become of the jobs that are there.

A copy of the engine gets the other policy and is run forward until all have started that can, and so is one with the
policy that is loaded: the same jobs, the same run times, and no others come. What differs is the policy's doing.

No run takes the scheduler's time: those of its own compiled policies have a thread, those of all others a process, in
which they are loaded, too.

Jobs run as long as their users' earlier jobs let one expect, and policies plan with the limits, as they do in
production: a job that ends early has all planned anew. Where that takes too long for one of the policies, all of them
plan with the expected run times, too, so that they can be compared still; the answer says so.
"""

from __future__ import annotations

import errno
import time
from typing import Any, Callable, Generator, NamedTuple, Optional

from fluxsched.core import Engine, PluginError
from fluxsched.core.comparison import Comparison
from fluxsched.core.forward import Forward
from fluxsched.core.lengths import Lengths
from fluxsched.policy import names
from fluxsched.policy.pyplugin import PythonPolicy
from fluxsched.service.aside import Aside, InThread, problem
from fluxsched.service.child import InProcess
from fluxsched.service.ends import Ends
from fluxsched.service.fields import Bool, Int, ListOf, Object, Text
from fluxsched.service.host import Host
from fluxsched.service.jobs import Jobs
from fluxsched.service.protocol import ProtocolError
from fluxsched.service.rpc import rpc
from fluxsched.service.runtimes import RunTimes
from fluxsched.service.slices import Slices, Steps

__all__ = ["WhatIfs"]

#: Policies that a question may name.
POLICIES_MAX = 12
#: Jobs that are named as those that gain or lose most.
NAMED_MAX = 1000
#: Characters of a plugin's text.
SOURCE_MAX = 1 << 20
#: Seconds of a processor that a run may take in which all is planned anew at each early end, and any run.
ANEW_MAX = 2.0
RUN_MAX = 5.0


class _TooLong(Exception):
    """A run that plans with the limits takes too long."""


class _Policy(NamedTuple):
    """A policy to try: what it was called, plugin and options, how to make one for an engine, and whether it is sound
    enough for a thread of the scheduler."""

    name: str
    plugin: str
    options: dict[str, str]
    make: Optional[Callable[[], Any]]       # None: the policy that is loaded
    own: bool


class _Row(NamedTuple):
    """What came of a policy: the number of its run in the comparison, None if there is none, and then why; the seconds
    that it took of the scheduler's time, and those of a thread or a process of its own."""

    policy: _Policy
    run: Optional[int]
    problem: Optional[str]
    seconds: float
    aside: float


class WhatIfs:
    """Answers ``sched.whatif``.  `engine` answers the engine of now."""

    def __init__(
        self, host: Host, engine: Callable[[], Engine], jobs: Jobs, ends: Ends, run_times: RunTimes, slices: Slices
    ) -> None:
        self._host = host
        self._engine = engine
        self._jobs = jobs
        self._ends = ends
        self._run_times = run_times
        self._slices = slices

    @rpc("sched.whatif", after=True, policies=ListOf(Object(), POLICIES_MAX),
         times=Text(words=("expected", "requested"), default="expected"), most=Int(0, NAMED_MAX, default=5),
         starts=Bool(False))
    def _whatif(self, message: Any, policies: list[dict[str, Any]], times: str, most: int, starts: bool) -> None:
        """What would become of the jobs that are there under these policies, each an object of `name`, and of `source`
        if it is the text of a plugin in Python; `most` jobs that gain and lose are named, and with `starts` the start
        of each job is told.

        Such a text is loaded and run in a process of its own, with the rights of the scheduler. Only the instance's
        owner may ask, who may load any plugin there, too."""
        tried = [_policy(item) for item in policies]
        self._slices.add(message, "sched.whatif", self._steps(tried, times, most, starts), own=True)

    def _steps(self, tried: list[_Policy], times: str, most: int, starts: bool) -> Steps:
        """Find the answer, a slice at a time."""
        now = self._host.now()
        engine = self._engine()
        present = _Policy("present", engine.plugin, dict(engine.policy.options), None,
                          not isinstance(engine.policy, PythonPolicy))
        try:
            base = engine.fork()
        except PluginError as error:
            raise ProtocolError(str(error), errno.EINVAL) from None
        lengths = None
        if times == "expected" and self._run_times.history.users:
            lengths = Lengths(base, now, self._run_times.history)
        running = len(base.running_jobs())
        yield None
        comparison, plans = Comparison(base), "limits"
        rows: list[_Row] = []
        try:
            for policy in (present, *tried):
                rows.append((yield from self._try(base, now, policy, lengths, comparison, lengths is not None)))
        except _TooLong:
            assert lengths is not None
            plans = "expected"
            lengths.limit(base)
            comparison, rows = Comparison(base), []
            for policy in (present, *tried):
                rows.append((yield from self._try(base, now, policy, None, comparison, False)))
        answer: dict[str, Any] = {
            "now": now, "waiting": len(comparison), "running": running,
            "times": "requested" if lengths is None else "expected", "plans": plans, "policies": [],
        }
        for row in rows:
            answer["policies"].append(self._row(row, rows[0], comparison, now, most, starts))
            yield None
        if starts:
            answer.update(jobs=comparison.jobs, t_submit=comparison.submitted_at)
        return answer

    def _try(
        self, base: Engine, now: float, policy: _Policy, lengths: Optional[Lengths], comparison: Comparison, anew: bool
    ) -> Generator[Optional[float], None, _Row]:
        """Run a copy forward under a policy. Raises _TooLong if that takes too long and all is planned anew at each
        early end."""
        until, spent = self._ends.instance or None, 0.0
        aside: Optional[Aside] = None

        def make() -> Forward:
            copy = base.fork() if policy.make is None else base.fork(policy.make())
            return Forward(copy, now, lengths=lengths)

        begin = time.thread_time()
        limit = ANEW_MAX if anew else RUN_MAX
        try:
            if policy.own:
                aside = InThread(make, until, limit)
            else:
                aside = InProcess(make, until, limit, comparison, self._ends.instance)
        except Exception as error:
            return _Row(policy, None, problem(error), time.thread_time() - begin, 0.0)
        try:
            while aside.going:
                pause = aside.look()
                spent += time.thread_time() - begin
                yield pause
                begin = time.thread_time()
        finally:
            aside.end()
        run, told = None, aside.error
        if told is None and not aside.more:
            run = aside.add(comparison, self._ends.instance)
        elif told is None:
            if anew:
                raise _TooLong
            placed = f"{aside.started} of {len(comparison)} jobs had started"
            told = f"it takes too long: after {aside.seconds:.1f} s {placed}"
        return _Row(policy, run, told, spent + time.thread_time() - begin, aside.seconds)

    def _row(
        self, row: _Row, present: _Row, comparison: Comparison, now: float, most: int, starts: bool
    ) -> dict[str, Any]:
        """What is told of a policy."""
        policy = row.policy
        told: dict[str, Any] = {
            "name": policy.name, "plugin": policy.plugin, "options": policy.options, "problem": row.problem,
            "seconds": row.seconds, "aside": row.aside, "started": None, "wait": None, "makespan": None,
            "against": None,
        }
        if row.run is None:
            return told
        found = comparison.measures(row.run)
        told["started"] = found.started
        told["wait"] = None if found.mean is None else {"mean": found.mean, "p95": found.p95}
        told["makespan"] = found.end - now
        if present.run is not None and row is not present:
            changes = comparison.changes(row.run, present.run, most)
            told["against"] = {
                "sooner": changes.sooner, "later": changes.later,
                "gain": self._named(changes.gain), "lose": self._named(changes.lose),
            }
        if starts:
            told["starts"] = comparison.starts(row.run)
        return told

    def _named(self, changes: list[tuple[int, Optional[float]]]) -> list[dict[str, Any]]:
        """Jobs and by how much their starts differ; a job may have gone meanwhile."""
        found = []
        for jobid, seconds in changes:
            job = self._jobs.get(jobid)
            found.append({
                "id": jobid, "userid": None if job is None else job.user, "name": "" if job is None else job.name,
                "seconds": seconds,
            })
        return found


def _policy(item: dict[str, Any]) -> _Policy:
    """A policy that a request names; one of our own has been made once, so that it can be.  Raises ProtocolError."""
    name, source = item.get("name"), item.get("source")
    if not isinstance(name, str) or not set(item) <= {"name", "source"}:
        raise ProtocolError("sched.whatif: policies: expected objects of name and perhaps source", errno.EINVAL)
    if source is not None and not (isinstance(source, str) and len(source) <= SOURCE_MAX):
        raise ProtocolError(f"sched.whatif: source: expected text of at most {SOURCE_MAX} characters", errno.EINVAL)
    try:
        choice = names.choose(name)
        own = source is None and names.own(choice)
        if own:
            names.load(choice)
    except (names.PolicyError, PluginError) as error:
        raise ProtocolError(str(error), errno.EINVAL) from None
    return _Policy(choice.name, choice.plugin, choice.options, lambda: names.load(choice, source), own)
