# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's database in SQLite: opening it, writing to it and reading from it. What it holds is in `store`.

Writes are queued and committed together at the end of a turn of the event
loop; what depends on a write is done in its callback.  Two kinds of writes: a
*request* may fail (a submit on a full disk is refused), a *change* of what is
already so (a job ended) is kept in memory and tried again until it is written.

What is committed outlives this process, however that ends. A failure of power
or of the kernel it outlives when it is *synced*, a moment later, by a thread.
A request is answered then, and whoever has something to say to the outside
waits for that with `when_durable`.

The number of commits is kept in the database and, by its owner, outside of it
(see :mod:`fluxsched.session.broker.statedir`): a database that has fewer was
cut, or has lost its log.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from functools import partial
from syslog import LOG_CRIT, LOG_ERR, LOG_INFO
from typing import Any, Callable, Iterator, Optional, Union

from fluxsched.formats.fastjson import loads
from fluxsched.session.broker.background import Background, sync
from fluxsched.session.broker.log import Log
from fluxsched.session.broker.loop import Loop, Timer
from fluxsched.session.errors import SessionError

VERSION = 2
RETRY = 1.0  # seconds between attempts while the disk refuses writes
SHARE = 4.0  # a sync is followed by the next one after so many times the time that it took, as a mean,
PAUSE = 0.025  # in seconds, and after this at most
BURST = 4  # so many may come at once
LOOK = 0.2  # seconds after which it is made sure that the files written to are still there
LAZY = 0.01  # seconds that a change for which nobody waits may wait for others
AT_A_TIME = 500  # rows of a long list
CHECKPOINT = 4000  # pages in SQLite's log from which it is taken into the database
CHECK_MAX = 256 << 20  # bytes; a larger database is not looked through at the start
FILE = "session.sqlite"
EARLIEST = 1767225600.0  # 2026-01-01; a clock that says less is not set

# a statement and its parameters; of a list of them for each entry
Operation = tuple[str, Union[tuple[Any, ...], list[tuple[Any, ...]]]]
Refusable = Callable[[Optional[OSError]], Any]

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE jobs (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, jobspec TEXT NOT NULL, R TEXT,
                   launch TEXT, info TEXT NOT NULL, environment INTEGER);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE TABLE events (id INTEGER NOT NULL, seq INTEGER NOT NULL, entry TEXT NOT NULL,
                     PRIMARY KEY (id, seq)) WITHOUT ROWID;
CREATE TABLE environments (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE kvs (key TEXT PRIMARY KEY, json INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE drain (rank INTEGER PRIMARY KEY, t REAL NOT NULL, reason TEXT NOT NULL);
"""


class StoreError(SessionError):
    """The database cannot be read, or what it holds is damaged."""


class _Gone(Exception):
    """The database's file is no longer where it was."""


def _identity(path: str) -> tuple[int, int] | None:
    """(device, inode) of a file; None if it is not there."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _of_the_disk(error: Exception) -> bool:
    """Whether a write failed for where it goes, not for what it holds."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
        return False
    return isinstance(error, (sqlite3.DatabaseError, _Gone))


class Write:
    """Operations that are written together, or not at all, and who is told."""

    __slots__ = ("operations", "done", "keep", "committed")

    def __init__(
        self,
        operations: list[Operation],
        done: Callable[..., Any] | None,
        keep: bool,
        committed: Callable[[], Any] | None = None,
    ) -> None:
        self.operations = operations
        self.done = done
        self.keep = keep  # a change, which is kept until it is written
        self.committed = committed  # of a request, which is done only when it is synced


class Database:
    """The database of a state directory, which belongs to this process alone.

    `commits` is how many commits it has had as far as its owner knows, and `on_commit(count)` hears of those that are
    synced. Without a `loop` all is done at once."""

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
        self._queue: list[Write] = []
        self._retry: Timer | None = None
        self._later: Timer | None = None  # for the changes for which nobody waits
        self._failing = False
        self._due = 0.0  # when the next sync would be due if they came one by one (time.monotonic())
        self._apart = PAUSE  # seconds from one to the next, by how long the last one took
        self._began = 0.0  # when the last one began (time.monotonic())
        self._pausing = False  # a sync is put off
        self._looked = 0.0  # when it was last made sure that the files are there (time.monotonic())
        self.commits = commits
        self._synced = commits  # how many of them are on the disk
        self._waiting: list[Refusable] = []  # for all that is committed to be synced
        self._syncing: list[Refusable] | None = None  # the same, for the sync that is under way
        self._background = None if loop is None else Background(loop)
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
                self._take_up(db, version)
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
        self._no_sync(db)
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('epoch', ?)", (repr(time.time()),))
        db.execute("INSERT INTO meta VALUES ('commits', '1')")
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
        self._committed(1)
        self._sync()

    @staticmethod
    def _no_sync(db: sqlite3.Connection) -> None:
        """Leave it to us to sync SQLite's log; it still does so itself before it takes it into the database."""
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")

    @staticmethod
    def _upgrade(db: sqlite3.Connection) -> None:
        """From version 1: environments were in the jobspecs, and each event had a row."""
        db.execute("BEGIN IMMEDIATE")
        if all(row[1] != "environment" for row in db.execute("PRAGMA table_info(jobs)")):
            db.execute("ALTER TABLE jobs ADD COLUMN environment INTEGER")
            db.execute("CREATE TABLE environments (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")

    def _take_up(self, db: sqlite3.Connection, version: int) -> None:
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
        self.commits = self._synced = commits
        if version < VERSION:
            self._upgrade(db)
        db.execute("PRAGMA journal_mode=WAL")
        self._no_sync(db)
        # a read-only file system shows only when something is written
        self.change([("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (repr(time.time()),))])
        error = self._write(self._queue)
        if isinstance(error, sqlite3.OperationalError) and "readonly" in str(error):
            raise error
        if error is None:
            self._queue = []
            self._sync()
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
        background, self._background = self._background, None
        if background is not None:
            background.close()
        self._pausing = False
        self._sync()
        self._db.close()

    # writing

    def request(
        self,
        operations: list[Operation],
        done: Callable[[OSError | None], Any],
        committed: Callable[[], Any] | None = None,
    ) -> None:
        """Write `operations`, or nothing of it; then `committed()`, and when it is synced `done(error)`."""
        self._queue.append(Write(operations, done, False, committed))

    def change(self, operations: list[Operation], done: Callable[[], Any] | None = None) -> None:
        """Write `operations`, if need be later; then `done()`."""
        self._queue.append(Write(operations, done, True))

    def _gather(self) -> None:
        """Queue what was gathered to be written at the end of the turn."""

    def when_durable(self, callback: Callable[[], Any]) -> None:
        """Call when all that is committed by now would outlive a failure of power; at once if it would."""
        if self._synced == self.commits and self._syncing is None:
            callback()
        else:
            self._waiting.append(lambda error: callback())

    @property
    def unwritten(self) -> bool:
        """Whether something waits to be written."""
        self._gather()
        return bool(self._queue)

    def flush(self, again: bool = False) -> bool:
        """Commit what is queued, and call back.  Returns whether all is written.

        After a failure changes wait for `again`, so that a full disk is not tried at every turn."""
        self._gather()
        while self._queue and (again or not self._failing or any(not write.keep for write in self._queue)):
            batch, self._queue = self._queue, []
            error = self._write(batch)
            if error is None:
                self._recovered()
                self._tell(batch)
                self._gather()
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

    def end_turn(self, urgent: bool) -> None:
        """At the end of a turn: write what is queued; unless `urgent`, that for which nobody waits a little later."""
        if urgent or any(write.done is not None or not write.keep for write in self._queue):
            self.flush()
        elif self._later is None and self._loop is not None and self.unwritten:
            self._later = self._loop.call_later(LAZY, self._flush_late)

    def _flush_late(self) -> None:
        self._later = None
        self.flush()

    def _refusal(self, error: Exception) -> OSError:
        number = errno.ESTALE if isinstance(error, _Gone) else errno.ENOSPC if "full" in str(error) else errno.EIO
        return OSError(number, f"cannot write {self.path}: {self._explain(error)}")

    def _tell(self, batch: list[Write]) -> None:
        for write in batch:
            if write.done is None:
                continue
            if write.keep:
                self._call(write.done)
                continue
            if write.committed is not None:
                self._call(write.committed)
            self._waiting.append(write.done)
        self._sync()

    def _sync(self) -> None:
        """Begin to bring what is committed to the disk, unless that is under way."""
        if self._syncing is not None or self._synced == self.commits or self._pausing:
            return
        now = time.monotonic()
        self._due = max(self._due, now - BURST * self._apart)
        pause = self._due - now
        if pause > 0 and self._background is not None and self._loop is not None:
            # More comes meanwhile; and a commit would wait for a sync that is under way.
            self._pausing = True
            self._loop.call_later(pause, self._pause_over)
            return
        self._due += self._apart
        self._began = now
        self._syncing, self._waiting = self._waiting, []
        work, done = partial(sync, self.path + "-wal"), partial(self._on_synced, self.commits)
        if self._background is None:
            done(work())
        else:
            self._background.do(work, done)

    def _pause_over(self) -> None:
        self._pausing = False
        self._sync()

    def _on_synced(self, count: int, error: OSError | None) -> None:
        told, self._syncing = self._syncing or [], None
        self._apart = min(PAUSE, SHARE * (time.monotonic() - self._began))
        if error is not None:
            try:
                self._look()
            except _Gone as gone:
                error = self._refusal(gone)
        if error is not None and not self.lost:
            # Nobody is told that something is durable before it is.
            self._waiting = [*told, *self._waiting]
            if self._log is not None:
                self._log("broker", LOG_CRIT, f"{self.path}-wal: cannot be brought to the disk: {error.strerror}")
            if self._loop is not None:
                self._loop.call_later(RETRY, self._sync)
            return
        self._synced = count
        if count == self.commits:  # nothing came while this was brought to the disk but who waits for it
            told, self._waiting = [*told, *self._waiting], []
        if error is None:
            self._on_commit(count)
        for callback in told:
            self._call(callback, error)
        self._sync()

    def _one_by_one(self, batch: list[Write]) -> None:
        """Something in the batch cannot be written whatever the disk says: find it, so that it takes nothing along."""
        batch = sorted(batch, key=lambda write: not write.operations)  # what only waits for others waits for all
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

    def _write(self, batch: list[Write]) -> Exception | None:
        """Write all in one transaction; what stood in the way, and then nothing is written."""
        try:
            self._look_now_and_then(batch)
            self._db.execute("BEGIN IMMEDIATE")
            for write in batch:
                for sql, parameters in write.operations:
                    if isinstance(parameters, list):
                        self._db.executemany(sql, parameters)
                    else:
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

    def _look_now_and_then(self, batch: list[Write]) -> None:
        """As :meth:`_look`, for each request, and for changes a few times in a second."""
        now = time.monotonic()
        if now - self._looked > LOOK or not all(write.keep for write in batch):
            self._looked = now
            self._look()

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

    def _rows(self, sql: str, parameters: tuple = ()) -> Iterator[tuple]:
        """Rows, a few at a time, for as long as nothing is written.  Raises StoreError."""
        try:
            cursor = self._db.execute(sql, parameters)
            while True:
                rows = cursor.fetchmany(AT_A_TIME)
                if not rows:
                    return
                yield from rows
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: {self._explain(error)}") from None

    def _decoded(self, jobid: int, text: str | None, kind: type | tuple[type, ...] = dict) -> Any:
        try:
            value = loads(text)  # type: ignore[arg-type]
        except (ValueError, TypeError, RecursionError):
            value = None
        if not isinstance(value, kind):
            raise StoreError(f"{self.path}: it is damaged: what it holds of job {jobid} cannot be read")
        return value

    def meta(self, key: str) -> str | None:
        """A text that is kept under a name.  Raises StoreError."""
        rows = self._read("SELECT value FROM meta WHERE key=?", (key,))
        return rows[0][0] if rows else None

    @staticmethod
    def op_meta(key: str, value: str) -> Operation:
        """Keep a text under a name."""
        return ("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))

    def epoch(self) -> float:
        """The time, in seconds, at which the ids of this state directory begin."""
        # One that was made while the clock was not set begins with the project, so that ids stay small.
        return max(EARLIEST, float(self._read("SELECT value FROM meta WHERE key='epoch'")[0][0]))
