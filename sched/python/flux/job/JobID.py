# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ids of jobs (RFC 19)."""
from __future__ import annotations

from fluxsched.session import jobid as ids


def id_parse(jobid_str: str) -> int:
    """The id of a text in any form: F58, decimal, 0x..., dotted hexadecimal, or that behind "job.".  ValueError."""
    return ids.parse(jobid_str)


def id_encode(jobid: int, encoding: str = "f58") -> str:
    """An id as text: "f58", "f58plain", "dec", "hex", "dothex" or "kvs".  ValueError."""
    if encoding not in ids.FORMS:
        raise ValueError(f"encoding: expected one of {', '.join(ids.FORMS)}, got {encoding!r}")
    return ids.FORMS[encoding](int(jobid))


class JobID(int):
    """A job id: a number that is shown in F58."""

    def __new__(cls, value: int | str) -> JobID:
        """From a number, or a text in any form.  ValueError if it is none."""
        number = int(value) if isinstance(value, int) else id_parse(value)
        self = super().__new__(cls, number)
        self.orig = value.orig if isinstance(value, JobID) else str(value)
        return self

    #: The text that the id was made from.
    orig: str

    def encode(self, encoding: str = "dec") -> str:
        """The id as text, see :func:`id_encode`."""
        return id_encode(self, encoding)

    @property
    def dec(self) -> str:
        """The id as a decimal number."""
        return self.encode("dec")

    @property
    def f58(self) -> str:
        """The id in F58, as people see it."""
        return self.encode("f58")

    @property
    def f58plain(self) -> str:
        """The same in ASCII."""
        return self.encode("f58plain")

    @property
    def hex(self) -> str:
        """The id as 0x..."""
        return self.encode("hex")

    @property
    def dothex(self) -> str:
        """The id as four groups of hexadecimal digits."""
        return self.encode("dothex")

    @property
    def kvs(self) -> str:
        """The id as flux-core's directory of the job in the KVS."""
        return self.encode("kvs")

    def __str__(self) -> str:
        return self.f58

    def __repr__(self) -> str:
        return f"JobID({self.dec})"
