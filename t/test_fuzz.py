# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The fuzzer: its readers on their examples and on inputs that once were faults, and that it finds and keeps faults."""

import json
import os
import resource
import sys
import time

import pytest

import fuzz
import readers
from mutation import Mutator
from readers import READERS, Reader

KEPT = [(path.parent.name, path) for path in sorted(fuzz.KEPT.glob("*/*"))]


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{name}-{path.name}" for name, path in KEPT])
def test_an_input_that_was_a_fault(name, path):
    """The reader takes it, or refuses it with an error that it declares."""
    assert fuzz.attempt(READERS[name], path.read_bytes())


@pytest.mark.parametrize("name", sorted(READERS))
def test_examples_are_read(name):
    """So that changes of them get beyond the first check."""
    examples = READERS[name].examples()
    assert examples
    for data in examples:
        assert fuzz.attempt(READERS[name], data) == "read", data


@pytest.mark.parametrize("name", sorted(set(READERS) - {"rdl", "socket"}))
def test_a_few_changes(name):
    mutate = Mutator(1, READERS[name].json)
    examples = READERS[name].examples()
    answers = {fuzz.attempt(READERS[name], mutate(examples)) for _ in range(150)}
    assert len(answers) > 1 or not READERS[name].errors


def test_integers_beyond_what_a_float_holds():
    mutate = Mutator(3, True)
    for _ in range(300):
        assert mutate([b"[1%s, -1%s, 5]" % (b"0" * 400, b"0" * 400)])


def test_changes_are_many_and_the_same_for_a_seed():
    corpus = [b'{"a": [1, "x"], "b": {"c": null}}', b"n[0-3],m"]
    one, other = Mutator(7, True), Mutator(7, True)
    made = [one(corpus) for _ in range(400)]
    assert made == [other(corpus) for _ in range(400)]
    assert len(set(made)) > 300
    assert sum(1 for data in made if is_json(data)) > 100


def is_json(data):
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


# what is a fault


class Declared(Exception):
    pass


def raises(data):
    if b"bad" in data:
        raise KeyError("bad")
    if b"no" in data:
        raise Declared("no", 5)


def sleeps(data):
    end = time.process_time() + 5
    while time.process_time() < end:
        pass


def grows(data):
    # Above the peak of this process, which tests before may have raised.
    return len(b"x" * ((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (100 << 20)))


def reader(read, **options):
    return Reader(read, (Declared,), lambda: [b"fine"], **options)


@pytest.mark.parametrize(
    ("read", "kind", "text"),
    [
        (sleeps, "timeout", "more than 0.1 s of processor time"),
        (grows, "memory", "MB for 4 bytes, 20 allowed"),
    ],
)
def test_too_long_and_too_much(read, kind, text):
    with pytest.raises(fuzz.Fault) as caught:
        fuzz.attempt(reader(read, memory=20, seconds=0.1 if read is sleeps else 5), b"data")
    assert caught.value.kind == kind
    assert text in caught.value.text


def test_an_exception_that_is_not_declared_is_cut_down_and_kept(tmp_path):
    one = reader(raises)
    assert fuzz.attempt(one, b"fine") == "read"
    assert fuzz.attempt(one, b"no") == "Declared (_, _)"
    with pytest.raises(fuzz.Fault) as caught:
        fuzz.attempt(one, b"12345 bad 678")
    assert caught.value.kind.startswith("KeyError ")
    assert "test_fuzz.py" in caught.value.kind
    assert fuzz.shrink(one, b"12345 bad 678", caught.value.kind) == b"bad"
    path = fuzz.keep("one", b"bad", tmp_path)
    assert path.read_bytes() == b"bad"
    assert fuzz.kept("one", tmp_path) == [path]
    assert fuzz.kept("two", tmp_path) == []


PROCESS = """
import os, sys, time
sys.path[:0] = {path!r}
import fuzz, readers
def faulty(data):
    if data != b"fine":
        {action}
readers.READERS["t"] = readers.Reader(faulty, (), lambda: [b"fine"])
sys.exit(fuzz.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("pass", "kinds of answer, 0 faults"),
        ("raise KeyError(5)", "KeyError: 5"),
        ("os.abort()", "the process died with code -6 at input 2"),
        ("time.sleep(1000)", "no answer for 2 s at input 2"),
    ],
    ids=["sound", "raises", "dies", "blocks"],
)
def test_a_process_for_each_reader(action, told, tmp_path, capfd):
    """Also one that dies or never answers is told with its input, and kept."""
    script = tmp_path / "faulty.py"
    script.write_text(PROCESS.format(path=[p for p in sys.path if p], action=action))
    code = fuzz.watch("t", 0.5, seed=3, folder=tmp_path / "kept", patience=2.0, script=str(script))
    out = capfd.readouterr().out
    assert told in out
    kept = fuzz.kept("t", tmp_path / "kept")
    if action == "pass":
        assert (code, kept) == (0, [])
    else:
        assert code == 1
        assert len(kept) == 1
        assert str(kept[0]) in out


def test_a_reader_that_there_is_not(capsys):
    assert fuzz.main(["nosuch"]) == 2
    assert capsys.readouterr().err.startswith("fuzz: nosuch: expected some of jobspec, r,")


def test_a_session_that_logs_a_traceback_is_a_fault(monkeypatch):
    class Session:
        process = type("Process", (), {"poll": staticmethod(lambda: None)})
        log = "ok"

        def __call__(self, *words):
            return self.log

    one = readers.Socket.__new__(readers.Socket)
    one.session = Session()
    one.look()
    one.session.log = "x\nTraceback (most recent call last)\n"
    with pytest.raises(AssertionError, match="Traceback"):
        one.look()
    monkeypatch.setattr(Session.process, "poll", staticmethod(lambda: 1))
    with pytest.raises(AssertionError, match="has ended"):
        one.look()
    assert os.path.isdir(readers.FOLDER)
