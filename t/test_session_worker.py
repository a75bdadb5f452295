# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a worker keeps from job to job: its record, a folder, variables; and waiting for descriptors."""

import errno
import os
import socket

import pytest

from fluxsched.session.memo import LONGEST, MOST, Memo
from fluxsched.session.runner import worker as workers
from fluxsched.session.runner.worker import Folder, Record, Worker
from fluxsched.session.watcher import READ, WRITE, Watcher


def tree(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_folder_goes_from_job_to_job(tmp_path):
    folder = Folder(str(tmp_path / "w.dir"))
    first, second = tmp_path / "jobs" / "1", tmp_path / "jobs" / "2"
    assert folder.lend(str(first))
    assert tree(tmp_path) == ["jobs", "jobs/1", "jobs/1/tmp"]
    assert (first / "tmp").stat().st_mode & 0o7777 == first.stat().st_mode & 0o7777 == 0o700
    number = first.stat().st_ino
    folder.take_back(str(first))
    assert tree(tmp_path) == ["jobs", "w.dir", "w.dir/tmp"]
    assert folder.lend(str(second))
    assert second.stat().st_ino == number
    # Output stays, and the next job has another folder.
    (second / "output").touch()
    folder.take_back(str(second))
    assert tree(tmp_path) == ["jobs", "jobs/2", "jobs/2/output"]
    assert folder.lend(str(first)) and tree(first) == ["tmp"]


@pytest.mark.parametrize("harm", [
    lambda tmp: (tmp / "left").touch(), lambda tmp: tmp.chmod(0o500), lambda tmp: tmp.rmdir(),
    lambda tmp: (tmp.rmdir(), tmp.touch()), lambda tmp: tmp.rename(tmp.parent / "moved"),
    lambda tmp: (tmp.rename(tmp.parent.parent / "away"), tmp.symlink_to(tmp.parent.parent / "away")),
    lambda tmp: tmp.parent.chmod(0o500),
], ids=["file", "mode", "gone", "no-folder", "moved", "link", "own-mode"])  # fmt: skip
def test_folder_for_temporary_files_is_new_to_each_job(tmp_path, harm):
    folder = Folder(str(tmp_path / "w.dir"))
    folder.lend(str(tmp_path / "1"))
    harm(tmp_path / "1" / "tmp")
    folder.take_back(str(tmp_path / "1"))
    assert folder.lend(str(tmp_path / "2"))
    temporary = tmp_path / "2" / "tmp"
    assert temporary.is_dir() and not temporary.is_symlink() and os.listdir(temporary) == []
    assert all((tmp_path / "2" / name).stat().st_mode & 0o7777 == 0o700 for name in (".", "tmp"))


def test_folder_of_an_earlier_attempt_is_used(tmp_path):
    folder = Folder(str(tmp_path / "w.dir"))
    (tmp_path / "1" / "tmp").mkdir(parents=True)
    (tmp_path / "1" / "output").write_text("of before")
    assert not folder.lend(str(tmp_path / "1"))
    assert (tmp_path / "1" / "output").read_text() == "of before"
    folder.take_back(str(tmp_path / "1"))
    assert tree(tmp_path / "1") == ["output"]
    assert folder.lend(str(tmp_path / "2"))


def test_record_begins_anew_when_it_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "RECORD_MAX", 10)
    path = tmp_path / "w"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    record = Record(fd)
    for _ in range(2):
        record.begin()
        assert record.write(b"12345\n") == 6
    assert path.read_bytes() == b"12345\n" * 2
    record.begin()
    assert path.read_bytes() == b""
    assert record.write(b"x\n") == 2 and path.read_bytes() == b"x\n"
    assert record.linked
    path.unlink()
    assert not record.linked
    os.close(fd)


def test_variables_are_those_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "VARIABLES_MAX", 3)
    ours, theirs = socket.socketpair()
    worker = Worker(ours, -1, str(tmp_path / "w"), "", None)
    for environment in ({"A": "1", "B": "\udcff"}, {"A": "2"}, {}, {"A": "1", "C": "", "D": "=", "E": "ä"}, {"A": "2"}):
        expected = {name: os.fsencode(f"{name}={value}") for name, value in environment.items()}
        assert worker.variables(environment) == expected
    ours.close()
    theirs.close()


def test_values_are_remembered_by_their_text():
    memo, made = Memo(), []

    def get(text):
        return memo.get(text, lambda: made.append(text) or [text])

    assert get("a") is get("a") and made == ["a"]
    long = "x" * (LONGEST + 1)
    assert get(long) == get(long) == [long] and made == ["a", long, long]
    for number in range(MOST):
        get(str(number))
    get("a")
    assert made[-1] == "a"  # it had made place


@pytest.mark.parametrize("regular", [False, True], ids=["epoll", "poll"])
def test_descriptors_that_are_ready_are_told(tmp_path, regular):
    watcher, told = Watcher(regular), []
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    watcher.watch(fd, READ, told.append)
    assert fd in watcher and list(watcher.ready(0)) == []
    theirs.send(b"x")
    watcher.wait(None)
    watcher.watch(fd, READ | WRITE, told.append)
    watcher.wait(5)
    assert told == [READ, READ | WRITE]
    theirs.close()
    watcher.watch(fd, READ, told.append)
    watcher.wait(5)
    assert told[-1] == READ  # its end is to be read
    # One that the function before gives up is left out.
    other, end = socket.socketpair()
    end.close()
    watcher.watch(other.fileno(), READ, lambda mask: watcher.watch(fd, 0, None))
    watcher.watch(fd, READ, lambda mask: watcher.watch(other.fileno(), 0, None))
    assert len([callback(mask) for callback, mask in watcher.ready(5)]) == 1
    for number in (fd, other.fileno(), 12345):
        watcher.watch(number, 0, None)
        assert number not in watcher
    with open(tmp_path / "file", "w") as file:
        if regular:
            watcher.watch(file.fileno(), WRITE, told.append)
            watcher.wait(5)
            assert told[-1] == WRITE
        else:
            with pytest.raises(OSError) as caught:
                watcher.watch(file.fileno(), WRITE, told.append)
            assert caught.value.errno == errno.EPERM
    watcher.close()
    ours.close()
    other.close()
