# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The formats of job traces, in one table, and reading a trace of any of them.

A format is a module beside this one with a function ``read(path, begun)`` that gives a Trace, and an entry in FORMATS;
``--format`` and its help follow the table.  Readers are imported when they are needed, as they need numpy.
"""
from __future__ import annotations

import importlib
import itertools
import os
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Tuple

from fluxsched.traces.files import TraceError, pieces

if TYPE_CHECKING:
    from fluxsched.traces.trace import Trace


class Format(NamedTuple):
    """One format of traces.

    suffixes: ends of the names of such files, in small letters, without .gz.
    begins: whether the text of a file, given its first bytes that are no blanks, is of this format; asked in the order
        of the table, where the name tells nothing.
    """

    name: str
    about: str
    module: str
    suffixes: Tuple[str, ...]
    begins: Callable[[bytes], bool]


FORMATS = (
    Format("flux", "flux jobs --json", "fluxsched.traces.flux_jobs", (".json",),
           lambda head: head.startswith((b"{", b"["))),
    Format("csv", "CSV as of sacct", "fluxsched.traces.sacct", (".csv",), lambda head: head[:1].isalpha()),
    Format("record", "the folder of record=DIR", "fluxsched.twin.trace", (), lambda head: False),
    Format("swf", "Standard Workload Format", "fluxsched.traces.swf", (".swf",), lambda head: True),
)
NAMES = tuple(form.name for form in FORMATS)


def by_name(path: str) -> Optional[Format]:
    """The format that the name of a file tells, or None."""
    name = path.lower().removesuffix(".gz")
    return next((form for form in FORMATS if name.endswith(form.suffixes)), None)


def load(path: str | os.PathLike[str], format: Optional[str] = None) -> Trace:
    """Read a trace: of the format that is named, else of the one that the file's name or its first characters tell.

    Gzip is unpacked, by content, not by name.  Raises TraceError.
    """
    path = os.fspath(path)
    begun = None
    chosen = by_name(path)
    if format is not None:
        chosen = next((form for form in FORMATS if form.name == format), None)
        if chosen is None:
            raise TraceError(f"{path}: unknown trace format {format!r}; one of {', '.join(NAMES)} expected")
    elif os.path.isdir(path):
        chosen = next(form for form in FORMATS if form.name == "record")
    if chosen is None:
        begun = pieces(path)
        first = next(begun, b"")
        begun = itertools.chain([first], begun)            # a pipe can be read once only
        head = first.lstrip()
        chosen = next((form for form in FORMATS if form.begins(head)), None)
        if chosen is None:
            raise TraceError(f"{path}: no known trace format; name one of {', '.join(NAMES)}")
    return importlib.import_module(chosen.module).read(path, begun)
