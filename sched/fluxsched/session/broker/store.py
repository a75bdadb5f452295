# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's record in its database: jobs, their events, the KVS, drained ranks.

What a turn of the event loop changes of a job is gathered: its events become one row, and what is kept of it beside
them is written once, as it is at the end of the turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from syslog import LOG_ERR
from typing import Any, Callable, Optional

from fluxsched.formats.fastjson import dumps
from fluxsched.session.broker.database import Database, Operation, StoreError, Write
from fluxsched.session.broker.environments import Environments, Split
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop
from fluxsched.session.jobid import MAX_STORED

KEY_MAX = 4096  # characters of a KVS key

NewJob = tuple[int, int, Split, dict, list[dict]]  # id, state, jobspec, info, first events
JobRow = tuple[int, int, dict, Optional[dict], Optional[dict], dict]  # id, state, jobspec, R, launch, info

_INSERT_EVENTS = "INSERT OR REPLACE INTO events VALUES (?,?,?)"

# All that is below some names of a directory: what is between two keys, where the names begin, and the names.
_DELETE_BELOW = """
DELETE FROM kvs WHERE key > ?1 AND key < ?2 AND instr(substr(key, ?3), '.') > 0
AND substr(key, ?3, instr(substr(key, ?3), '.') - 1) IN (SELECT value FROM json_each(?4))
"""


def normalize(key: str) -> str:
    """A KVS key without surplus dots; ValueError if nothing is left."""
    parts = [part for part in key.split(".") if part]
    if not parts or len(key) > KEY_MAX or "\0" in key:
        raise ValueError(f"invalid KVS key {key[:64]!r}")
    return ".".join(parts)


def _span(key: str) -> tuple[str, str]:
    """The keys below a directory lie between these two ("/" follows "." in ASCII)."""
    return key + ".", key + "/"


def _stored(text: str) -> str | bytes:
    """Text as the database takes it: bytes where it is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


class Store(Database):
    """What the session keeps."""

    def __init__(
        self,
        directory: str,
        loop: Loop | None = None,
        log: Log | None = None,
        commits: int = 0,
        on_commit: Callable[[int], Any] = lambda count: None,
    ) -> None:
        """As of the database.  Raises SessionError."""
        self._changed: dict[int, dict[str, Any]] = {}  # id -> columns of jobs that have changed
        self._events: dict[int, tuple[int, list[dict]]] = {}  # id -> number of the first, and new events
        super().__init__(directory, loop, log, commits, on_commit)
        self._environments = Environments(self._read("SELECT max(id) FROM environments")[0][0] or 0)

    # gathering

    def info(self, jobid: int, state: int, info: dict) -> None:
        """The job's state, and what is kept of it beside its jobspec, R and events: write it as it is at the end of
        this turn."""
        columns = self._changed.setdefault(jobid, {})
        columns["state"] = state
        columns["info"] = info

    def resources(self, jobid: int, R: dict | None) -> None:
        """The job's R: write it as it is at the end of this turn."""
        self._changed.setdefault(jobid, {})["R"] = R

    def launch(self, jobid: int, launch: dict | None) -> None:
        """The job is to be launched: what a later broker needs to know of that; or, with None, to be launched anew at
        some time. It is written with its state."""
        self._changed.setdefault(jobid, {})["launch"] = launch

    def event(self, jobid: int, seq: int, entry: dict) -> None:
        """Write event number `seq` of a job, from 0, with those that follow it in this turn."""
        self._events.setdefault(jobid, (seq, []))[1].append(entry)

    def _gather(self) -> None:
        """Queue what was gathered of jobs in this turn."""
        operations: list[Operation] = []
        if self._events:
            events, self._events = self._events, {}
            rows = [(jobid, seq, dumps(entries)) for jobid, (seq, entries) in events.items()]
            operations.append((_INSERT_EVENTS, rows))
        if self._changed:
            changed, self._changed = self._changed, {}
            alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
            for jobid, columns in changed.items():
                values = [dumps(value) if isinstance(value, dict) else value for value in columns.values()]
                alike.setdefault(tuple(columns), []).append((*values, jobid))
            for names, rows in alike.items():
                operations.append((f"UPDATE jobs SET {'=?, '.join(names)}=? WHERE id=?", rows))
        if operations:
            self._queue.append(Write(operations, None, True))

    # jobs

    def last_id(self) -> int:
        """The greatest id of a job, or 0."""
        return self._read("SELECT max(id) FROM jobs")[0][0] or 0

    def split(self, jobspec: dict) -> Split:
        """A jobspec as it is stored: its environment, which is one of strings, apart from it, but for what differs."""
        return self._environments.split(jobspec)

    def ops_insert(self, new: Iterable[NewJob]) -> list[Operation]:
        """New jobs, with their first events."""
        rows: list[tuple[Any, ...]] = []
        first: list[tuple[Any, ...]] = []
        bases: dict[int, str] = {}
        known: list[dict] = []
        text = "[]"
        for jobid, state, (number, base, spec), info, events in new:
            if number is not None:
                bases[number] = base
            if events != known:  # those of copies are alike
                known, text = events, dumps(events)
            rows.append((jobid, state, dumps(spec), dumps(info), number))
            first.append((jobid, 0, text))
        return [
            ("INSERT INTO jobs VALUES (?,?,?,NULL,NULL,?,?)", rows),
            (_INSERT_EVENTS, first),
            ("INSERT OR IGNORE INTO environments VALUES (?,?)", list(bases.items())),
        ]

    @staticmethod
    def op_jobspec(jobid: int, jobspec: str) -> Operation:
        """The job's jobspec, as JSON."""
        return ("UPDATE jobs SET jobspec=? WHERE id=?", (jobspec, jobid))

    def active(self, inactive: int) -> Iterator[JobRow]:
        """The jobs that are not in state `inactive`, by id.  Raises StoreError."""
        for row in self._rows("SELECT * FROM jobs WHERE state != ? ORDER BY id", (inactive,)):
            yield self._job_row(row)

    def job(self, jobid: int) -> JobRow | None:
        """A job, or None; of its jobspec the environment may be left out.  Raises StoreError."""
        if not 0 <= jobid <= MAX_STORED:
            return None
        self.flush()
        rows = self._read("SELECT * FROM jobs WHERE id=?", (jobid,))
        return self._job_row(rows[0]) if rows else None

    def jobspec(self, jobid: int) -> dict:
        """The whole jobspec of a job that is written.  Raises StoreError."""
        text, number = self._read("SELECT jobspec, environment FROM jobs WHERE id=?", (jobid,))[0]
        spec = self._decoded(jobid, text)
        if number is None:
            return spec
        base = self._environments.get(number)
        if base is None:
            rows = self._read("SELECT value FROM environments WHERE id=?", (number,))
            base = self._decoded(jobid, rows[0][0] if rows else None)
            self._environments.put(number, base)
        system = spec["attributes"]["system"]
        system["environment"] = {**base, **system.get("environment", {})}
        return spec

    def _job_row(self, row: tuple) -> JobRow:
        jobid, state, jobspec, R, launch, info, _ = row
        return (
            jobid,
            state,
            self._decoded(jobid, jobspec),
            None if R is None else self._decoded(jobid, R),
            None if launch is None else self._decoded(jobid, launch),
            self._decoded(jobid, info),
        )

    def inactive_info(self, inactive: int, count: int, since: float = 0.0) -> list[tuple[int, dict]]:
        """Newest first (id, info) of at most `count` jobs in state `inactive`; damaged ones are left out."""
        self.flush()
        rows = self._read("SELECT id, info FROM jobs WHERE state=? ORDER BY id DESC LIMIT ?", (inactive, count))
        found = []
        for jobid, text in rows:
            try:
                info = self._decoded(jobid, text)
            except StoreError as error:
                if self._log is not None:
                    self._log("broker", LOG_ERR, str(error))
                continue
            if (info.get("t_inactive") or 0.0) >= since:
                found.append((jobid, info))
        return found

    def unwaited(self, inactive: int, flag: int) -> list[tuple[int, dict]]:
        """(id, info) of jobs in state `inactive` with `flag` set that nobody has waited for.  Raises StoreError."""
        rows = self._read(
            "SELECT id, info FROM jobs WHERE state=? AND json_valid(info) AND json_extract(info, '$.flags') & ? "
            "AND json_extract(info, '$.waited') IS NULL",
            (inactive, flag),
        )
        return [(jobid, self._decoded(jobid, info)) for jobid, info in rows]

    def count(self, state: int) -> int:
        """How many jobs are in a state."""
        return self._read("SELECT count(*) FROM jobs WHERE state=?", (state,))[0][0]

    def events(self, jobid: int) -> list[dict]:
        """A job's events.  Raises StoreError."""
        if not 0 <= jobid <= MAX_STORED:
            return []
        self.flush()
        return self.stored_events(jobid)

    def stored_events(self, jobid: int) -> list[dict]:
        """The events of a job of which nothing waits to be written.  Raises StoreError."""
        return self.stored_events_of([jobid])[jobid]

    def stored_events_of(self, jobids: list[int]) -> dict[int, list[dict]]:
        """The same of some jobs, by id."""
        found: dict[int, list[dict]] = {jobid: [] for jobid in jobids}
        which = "id IN (SELECT value FROM json_each(?))"
        for jobid, text in self._read(f"SELECT id, entry FROM events WHERE {which} ORDER BY id, seq", (dumps(jobids),)):
            entries = self._decoded(jobid, text, (dict, list))
            found[jobid] += entries if isinstance(entries, list) else [entries]
        return found

    # KVS; keys are normalized

    @staticmethod
    def ops_kvs(key: str, value: Any) -> list[Operation]:
        """Operations that put `value`: a str is kept as it is, None removes, the rest is JSON."""
        operations: list[Operation] = [
            ("DELETE FROM kvs WHERE key > ? AND key < ?", _span(key)),
        ]
        if value is None:
            operations.append(("DELETE FROM kvs WHERE key=?", (key,)))
            return operations
        parts = key.split(".")
        for depth in range(1, len(parts)):
            operations.append(("DELETE FROM kvs WHERE key=?", (".".join(parts[:depth]),)))
        encoded = (0, _stored(value)) if isinstance(value, str) else (1, dumps(value))
        operations.append(("INSERT OR REPLACE INTO kvs VALUES (?,?,?)", (key, *encoded)))
        return operations

    @staticmethod
    def ops_tables(tables: dict[str, dict[str, Any]]) -> list[Operation]:
        """Operations that put values, as :meth:`ops_kvs`, each by its name below a directory; all are normalized."""
        spans: list[tuple[Any, ...]] = []
        below: list[tuple[Any, ...]] = []
        rows: list[tuple[Any, ...]] = []
        removed: set[str] = set()
        for directory, values in tables.items():
            parts = directory.split(".")
            removed.update(".".join(parts[: depth + 1]) for depth in range(len(parts)))
            plain = []
            for name, value in values.items():
                key = f"{directory}.{name}"
                if "." in name:
                    spans.append(_span(key))
                    parts = name.split(".")
                    removed.update(f"{directory}.{'.'.join(parts[:depth])}" for depth in range(1, len(parts)))
                else:
                    plain.append(name)
                if value is None:
                    removed.add(key)
                elif isinstance(value, str):
                    rows.append((key, 0, _stored(value)))
                else:
                    rows.append((key, 1, dumps(value)))
            below.append((*_span(directory), len(directory) + 2, dumps(plain)))
        return [
            (_DELETE_BELOW, below),
            ("DELETE FROM kvs WHERE key > ? AND key < ?", spans),
            ("DELETE FROM kvs WHERE key=?", [(key,) for key in removed]),
            ("INSERT OR REPLACE INTO kvs VALUES (?,?,?)", rows),
        ]

    def kvs_read(self, key: str) -> Any:
        """The decoded value, or None.  Raises StoreError."""
        self.flush()
        rows = self._read("SELECT json, value FROM kvs WHERE key=?", (key,))
        if not rows:
            return None
        text = _text(rows[0][1])
        if not rows[0][0]:
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise StoreError(f"{self.path}: it is damaged: the value of {key} cannot be read") from None

    def kvs_text(self, key: str) -> str | None:
        """The value as text, or None.  Raises StoreError."""
        self.flush()
        rows = self._read("SELECT value FROM kvs WHERE key=?", (key,))
        return _text(rows[0][0]) if rows else None

    def kvs_below(self, key: str) -> list[tuple[str, str]]:
        """(key, text) of everything below the directory `key` ("" is the root), by key.  Raises StoreError."""
        self.flush()
        if key:
            rows = self._read("SELECT key, value FROM kvs WHERE key > ? AND key < ?", _span(key))
        else:
            rows = self._read("SELECT key, value FROM kvs")
        return [(found, _text(value)) for found, value in rows]

    # drained ranks

    def drained(self) -> dict[int, tuple[float, str]]:
        """{rank: (when, reason)}.  Raises StoreError."""
        return {rank: (t, _text(reason)) for rank, t, reason in self._read("SELECT rank, t, reason FROM drain")}

    @staticmethod
    def op_drain(rank: int, t: float, reason: str) -> Operation:
        """A rank is drained."""
        return ("INSERT OR REPLACE INTO drain VALUES (?,?,?)", (rank, t, _stored(reason)))

    @staticmethod
    def op_undrain(rank: int) -> Operation:
        """A rank is no longer drained."""
        return ("DELETE FROM drain WHERE rank=?", (rank,))
