# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make fuzz``: nearly right inputs for every reader, and for a session's socket.

Each reader (tools/readers.py) runs in a process of its own for FUZZ_SECONDS, a minute if not set. A fault is an
exception that the reader does not declare, a process that dies, an input that takes longer or more memory than the
reader may. Its input is cut down and written to t/data/fuzz/READER/, where t/test_fuzz.py finds it from then on.

An input whose answer is of a new kind (another error, or the same with other words) joins those that are changed next.
That needs no instrumented build and serves compiled readers as well.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

from mutation import MAX_INPUT, Mutator

TOP = Path(__file__).resolve().parent.parent
KEPT = TOP / "t" / "data" / "fuzz"
HEAD = struct.Struct("QQ")  # inputs so far, bytes of the one at work
MEGABYTE = 1 << 20
CORPUS_MAX = 1000
SHRINK_SECONDS = 10.0


class Fault(Exception):
    """What is wrong with a reader: `kind` tells two faults apart, `text` is for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Timeout(BaseException):
    """An input takes too long."""


def _ring(signum: int, frame: Any) -> None:
    # Other handlers only note a signal for a loop. What is to be stopped here is the reader's own loop, which looks at
    # no note; all that it has begun is dropped with it.
    raise Timeout


def attempt(reader: Any, data: bytes) -> str:
    """Read an input; the kind of answer. Raises Fault."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, reader.seconds)
    try:
        reader.read(data)
        answer = "read"
    except reader.errors as error:
        answer = re.sub(r"(['\"]).*\1|\d+", "_", f"{type(error).__name__} {str(error)[:200]}")
    except Timeout:
        raise Fault("timeout", f"more than {reader.seconds} s of processor time") from None
    except MemoryError:
        raise Fault("memory", "memory ran out") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        raise Fault(f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}", text) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - before
    if grown > reader.memory:
        raise Fault("memory", f"{grown} MB for {len(data)} bytes, {reader.memory} allowed")
    return answer


def shrink(reader: Any, data: bytes, kind: str) -> bytes:
    """A shorter input with the same fault."""

    def same(shorter: bytes) -> bool:
        try:
            attempt(reader, shorter)
        except Fault as fault:
            return fault.kind == kind
        return False

    deadline = time.monotonic() + SHRINK_SECONDS
    size = len(data) // 2
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(data) and time.monotonic() < deadline:
            shorter = data[:start] + data[start + size :]
            if same(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data


def keep(name: str, data: bytes, folder: Path = KEPT) -> Path:
    """Write an input where the tests find it."""
    path = folder / name / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def kept(name: str, folder: Path = KEPT) -> list[Path]:
    """The inputs of a reader that were faults once."""
    return sorted((folder / name).glob("*"))


def inputs(reader: Any, name: str, seed: int, note: Callable[[str], bool]) -> Iterator[bytes]:
    """Examples, what was kept, then changes of them without end. `note(answer)` says whether the last answer is new."""
    corpus = [*reader.examples(), *(path.read_bytes() for path in kept(name))]
    yield from corpus
    mutate = Mutator(seed, reader.json)
    while True:
        data = mutate(corpus)
        yield data
        if note("") and len(data) < 1 << 16 and len(corpus) < CORPUS_MAX:
            corpus.append(data)


def work(reader: Any, name: str, seconds: float, seed: int, shared: mmap.mmap, folder: Path) -> int:
    """The process of a reader; the number of faults, which it tells and keeps."""
    answers: set[str] = set()
    faults: set[str] = set()
    last = [""]
    deadline = time.monotonic() + seconds
    count = 0
    for data in inputs(reader, name, seed, lambda text: last[0] == "new"):
        count += 1
        shared[: HEAD.size + len(data)] = HEAD.pack(count, len(data)) + data
        try:
            answer = attempt(reader, data)
        except Fault as fault:
            last[0] = ""
            if fault.kind not in faults:
                faults.add(fault.kind)
                path = keep(
                    name, data if fault.kind in ("timeout", "memory") else shrink(reader, data, fault.kind), folder
                )
                print(f"{name}: {fault.text}\n{name}: kept as {path}", flush=True)
        else:
            last[0] = "" if answer in answers else "new"
            answers.add(answer)
        if time.monotonic() > deadline:
            break
    print(f"{name}: {count} inputs, {len(answers)} kinds of answer, {len(faults)} faults (seed {seed})", flush=True)
    return len(faults)


def child(words: list[str]) -> int:
    """``fuzz.py --child NAME SECONDS SEED SHARED FOLDER``"""
    from readers import READERS

    name, seconds, seed, shared, folder = words
    reader = READERS[name]
    with open(shared, "r+b") as file:
        view = mmap.mmap(file.fileno(), HEAD.size + MAX_INPUT)
    # What a reader takes beyond its bound by far fails at once and not by the machine's end.
    resource.setrlimit(resource.RLIMIT_AS, ((reader.memory + 4096) * MEGABYTE, resource.RLIM_INFINITY))
    return 1 if work(reader, name, float(seconds), int(seed), view, Path(folder)) else 0


def activity(pid: int) -> tuple[float, bool]:
    """Seconds that a process has computed, and whether it is asleep."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, False
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), fields[0] in "SD"


def watch(
    name: str, seconds: float, seed: int, folder: Path = KEPT, patience: float = 60.0, script: str = __file__
) -> int:
    """Run the process of a reader; 1 if there were faults, which also are its death and its silence."""
    with tempfile.NamedTemporaryFile(prefix="fuzz-") as file:
        file.truncate(HEAD.size + MAX_INPUT)
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            script,
            "--child",
            name,
            str(seconds),
            str(seed),
            file.name,
            str(folder),
        ]
        process = subprocess.Popen(command)
        seen, since, used = -1, 0.0, 0.0
        while True:
            try:
                code = process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                count = HEAD.unpack(Path(file.name).read_bytes()[: HEAD.size])[0]
                now, (cpu, asleep) = time.monotonic(), activity(process.pid)
                # Before the first input it loads its modules. One that is not asleep waits for a busy machine at most.
                if count != seen or not count:
                    seen, since, used = count, now, cpu
                elif not asleep:
                    since = now
                if cpu - used > patience or now - since > patience:
                    process.kill()
                    process.wait()
                    code = -signal.SIGKILL
                    break
        if code in (0, 1):
            return code
        raw = Path(file.name).read_bytes()
        count, length = HEAD.unpack(raw[: HEAD.size])
        what = f"no answer for {patience:g} s" if code == -signal.SIGKILL else f"the process died with code {code}"
        path = keep(name, raw[HEAD.size : HEAD.size + length], folder)
        print(f"{name}: {what} at input {count} (seed {seed})\n{name}: kept as {path}", flush=True)
    return 1


def main(words: list[str]) -> int:
    """Fuzz the readers that are named, or all; 1 if there were faults."""
    if words[:1] == ["--child"]:
        return child(words[1:])
    from readers import READERS

    unknown = [name for name in words if name not in READERS]
    if unknown:
        print(f"fuzz: {unknown[0]}: expected some of {', '.join(READERS)}", file=sys.stderr)
        return 2
    seconds = float(os.environ.get("FUZZ_SECONDS", "60"))
    seed = int(os.environ.get("FUZZ_SEED", str(time.time_ns() % 10**6)))
    codes = [watch(name, seconds, seed) for name in words or READERS]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
