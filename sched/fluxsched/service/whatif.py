# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What if another policy were loaded? What would become of the jobs that are there.

A copy of the engine gets the other policy and is run forward until all have started that can, and so is one with the
policy that is loaded: the same jobs, the same run times, and no others come. What differs is the policy's doing.

The runs of compiled policies have a thread of their own; those of policies in Python take their turns with the
scheduler.

Jobs run as long as their users' earlier jobs let one expect, and policies plan with the limits, as they do in
production: a job that ends early has all planned anew. Where that takes too long for one of the policies, all of them
plan with the expected run times, too, so that they can be compared still; the answer says so.
"""

from __future__ import annotations

import errno
import time
from contextlib import nullcontext
from typing import Any, Callable, Generator, NamedTuple, Optional

from fluxsched.core import Engine, PluginError
from fluxsched.core.comparison import Comparison
from fluxsched.core.forward import Forward
from fluxsched.core.lengths import Lengths
from fluxsched.policy import names
from fluxsched.policy.pyplugin import PythonPolicy
from fluxsched.service import deadline
from fluxsched.service.aside import Aside
from fluxsched.service.ends import Ends
from fluxsched.service.fields import Bool, Int, ListOf, Object, Text
from fluxsched.service.host import Host
from fluxsched.service.jobs import Jobs
from fluxsched.service.protocol import ProtocolError
from fluxsched.service.rpc import rpc
from fluxsched.service.runtimes import RunTimes
from fluxsched.service.slices import SLICE, Slices, Steps, next_budget

__all__ = ["WhatIfs"]

#: Policies that a question may name.
POLICIES_MAX = 12
#: Jobs that are named as those that gain or lose most.
NAMED_MAX = 1000
#: Characters of a plugin's text.
SOURCE_MAX = 1 << 20
#: What the first slice of a run may cost, in jobs that the policy is asked about; their time tells what the next may.
FIRST = 256
#: Seconds of a processor that a run may take in which all is planned anew at each early end, and any run.
ANEW_MAX = 2.0
RUN_MAX = 5.0


class _TooLong(Exception):
    """A run that plans with the limits takes too long."""


class _Policy(NamedTuple):
    """A policy to try: what it was called, plugin and options, and how to make one for an engine."""

    name: str
    plugin: str
    options: dict[str, str]
    make: Optional[Callable[[], Any]]       # None: the policy that is loaded


class _Row(NamedTuple):
    """What came of a policy: the number of its run in the comparison, None if there is none, and then why; the seconds
    that it took of the scheduler's time, and those of a thread of its own."""

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

        Such a text runs in the scheduler. Only the instance's owner may ask, who may load any plugin there, too."""
        tried = [_policy(item) for item in policies]
        self._slices.add(message, "sched.whatif", self._steps(tried, times, most, starts), own=True)

    def _steps(self, tried: list[_Policy], times: str, most: int, starts: bool) -> Steps:
        """Find the answer, a slice at a time."""
        now = self._host.now()
        engine = self._engine()
        present = _Policy("present", engine.plugin, dict(engine.policy.options), None)
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
        begin, until = time.thread_time(), self._ends.instance or None
        spent, aside = 0.0, 0.0
        try:
            copy = base.fork() if policy.make is None else base.fork(policy.make())
            forward = Forward(copy, now, lengths=lengths)
            spent += time.thread_time() - begin
            yield None
            limit = ANEW_MAX if anew else RUN_MAX
            if isinstance(copy.policy, PythonPolicy):
                more, took = yield from _advance(forward, copy.policy, until, limit)
                spent += took
            else:
                more, aside = yield from _advance_aside(forward, until, limit)
            if more and anew:
                raise _TooLong
            if more:
                placed = f"{forward.started} of {len(comparison)} jobs had started"
                return _Row(policy, None, f"it takes too long: after {spent + aside:.1f} s {placed}", spent, aside)
        except _TooLong:
            raise
        except (Exception, SystemExit, deadline.Overrun) as error:
            # Whatever is wrong with a policy, it is its author's to know, and no other's row is worse for it.
            told = isinstance(error, (PluginError, deadline.Overrun))
            text = str(error) if told else f"{type(error).__name__}: {error}"
            return _Row(policy, None, text, spent, aside)
        begin = time.thread_time()
        run = comparison.add(forward, self._ends.instance)
        return _Row(policy, run, None, spent + time.thread_time() - begin, aside)

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


def _advance(
    forward: Forward, policy: Any, until: Optional[float], limit: float
) -> Generator[Optional[float], None, tuple[bool, float]]:
    """Advance it a slice at a time: whether there is more to do after so many seconds, and the seconds that it took."""
    spent, budget, more = 0.0, FIRST, True
    while more and spent <= limit:
        begin = time.monotonic()
        with deadline.deadline(policy, deadline.DEADLINE):
            more = forward.advance(until, budget)
        took = time.monotonic() - begin
        spent += took
        budget = next_budget(budget, took, SLICE)
        yield None
    return more, spent


def _advance_aside(
    forward: Forward, until: Optional[float], limit: float
) -> Generator[Optional[float], None, tuple[bool, float]]:
    """The same in a thread of its own, with the seconds of that."""
    run = Aside(forward, until, limit, FIRST)
    try:
        while run.going:
            yield run.look()
    finally:
        run.end()
    if run.error is not None:
        raise run.error
    return run.more, run.seconds


def _policy(item: dict[str, Any]) -> _Policy:
    """A policy that a request names, which has been made once, so that it can be.  Raises ProtocolError."""
    name, source = item.get("name"), item.get("source")
    if not isinstance(name, str) or not set(item) <= {"name", "source"}:
        raise ProtocolError("sched.whatif: policies: expected objects of name and perhaps source", errno.EINVAL)
    if source is not None and not (isinstance(source, str) and len(source) <= SOURCE_MAX):
        raise ProtocolError(f"sched.whatif: source: expected text of at most {SOURCE_MAX} characters", errno.EINVAL)
    try:
        choice = names.choose(name)
        _load(choice, source)
    except (names.PolicyError, PluginError, deadline.Overrun) as error:
        raise ProtocolError(str(error), errno.EINVAL) from None
    return _Policy(choice.name, choice.plugin, choice.options, lambda: _load(choice, source))


def _load(choice: names.Choice, source: Optional[str]) -> Any:
    """The policy object of a choice.  Raises PolicyError, PluginError, and Overrun for a text that does not come to its
    end."""
    with deadline.limited(deadline.DEADLINE) if source is not None else nullcontext():
        return names.load(choice, source)
