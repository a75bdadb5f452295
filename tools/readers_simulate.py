# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the simulator, ``flux-sched replay`` and the tasks of a job bring in, for the fuzzer."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from fluxsched.core import Inventory, PluginError
from fluxsched.formats import sizes
from fluxsched.policy import loader, names
from fluxsched.session.runner import pmi
from fluxsched.simulate import outages, site
from fluxsched.traces.files import TraceError
from readerbase import FOLDER, Reader, file_of, text_of

TOP = Path(__file__).resolve().parent.parent


@functools.lru_cache
def _machine() -> Any:
    return Inventory.from_counts(8, 4)


def _outages(data: bytes) -> None:
    found = outages.read(file_of(data, ".down"), _machine(), 1e9)
    assert found == sorted(found, key=lambda outage: outage[0]) and all(time >= 0 for time, _, _ in found)


def _site(data: bytes) -> None:
    path = file_of(data, ".json" if data.lstrip()[:1] in b"{[" and b"=" not in data else ".toml")
    found = site.Site(path)
    machine = found.inventory()
    found.excluded(_machine() if machine is None else machine)


def _sites() -> list[bytes]:
    return [
        b'[queues.batch]\nrequires = ["batch"]\n[queues.batch.policy.limits]\nduration = "8h"\n'
        b'job-size.max.nnodes = 4\n[queues.debug]\nparent = "batch"\n'
        b'[policy.jobspec.defaults.system]\nqueue = "batch"\nduration = "10m"\n'
        b'[resource]\nexclude = "0"\n[[resource.config]]\nhosts = "n[0-7]"\ncores = "0-3"\nproperties = ["batch"]\n',
        b'{"resource": {"exclude": "1", "config": [{"hosts": "a,b", "cores": "0-1", "gpus": "0", "memory": "4G"}]}}',
    ]


def _record(data: bytes) -> None:
    """The rows of a part, with the checksum that they need; what is no JSON is a part as it is."""
    from fluxsched.twin import trace

    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        rows = None
    if isinstance(rows, list):
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        data += b"#%08x\n" % zlib.crc32(data)
    folder = FOLDER / f"{os.getpid()}-record"
    folder.mkdir(exist_ok=True)
    (folder / "part-000001.jsonl").write_bytes(data)
    trace.read(str(folder))


@functools.lru_cache
def _records() -> list[bytes]:
    sys.path.insert(0, str(TOP / "t"))
    from fakehost import Bench, make_r  # type: ignore[import-not-found]

    found: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        for arguments in ([], ["plugin=backfill.plugin1"]):
            path = Path(folder) / f"record{len(found)}"
            bench = Bench([f"record={path}", *arguments], R=make_r(2, 1))
            bench.alloc(1, duration=200.0, userid=7)
            bench.host.run(10.0)
            bench.alloc(2, slots=2, duration=60.0, userid=8)
            bench.alloc(3, duration=30.0, userid=7, queue="a")
            bench.host.run(10.0)
            bench.free(1)
            bench.host.run(20.0)
            bench.service.stop()
            lines = (path / "part-000001.jsonl").read_bytes().splitlines()
            found.append(json.dumps([json.loads(line) for line in lines if not line.startswith(b"#")]).encode())
    return found


def _size(data: bytes) -> None:
    assert 0 < sizes.parse(text_of(data)) <= sizes.MAX


def _policy(data: bytes) -> None:
    choice = names.choose(text_of(data))
    loader.load_plugin(choice.plugin, choice.options)


def _pmi(data: bytes) -> None:
    found = pmi.fields(data)
    assert all(name and b"=" not in name for name in found)


SIMULATE = {
    "outages": Reader(
        _outages,
        (outages.OutagesError,),
        lambda: [b"0 drain 0-3\n1-02:03:04 down 5 # away\n\n99.5 up 0-5\n", b"2001-09-09T01:46:41Z restart 7\n"],
    ),
    "site": Reader(_site, (site.SiteError,), _sites),
    "record": Reader(_record, (TraceError,), _records, json=True),
    "size": Reader(_size, (sizes.SizeError,), lambda: [b"4G", b"1.5GiB", b"100GB", b"512k"]),
    "policy": Reader(
        _policy,
        (names.PolicyError, PluginError),
        lambda: [b"easy+sjf", b"hybrid4:queue-depth=100", b"easy++", b"backfill.plugin1:order=multifactor:aging=5"],
    ),
    "pmi": Reader(
        _pmi, (pmi.ProtocolError,), lambda: [b"cmd=put kvsname=kvs key=a value=b c", b"cmd=init pmi_version=1"]
    ),
}
