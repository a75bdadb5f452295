# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Times of Python hosts, in seconds as float, as the engine has them: in microseconds."""
from fluxsched.core.types cimport USEC, time_never, usec_t


cdef inline usec_t to_usec(double seconds) except? -1:
    """Seconds as microseconds; 0, infinite or too late is never."""
    if seconds != seconds or seconds < 0:
        raise ValueError(f"time {seconds!r}: expected a number of seconds, 0 or more")
    if seconds == 0 or seconds >= 9e12:
        return time_never()
    return <usec_t> (seconds * USEC + 0.5)


cdef inline usec_t to_instant(double seconds) except? -1:
    """Seconds since the epoch as microseconds."""
    if not 0 <= seconds < 9e12:
        raise ValueError(f"time {seconds!r}: expected a number of seconds from 0 to 9e12")
    return <usec_t> (seconds * USEC + 0.5)
