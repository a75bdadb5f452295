# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobs that accept several counts in a real instance, whose ingest lets their jobspecs in."""

import json
import os

import pytest

from fakehost import jobspec
from fluxinstance import Instance, config_text, flux_command
from fluxsched.formats import r

pytestmark = pytest.mark.flux

ANY_VERSION = '[ingest.validator]\nargs = ["--require-version=any"]\n'


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    flux_command()
    with Instance(tmp_path_factory.mktemp("flux"), config=config_text(more=ANY_VERSION)) as made:
        made.load("plugin=backfill.plugin1")
        yield made


def spec_of(nodes, slots=1, cores=4, command=("true",), version=999, **more):
    environment = {"PATH": os.environ["PATH"]}
    spec = jobspec(nodes=nodes, slots=slots, cores=cores, command=command, cwd="/", environment=environment, **more)
    return {**spec, "version": version}


def submit(instance, spec, **options):
    """flux job submit of a file; CompletedProcess."""
    path = instance.folder / "jobspec.json"
    path.write_text(json.dumps(spec))
    return instance.run("job", "submit", str(path), **options)


def accepted(instance, spec):
    done = submit(instance, spec)
    assert done.returncode == 0, done.stderr
    return int(instance.flux("job", "id", "--to=dec", done.stdout.strip()))


@pytest.mark.parametrize("nodes", [{"min": 2, "max": 3}, "2-3"])
def test_version_1_takes_no_ranges(instance, nodes):
    """What RFC 25 says of version 1, and flux-core's validator with it."""
    done = submit(instance, spec_of(nodes, version=1))
    assert done.returncode != 0
    assert "resource count must be an integer for type 'node'" in done.stderr


@pytest.mark.parametrize(("taken", "got"), [(0, 3), (2, 2)])
@pytest.mark.parametrize("nodes", [{"min": 2, "max": 3}, "2-3"])
def test_nodes_that_are_free(instance, nodes, taken, got):
    if taken:
        holder = instance.submit(nodes=taken, slots=1, cores=4, run=60)
        instance.event(holder, "start")
    jobid = accepted(instance, spec_of(nodes, command=("printenv", "FLUX_JOB_SIZE")))
    instance.event(jobid, "clean")
    assert len(r.parse(instance.R(jobid)).ranks) == got
    assert instance.R(jobid)["execution"]["nslots"] == got
    # A task a slot, says flux-core's shell.
    assert instance.flux("job", "attach", str(jobid)).split() == [str(got)] * got
    if taken:
        instance.end(holder)


def test_slots_of_each_node(instance):
    holder = instance.submit(nodes=4, slots=1, cores=1, run=60)
    instance.event(holder, "start")
    jobid = accepted(instance, spec_of("1-2", slots="1-4", cores=1, command=("printenv", "FLUX_JOB_SIZE")))
    instance.event(jobid, "clean")
    assert instance.R(jobid)["execution"]["nslots"] == 6
    assert instance.flux("job", "attach", str(jobid)).split() == ["6"] * 6
    instance.end(holder)


def test_it_waits_for_the_count_that_starts_first(instance):
    """Two nodes come back in a minute, four in two."""
    first = instance.submit(jobspec(nodes=2, cores=4, duration=60.0), run=60)
    second = instance.submit(jobspec(nodes=2, cores=4, duration=120.0), run=60)
    for jobid in (first, second):
        instance.event(jobid, "start")
    jobid = accepted(instance, spec_of("2-4", duration=300.0))
    instance.wait(lambda: instance.annotation(jobid, "t_estimate") is not None, "an estimate")
    due = instance.event(first, "alloc")["timestamp"] + 60
    assert instance.annotation(jobid, "t_estimate") == pytest.approx(due, abs=1.0)
    instance.end(first)
    instance.event(jobid, "clean")
    assert len(r.parse(instance.R(jobid)).ranks) == 2
    instance.end(second)
