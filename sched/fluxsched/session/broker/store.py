# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's record in SQLite: jobs, their events, the KVS, drained ranks.

Writes are queued and committed together at the end of a turn of the event
loop, so that a burst of requests costs one fsync; what depends on a write is
done in its callback.  Two kinds of writes: a *request* may fail (a submit on a
full disk is refused), a *change* of what is already so (a job ended) is kept
in memory and tried again until it is written.

The number of commits is kept in the database and, by its owner, outside of it
(see :mod:`fluxsched.session.broker.statedir`): a database that has fewer was
cut, or has lost its log.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from syslog import LOG_CRIT, LOG_ERR, LOG_INFO
from typing import Any, Callable, Optional

from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop, Timer
from fluxsched.session.errors import SessionError
from fluxsched.session.jobid import MAX_STORED

VERSION = 1
KEY_MAX = 4096  # characters of a KVS key
RETRY = 1.0  # seconds between attempts while the disk refuses writes
CHECK_MAX = 256 << 20  # bytes; a larger database is not looked through at the start
FILE = "session.sqlite"
EARLIEST = 1767225600.0  # 2026-01-01; a clock that says less is not set

Operation = tuple[str, tuple[Any, ...]]  # a statement and its parameters
JobRow = tuple[int, int, dict, Optional[dict], Optional[dict], dict]  # id, state, jobspec, R, launch, info

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE jobs (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, jobspec TEXT NOT NULL, R TEXT,
                   launch TEXT, info TEXT NOT NULL);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE TABLE events (id INTEGER NOT NULL, seq INTEGER NOT NULL, entry TEXT NOT NULL,
                     PRIMARY KEY (id, seq)) WITHOUT ROWID;
CREATE TABLE kvs (key TEXT PRIMARY KEY, json INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE drain (rank INTEGER PRIMARY KEY, t REAL NOT NULL, reason TEXT NOT NULL);
"""


class StoreError(SessionError):
    """The database cannot be read, or what it holds is damaged."""


class _Gone(Exception):
    """The database's file is no longer where it was."""


def dumps(value: Any) -> str:
    """Compact JSON, in ASCII, so that any text can be stored."""
    return json.dumps(value, separators=(",", ":"))


def normalize(key: str) -> str:
    """A KVS key without surplus dots; ValueError if nothing is left."""
    parts = [part for part in key.split(".") if part]
    if not parts or len(key) > KEY_MAX or "\0" in key:
        raise ValueError(f"invalid KVS key {key[:64]!r}")
    return ".".join(parts)


def _identity(path: str) -> tuple[int, int] | None:
    """(device, inode) of a file; None if it is not there."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


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


def _of_the_disk(error: Exception) -> bool:
    """Whether a write failed for where it goes, not for what it holds."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
        return False
    return isinstance(error, (sqlite3.DatabaseError, _Gone))


class _Write:
    """Operations that are written together, or not at all, and who is told."""

    __slots__ = ("operations", "done", "keep")

    def __init__(self, operations: list[Operation], done: Callable[..., Any] | None, keep: bool) -> None:
        self.operations = operations
        self.done = done
        self.keep = keep  # a change, which is kept until it is written


class Store:
    """The database of a state directory, which belongs to this process alone.

    `commits` is how many commits it has had as far as its owner knows, and `on_commit(count)` hears of each."""

    def __init__(
        self,
        directory: str,
        loop: Loop | None = None,
        log: Log | None = None,
        commits: int = 0,
        on_commit: Callable[[int], Any] = lambda count: None,
    ) -> None:
        """Open or make it.  Raises SessionError."""
        self.path = os.path.join(directory, FILE)
        self.lost = False  # the state directory was removed; nothing can be written any more
        self._loop = loop
        self._log = log
        self._on_commit = on_commit
        self._queue: list[_Write] = []
        self._retry: Timer | None = None
        self._failing = False
        self.commits = commits
        self._log_identity: tuple[int, int] | None = None  # of SQLite's log, once it is there
        try:
            self._secure()
            self._identity = _identity(self.path)
            self._open()
        except sqlite3.Error as error:
            raise SessionError(f"{self.path}: {self._explain(error)}") from None
        except OSError as error:
            raise SessionError(f"{self.path}: cannot write the state directory ({error.strerror})") from None

    # opening

    def _secure(self) -> None:
        """Make the database's files ours alone.  Raises SessionError."""
        for path in (self.path, self.path + "-wal", self.path + "-shm"):
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if path == self.path else 0)
            try:
                fd = os.open(path, flags, 0o600)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise SessionError(f"{path}: it is a symbolic link, which is not followed") from None
                if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise SessionError(f"{path}: state directory is read-only") from None
                raise
            try:
                status = os.fstat(fd)
                if status.st_uid != os.getuid() or status.st_nlink > 1:
                    raise SessionError(f"{path}: it is not a file of ours alone")
                if status.st_mode & 0o077:
                    os.fchmod(fd, 0o600)
            finally:
                os.close(fd)

    def _open(self) -> None:
        self._db = db = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        try:
            # The state directory is locked, so nobody shares the database: its index can be in memory.
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise SessionError(
                    f"{self.path}: state directory is of version {version}, written by a newer release; "
                    f"this one reads up to version {VERSION}"
                )
            if version == 0:
                self._refuse_less(0)
                self._make(db)
            else:
                self._take_up(db)
        except BaseException:
            db.close()
            raise

    def _refuse_less(self, commits: int) -> None:
        if commits < self.commits:
            raise SessionError(
                f"{self.path}: the last {self.commits - commits} of {self.commits} commits are missing: it was cut or "
                f"replaced, or its log {FILE}-wal was lost; bring it back, or remove the state directory to begin anew"
            )

    def _make(self, db: sqlite3.Connection) -> None:
        if time.time() < EARLIEST:
            raise SessionError(
                f"{self.path}: the clock says {time.strftime('%Y-%m-%d', time.gmtime(time.time()))}, before "
                f"{time.strftime('%Y-%m-%d', time.gmtime(EARLIEST))}: set it, as job ids are made of the time"
            )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('epoch', ?)", (repr(time.time()),))
        db.execute("INSERT INTO meta VALUES ('commits', '1')")
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
        self._committed(1)

    def _take_up(self, db: sqlite3.Connection) -> None:
        """Go on with a database of before, which can be read; whether it can be written shows later."""
        if os.path.getsize(self.path) <= CHECK_MAX:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise SessionError(f"{self.path}: it is damaged: {found.splitlines()[-1]}")
        row = db.execute("SELECT value FROM meta WHERE key='commits'").fetchone()
        try:
            commits = 0 if row is None else int(row[0])
            self.epoch()
        except (ValueError, TypeError):
            raise SessionError(f"{self.path}: it is damaged: its table meta cannot be read") from None
        self._refuse_less(commits)
        self.commits = commits
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # a read-only file system shows only when something is written
        self.change([("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (repr(time.time()),))])
        error = self._write(self._queue)
        if isinstance(error, sqlite3.OperationalError) and "readonly" in str(error):
            raise error
        if error is None:
            self._queue = []
        else:
            self._failed(error)

    def _explain(self, error: Exception) -> str:
        text = str(error)
        if isinstance(error, _Gone):
            return "the state directory was removed or replaced"
        if "readonly" in text or "unable to open" in text:
            return f"cannot write the state directory ({text})"
        if "malformed" in text or "not a database" in text:
            return f"it is damaged ({text})"
        return text

    def close(self) -> None:
        """Write what is queued, if that can be, and close."""
        self.flush()
        self._db.close()

    # writing

    def request(self, operations: list[Operation], done: Callable[[OSError | None], Any]) -> None:
        """Write `operations`, or nothing of it; then `done(error)`."""
        self._queue.append(_Write(operations, done, False))

    def change(self, operations: list[Operation], done: Callable[[], Any] | None = None) -> None:
        """Write `operations`, if need be later; then `done()`."""
        self._queue.append(_Write(operations, done, True))

    @property
    def unwritten(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._queue)

    def flush(self, again: bool = False) -> bool:
        """Commit what is queued, and call back.  Returns whether all is written.

        After a failure changes wait for `again`, so that a full disk is not tried at every turn."""
        while self._queue and (again or not self._failing or any(not write.keep for write in self._queue)):
            batch, self._queue = self._queue, []
            error = self._write(batch)
            if error is None:
                self._recovered()
                self._tell(batch)
                continue
            if not _of_the_disk(error):
                self._one_by_one(batch)
                continue
            changes = [write for write in batch if write.keep]
            self._queue = changes + self._queue
            for write in batch:
                if not write.keep and write.done is not None:
                    self._call(write.done, self._refusal(error))
            if len(changes) == len(batch):
                self._failed(error)
                break
            # without the requests that are refused the changes may fit
        return not self._queue

    def _refusal(self, error: Exception) -> OSError:
        number = errno.ESTALE if isinstance(error, _Gone) else errno.ENOSPC if "full" in str(error) else errno.EIO
        return OSError(number, f"cannot write {self.path}: {self._explain(error)}")

    def _tell(self, batch: list[_Write]) -> None:
        for write in batch:
            if write.done is None:
                continue
            if write.keep:
                self._call(write.done)
            else:
                self._call(write.done, None)

    def _one_by_one(self, batch: list[_Write]) -> None:
        """Something in the batch cannot be written whatever the disk says: find it, so that it takes nothing along."""
        for i, write in enumerate(batch):
            error = self._write([write])
            if error is None:
                self._tell([write])
            elif _of_the_disk(error):
                self._queue = batch[i:] + self._queue
                return
            elif write.keep:
                # Nobody asked for a change, so nobody can be told but the log; what waits for it goes on.
                if self._log is not None:
                    self._log("broker", LOG_CRIT, f"cannot keep a change: {type(error).__name__}: {error}")
                self._tell([write])
            elif write.done is not None:
                self._call(write.done, OSError(errno.EINVAL, f"cannot be stored: {error}"))

    def _call(self, done: Callable[..., Any], *args: Any) -> None:
        if self._loop is None:
            done(*args)
        else:
            self._loop.call(done, *args)

    def _write(self, batch: list[_Write]) -> Exception | None:
        """Write all in one transaction; what stood in the way, and then nothing is written."""
        try:
            self._look()
            self._db.execute("BEGIN IMMEDIATE")
            for write in batch:
                for sql, parameters in write.operations:
                    self._db.execute(sql, parameters)
            count = self.commits + 1
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('commits', ?)", (str(count),))
            self._db.execute("COMMIT")
        except Exception as error:
            try:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # SQLite has already rolled back; the error that counts is the first
            return error
        self._committed(count)
        return None

    def _look(self) -> None:
        """Raises _Gone if the files written to are not the ones that the next session would read."""
        self.lost = _identity(self.path) != self._identity or (
            self._log_identity is not None and _identity(self.path + "-wal") != self._log_identity
        )
        if self.lost:
            raise _Gone

    def _committed(self, count: int) -> None:
        if self._log_identity is None:
            self._log_identity = _identity(self.path + "-wal")
        self.commits = count
        self._on_commit(count)

    def _failed(self, error: Exception) -> None:
        if not self._failing and self._log is not None:
            text = f"cannot write {self.path}: {self._explain(error)}; changes are kept and tried again"
            self._log("broker", LOG_ERR, text)
        self._failing = True
        if self._retry is None and self._loop is not None:
            self._retry = self._loop.call_later(RETRY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.flush(again=True)

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            if self._log is not None:
                self._log("broker", LOG_INFO, f"{self.path} can be written again")

    # reading

    def _read(self, sql: str, parameters: tuple = ()) -> list[tuple]:
        """All rows.  Raises StoreError."""
        try:
            return self._db.execute(sql, parameters).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: {self._explain(error)}") from None

    def _decoded(self, jobid: int, text: str | None, kind: type = dict) -> Any:
        try:
            value = json.loads(text)  # type: ignore[arg-type]
        except (ValueError, TypeError, RecursionError):
            value = None
        if not isinstance(value, kind):
            raise StoreError(f"{self.path}: it is damaged: what it holds of job {jobid} cannot be read")
        return value

    # jobs

    def epoch(self) -> float:
        """The time, in seconds, at which the ids of this state directory begin."""
        # One that was made while the clock was not set begins with the project, so that ids stay small.
        return max(EARLIEST, float(self._read("SELECT value FROM meta WHERE key='epoch'")[0][0]))

    def last_id(self) -> int:
        """The greatest id of a job, or 0."""
        return self._read("SELECT max(id) FROM jobs")[0][0] or 0

    @staticmethod
    def op_insert(jobid: int, state: int, jobspec: str, info: dict) -> Operation:
        """A new job."""
        return ("INSERT INTO jobs VALUES (?,?,?,NULL,NULL,?)", (jobid, state, jobspec, dumps(info)))

    @staticmethod
    def op_info(jobid: int, state: int, info: dict) -> Operation:
        """The job's state, and what is kept of it beside its jobspec, R and events."""
        return ("UPDATE jobs SET state=?, info=? WHERE id=?", (state, dumps(info), jobid))

    @staticmethod
    def op_event(jobid: int, seq: int, entry: dict) -> Operation:
        """Event number `seq` of a job, from 0."""
        return ("INSERT OR REPLACE INTO events VALUES (?,?,?)", (jobid, seq, dumps(entry)))

    @staticmethod
    def op_r(jobid: int, R: dict | None) -> Operation:
        """The job's R."""
        return ("UPDATE jobs SET R=? WHERE id=?", (None if R is None else dumps(R), jobid))

    @staticmethod
    def op_jobspec(jobid: int, jobspec: str) -> Operation:
        """The job's jobspec, as JSON."""
        return ("UPDATE jobs SET jobspec=? WHERE id=?", (jobspec, jobid))

    @staticmethod
    def op_launch(jobid: int, launch: dict | None) -> Operation:
        """The job is to be launched: what a later broker needs to know of that."""
        return ("UPDATE jobs SET launch=? WHERE id=?", (None if launch is None else dumps(launch), jobid))

    def active(self, inactive: int) -> Iterator[JobRow]:
        """The jobs that are not in state `inactive`, by id.  Raises StoreError."""
        for row in self._read("SELECT * FROM jobs WHERE state != ? ORDER BY id", (inactive,)):
            yield self._job_row(row)

    def job(self, jobid: int) -> JobRow | None:
        """A job, or None.  Raises StoreError."""
        if not 0 <= jobid <= MAX_STORED:
            return None
        self.flush()
        rows = self._read("SELECT * FROM jobs WHERE id=?", (jobid,))
        return self._job_row(rows[0]) if rows else None

    def jobspec(self, jobid: int) -> dict:
        """The whole jobspec of a job that is written.  Raises StoreError."""
        return self._decoded(jobid, self._read("SELECT jobspec FROM jobs WHERE id=?", (jobid,))[0][0])

    def _job_row(self, row: tuple) -> JobRow:
        jobid, state, jobspec, R, launch, info = row
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
        rows = self._read("SELECT entry FROM events WHERE id=? ORDER BY seq", (jobid,))
        return [self._decoded(jobid, row[0]) for row in rows]

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
