# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Scanner for the lines of the Standard Workload Format.

One pass over the bytes without the GIL: a million lines take a fraction of a second, and the
number of a malformed line is exact.
"""

cdef enum:
    FIELDS = 18

cdef enum Fault:
    OK = 0
    TOO_FEW = 1
    TOO_MANY = 2
    NOT_A_NUMBER = 3
    OUT_OF_RANGE = 4

# Larger numbers would lose their last digits in a double.
cdef double LIMIT = 9007199254740992.0


cdef struct State:
    Py_ssize_t rows        # job lines read
    Py_ssize_t lines       # lines read, comments and blank ones too
    Py_ssize_t word        # where the faulty field begins
    int fault
    int field              # 1-based field at fault, or the number of fields found


cdef inline bint blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9 or c == 13


cdef Py_ssize_t number(const unsigned char *buf, Py_ssize_t at, Py_ssize_t end, double *value) noexcept nogil:
    """Read one decimal number at `at`; returns where it ends, or -1 if there is none."""
    cdef bint negative = False
    cdef double whole = 0.0
    cdef double part = 0.0
    cdef double scale = 1.0
    cdef int digits = 0
    if buf[at] == 45 or buf[at] == 43:
        negative = buf[at] == 45
        at += 1
    while at < end and 48 <= buf[at] <= 57:
        whole = whole * 10.0 + (buf[at] - 48)
        digits += 1
        at += 1
    if at < end and buf[at] == 46:
        at += 1
        while at < end and 48 <= buf[at] <= 57:
            if scale < 1e15:
                part = part * 10.0 + (buf[at] - 48)
                scale *= 10.0
            digits += 1
            at += 1
    if digits == 0 or (at < end and not blank(buf[at])):
        return -1
    whole += part / scale
    value[0] = -whole if negative else whole
    return at


cdef void scan_lines(const unsigned char *buf, Py_ssize_t size, double *out, State *st) noexcept nogil:
    """Read whole lines of buf[0:size], 18 numbers a row into `out`; stops at the first fault."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end, i
    cdef int field
    while at < size:
        end = at
        while end < size and buf[end] != 10:
            end += 1
        st.lines += 1
        i = at
        while i < end and blank(buf[i]):
            i += 1
        if i < end and buf[i] != 59:
            field = 0
            while i < end:
                if field == FIELDS:
                    st.fault = TOO_MANY
                    st.field = FIELDS + 1
                    return
                st.word = i
                i = number(buf, i, end, &out[st.rows * FIELDS + field])
                if i < 0:
                    st.fault = NOT_A_NUMBER
                    st.field = field + 1
                    return
                if not (-LIMIT < out[st.rows * FIELDS + field] < LIMIT):
                    st.fault = OUT_OF_RANGE
                    st.field = field + 1
                    return
                field += 1
                while i < end and blank(buf[i]):
                    i += 1
            if field < FIELDS:
                st.fault = TOO_FEW
                st.field = field
                return
            st.rows += 1
        at = end + 1


def scan(const unsigned char[::1] buf not None, double[:, ::1] out not None):
    """Read the whole lines in `buf` into `out`.

    buf: bytes, ending with a newline or at the end of the file.
    out: float64 array, shape (at least the number of lines in buf, 18), filled from row 0.

    Returns (rows, lines, problem): the job lines and all lines read, and None or the text of what
    is wrong with the last of those lines.  Raises ValueError where `out` is too small.
    """
    cdef State st
    cdef Py_ssize_t newlines = 0
    cdef Py_ssize_t i
    if buf.shape[0] == 0:
        return 0, 0, None
    with nogil:
        for i in range(buf.shape[0]):
            newlines += buf[i] == 10
    if out.shape[1] != FIELDS or out.shape[0] < newlines + 1:
        raise ValueError(f"out must have {newlines + 1} rows of {FIELDS} columns")
    st.rows = st.lines = st.word = 0
    st.fault = OK
    st.field = 0
    with nogil:
        scan_lines(&buf[0], buf.shape[0], &out[0, 0], &st)
    if st.fault == OK:
        return st.rows, st.lines, None
    if st.fault == TOO_FEW:
        return st.rows, st.lines, f"{FIELDS} fields expected, {st.field} found"
    if st.fault == TOO_MANY:
        return st.rows, st.lines, f"{FIELDS} fields expected, more found"
    i = st.word
    while i < buf.shape[0] and i < st.word + 40 and not blank(buf[i]) and buf[i] != 10:
        i += 1
    word = bytes(buf[st.word:i]).decode("utf-8", "backslashreplace")
    if st.fault == OUT_OF_RANGE:
        return st.rows, st.lines, f"field {st.field}: {word} is out of range"
    return st.rows, st.lines, f"field {st.field}: a number expected, {word!r} found"
