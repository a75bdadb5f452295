# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the record of a scheduler is written: in parts and slices, within its bounds, and onto a disk that is full."""

import errno
import os
import shutil
import time

import pytest

from fakehost import jobspec, make_r
from fluxsched.service import parts as files
from fluxsched.service import recording
from test_record import recorded, replayed, rows, slowly, small_parts


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "record"


def test_a_disk_that_is_full_ends_the_record_and_nothing_else(folder, monkeypatch):
    bench = recorded(folder)
    bench.alloc(1)
    monkeypatch.setattr(files.os, "write", full)
    bench.alloc(2)
    bench.alloc(3)
    assert bench.started(3)
    assert bench.host.texts(3) == [
        f"record: {folder}: No space left on device; nothing is recorded any more"
    ]
    bench.service.stop()
    assert replayed(folder).decisions == 1


def test_what_json_does_not_have_ends_the_record_and_nothing_else(folder):
    bench = recorded(folder)
    bench.alloc(1)
    bench.alloc(2)
    bench.service.recording._note(["add", 1.0, {1, 2}])
    bench.alloc(3)
    assert bench.started(3)
    assert len(bench.host.texts(3)) == 1 and "TypeError: " in bench.host.texts(3)[0]
    assert bench.host.texts(3)[0].endswith("; nothing is recorded any more")
    bench.service.stop()
    assert replayed(folder).decisions == 2


def test_a_state_that_cannot_be_told_ends_the_record_and_nothing_else(folder, monkeypatch):
    small_parts(monkeypatch)
    bench = recorded(folder)
    bench.alloc(1)
    monkeypatch.setattr(recording, "_asked", lambda engine: 1 / 0)
    for jobid in range(2, 12):
        bench.alloc(jobid)
    assert bench.started(11)
    assert [text.partition(": ")[2].partition(": ")[2] for text in bench.host.texts(3)] == [
        "ZeroDivisionError: division by zero; nothing is recorded any more"
    ]
    bench.service.stop()
    assert replayed(folder).decisions >= 2


def test_a_first_state_is_written_in_slices(folder, monkeypatch):
    """What happens meanwhile comes behind it; a kill leaves what there was before, and what was begun goes."""
    small_parts(monkeypatch)
    bench = recorded(folder, R=make_r(4, 1))
    for jobid in range(1, 13):
        bench.alloc(jobid, duration=100.0)
    slowly(monkeypatch, 1)
    bench.service.stop()
    bench = recorded(folder, R=make_r(4, 1))
    for jobid in range(1, 13):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run()
    bench.send("sched.cancel", {"id": 12})
    bench.free(1)
    bench.free(2)
    [begun] = folder.glob("*.new")
    number = int(begun.name[5:11])
    killed = folder.parent / "killed"
    shutil.copytree(folder, killed)
    bench.host.run(1.0)
    bench.free(3)
    bench.service.stop()
    assert not any(path.name.endswith(".new") for path in folder.iterdir())
    assert replayed(folder).decisions > replayed(killed).decisions
    kinds = [row[0] for row in rows(folder, number)]
    assert kinds[:2] == ["head", "inventory"] and {"free", "pass"} <= set(kinds[kinds.index("begun"):])
    bench = recorded(killed)
    bench.service.stop()
    assert not any(path.name.endswith(".new") for path in killed.iterdir())
    replayed(killed)


def test_the_end_comes_while_a_first_state_is_written(folder, monkeypatch):
    bench = recorded(folder)
    slowly(monkeypatch, 1)
    for jobid in range(1, 9):
        bench.alloc(jobid, duration=100.0, run=False)
    bench.host.run()
    bench.service.recording._begin(True)
    assert list(folder.glob("*.new"))
    bench.free(1)
    bench.service.stop()
    assert not list(folder.glob("*.new")) and rows(folder, 2)[-1][0] in ("free", "pass")
    assert replayed(folder).replayed == 2


def test_a_disk_that_is_full_in_a_first_state_leaves_nothing_half(folder, monkeypatch):
    bench = recorded(folder)
    for jobid in range(1, 9):
        bench.alloc(jobid)
    slowly(monkeypatch, 1)
    bench.service.recording._begin(True)
    monkeypatch.setattr(files.os, "write", full)
    bench.host.run(1.0)
    assert len(bench.host.texts(3)) == 1 and "No space left" in bench.host.texts(3)[0]
    assert [path.name for path in folder.iterdir() if path.name != "lock"] == ["part-000001.jsonl"]
    bench.service.stop()
    replayed(folder)


def full(file, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_wait_for_a_second_at_most(folder):
    bench = recorded(folder)
    bench.host.run()
    bench.send("sched.alloc", {"id": 1, "priority": 0, "t_submit": 0.0, "jobspec": jobspec(nodes=99)})
    assert rows(folder)[-1][0] == "begun"
    bench.host.run(1.0)
    assert rows(folder)[-1][0] == "add"


def test_size_is_bounded_and_the_oldest_parts_go(folder):
    bench = recorded(folder, "record-size=64k", R=make_r(2, 2))
    for jobid in range(1, 400):
        bench.alloc(jobid, duration=60.0)
        bench.free(jobid)
        assert sum(path.stat().st_size for _, path in files.numbered(folder)) <= 65536
    bench.service.stop()
    numbers = [number for number, _ in files.numbered(folder)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)) and numbers[0] > 1 and len(numbers) > 8
    run = replayed(folder)
    assert 100 < run.decisions < 399 and run.replayed == len(numbers)


def test_old_parts_go(folder):
    for turn in range(4):
        bench = recorded(folder, "record-age=1h")
        bench.alloc(turn + 1)
        bench.service.stop()
        then = time.time() - (5000 if turn < 2 else 3000)
        os.utime(folder / f"part-{files.numbered(folder)[-1][0]:06}.jsonl", (then, then))
    assert [number for number, _ in files.numbered(folder)] == [3, 4]


def test_a_part_that_is_old_enough_is_followed_by_another(folder):
    bench = recorded(folder, "record-age=1s")
    time.sleep(0.1)
    bench.alloc(1)
    bench.service.stop()
    assert [row["continues"] for row in (rows(folder, number)[0][1] for number in (1, 2))] == [False, True]
    assert replayed(folder).decisions == 1
