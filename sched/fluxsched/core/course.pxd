# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.forward cimport Forward


cdef class Course(Forward):
    """A run forward that notes where each job starts."""
    cdef readonly list rows     # of Engine.place, in the order of the starts
