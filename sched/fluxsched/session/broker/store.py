# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's record in SQLite: jobs, their events, the KVS, drained ranks.

Writes are queued and committed together at the end of a turn of the event
loop, so that a burst of requests costs one fsync; what depends on a write is
done in its callback.  Two kinds of writes: a *request* may fail (a submit on a
full disk is refused), a *change* of what is already so (a job ended) is kept
in memory and tried again until it is written.
"""

import json
import os
import sqlite3
import time
from typing import Any

from fluxsched.session.errors import SessionError

VERSION = 1
KEY_MAX = 4096  # characters of a KVS key
RETRY = 1.0  # seconds between attempts while the disk refuses writes

Operation = tuple[str, tuple[Any, ...]]  # a statement and its parameters

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


def dumps(value):
    return json.dumps(value, separators=(",", ":"))


def normalize(key):
    """A KVS key without surplus dots; ValueError if nothing is left."""
    parts = [part for part in key.split(".") if part]
    if not parts or len(key) > KEY_MAX or "\0" in key:
        raise ValueError(f"invalid KVS key {key[:64]!r}")
    return ".".join(parts)


def _span(key):
    """The keys below a directory lie between these two ("/" follows "." in ASCII)."""
    return key + ".", key + "/"


class Store:
    def __init__(self, directory, loop=None, log=None):
        self.path = os.path.join(directory, "session.sqlite")
        self._loop = loop
        self._log = log
        self._queue = []
        self._retry = None
        self._failing = False
        try:
            self._open()
        except sqlite3.Error as error:
            raise SessionError(f"{self.path}: {self._explain(error)}") from None

    def _open(self):
        if os.path.exists(self.path) and not os.access(self.path, os.W_OK):
            raise SessionError(f"{self.path}: state directory is read-only")
        self._db = db = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise SessionError(
                    f"{self.path}: state directory is of version {version}, written by a newer release; "
                    f"this one reads up to version {VERSION}"
                )
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            if version == 0:
                db.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('epoch', ?)", (repr(time.time()),))
                db.execute(f"PRAGMA user_version={VERSION}")
                db.execute("COMMIT")
            else:
                # a read-only file system shows only when something is written
                db.execute("BEGIN IMMEDIATE")
                db.execute("INSERT OR REPLACE INTO meta VALUES ('opened', ?)", (repr(time.time()),))
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise

    def _explain(self, error):
        text = str(error)
        if "readonly" in text or "unable to open" in text:
            return f"cannot write the state directory ({text})"
        return text

    def close(self):
        self.flush()
        self._db.close()

    # writing

    def request(self, operations, done):
        """Write `operations`, a list of (sql, parameters), or nothing of it; then `done(error)`."""
        self._queue.append((operations, done, False))

    def change(self, operations, done=None):
        """Write `operations`, if need be later; then `done()`."""
        self._queue.append((operations, done, True))

    def flush(self, again=False):
        """Commit what is queued, and call back.  Returns whether all is written.

        After a failure changes wait for `again`, so that a full disk is not tried at every turn."""
        while self._queue and (again or not self._failing or any(not keep for _, _, keep in self._queue)):
            batch, self._queue = self._queue, []
            error = self._write(batch)
            if error is None:
                self._recovered()
                for _, done, keep in batch:
                    if done is not None:
                        self._call(done) if keep else self._call(done, None)
                continue
            changes = [item for item in batch if item[2]]
            self._queue = changes + self._queue
            for _, done, keep in batch:
                if not keep:
                    self._call(done, OSError(28, f"cannot write {self.path}: {self._explain(error)}"))
            if len(changes) == len(batch):
                self._failed(error)
                break
            # without the requests that are refused the changes may fit
        return not self._queue

    def _call(self, done, *args):
        if self._loop is None:
            done(*args)
        else:
            self._loop._call(done, *args)

    def _write(self, batch):
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for operations, _, _ in batch:
                for sql, parameters in operations:
                    self._db.execute(sql, parameters)
            self._db.execute("COMMIT")
            return None
        except sqlite3.Error as error:
            if self._db.in_transaction:
                try:
                    self._db.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # SQLite has already rolled back; the error that counts is the first
            return error

    def _failed(self, error):
        if not self._failing and self._log is not None:
            text = f"cannot write {self.path}: {self._explain(error)}; changes are kept and tried again"
            self._log("broker", 3, text)
        self._failing = True
        if self._retry is None and self._loop is not None:
            self._retry = self._loop.call_later(RETRY, self._try_again)

    def _try_again(self):
        self._retry = None
        self.flush(again=True)

    def _recovered(self):
        if self._failing:
            self._failing = False
            if self._log is not None:
                self._log("broker", 6, f"{self.path} can be written again")

    # jobs

    def epoch(self):
        return float(self._db.execute("SELECT value FROM meta WHERE key='epoch'").fetchone()[0])

    def last_id(self):
        return self._db.execute("SELECT max(id) FROM jobs").fetchone()[0] or 0

    @staticmethod
    def op_insert(jobid, state, jobspec, info):
        return ("INSERT INTO jobs VALUES (?,?,?,NULL,NULL,?)", (jobid, state, jobspec, dumps(info)))

    @staticmethod
    def op_info(jobid, state, info):
        return ("UPDATE jobs SET state=?, info=? WHERE id=?", (state, dumps(info), jobid))

    @staticmethod
    def op_event(jobid, seq, entry):
        return ("INSERT OR REPLACE INTO events VALUES (?,?,?)", (jobid, seq, dumps(entry)))

    @staticmethod
    def op_r(jobid, R):
        return ("UPDATE jobs SET R=? WHERE id=?", (None if R is None else dumps(R), jobid))

    @staticmethod
    def op_jobspec(jobid, jobspec):
        return ("UPDATE jobs SET jobspec=? WHERE id=?", (jobspec, jobid))

    @staticmethod
    def op_launch(jobid, launch):
        return ("UPDATE jobs SET launch=? WHERE id=?", (None if launch is None else dumps(launch), jobid))

    def active(self, inactive):
        """Rows (id, state, jobspec, R, launch, info) of the jobs not in state `inactive`, by id."""
        for row in self._db.execute("SELECT * FROM jobs WHERE state != ? ORDER BY id", (inactive,)):
            yield self._job_row(row)

    def job(self, jobid):
        """(id, state, jobspec, R, launch, info) decoded, or None."""
        self.flush()
        row = self._db.execute("SELECT * FROM jobs WHERE id=?", (jobid,)).fetchone()
        return None if row is None else self._job_row(row)

    def jobspec(self, jobid):
        """The whole jobspec of a job that is written."""
        return json.loads(self._db.execute("SELECT jobspec FROM jobs WHERE id=?", (jobid,)).fetchone()[0])

    @staticmethod
    def _job_row(row):
        jobid, state, jobspec, R, launch, info = row
        return (
            jobid,
            state,
            json.loads(jobspec),
            None if R is None else json.loads(R),
            None if launch is None else json.loads(launch),
            json.loads(info),
        )

    def inactive_info(self, inactive, count, since=0.0):
        """Newest first (id, info) of at most `count` jobs in state `inactive`."""
        self.flush()
        rows = self._db.execute(
            "SELECT id, info FROM jobs WHERE state=? ORDER BY id DESC LIMIT ?", (inactive, count)
        ).fetchall()
        found = [(jobid, json.loads(info)) for jobid, info in rows]
        return [item for item in found if (item[1].get("t_inactive") or 0.0) >= since]

    def unwaited(self, inactive, flag):
        """(id, info) of jobs in state `inactive` with `flag` set that nobody has waited for."""
        rows = self._db.execute(
            "SELECT id, info FROM jobs WHERE state=? AND json_extract(info, '$.flags') & ? "
            "AND json_extract(info, '$.waited') IS NULL",
            (inactive, flag),
        )
        return [(jobid, json.loads(info)) for jobid, info in rows]

    def count(self, state):
        return self._db.execute("SELECT count(*) FROM jobs WHERE state=?", (state,)).fetchone()[0]

    def events(self, jobid):
        rows = self._db.execute("SELECT entry FROM events WHERE id=? ORDER BY seq", (jobid,))
        return [json.loads(row[0]) for row in rows]

    # KVS; keys are normalized

    @staticmethod
    def ops_kvs(key, value):
        """Operations that put `value`: a str is kept as it is, None removes, the rest is JSON."""
        operations = [
            ("DELETE FROM kvs WHERE key > ? AND key < ?", _span(key)),
        ]
        if value is None:
            operations.append(("DELETE FROM kvs WHERE key=?", (key,)))
            return operations
        parts = key.split(".")
        for depth in range(1, len(parts)):
            operations.append(("DELETE FROM kvs WHERE key=?", (".".join(parts[:depth]),)))
        encoded = (0, value) if isinstance(value, str) else (1, dumps(value))
        operations.append(("INSERT OR REPLACE INTO kvs VALUES (?,?,?)", (key, *encoded)))
        return operations

    def kvs_read(self, key):
        """The decoded value, or None."""
        self.flush()
        row = self._db.execute("SELECT json, value FROM kvs WHERE key=?", (key,)).fetchone()
        if row is None:
            return None
        return json.loads(row[1]) if row[0] else row[1]

    def kvs_text(self, key):
        """The value as text, or None."""
        self.flush()
        row = self._db.execute("SELECT value FROM kvs WHERE key=?", (key,)).fetchone()
        return None if row is None else row[0]

    def kvs_below(self, key):
        """(key, text) of everything below the directory `key` ("" is the root), by key."""
        self.flush()
        if key:
            return self._db.execute("SELECT key, value FROM kvs WHERE key > ? AND key < ?", _span(key)).fetchall()
        return self._db.execute("SELECT key, value FROM kvs").fetchall()

    # drained ranks

    def drained(self):
        return {rank: (t, reason) for rank, t, reason in self._db.execute("SELECT rank, t, reason FROM drain")}

    @staticmethod
    def op_drain(rank, t, reason):
        return ("INSERT OR REPLACE INTO drain VALUES (?,?,?)", (rank, t, reason))

    @staticmethod
    def op_undrain(rank):
        return ("DELETE FROM drain WHERE rank=?", (rank,))
