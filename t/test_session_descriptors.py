# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the broker has no descriptor left it waits for one, and nothing is lost."""

import errno
import json
import os
from types import SimpleNamespace

from fluxsched.session.broker import background, executor, watch
from fluxsched.session.broker.job import INACTIVE
from fluxsched.session.broker.running import Running


class Later:
    """A loop that keeps what it is to call later."""

    def __init__(self):
        self.calls = []

    def call_later(self, seconds, function):
        self.calls.append(function)


def fail(monkeypatch, module, error):
    """The next file that a module opens fails to."""
    def failing(*arguments, **options):
        monkeypatch.delattr(module, "open")
        raise OSError(error, os.strerror(error), arguments[0])

    monkeypatch.setattr(module, "open", failing, raising=False)


def watched(path):
    """A Watch of a job that is over, its loop, and what it has answered."""
    answers, loop = [], Later()
    channel = SimpleNamespace(when_room=lambda callback: True)
    connection = SimpleNamespace(channel=channel, server=SimpleNamespace(loop=loop))
    request = SimpleNamespace(connection=connection, open=True)
    request.stream = lambda answer: request.open and answers.append(answer)

    def end(*error):
        answers.append(error)
        request.open = False

    request.end, request.error = end, end
    events = [{"name": name} for name in ("start", "finish", "clean")]
    watch.Watch(request, SimpleNamespace(state=INACTIVE, events=events), str(path))
    return loop, answers


def test_output_is_read_when_there_is_a_descriptor(monkeypatch, tmp_path):
    path = tmp_path / "output"
    path.write_text(json.dumps({"s": "stdout", "r": 0, "d": "40\n"}) + "\n")
    fail(monkeypatch, watch, errno.EMFILE)
    loop, answers = watched(path)
    assert answers == [{"event": {"name": "start"}}]
    loop.calls.pop()()
    output = {"output": [{"s": "stdout", "r": 0, "d": "40\n"}]}
    assert answers[1:] == [output, {"event": {"name": "finish"}}, {"event": {"name": "clean"}}, ()]
    assert not loop.calls


def test_output_that_cannot_be_read_is_an_error(monkeypatch, tmp_path):
    fail(monkeypatch, watch, errno.EIO)
    loop, answers = watched(tmp_path / "output")
    assert answers == [{"event": {"name": "start"}}, (errno.EIO, f"{tmp_path}/output: Input/output error")]
    assert not loop.calls


def fail_once(monkeypatch):
    """The next descriptor is one too many."""
    real = os.open

    def failing(path, *arguments):
        monkeypatch.setattr(os, "open", real)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(os, "open", failing)


def test_a_job_is_followed_when_there_is_a_descriptor(monkeypatch, tmp_path):
    out, lines = [], []
    e = executor.Executor.__new__(executor.Executor)
    e.loop, e.claims, e.running = Later(), str(tmp_path), {}
    e.log = lambda *arguments: lines.append(arguments[2])
    running = e.running[7] = Running(e, SimpleNamespace(id=7, info={}, state=0))
    monkeypatch.setattr(e, "_collect", lambda *arguments: out.append(arguments), raising=False)
    claim, event = {"job": 7, "pid": 1}, {"job": 7, "event": "start"}
    lines_of_worker = [{"job": 6, "pid": 1}, {"job": 6, "event": "finish"}, claim, event, []]
    (tmp_path / "7").write_text("".join(json.dumps(line) + "\n" for line in lines_of_worker) + '{"job": 7, "ev')
    fail_once(monkeypatch)
    e._follow(running)
    assert not out and lines == [f"ƒ8: {tmp_path}/7: Too many open files"]
    e.loop.calls.pop()()
    assert out == [(running, claim, [event])]
    assert len(lines) == 1 and not e.loop.calls


def test_a_file_is_synced_when_there_is_a_descriptor(monkeypatch, tmp_path):
    path = tmp_path / "file"
    path.touch()
    fail_once(monkeypatch)
    assert background.sync(str(path)) is None
    assert background.sync(str(tmp_path / "none")).errno == errno.ENOENT
