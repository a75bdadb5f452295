# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The real broker as the scheduler service's host."""

import errno
import functools
import time

import orjson

from fluxsched.flux.handle import job_key, job_name
from fluxsched.flux.lwj_layout import Layout
from fluxsched.formats import eventlog
from fluxsched.formats.quote import printable
from fluxsched.service.host import Host

__all__ = ["BrokerHost"]


def _decode(text):
    return None if text is None else orjson.loads(text)


class BrokerHost(Host):
    """`handle` is a fluxsched.flux.handle.Handle; `config` the instance's
    configuration, replaced by the module when it is reloaded."""

    def __init__(self, handle, config):
        self._handle = handle
        self._config = config
        self._layout = Layout()

    def now(self):
        return time.time()

    def log(self, level, text):
        self._handle.log(level, printable(text))

    def respond(self, request, payload):
        self._handle.respond(request, None if payload is None else orjson.dumps(payload))

    def respond_error(self, request, errnum, text):
        self._handle.respond_error(request, errnum, text)

    def request(self, topic, payload, callback, streaming=False):
        text = None if payload is None else orjson.dumps(payload)
        if callback is not None:
            callback = functools.partial(_answered, callback)
        self._handle.rpc(topic, text, callback, streaming)

    def read_r(self, jobid, callback):
        """R in the KVS is as it was at the start; what became of it is in the job's event log."""

        def got_r(R, error):
            if error is not None:
                callback(None, error)
                return

            def got_eventlog(text, error):
                if error is None:
                    R["execution"].update(_updates(text))
                callback(R, None)

            if not isinstance(R, dict) or not isinstance(R.get("execution"), dict):
                callback(R, None)       # for the reader of R to say what is wrong with it
            else:
                self._handle.kvs_lookup(job_key(jobid, "eventlog"), got_eventlog)

        self._handle.kvs_lookup(job_key(jobid, "R"), functools.partial(_answered, got_r))

    def read(self, key, callback):
        def got(text, error):
            if error is not None and error.errno == errno.ENOENT:
                callback(None, None)
            else:
                _answered(callback, text, error)

        self._handle.kvs_lookup(key, got)

    def commit(self, puts, callback):
        def committed(nothing, error):
            if error is not None:
                self._layout.forget()
            callback(error)

        self._handle.kvs_commit(self._layout.operations(puts), committed)

    def call_soon(self, callback):
        self._handle.call_soon(callback)

    def call_later(self, seconds, callback):
        return self._handle.call_later(seconds, callback)

    def config(self):
        return self._config

    def set_config(self, config):
        """The instance's configuration was reloaded."""
        self._config = config

    def fatal(self, error):
        self._handle.fail(error)

    def finish(self, error):
        self._handle.stop()

    def job_name(self, jobid):
        return job_name(jobid)


def _updates(text):
    expiration = eventlog.expiration(eventlog.entries((text or b"").decode(errors="replace")))
    return {} if expiration is None else {"expiration": expiration}


def _answered(callback, text, error):
    if error is not None:
        callback(None, error)
        return
    try:
        value = _decode(text)
    except ValueError as problem:
        callback(None, OSError(errno.EPROTO, f"not JSON: {problem}"))
        return
    callback(value, None)
