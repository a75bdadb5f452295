# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A command's connection to a Flux instance: requests, one after another, each waited for.

Payloads are JSON text, as in fluxsched.flux.handle. Ctrl-C ends the process, as no Python runs while it waits.
"""
from libc.errno cimport EINVAL, errno

from fluxsched.flux.includes.flux cimport (
    FLUX_NODEID_ANY, flux_close, flux_error_t, flux_future_destroy, flux_future_error_string, flux_future_t,
    flux_open_ex, flux_rpc, flux_rpc_get, flux_t,
)

import os


cdef class Connection:
    """A handle of libflux, closed with the object."""

    cdef flux_t *h

    def __init__(self, uri=None):
        """Connect to the instance of `uri`; None: of FLUX_URI, or else the system's. OSError if there is none."""
        cdef flux_error_t error
        cdef const char *where = NULL
        cdef bytes text
        if uri is not None:
            text = os.fsencode(uri)
            where = text
        error.text[0] = 0
        self.h = flux_open_ex(where, 0, &error)
        if self.h == NULL:
            raise OSError(errno or EINVAL, (<bytes>error.text).decode("utf-8", "replace")
                          or os.strerror(errno or EINVAL))

    def __dealloc__(self):
        if self.h != NULL:
            flux_close(self.h)

    def rpc(self, str topic, bytes payload):
        """Send a request to whichever rank has the service, and wait: the answer, or None for an empty one. OSError
        with the text that came with the refusal."""
        cdef bytes name = topic.encode()
        cdef const char *text = NULL
        cdef const char *answer = NULL
        cdef flux_future_t *f
        cdef int rc, number
        if payload is not None:
            text = payload
        f = flux_rpc(self.h, name, text, FLUX_NODEID_ANY, 0)
        if f == NULL:
            raise OSError(errno or EINVAL, f"{topic}: {os.strerror(errno or EINVAL)}")
        try:
            with nogil:
                rc = flux_rpc_get(f, &answer)
            if rc < 0:
                number = errno or EINVAL
                answer = flux_future_error_string(f)
                raise OSError(number, answer.decode("utf-8", "replace") if answer != NULL and answer[0]
                              else os.strerror(number))
            return <bytes>answer if answer != NULL else None
        finally:
            flux_future_destroy(f)
