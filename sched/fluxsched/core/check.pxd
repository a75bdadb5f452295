# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the sanity checks of the engine's structures are made of."""


cdef inline int must(bint fact, str what) except -1:
    """AssertionError unless a fact holds."""
    if not fact:
        raise AssertionError(what)
    return 0
