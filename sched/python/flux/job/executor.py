# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs as futures of concurrent.futures."""
from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError
from typing import Any, Callable, Optional

from flux.eventlog import EventLogEvent
from flux.handle import Flux
from flux.job.event import MAIN_EVENTS, JobEventWatchFuture, JobException
from flux.job.JobID import JobID
from flux.job.submit import SubmitFuture, submit_async

_LOG = logging.getLogger(__name__)


class FluxExecutorFuture(concurrent.futures.Future):
    """A job: its result is the exit code, or minus the number of the signal that ended it.

    The exception is a JobException if the job was ended by one, such as a cancellation, and OSError if it was refused
    or the session has gone.  Callbacks are called in the executor's thread; what they raise is logged."""

    EVENTS = MAIN_EVENTS

    def __init__(self, owning_thread_id: Optional[int] = None) -> None:
        """`owning_thread_id` is the thread that must not wait for this future, as it brings it."""
        super().__init__()
        self._owner = owning_thread_id
        self._known = threading.Condition()
        self._jobid: Optional[JobID] = None
        self._no_jobid: Optional[BaseException] = None
        self._jobid_callbacks: list[Callable[..., Any]] = []
        self._events: list[EventLogEvent] = []
        self._event_callbacks: list[tuple[str, Callable[..., Any]]] = []

    # the job's id

    def jobid(self, timeout: Optional[float] = None) -> JobID:
        """The job's id, once it has one.

        concurrent.futures.TimeoutError; CancelledError; RuntimeError if the job was refused."""
        with self._known:
            self._known.wait_for(lambda: self._jobid is not None or self._no_jobid is not None, timeout)
            if self._no_jobid is not None:
                raise self._no_jobid
            if self._jobid is None:
                raise concurrent.futures.TimeoutError()
            return self._jobid

    def add_jobid_callback(self, callback: Callable[..., Any]) -> FluxExecutorFuture:
        """Have `callback(future)` called when the job has an id, or turns out to get none; at once if so already."""
        with self._known:
            known = self._jobid is not None or self._no_jobid is not None
            if not known:
                self._jobid_callbacks.append(callback)
        if known:
            self._call(callback)
        return self

    def _set_jobid(self, jobid: Optional[int], exc: Optional[BaseException] = None) -> None:
        with self._known:
            if self._jobid is not None or self._no_jobid is not None:
                raise RuntimeError("the job has an id already")
            self._jobid = None if jobid is None else JobID(jobid)
            self._no_jobid = exc
            callbacks, self._jobid_callbacks = self._jobid_callbacks, []
            self._known.notify_all()
        for callback in callbacks:
            self._call(callback)

    def _gets_no_jobid(self, exc: BaseException) -> None:
        if self._jobid is None and self._no_jobid is None:
            self._set_jobid(None, exc)

    # events

    def add_event_callback(self, event: str, callback: Callable[..., Any]) -> FluxExecutorFuture:
        """Have `callback(future, event)` called for each event of this name, also for those that were.

        ValueError if there is no such event."""
        if event not in self.EVENTS:
            raise ValueError(f"event: expected one of {', '.join(sorted(self.EVENTS))}, got {event!r}")
        with self._known:
            self._event_callbacks.append((event, callback))
            earlier = [one for one in self._events if one.name == event]
        for one in earlier:
            self._call(callback, one)
        return self

    def _set_event(self, event: EventLogEvent) -> None:
        with self._known:
            self._events.append(event)
            callbacks = [callback for name, callback in self._event_callbacks if name == event.name]
        for callback in callbacks:
            self._call(callback, event)

    def _call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(self, *arguments)
        except Exception:
            _LOG.exception("a callback of %r failed", self)

    # as of concurrent.futures

    def _not_from_callback(self) -> None:
        if not self.done() and threading.get_ident() == self._owner:
            raise RuntimeError("a callback cannot wait for the future: the thread that it holds up brings the result")

    def result(self, timeout: Optional[float] = None) -> Any:
        """The exit code.  RuntimeError in a callback of a job that is not over."""
        self._not_from_callback()
        return super().result(timeout)

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What ended the job, None if it ran to its end.  RuntimeError in a callback of a job that is not over."""
        self._not_from_callback()
        return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[Any], Any]) -> FluxExecutorFuture:  # type: ignore[override]
        """Have `fn(future)` called when the job is over."""
        super().add_done_callback(fn)
        return self

    def set_exception(self, exception: Optional[BaseException]) -> None:
        """For executors: the job has failed."""
        self._gets_no_jobid(RuntimeError(f"job could not be submitted: {exception}"))
        super().set_exception(exception)

    def cancel(self) -> bool:
        """Withdraw a job that has not been submitted yet, and say whether it was; flux.job.cancel() cancels others."""
        if not super().cancel():
            return False
        self._gets_no_jobid(CancelledError())
        return True


class _Worker(threading.Thread):
    """Submits jobs and follows them, over a connection of its own, until it is closed and all are over."""

    def __init__(self, name: str, handle: Flux) -> None:
        super().__init__(name=name, daemon=True)
        self.broken: Optional[BaseException] = None
        self._handle = handle
        self._lock = threading.Lock()
        self._todo: deque[tuple[FluxExecutorFuture, Callable[[FluxExecutorFuture], Any]]] = deque()
        self._following: set[FluxExecutorFuture] = set()
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.poll()
        for fd in (handle.fileno(), self._wake_read):
            self._poll.register(fd, select.POLLIN)

    def put(self, future: FluxExecutorFuture, begin: Callable[[FluxExecutorFuture], Any]) -> None:
        """Have `begin(future)` called in the thread.  RuntimeError if no more are taken."""
        with self._lock:
            if self.broken is not None:
                raise RuntimeError(f"the executor has no session any more: {self.broken}")
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._todo.append((future, begin))
            os.write(self._wake_write, b"+")

    def close(self, cancel_futures: bool = False) -> None:
        """Take no more, and end when all are over; with `cancel_futures` without those that are not submitted yet."""
        with self._lock:
            if cancel_futures:
                for future, _ in self._todo:
                    future.cancel()
            if not self._closed:
                self._closed = True
                os.write(self._wake_write, b"+")

    def run(self) -> None:
        """The thread."""
        try:
            while self._turn():
                pass
        except Exception as error:
            with self._lock:
                self.broken = error
                left = [future for future, _ in self._todo]
                self._todo.clear()
            for future in [*self._following, *left]:
                if not future.done():
                    future.set_exception(error)
        with self._lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _turn(self) -> bool:
        """Do what there is to do, then wait for more; False when all is done."""
        while True:
            with self._lock:
                taken = self._todo.popleft() if self._todo else None
            if taken is None:
                break
            future, begin = taken
            if future.set_running_or_notify_cancel():
                self._following.add(future)
                try:
                    begin(future)
                except (TypeError, ValueError) as error:
                    self._over(future, error)
        with self._lock:
            if self._closed and not self._todo and not self._following:
                return False
        ready = {fd for fd, _ in self._poll.poll()}
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        if self._handle.fileno() in ready:
            self._handle.pump()
            self._handle.run_ready()
        return True

    def _over(self, future: FluxExecutorFuture, error: Exception) -> None:
        self._following.discard(future)
        future.set_exception(error)

    def submit(self, future: FluxExecutorFuture, *arguments: Any, **keywords: Any) -> None:
        """Submit a job, in the thread; arguments as of flux.job.submit_async."""
        try:
            asked = submit_async(self._handle, *arguments, **keywords)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            self._over(future, error)
            return
        asked.then(self._submitted, future)

    def _submitted(self, asked: SubmitFuture, future: FluxExecutorFuture) -> None:
        try:
            jobid = asked.get_id()
        except OSError as error:
            self._over(future, error)
            return
        self.attach(future, jobid)

    def attach(self, future: FluxExecutorFuture, jobid: int) -> None:
        """Follow a job, in the thread."""
        future._set_jobid(jobid)
        JobEventWatchFuture(self._handle, jobid).then(self._event, future)

    def _event(self, watched: JobEventWatchFuture, future: FluxExecutorFuture) -> None:
        try:
            event = watched.get_event()
        except FileNotFoundError:
            self._over(future, ValueError("job ID does not match any job"))
            return
        except OSError as error:
            self._over(future, error)
            return
        if event is None:
            self._following.discard(future)
            if not future.done():
                future.set_exception(RuntimeError("the job has ended without a result"))
            return
        if event.name in future.EVENTS:
            future._set_event(event)
        if future.done():
            return
        if event.name == "finish":
            status = event.context["status"]
            future.set_result(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
        elif event.name == "exception" and event.context["severity"] == 0:
            future.set_exception(JobException(event))


class FluxExecutor:
    """Submits jobs as concurrent.futures.Executor calls functions: what is submitted is a jobspec, and the future is a
    FluxExecutorFuture.  Leaving its `with` block waits for all jobs."""

    EVENTS = MAIN_EVENTS
    _numbers = itertools.count()

    def __init__(
        self,
        threads: int = 1,
        thread_name_prefix: str = "",
        poll_interval: float = 0.1,
        handle_args: Iterable[Any] = (),
        handle_kwargs: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """`threads` connections, each made by flux.Flux(*handle_args, **handle_kwargs), share the jobs; nothing is
        polled, whatever `poll_interval` says.  ValueError for no threads, OSError if there is no session."""
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads: expected a whole number of at least 1, got {threads!r}")
        prefix = thread_name_prefix or f"{type(self).__name__}-{next(self._numbers)}"
        handles = [Flux(*handle_args, **(handle_kwargs or {})) for _ in range(threads)]
        self._workers = [_Worker(f"{prefix}-{i}", handle) for i, handle in enumerate(handles)]
        self._turn = itertools.cycle(self._workers)
        for worker in self._workers:
            worker.start()
        # At the end of the program jobs are waited for, as by executors of the standard library.
        self._finalizer = weakref.finalize(self, _end, self._workers)

    def submit(self, *args: Any, **kwargs: Any) -> FluxExecutorFuture:
        """Submit a job: a jobspec, and urgency, waitable and so on as of flux.job.submit.  RuntimeError after shutdown,
        or when the session has gone."""
        worker = next(self._turn)
        future = FluxExecutorFuture(worker.ident)
        worker.put(future, lambda future: worker.submit(future, *args, **kwargs))
        return future

    def attach(self, jobid: int) -> FluxExecutorFuture:
        """A future of a job that somebody has submitted; ValueError is set if there is none.  RuntimeError as above."""
        worker = next(self._turn)
        future = FluxExecutorFuture(worker.ident)
        worker.put(future, lambda future: worker.attach(future, JobID(jobid)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs; wait for those there are, with `cancel_futures` without those not submitted yet."""
        for worker in self._workers:
            worker.close(cancel_futures)
        if wait:
            for worker in self._workers:
                worker.join()

    def __enter__(self) -> FluxExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown(wait=True)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.close()
    for worker in workers:
        worker.join()
