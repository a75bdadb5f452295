# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A broker module's handle: requests, answers, KVS, timers and the reactor.

Payloads cross this border as text (JSON, bytes in UTF-8).  Errors of libflux
become OSError with errno and, where the broker sent one, its message.

The reactor runs without the GIL.  A callback takes it, and if an exception
leaves the Python function it calls, the exception is kept, the reactor is
stopped, and :meth:`Handle.run` raises it.

Requests of some topics are kept in order: they are put aside as they come, and handled for a while in each turn of the
reactor, so that thousands of them hold up no other message.

Ownership: the flux_t is the broker's, borrowed until :meth:`Handle.close`.
The handle keeps each object that C holds a pointer to (a future, a timer, a
message handler) in ``_held``, until C lets go of it.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.errno cimport EINVAL, errno
from libc.stdint cimport uint32_t

from fluxsched.flux.includes.flux cimport (
    FLUX_MATCH_REQUEST,
    FLUX_NODEID_ANY,
    FLUX_POLLIN,
    FLUX_ROLE_OWNER,
    FLUX_ROLE_USER,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
    PTHREAD_CANCEL_DISABLE,
    PTHREAD_CANCEL_ENABLE,
    flux_aux_get,
    flux_check_watcher_create,
    flux_future_destroy,
    flux_future_error_string,
    flux_future_get,
    flux_future_reset,
    flux_future_t,
    flux_future_then,
    flux_get_rank,
    flux_get_reactor,
    flux_idle_watcher_create,
    flux_kvs_commit,
    flux_kvs_lookup,
    flux_kvs_lookup_get,
    flux_kvs_txn_create,
    flux_kvs_txn_destroy,
    flux_kvs_txn_put,
    flux_kvs_txn_put_treeobj,
    flux_kvs_txn_t,
    flux_kvs_txn_unlink,
    flux_log,
    flux_match,
    flux_module_set_running,
    flux_msg_cred,
    flux_msg_decref,
    flux_msg_get_cred,
    flux_msg_handler_allow_rolemask,
    flux_msg_handler_create,
    flux_msg_handler_destroy,
    flux_msg_handler_start,
    flux_msg_handler_t,
    flux_msg_incref,
    flux_msg_t,
    flux_pollevents,
    flux_reactor_run,
    flux_reactor_stop,
    flux_reactor_stop_error,
    flux_reactor_t,
    flux_request_decode,
    flux_respond,
    flux_respond_error,
    flux_rpc,
    flux_rpc_get,
    flux_rpc_raw,
    flux_service_register,
    flux_t,
    flux_timer_watcher_create,
    flux_watcher_destroy,
    flux_watcher_start,
    flux_watcher_stop,
    flux_watcher_t,
    pthread_setcancelstate,
)

import collections
import os
import time

# While messages come, what may wait (passes, requests that are kept in order) waits for so long at most, in seconds.
cdef double BURST = 0.02
# Requests that are kept in order are handled for so long at a time, in seconds.
cdef double SLICE = 0.01

cdef dict _live = {"future": 0, "handler": 0, "message": 0, "timer": 0, "watcher": 0}


def live():
    """How many objects of each kind hold something of libflux now."""
    return dict(_live)


cdef int CHK(int rc, str what) except -1:
    """Raise OSError if a call of libflux failed; errno 0 is a failure too."""
    if rc < 0:
        raise OSError(errno or EINVAL, f"{what}: {os.strerror(errno or EINVAL)}")
    return rc


cdef void *CHKPTR(void *pointer, str what) except NULL:
    if pointer == NULL:
        raise OSError(errno or EINVAL, f"{what}: {os.strerror(errno or EINVAL)}")
    return pointer


cdef object future_error(flux_future_t *f):
    """The failure of a future, right after a getter returned -1."""
    cdef int number = errno or EINVAL
    cdef const char *text = flux_future_error_string(f)
    if text != NULL and text[0] != 0:
        return OSError(number, text.decode("utf-8", "replace"))
    return OSError(number, os.strerror(number))


cdef class Message:
    """A request, kept until it has been answered for good."""

    cdef const flux_msg_t *msg

    def __init__(self):
        raise TypeError("a Message comes from a handle")

    @staticmethod
    cdef Message keep(const flux_msg_t *msg):
        # The handler's msg is the dispatcher's; ours is a reference of our own.
        cdef Message self = Message.__new__(Message)
        self.msg = flux_msg_incref(msg)
        _live["message"] += 1
        return self

    def asker(self):
        """Id of the user who sent it; None for the instance's owner."""
        cdef flux_msg_cred cred
        CHK(flux_msg_get_cred(self.msg, &cred), "flux_msg_get_cred")
        return None if cred.rolemask & FLUX_ROLE_OWNER else cred.userid

    def __dealloc__(self):
        if self.msg != NULL:
            flux_msg_decref(self.msg)
            _live["message"] -= 1


cdef class Future:
    """An answer that is awaited; `kind` says how its value is read."""

    cdef:
        flux_future_t *f
        Handle handle
        object callback
        int kind            # 0: an RPC's payload, 1: a KVS value, 2: nothing
        bint streaming

    def __init__(self):
        raise TypeError("a Future comes from a handle")

    @staticmethod
    cdef Future start(Handle handle, flux_future_t *f, object callback, int kind, bint streaming):
        # Takes f over, also when it raises.
        cdef Future self = Future.__new__(Future)
        self.f = f
        _live["future"] += 1
        self.handle = handle
        self.callback = callback
        self.kind = kind
        self.streaming = streaming
        CHK(flux_future_then(f, -1.0, on_future, <void *>self), "flux_future_then")
        handle._held.add(self)
        return self

    cdef void drop(self):
        if self.f != NULL:
            flux_future_destroy(self.f)
            self.f = NULL
            _live["future"] -= 1
        self.handle._held.discard(self)
        self.callback = None

    def __dealloc__(self):
        if self.f != NULL:
            flux_future_destroy(self.f)
            _live["future"] -= 1

    cdef fulfilled(self):
        cdef const char *text = NULL
        cdef const void *nothing = NULL
        cdef int rc
        if self.kind == 0:
            rc = flux_rpc_get(self.f, &text)
        elif self.kind == 1:
            rc = flux_kvs_lookup_get(self.f, &text)
        else:
            rc = flux_future_get(self.f, &nothing)
        callback = self.callback
        if rc < 0:
            error = future_error(self.f)
            self.drop()
            callback(None, error)
            return
        value = <bytes>text if text != NULL else None
        if self.streaming:
            flux_future_reset(self.f)
        else:
            self.drop()
        callback(value, None)


cdef void on_future(flux_future_t *f, void *arg) noexcept with gil:
    cdef Future self = <Future>arg
    cdef Handle handle = self.handle
    cdef int old
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old)
    try:
        self.fulfilled()
    except BaseException as error:
        handle.fail(error)
    finally:
        pthread_setcancelstate(old, NULL)


cdef class Timer:
    """Calls once, later."""

    cdef:
        flux_watcher_t *w
        Handle handle
        object callback

    def __init__(self):
        raise TypeError("a Timer comes from a handle")

    @staticmethod
    cdef Timer start(Handle handle, double seconds, object callback):
        cdef Timer self = Timer.__new__(Timer)
        self.handle = handle
        self.callback = callback
        self.w = <flux_watcher_t *>CHKPTR(
            flux_timer_watcher_create(handle.r, seconds, 0.0, on_timer, <void *>self), "flux_timer_watcher_create")
        _live["timer"] += 1
        handle._held.add(self)
        flux_watcher_start(self.w)
        return self

    cpdef cancel(self):
        """Do not call.  Harmless when it has called already."""
        if self.w != NULL:
            flux_watcher_destroy(self.w)
            self.w = NULL
            _live["timer"] -= 1
        self.handle._held.discard(self)
        self.callback = None

    def __dealloc__(self):
        if self.w != NULL:
            flux_watcher_destroy(self.w)
            _live["timer"] -= 1


cdef void on_timer(flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg) noexcept with gil:
    cdef Timer self = <Timer>arg
    cdef Handle handle = self.handle
    cdef int old
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old)
    try:
        callback = self.callback
        self.cancel()
        callback()
    except BaseException as error:
        handle.fail(error)
    finally:
        pthread_setcancelstate(old, NULL)


cdef class Handler:
    """Takes the requests of one topic."""

    cdef:
        flux_msg_handler_t *mh
        Handle handle
        object callback
        bint ordered

    def __init__(self):
        raise TypeError("a Handler comes from a handle")

    @staticmethod
    cdef Handler start(Handle handle, bytes topic, object callback, bint guests, bint ordered):
        cdef Handler self = Handler.__new__(Handler)
        cdef flux_match match = FLUX_MATCH_REQUEST
        self.handle = handle
        self.callback = callback
        self.ordered = ordered
        match.topic_glob = topic    # copied by the call
        self.mh = <flux_msg_handler_t *>CHKPTR(
            flux_msg_handler_create(handle.h, match, on_message, <void *>self), "flux_msg_handler_create")
        _live["handler"] += 1
        if guests:
            flux_msg_handler_allow_rolemask(self.mh, FLUX_ROLE_USER)
        handle._held.add(self)
        flux_msg_handler_start(self.mh)
        return self

    cdef take(self, Message message):
        """Hand a request to the callback."""
        cdef const char *text = NULL
        if flux_request_decode(message.msg, NULL, &text) < 0:
            # Not a string: nothing that we could answer but with an error.
            flux_respond_error(self.handle.h, message.msg, errno, NULL)
        elif self.callback is not None:
            self.callback(message, <bytes>text if text != NULL else None)

    cpdef cancel(self):
        if self.mh != NULL:
            flux_msg_handler_destroy(self.mh)
            self.mh = NULL
            _live["handler"] -= 1
        self.handle._held.discard(self)
        self.callback = None

    def __dealloc__(self):
        if self.mh != NULL:
            flux_msg_handler_destroy(self.mh)
            _live["handler"] -= 1


cdef void on_message(flux_t *h, flux_msg_handler_t *mh, const flux_msg_t *msg, void *arg) noexcept with gil:
    cdef Handler self = <Handler>arg
    cdef Handle handle = self.handle
    cdef int old
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old)
    try:
        if self.ordered:
            handle.put_aside(self, Message.keep(msg))
        else:
            self.take(Message.keep(msg))
    except BaseException as error:
        handle.fail(error)
    finally:
        pthread_setcancelstate(old, NULL)


cdef void on_check(flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg) noexcept with gil:
    cdef Handle handle = <Handle>arg
    cdef int old
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old)
    try:
        handle.turn()
    except BaseException as error:
        handle.fail(error)
    finally:
        pthread_setcancelstate(old, NULL)


cdef class Handle:
    """The handle that the broker gave to ``mod_main``, as a capsule."""

    cdef:
        flux_t *h               # borrowed
        flux_reactor_t *r       # of h
        flux_watcher_t *check
        flux_watcher_t *idle
        object __weakref__
        set _held
        list _soon
        double _since           # when the first of what may wait came, or when something of it was done last
        double _soon_since      # when the first of _soon came
        object _aside           # deque of (handler, message), requests that are kept in order
        object _error

    def __init__(self, capsule):
        self.h = <flux_t *>PyCapsule_GetPointer(capsule, "flux_t")
        self.r = <flux_reactor_t *>CHKPTR(flux_get_reactor(self.h), "flux_get_reactor")
        self._held = set()
        self._soon = []
        self._aside = collections.deque()
        self.check = <flux_watcher_t *>CHKPTR(
            flux_check_watcher_create(self.r, on_check, <void *>self), "flux_check_watcher_create")
        _live["watcher"] += 1
        self.idle = <flux_watcher_t *>CHKPTR(
            flux_idle_watcher_create(self.r, NULL, NULL), "flux_idle_watcher_create")
        _live["watcher"] += 1

    def close(self):
        """Take back all that C holds of us.  The flux_t stays the broker's."""
        for held in list(self._held):
            if isinstance(held, Future):
                (<Future>held).drop()
            else:
                held.cancel()
        self._soon.clear()
        self._aside.clear()
        if self.check != NULL:
            flux_watcher_destroy(self.check)
            self.check = NULL
            _live["watcher"] -= 1
        if self.idle != NULL:
            flux_watcher_destroy(self.idle)
            self.idle = NULL
            _live["watcher"] -= 1

    def __dealloc__(self):
        if self.check != NULL:
            flux_watcher_destroy(self.check)
        if self.idle != NULL:
            flux_watcher_destroy(self.idle)

    # -- the module -----------------------------------------------------------

    def name(self):
        """The name under which the module was loaded."""
        cdef const char *text = <const char *>flux_aux_get(self.h, "flux::name")
        return text.decode() if text != NULL else "sched"

    def rank(self):
        cdef uint32_t rank
        CHK(flux_get_rank(self.h, &rank), "flux_get_rank")
        return rank

    def set_running(self):
        """Let ``flux module load`` return."""
        CHK(flux_module_set_running(self.h), "flux_module_set_running")

    def log(self, int level, text):
        cdef bytes line = text.encode("utf-8", "replace")
        flux_log(self.h, level, "%s", <const char *>line)   # unchecked: where would we say so

    # -- the reactor ----------------------------------------------------------

    def run(self):
        """Run the reactor until it is stopped; raises what stopped it."""
        cdef int rc, old
        cdef flux_reactor_t *r = self.r
        with nogil:
            # Only here, without the GIL, may the broker cancel this thread.
            pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old)
            rc = flux_reactor_run(r, 0)
            pthread_setcancelstate(old, NULL)
        error, self._error = self._error, None
        if error is not None:
            raise error
        CHK(rc, "flux_reactor_run")

    def stop(self):
        flux_reactor_stop(self.r)

    cpdef fail(self, error):
        """Keep an exception, and stop the reactor; the first one counts."""
        if self._error is None:
            self._error = error
        flux_reactor_stop_error(self.r)

    def call_soon(self, callback):
        """Call once the messages that are queued have been handled."""
        self.wake()
        if not self._soon:
            self._soon_since = time.monotonic()
        self._soon.append(callback)

    cdef put_aside(self, Handler handler, Message message):
        self.wake()
        self._aside.append((handler, message))

    cdef wake(self):
        if not self._soon and not self._aside:
            self._since = time.monotonic()
            flux_watcher_start(self.check)
            flux_watcher_start(self.idle)

    cdef turn(self):
        # The reactor hands over one message a turn.
        cdef double begin = time.monotonic()
        cdef Handler handler
        if flux_pollevents(self.h) & FLUX_POLLIN and begin - self._since < BURST:
            return
        while self._aside:
            handler, message = self._aside.popleft()
            handler.take(message)
            if time.monotonic() - begin > SLICE:
                break
        if not self._aside or time.monotonic() - self._soon_since >= BURST:
            callbacks, self._soon = self._soon, []
            for callback in callbacks:
                callback()
        self._since = time.monotonic()
        if not self._soon and not self._aside:
            flux_watcher_stop(self.check)
            flux_watcher_stop(self.idle)

    def call_later(self, double seconds, callback):
        """Call after so many seconds; the result has cancel()."""
        return Timer.start(self, max(seconds, 0.0), callback)

    # -- messages -------------------------------------------------------------

    def service_register(self, str name):
        """Register a service, and wait for it.  OSError, EEXIST if it is another's."""
        cdef bytes text = name.encode()
        cdef flux_future_t *f = <flux_future_t *>CHKPTR(flux_service_register(self.h, text), "flux_service_register")
        cdef const void *nothing = NULL
        try:
            if flux_future_get(f, &nothing) < 0:
                raise future_error(f)
        finally:
            flux_future_destroy(f)

    def on_request(self, str topic, callback, guests=False, ordered=False):
        """Hand requests of a topic to ``callback(message, payload or None)``; with `guests` those of other users too.
        Those that are `ordered` keep their order among themselves, and hold up no others."""
        Handler.start(self, topic.encode(), callback, guests, ordered)

    def respond(self, Message message, bytes payload):
        """Answer with JSON text; None: with nothing."""
        cdef const char *text = NULL
        if payload is not None:
            text = payload
        CHK(flux_respond(self.h, message.msg, text), "flux_respond")

    def respond_error(self, Message message, int errnum, str text):
        cdef bytes line = text.encode("utf-8", "replace")
        CHK(flux_respond_error(self.h, message.msg, errnum, line), "flux_respond_error")

    def rpc(self, str topic, bytes payload, callback, streaming=False, raw=False):
        """Send a request; ``callback(payload or None, error or None)``, always None of one whose payload is `raw`, no
        text. `callback` None: no answer is wanted."""
        cdef const char *text = NULL
        cdef flux_future_t *f
        cdef bytes name = topic.encode()
        cdef int flags = FLUX_RPC_STREAMING if streaming else 0
        if callback is None:
            flags |= FLUX_RPC_NORESPONSE
        if payload is not None:
            text = payload
        if raw:
            f = flux_rpc_raw(self.h, name, text, len(payload), FLUX_NODEID_ANY, flags)
        else:
            f = flux_rpc(self.h, name, text, FLUX_NODEID_ANY, flags)
        CHKPTR(f, topic)
        if callback is None:
            flux_future_destroy(f)
        else:
            Future.start(self, f, callback, 2 if raw else 0, streaming)

    def rpc_wait(self, str topic, bytes payload):
        """Send a request and wait for the answer; before the reactor runs."""
        cdef const char *text = NULL
        cdef bytes name = topic.encode()
        cdef flux_future_t *f
        if payload is not None:
            text = payload
        f = <flux_future_t *>CHKPTR(flux_rpc(self.h, name, text, FLUX_NODEID_ANY, 0), topic)
        text = NULL
        try:
            if flux_rpc_get(f, &text) < 0:
                raise future_error(f)
            return <bytes>text if text != NULL else None
        finally:
            flux_future_destroy(f)

    # -- the KVS --------------------------------------------------------------

    def kvs_lookup(self, str key, callback):
        cdef bytes name = key.encode()
        cdef flux_future_t *f = <flux_future_t *>CHKPTR(flux_kvs_lookup(self.h, NULL, 0, name), "flux_kvs_lookup")
        Future.start(self, f, callback, 1, False)

    def kvs_commit(self, puts, callback):
        """Write (key, value) pairs in one transaction, in order. A value is JSON text as bytes; a str is a tree object
        (RFC 11: a directory, a symbolic link); None removes the key."""
        cdef flux_kvs_txn_t *txn = <flux_kvs_txn_t *>CHKPTR(flux_kvs_txn_create(), "flux_kvs_txn_create")
        cdef flux_future_t *f
        cdef bytes name, text
        try:
            for key, value in puts:
                name = key.encode()
                if value is None:
                    CHK(flux_kvs_txn_unlink(txn, 0, name), f"removing {key}")
                elif isinstance(value, str):
                    text = value.encode()
                    CHK(flux_kvs_txn_put_treeobj(txn, 0, name, text), f"putting {key}")
                else:
                    text = value
                    CHK(flux_kvs_txn_put(txn, 0, name, text), f"putting {key}")
            f = <flux_future_t *>CHKPTR(flux_kvs_commit(self.h, NULL, 0, txn), "flux_kvs_commit")
        finally:
            flux_kvs_txn_destroy(txn)
        Future.start(self, f, callback, 2, False)
