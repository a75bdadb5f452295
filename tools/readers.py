# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Everything that reads what others wrote, as functions of bytes for the fuzzer, each with valid examples.

A reader returns, or raises one of the errors that it declares; anything else is a fault. What it returned is checked
where something must hold of it: what is written again reads back equal.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import json
import os
import random
import socket
from pathlib import Path
from typing import Any, Callable

from fluxsched.formats import constraint, duration, eventlog, hostlist, idset, jobspec, quote, r, rdl, taskmap
from fluxsched.traces.files import TraceError
from readerbase import FOLDER, BadJSON, Reader, dump, file_of, loads, text_of
from readers_simulate import SIMULATE

TOP = Path(__file__).resolve().parent.parent


# formats


def _jobspec(data: bytes) -> None:
    value = loads(data)
    request = jobspec.parse(value)
    slots = request.nslots * max(1, request.nnodes)
    jobspec.task_count(value, slots, max(1, request.nnodes), slots * request.cores)


def _jobspecs() -> list[bytes]:
    def spec(*resources: Any, **system: Any) -> dict[str, Any]:
        task = {"command": ["app"], "slot": "task", "count": {"per_slot": 1}}
        attributes = {"system": {"duration": 60, **system}}
        return {"version": 1, "resources": list(resources), "tasks": [task], "attributes": attributes}

    def slot(count: Any, *inner: Any) -> dict[str, Any]:
        return {"type": "slot", "count": count, "label": "task", "with": list(inner)}

    core, gpu = {"type": "core", "count": 2}, {"type": "gpu", "count": 1}
    memory = {"type": "memory", "count": 4, "unit": "GB"}
    per = {"shell": {"options": {"per-resource": {"type": "node", "count": 2}}}}
    return dump(
        spec(slot(4, core)),
        spec(slot(2, core, gpu), queue="batch", constraints={"properties": ["big", "^old"]}),
        spec({"type": "node", "count": 2, "exclusive": True, "with": [slot(1, core)]}, **per),
        spec(slot(1, {"type": "node", "count": {"min": 2, "max": 8, "operand": 2, "operator": "*"}, "with": [core]})),
        spec({"type": "rack", "count": 1, "with": [{"type": "node", "count": "1-4", "with": [slot(1, core, memory)]}]}),
    )


def _r(data: bytes) -> None:
    value = loads(data)
    nodes = r.parse(value)
    again = r.emit(
        nodes.ranks, nodes.hosts, nodes.cores, nodes.gpus, nodes.properties, nodes.starttime, nodes.expiration
    )
    assert r.parse(again) == nodes, "what is written does not read back equal"
    r.summary(value), r.folded(value), r.ranks_of(value), r.public_properties(nodes.properties)


def _rs() -> list[bytes]:
    def R(lite: list[Any], nodelist: list[str], **more: Any) -> dict[str, Any]:
        return {"version": 1, "execution": {"R_lite": lite, "nodelist": nodelist, **more}}

    two = [{"rank": "0-1", "children": {"core": "0-3"}}, {"rank": "5", "children": {"core": "0,2-3", "gpu": "0"}}]
    return dump(
        R([{"rank": "0", "children": {"core": "0"}}], ["n0"], starttime=0, expiration=0),
        R(two, ["n[0-1,7]"], starttime=1.5, expiration=100.0, properties={"big": "0-1", "old": "5"}),
        {**R(two, ["a", "b", "c"]), "scheduling": {"pools": {}}},
    )


class View:
    """64 nodes of nobody."""

    all = 2**64 - 1

    def property(self, name: str) -> int:
        """Every other node."""
        return 0x5555555555555555

    def hosts(self, names: list[str]) -> int:
        """One for each name."""
        return (1 << len(names)) - 1

    def ranks(self, ranks: str) -> int:
        """Those below 64."""
        return sum(1 << rank for rank in idset.ids(ranks) if rank < 64)


def _constraint(data: bytes) -> None:
    value = loads(data)
    constraint.validate(value)
    found = constraint.evaluate(value, View())
    assert 0 <= found <= View.all, "nodes that there are not"


def _constraints() -> list[bytes]:
    return dump(
        {}, {"properties": ["a", "^b"]}, {"hostlist": ["n[0-3],m"]}, {"ranks": ["0-3,7"]},
        {"and": [{"or": [{"properties": ["a"]}, {"ranks": ["1"]}]}, {"not": [{"hostlist": ["x"]}]}]},
    )  # fmt: skip


def _idset(data: bytes) -> None:
    found = idset.ranges(text_of(data))
    assert idset.ranges(idset.encode_ranges(found)) == found, "what is written does not read back equal"
    if idset.count(found) <= 10000:
        assert idset.encode(idset.ids(text_of(data))) == idset.encode_ranges(found)


def _hostlist(data: bytes) -> None:
    names = hostlist.decode(text_of(data), 10000)
    assert hostlist.decode(hostlist.encode(names)) == names, "what is written does not read back equal"


def _duration(data: bytes) -> None:
    text = text_of(data)
    assert duration.parse(text) >= 0
    if data[:1].isdigit() and b"." not in data:
        try:
            number = json.loads(data)
        except ValueError:
            return
        duration.parse(number)


def _eventlog(data: bytes) -> None:
    events = eventlog.entries(text_of(data))
    assert all(isinstance(event["name"], str) and isinstance(event["context"], dict) for event in events)
    eventlog.expiration(events)


def _quote(data: bytes) -> None:
    text = text_of(data)
    for value in (text, data, loads(data) if data[:1] in b'[{"0123456789' else None):
        shown = quote.quote(value)
        assert len(shown) < 1000 and shown.isprintable()
    shown = quote.printable(text)
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in shown)
    assert quote.is_utf8(shown)


def _events() -> list[bytes]:
    event = {"timestamp": 1.5, "name": "submit", "context": {"userid": 1, "urgency": 16}}
    update = {"timestamp": 2, "name": "resource-update", "context": {"expiration": 100.0}}
    return [b"\n".join(dump(event, update)) + b"\n", *dump(update, event)]


def _rdl(data: bytes) -> None:
    store = rdl.open_text(text_of(data).encode("utf-8", "replace").decode())
    for name in store.hierarchies():
        store.hierarchy(name), store.aggregate(name), store.resource(name)
    store.find(type="node", available=True)
    assert rdl.open_text(store.serialize()).serialize() == store.serialize(), "what is written does not read back equal"


def _rdls() -> list[bytes]:
    small = (
        b'uses "Node"\nHierarchy "default" { Resource { "cluster", name = "c", tags = { "x", y = 3 }, children = {\n'
        b'  ListOf { Node, ids = "0-3", args = { name = "n", sockets = { "0-1", "2-3" }, memory_per_socket = 100 } },\n'
        b'  Resource { "gpu", ids = "0-1", size = 2, allocated = 1, properties = { big = true } } } } }\n'
    )
    derived = (
        b'N = uses("Node"):subclass "N"\nfunction N:initialize(arg) Node.initialize(self, arg)\n'
        b'self:add_child(Resource { "gpu", ids = "0-3" }) end\nN:default_tags { "a" }\n'
        b'Hierarchy "default" { Resource { "rack", children = { N { name = "n", id = 1, sockets = { "0" } } } } }\n'
        b'Hierarchy "default:/rack" { Resource { "pool", id = 7 } }\n'
    )
    loop = (
        b'local t = {}\nfor i = 1, 3 do t[#t + 1] = Resource { "node", id = i } end\n'
        b'Hierarchy "d" { Resource { "c", children = t } }\n'
    )
    return [small, derived, loop]


# job traces


def _trace(form: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        from fluxsched.traces import swf
        from fluxsched.traces.load import load

        trace = load(file_of(data, ".trace"), form)
        path = str(FOLDER / f"{os.getpid()}.swf")
        swf.write(trace, path)
        again = load(path)
        assert set(again.job_id) == set(trace.job_id), "jobs are lost in writing"

    return read


def _swfs() -> list[bytes]:
    head = b"; MaxProcs: 128\n; MaxNodes: 64\n; UnixStartTime: 1000000000\n"
    lines = [b"%d %d -1 %d 4 -1 -1 4 600 -1 1 1 1 1 1 -1 -1 -1\n" % (i, i * 10, 100 + i) for i in range(1, 6)]
    return [head + b"".join(lines), lines[0], gzip.compress(head + lines[0] + lines[1].replace(b" 1 1 1", b" 5 1 1"))]


def _csvs() -> list[bytes]:
    head = b"JobID|User|JobName|Account|Partition|NNodes|NCPUS|Timelimit|State|Submit|Start|Elapsed|End\n"
    rows = [
        b"7|ann|a|x|p|2|4K|1-02:03:04|COMPLETED|2020-01-01T00:00:00|2020-01-01T00:01:00|00:10:00|2020-01-01T00:11:00\n",
        b"7.batch|ann|batch||p|1|2||COMPLETED|2020-01-01T00:00:00|2020-01-01T00:01:00|00:10:00|2020-01-01T00:11:00\n",
        b"8_1|bob|b, c|x|p|1|1|UNLIMITED|CANCELLED by 5|2020-01-01T00:00:10|Unknown|00:00:00|2020-01-01T00:11:00\n",
    ]
    tres = b'jobid,submit,elapsedraw,AllocTRES,ReqTRES,IORate(MB),UID\n1,5,60,"cpu=4,mem=1G,node=2",cpu=4,3.5,10\n'
    return [head + b"".join(rows), head + rows[0], tres]


def _flux_jobs() -> list[bytes]:
    job = {"id": 1234, "userid": 5, "t_submit": 10.5, "t_run": 12.5, "t_cleanup": 20.0, "t_inactive": 20.5, "ncores": 4}
    more = {
        **job,
        "id": 99,
        "nnodes": 2,
        "ntasks": 4,
        "duration": 60.0,
        "queue": "q",
        "bank": "b",
        "result": "COMPLETED",
    }
    core = {"type": "slot", "count": 2, "label": "task", "with": [{"type": "core", "count": 2}]}
    after = [{"scheme": "afterok", "value": "99"}, {"scheme": "begin-time", "value": "15"}]
    system = {"duration": 60, "constraints": {"properties": ["a"]}, "dependencies": after}
    task = {"command": ["app"], "slot": "task", "count": {"per_slot": 1}}
    spec = {"version": 1, "resources": [core], "tasks": [task], "attributes": {"system": system}}
    listed = json.dumps({"jobs": [job, more]}).encode()
    return [listed, json.dumps([more]).encode(), b"%s\n1234 %s\n" % (listed, json.dumps(spec).encode())]


# the session and the module


@functools.lru_cache
def _parsed(path: str) -> Any:
    from fluxsched.session.commands import start

    return start.parser().parse_args(["-c", path])


def _config(data: bytes) -> None:
    from fluxsched.service import resources, settings
    from fluxsched.session.broker import ranks
    from fluxsched.session.commands import start

    path = file_of(data, ".json" if data.lstrip()[:1] in b"{[" and b"=" not in data else ".toml")
    options = start._options(_parsed(path))
    ranks.configured(options.config.get("resource", {}))
    settings.parse([], options.config.get("sched"))
    resources.unknown_keys(options.config)


def _configs() -> list[bytes]:
    return [
        b'[queues.batch]\nrequires = ["batch"]\n[policy.jobspec.defaults.system]\nqueue = "batch"\n'
        b'[[resource.config]]\nhosts = "n[1-6]"\ncores = "0-3"\ngpus = "0-1"\nproperties = ["batch"]\n'
        b'[exec]\nkill-timeout = "5s"\n[sched]\nplugin = "backfill.plugin1"\nplugin-opts = { reserve-depth = 4 }\n',
        b"[sched]\nqueue-depth = 3\nlwj-keep = 10\nsched-once = true\nverbosity = 1\n",
        b'{"queues": {"a": {"requires": ["a"]}}, "exec": {"kill-timeout": 5}, "sched": {"plugin": "x"}}',
    ]


def _errors_of_config() -> tuple[type[BaseException], ...]:
    from fluxsched.service.settings import ArgumentError
    from fluxsched.session.errors import SessionError

    return (ArgumentError, SessionError)


def _job_id(data: bytes) -> None:
    from fluxsched.session import jobid

    value = jobid.parse(text_of(data))
    for show in (jobid.f58, jobid.dothex, jobid.kvs):
        assert jobid.parse(show(value)) == value


def _taskmap(data: bytes) -> None:
    nodes = taskmap.decode(text_of(data))
    if len(nodes) <= 4096:
        for show in (taskmap.to_json, taskmap.to_pmi):
            assert taskmap.decode(show(nodes)) == nodes


def _directives(data: bytes) -> None:
    from fluxsched.session.commands import directives

    assert all(words for _, words in directives.parse(text_of(data)))


def _errors_of_directives() -> tuple[type[BaseException], ...]:
    from fluxsched.session.commands.directives import DirectiveError

    return (DirectiveError,)


def _begin_time(data: bytes) -> None:
    from fluxsched.session.commands import begintime

    assert begintime.parse(text_of(data)) >= 0


def _shell_options(data: bytes) -> None:
    from fluxsched.session import shelloptions

    options = loads(data)
    if isinstance(options, dict):
        shelloptions.check(options)


def _errors_of_shell_options() -> tuple[type[BaseException], ...]:
    from fluxsched.session.shelloptions import OptionError

    return (BadJSON, OptionError)


def _requires(data: bytes) -> None:
    from fluxsched.session.commands import requires

    constraint.validate(requires.parse(text_of(data)))


def _output_format(data: bytes) -> None:
    from fluxsched.session.commands.outputformat import FormatError, OutputFormat

    row = {"id": 5, "name": "sleep\n", "t_submit": 1e9, "runtime": 61.5, "none": None, "empty": ""}
    try:
        form = OutputFormat(text_of(data), lambda field: field.upper() if field in row else None, dict.get)
        for text in form.lines([row, {}], True):
            assert len(text) < 1 << 17
    except FormatError:
        raise ValueError from None


class Socket:
    """An embedded session that gets lines from anybody. It must answer, live on, and log no traceback."""

    def __init__(self) -> None:
        import sys

        sys.path.insert(0, str(TOP / "t"))
        import embedded

        self.session = embedded.Session("-s2")
        atexit.register(self.session.close)
        self.session("submit", "--urgency=hold", "--setattr=exec.test.run_duration=0.01s", "true")
        self.path = self.session.uri[len("local://") :]
        self.count = 0

    def connect(self) -> socket.socket:
        """A connection to it."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(self.path)
        return sock

    def __call__(self, data: bytes) -> None:
        """Send the input in pieces, then see whether the session still answers another."""
        cuts = random.Random(len(data))
        with self.connect() as sock:
            try:
                start = 0
                while start < len(data):
                    step = cuts.randrange(1, 1 + 2 * len(data))
                    sock.sendall(data[start : start + step])
                    start += step
                sock.sendall(b"\n")
                if cuts.random() < 0.5:
                    sock.settimeout(0.02)
                    sock.recv(65536)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass  # it may well hang up
        with self.connect() as sock:
            sock.sendall(b'{"id":1,"topic":"attr.get","payload":{"name":"size"}}\n')
            answer = sock.recv(65536)
            assert answer, "the session does not answer"
        self.count += 1
        if self.count % 200 == 0:
            self.look()

    def look(self) -> None:
        """Its process and its log."""
        assert self.session.process.poll() is None, "the session has ended"
        log = self.session("dmesg")
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]


def _socket(data: bytes) -> None:
    global _session
    if _session is None:
        _session = Socket()
    _session(data)


_session: Socket | None = None


def _messages() -> list[bytes]:
    import sys

    sys.path.insert(0, str(TOP / "t"))
    from test_session_rpc import declarations

    found = []
    values: dict[str, Any] = {
        "id": 1, "ids": [1], "name": "size", "key": "a", "keys": ["a"], "targets": "0", "reason": "r",
        "jobspec": {}, "size": 1,
    }  # fmt: skip
    for entry in declarations():
        if entry.topic.split(".")[-1] in ("exit", "stop", "kill", "raise") or "exec" in entry.topic:
            continue
        payload = {name: values.get(name, 0) for name in entry.fields}
        found += dump({"id": 7, "topic": entry.topic, "payload": payload})
    return found


READERS = {
    "jobspec": Reader(_jobspec, (BadJSON, jobspec.JobspecError), _jobspecs, json=True),
    "r": Reader(_r, (BadJSON, r.RError), _rs, json=True),
    "constraint": Reader(_constraint, (BadJSON, constraint.ConstraintError), _constraints, json=True),
    "idset": Reader(_idset, (idset.IdsetError,), lambda: [b"0-3,7", b"", b"5", b"[0-1,9]"]),
    "hostlist": Reader(_hostlist, (hostlist.HostlistError,), lambda: [b"n[0-3],m", b"a,b", b"x[01-10,7]y", b""]),
    "duration": Reader(
        _duration, (duration.DurationError,), lambda: [b"1.5h", b"30", b"inf", b"250ms", b"0x1p3s", b"7"]
    ),
    "eventlog": Reader(_eventlog, (), _events),
    "quote": Reader(_quote, (BadJSON,), lambda: [b"name\n\x1b[2J", b'{"a": [1]}', b'"\\ud800"', b"123456"]),
    "rdl": Reader(_rdl, (rdl.RDLError,), _rdls, memory=2048, seconds=20),
    "swf": Reader(_trace("swf"), (TraceError,), _swfs),
    "sacct": Reader(_trace("csv"), (TraceError,), _csvs),
    "flux-jobs": Reader(_trace("flux"), (TraceError,), _flux_jobs, json=True),
    "config": Reader(_config, _errors_of_config(), _configs),
    "jobid": Reader(
        _job_id, (ValueError,), lambda: ["ƒ2n6X".encode(), b"f2n6X", b"123", b"0x1f", b"0000.0001.0002.0003"]
    ),
    "requires": Reader(_requires, (ValueError,), lambda: [b"a and not (b or ^c)", b"host:n[1-3] rank:0-3", b"a|b&c"]),
    "taskmap": Reader(
        _taskmap,
        (taskmap.TaskmapError,),
        lambda: [b"[[0,2,4,1]]", b'{"version":1,"map":[[0,2,1,2]]}', b"0-3;4-7", b"(vector,(0,2,4),(1,1,1))"],
    ),
    "shell-options": Reader(
        _shell_options,
        _errors_of_shell_options(),
        lambda: [
            b'{"pmi": "simple,off", "taskmap": {"scheme": "manual", "value": "0-3;4-7"}, "gpu-affinity": "per-task"}',
            b'{"cpu-affinity": "verbose,dry-run,map:0-3;4-7", "taskmap": {"scheme": "cyclic", "value": "2"}}',
            b'{"cpu-affinity": "map:0xf,0xf0;0x3", "pmi": "off"}',
        ],
        json=True,
    ),
    "directives": Reader(
        _directives,
        _errors_of_directives(),
        lambda: [
            b"#!/bin/sh\n#flux: -N2 -t 10m # so long\n#flux: --job-name='a b'\n\ntrue\n",
            b'#FLUX: --env=X="""\n#FLUX: a\n#FLUX: """\n# note\n#FLUX: -n1\n',
        ],
    ),
    "begin-time": Reader(
        _begin_time,
        (ValueError,),
        lambda: [b"+1h", b"-5m", b"now", b"2030-01-31 12:00", b"tomorrow 8am", b"in 2 hours", b"next monday 5pm"],
    ),
    "output-format": Reader(
        _output_format,
        (ValueError,),
        lambda: [b"{id:>5} {name:<10.10+} {runtime!F:h}", b"sort:-id ?:{none} {t_submit!d:%b%d::>12}"],
    ),
    **SIMULATE,
    "socket": Reader(_socket, (), _messages, json=True, memory=64),
}
