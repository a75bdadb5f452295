# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs (lwj.N) in the KVS of a real instance, and how it is laid out there."""

import base64
import json

import pytest

from fluxinstance import Instance, config_text, flux_command

pytestmark = pytest.mark.flux

BLOCK = 100


def kept(instance, number, field):
    """A field of a record, None if there is none."""
    try:
        return instance.ask("kvs", key=f"lwj.{number}.{field}")
    except FileNotFoundError:
        return None


def layout():
    flux_command()
    from fluxsched.flux import lwj_layout

    assert lwj_layout.BLOCK == BLOCK
    return lwj_layout.Layout()


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


RESERVED = {"state": "reserved"}


def test_a_record_is_one_directory_each_time_until_its_job_is_over():
    made = layout()
    steps = decoded(made.operations({"lwj.first": 1, "lwj.next": 2, "lwj:1": {"id": 77, "rank.0.cores": 4}}))
    assert steps["lwj-data.0.0.1"] == {"id": 77, "rank": {"0": {"cores": 4}}}
    assert steps["lwj-data.next"] == 2 and steps["lwj.next"] == "-> lwj-data.next"
    assert decoded(made.operations({"lwj:1": {"state": "running"}})) == {
        "lwj-data.0.0.1": {"id": 77, "rank": {"0": {"cores": 4}}, "state": "running"},
    }
    made.operations({"lwj:1": {"state": "complete"}})
    # nothing is known of it any more, as of one from before the module was loaded
    assert decoded(made.operations({"lwj:1": {"state": "null"}})) == {"lwj-data.0.0.1.state": "null"}


def test_every_link_leads_somewhere():
    made = layout()
    steps = decoded(made.operations({"lwj:1": {"id": 77}, "lwj:3": {"id": 79}}))
    assert {key for key in steps if key.startswith("lwj.")} == {f"lwj.{number}" for number in range(1, BLOCK)}
    # what no job has is written by ten where none of ten has one
    assert steps["lwj-data.0.9"] == {str(number): RESERVED for number in range(90, 100)}
    for number in range(1, BLOCK):
        place, _, name = steps[f"lwj.{number}"].removeprefix("-> ").rpartition(".")
        record = steps[place][name] if place in steps else steps[f"{place}.{name}"]
        assert record == {1: {"id": 77}, 3: {"id": 79}}.get(number, RESERVED)
    # the next one takes its place, and has its link
    assert decoded(made.operations({"lwj:4": {"id": 80}})) == {"lwj-data.0.0.4": {"id": 80}}
    assert f"lwj.{BLOCK}" in decoded(made.operations({f"lwj:{BLOCK}": {"id": 99}}))


def test_a_record_that_comes_after_later_ones_is_linked_and_takes_nothing_from_them():
    made = layout()
    made.operations({"lwj:22": {"id": 3}})
    steps = decoded(made.operations({"lwj:21": {"id": 2}}))
    assert steps == {"lwj-data.0.2.21": {"id": 2}, "lwj.21": "-> lwj-data.0.2.21"}


def test_ten_records_that_change_together_are_one_directory():
    made = layout()
    records = {f"lwj:{number}": {"id": number} for number in range(10, 20)}
    steps = decoded(made.operations(records))
    assert steps["lwj-data.0.1"] == {str(number): {"id": number} for number in range(10, 20)}
    assert all(steps[f"lwj.{number}"] == f"-> lwj-data.0.1.{number}" for number in range(10, 20))
    # beside it the links of the rest of the block, and eight directories of what no job has
    assert len(steps) == 1 + 90 + 8


def test_records_that_are_not_kept_go_with_their_block_and_the_next_links():
    made = layout()
    made.operations({f"lwj:{number}": {"id": number} for number in range(1, 2 * BLOCK)})
    assert made.operations({f"lwj:{number}": None for number in range(1, BLOCK)}) == []
    steps = decoded(made.operations({f"lwj:{2 * BLOCK}": {"id": 200}}))
    gone = {key for key, value in steps.items() if value is None}
    assert gone == {"lwj-data.0", *(f"lwj.{number}" for number in range(1, BLOCK))}
    # several blocks do not wait
    steps = decoded(made.operations({f"lwj:{number}": None for number in range(BLOCK, 3 * BLOCK)}))
    assert set(steps) == {"lwj-data.1", "lwj-data.2", *(f"lwj.{number}" for number in range(BLOCK, 3 * BLOCK))}
    assert set(steps.values()) == {None}
    # the number 200 was known, and is not any more
    assert decoded(made.operations({"lwj:200": {"state": "running"}})) == {"lwj-data.2.0.200.state": "running"}


def test_other_keys_go_where_they_belong():
    assert decoded(layout().operations({"R:1": {"a": 1}})) == {"job.0000.0000.0000.0001.R": {"a": 1}}


def test_links_of_a_failed_commit_are_made_again_and_overwrite_nothing():
    made = layout()
    first = made.operations({"lwj.next": 2, "lwj:1": {"id": 77}})
    made.forget()
    again = made.operations({"lwj.next": 2, "lwj:1": {"id": 77}})
    assert {key for key, _ in again} <= {key for key, _ in first} and ("lwj-data.0.0.1" in dict(again))
    made.forget()
    steps = decoded(made.operations({"lwj:5": {"id": 78}}))
    made.forget()
    steps = decoded(made.operations({"lwj:4": {"id": 79}}))
    assert "lwj-data.0.0.5" not in steps and steps["lwj.5"] == "-> lwj-data.0.0.5"


def test_the_newest_are_kept_and_the_rest_is_gone(tmp_path):
    with Instance(tmp_path, size=1, config=config_text(hosts="fake0", cores="0-63")) as instance:
        instance.load("lwj-keep=20")
        instance.flux("submit", "--cc=1-230", "--quiet", "--setattr=exec.test.run_duration=0.01s", "true")
        instance.flux("queue", "drain")
        instance.wait(lambda: kept(instance, 230, "state") == "complete", "the record")
        assert instance.ask("kvs", key="lwj.first") == 211
        # The first block is gone, at the latest when the links of the third one were made.
        assert instance.run("kvs", "dir", "lwj.99").returncode != 0
        assert "lwj.211.state" in instance.flux("kvs", "dir", "lwj.211")
        numbers = sorted(int(name) for name in instance.flux("kvs", "ls", "-1", "lwj").split() if name.isdigit())
        # those that were removed before they were written had no link
        assert BLOCK <= numbers[0] <= 211 and numbers == list(range(numbers[0], 3 * BLOCK))
        # each link leads to a record, and those of no job say so
        states = [kept(instance, number, "state") for number in numbers]
        assert states == ["complete"] * (231 - numbers[0]) + ["reserved"] * 69
        # loaded again it goes on where it stopped
        instance.reload("lwj-keep=20")
        jobid = instance.submit()
        instance.event(jobid, "clean")
        instance.wait(lambda: kept(instance, 231, "state") == "complete", "the record")
        assert kept(instance, 231, "id") == jobid
        assert kept(instance, 212, "state") == "complete"


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
