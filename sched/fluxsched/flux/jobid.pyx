# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Job ids as libflux writes them."""
from libc.errno cimport EINVAL, errno

from fluxsched.flux.includes.flux cimport flux_job_id_encode, flux_job_kvs_key

import os


cdef int check(int rc, str what) except -1:
    if rc < 0:
        raise OSError(errno or EINVAL, f"{what}: {os.strerror(errno or EINVAL)}")
    return rc


def job_key(jobid, str name):
    """The KVS key of a job's own `name`."""
    cdef char buf[128]
    cdef bytes text = name.encode()
    check(flux_job_kvs_key(buf, sizeof(buf), jobid, text), "flux_job_kvs_key")
    return (<bytes>buf).decode()


def job_name(jobid):
    """A job id in F58, as people write it."""
    cdef char buf[64]
    check(flux_job_id_encode(jobid, "f58", buf, sizeof(buf)), "flux_job_id_encode")
    return (<bytes>buf).decode()
