# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs (lwj.N) in the KVS of a real instance, and how it is laid out there."""

import base64
import json

import pytest

from fluxinstance import Instance, config_text, flux_command

pytestmark = pytest.mark.flux


def kept(instance, number, field):
    """A field of a record, None if there is none."""
    try:
        return instance.ask("kvs", key=f"lwj.{number}.{field}")
    except FileNotFoundError:
        return None


def layout():
    flux_command()
    from fluxsched.flux.lwj_layout import Layout

    return Layout()


def decoded(steps):
    """Steps by key: a link as "-> target", a directory as a dict of what it holds, a value, or None."""

    def tree(thing):
        if thing["type"] == "symlink":
            return "-> " + thing["data"]["target"]
        if thing["type"] == "dir":
            return {name: tree(each) for name, each in thing["data"].items()}
        return json.loads(base64.b64decode(thing["data"]))

    return {key: value if value is None else tree(json.loads(value)) if isinstance(value, str) else json.loads(value)
            for key, value in steps}


def test_a_new_record_is_one_directory_and_a_change_is_by_field():
    made = layout()
    steps = decoded(made.operations({"lwj.first": 1, "lwj.next": 2, "lwj.1.id": 77, "lwj.1.rank.0.cores": 4}))
    assert steps["lwj-data.0.0.1"] == {"id": 77, "rank": {"0": {"cores": 4}}}
    assert steps["lwj-data.next"] == 2 and steps["lwj.next"] == "-> lwj-data.next"
    assert {key for key in steps if key.startswith("lwj.")} == {f"lwj.{n}" for n in [*range(1, 100), "first", "next"]}
    assert steps["lwj.37"] == "-> lwj-data.0.3.37"
    assert decoded(made.operations({"lwj.1.state": "running"})) == {"lwj-data.0.0.1.state": "running"}


def test_links_go_with_the_last_record_of_their_hundred():
    made = layout()
    made.operations({"lwj.150.id": 1})
    assert decoded(made.operations({"lwj.150": None})) == {"lwj-data.1.5.150": None}
    steps = decoded(made.operations({"lwj.199": None}))
    assert steps == {"lwj-data.1": None, **{f"lwj.{number}": None for number in range(100, 200)}}


def test_a_record_that_is_removed_before_it_is_written():
    assert decoded(layout().operations({"lwj.5.id": 3, "lwj.5": None, "R:1": {"a": 1}, "other": 2})) == {
        "lwj-data.0.0.5": None, "job.0000.0000.0000.0001.R": {"a": 1}, "other": 2,
    }


def test_links_of_a_failed_commit_are_made_again():
    made = layout()
    first = made.operations({"lwj.next": 2, "lwj.1.id": 77})
    made.forget()
    assert made.operations({"lwj.next": 2, "lwj.1.id": 77}) == first


def test_the_newest_are_kept_and_the_rest_is_gone(tmp_path):
    with Instance(tmp_path, size=1, config=config_text(hosts="fake0", cores="0-63")) as instance:
        instance.load("lwj-keep=20")
        instance.flux("submit", "--cc=1-130", "--quiet", "--setattr=exec.test.run_duration=0.01s", "true")
        instance.flux("queue", "drain")
        instance.wait(lambda: kept(instance, 130, "state") == "complete", "the record")
        assert instance.ask("kvs", key="lwj.first") == 111
        assert instance.run("kvs", "dir", "lwj.110").returncode != 0
        assert "lwj.111.state" in instance.flux("kvs", "dir", "lwj.111")
        names = instance.flux("kvs", "ls", "-1", "lwj").split()
        assert min(int(name) for name in names if name.isdigit()) >= 100
        assert instance.flux("kvs", "ls", "lwj-data.1").split() == ["1", "2", "3"]
        # loaded again it goes on where it stopped
        instance.reload("lwj-keep=20")
        jobid = instance.submit()
        instance.event(jobid, "clean")
        instance.wait(lambda: kept(instance, 131, "state") == "complete", "the record")
        assert kept(instance, 131, "id") == jobid
        assert kept(instance, 112, "state") == "complete"


def test_a_job_that_ended_with_all_its_brokers(tmp_path):
    """The instance goes on from its statedir; its job is lost, and the record says so."""
    state = tmp_path / "state"
    state.mkdir()
    options = [f"-Sstatedir={state}"]
    first = Instance(tmp_path, size=1, options=options)
    try:
        first.load()
        jobid = first.submit(run=None, command=["sleep", "600"])
        first.event(jobid, "start")
        first.wait(lambda: kept(first, 1, "state") == "running", "the record")
        first.flux("kvs", "put", "--sync", "checkpoint=1")
    finally:
        first.kill()
    with Instance(tmp_path, size=1, options=options) as second:
        second.load()
        second.wait(lambda: kept(second, 1, "state") == "failed", "the end of the record")
        assert kept(second, 1, "id") == jobid
        assert second.flux("jobs", "-a", "-no", "{status}").split() == ["FAILED"]
