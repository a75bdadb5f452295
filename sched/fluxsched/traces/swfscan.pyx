# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Scanner for the lines of the Standard Workload Format.

One pass over the bytes without the GIL: a million lines take a fraction of a second, and the
number of a malformed line is exact.
"""
from typing import NamedTuple, Optional

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    FIELDS = 18
    JOB = 0                # numbers of jobs: Flux's need all 63 bits
    PRECEDING = 16

cdef enum Fault:
    OK = 0
    TOO_FEW = 1
    NOT_A_NUMBER = 2
    OUT_OF_RANGE = 3

# Larger numbers would lose their last digits in a double.
cdef double LIMIT = 9007199254740992.0
# FNV-1a: what lines are compared by.
cdef uint64_t HASH_BEGIN = 14695981039346656037ULL
cdef uint64_t HASH_PRIME = 1099511628211ULL


cdef struct State:
    Py_ssize_t rows        # job lines read
    Py_ssize_t lines       # lines read, comments and blank ones too
    Py_ssize_t longer      # job lines with further fields
    Py_ssize_t word        # where the faulty field begins
    int fault
    int field              # 1-based field at fault, or the number of fields found


cdef inline bint blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9 or c == 13


cdef Py_ssize_t number(const unsigned char *buf, Py_ssize_t at, Py_ssize_t end, double *value,
                       int64_t *exact) noexcept nogil:
    """Read one decimal number at `at`; returns where it ends, or -1 if there is none.

    exact: its whole part; INT64_MAX where that is as large or larger.
    """
    cdef bint negative = False
    cdef double whole = 0.0
    cdef double part = 0.0
    cdef double scale = 1.0
    cdef int64_t digit, count = 0
    cdef int digits = 0
    if buf[at] == 45 or buf[at] == 43:
        negative = buf[at] == 45
        at += 1
    while at < end and 48 <= buf[at] <= 57:
        digit = buf[at] - 48
        whole = whole * 10.0 + digit
        count = count * 10 + digit if count <= (INT64_MAX - digit) // 10 else INT64_MAX
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
    exact[0] = -count if negative else count
    return at


cdef inline uint64_t mixed(uint64_t hash, uint64_t more) noexcept nogil:
    cdef int i
    for i in range(8):
        hash = (hash ^ ((more >> (8 * i)) & 255)) * HASH_PRIME
    return hash


cdef Py_ssize_t scan_fields(const unsigned char *buf, Py_ssize_t at, Py_ssize_t end, double *row, int64_t *job,
                            uint64_t *hash, State *st) noexcept nogil:
    """Read the fields of one job line; returns where the further ones begin (`end`: there are none), -1 for a fault."""
    cdef int64_t exact = 0
    cdef uint64_t bits = 0
    cdef int field = 0
    while at < end and field < FIELDS:
        st.word = at
        at = number(buf, at, end, &row[field], &exact)
        if at < 0:
            st.fault = NOT_A_NUMBER
        elif field == JOB or field == PRECEDING:
            if not (-INT64_MAX < exact < INT64_MAX):
                st.fault = OUT_OF_RANGE
            bits = <uint64_t>exact
            if field == JOB:
                job[0] = exact
        else:
            if not (-LIMIT < row[field] < LIMIT):
                st.fault = OUT_OF_RANGE
            memcpy(&bits, &row[field], sizeof(bits))
        field += 1
        if st.fault != OK:
            st.field = field
            return -1
        hash[0] = mixed(hash[0], bits)
        while at < end and blank(buf[at]):
            at += 1
    if field < FIELDS:
        st.fault = TOO_FEW
        st.field = field
        return -1
    return at


cdef void scan_lines(const unsigned char *buf, Py_ssize_t size, double *out, int64_t *job, uint64_t *hash,
                     State *st) noexcept nogil:
    """Read whole lines of buf[0:size]; stops at the first fault."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end, i
    while at < size:
        end = at
        while end < size and buf[end] != 10:
            end += 1
        i = at
        while i < end and blank(buf[i]):
            i += 1
        st.lines += 1
        if i < end and buf[i] != 59:
            hash[st.rows] = HASH_BEGIN
            i = scan_fields(buf, i, end, &out[st.rows * FIELDS], &job[st.rows], &hash[st.rows], st)
            if i < 0:
                return
            st.longer += i < end
            while i < end:
                hash[st.rows] = (hash[st.rows] ^ buf[i]) * HASH_PRIME
                i += 1
            st.rows += 1
        at = end + 1


class Scanned(NamedTuple):
    """What `scan` found: job lines, all lines, job lines with further fields, and what is wrong with the last line."""

    rows: int
    lines: int
    longer: int
    problem: Optional[str]


def scan(const unsigned char[::1] buf not None, double[:, ::1] out not None, int64_t[::1] job not None,
         uint64_t[::1] hash not None) -> Scanned:
    """Read the whole lines in `buf`.

    buf: bytes, ending with a newline or at the end of the file.
    out: shape (n, 18), filled from row 0 with the fields of each job line.
    job: shape (n,), the same for job numbers, which may be larger than a double can hold.
    hash: shape (n,), the same for a hash of all fields of the line, further ones too.

    n need not be more than `most_rows(len(buf))`.  Raises ValueError where they are too small.
    """
    cdef State st
    cdef Py_ssize_t room = out.shape[0]
    if buf.shape[0] == 0:
        return Scanned(0, 0, 0, None)
    if out.shape[1] != FIELDS or room < most_rows(buf.shape[0]) or job.shape[0] < room or hash.shape[0] < room:
        raise ValueError(f"out, job and hash must have {most_rows(buf.shape[0])} rows, of {FIELDS} columns")
    st.rows = st.lines = st.longer = st.word = 0
    st.fault = OK
    st.field = 0
    with nogil:
        scan_lines(&buf[0], buf.shape[0], &out[0, 0], &job[0], &hash[0], &st)
    return Scanned(st.rows, st.lines, st.longer, _problem(buf, &st) if st.fault != OK else None)


def most_rows(Py_ssize_t size) -> int:
    """The most job lines that `size` bytes of text can hold: none is shorter than 18 digits and what is between."""
    return size // (2 * FIELDS) + 1


cdef _problem(const unsigned char[::1] buf, State *st):
    if st.fault == TOO_FEW:
        return f"{FIELDS} fields expected, {st.field} found"
    cdef Py_ssize_t i = st.word
    while i < buf.shape[0] and i < st.word + 40 and not blank(buf[i]) and buf[i] != 10:
        i += 1
    word = bytes(buf[st.word:i]).decode("utf-8", "backslashreplace")
    if st.fault == OUT_OF_RANGE:
        return f"field {st.field}: {word} is out of range"
    return f"field {st.field}: a number expected, {word!r} found"
