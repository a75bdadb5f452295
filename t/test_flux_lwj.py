# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The record of jobs (lwj.N) in the KVS of a real instance, and how it is laid out there."""

import base64
import copy
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxinstance import Instance, config_text, flux_command

pytestmark = pytest.mark.flux

BLOCK = 100


def kept(instance, number, field):
    """A field of a record, None if there is none."""
    try:
        return instance.ask("kvs", key=f"lwj.{number}.{field}")
    except FileNotFoundError:
        return None


class Kvs:
    """A content store and a KVS of one Layout."""

    def __init__(self):
        flux_command()
        from fluxsched.flux import lwj_layout

        assert lwj_layout.BLOCK == BLOCK
        self.layout = lwj_layout.Layout("sha1")
        self.blobs = {}
        self.root = {}

    def write(self, puts, lost=False):
        """One transaction; `lost`: it does not come about. Its steps as they are."""
        blobs, steps = self.layout.operations(puts)
        texts = {f"sha1-{hashlib.sha1(blob).hexdigest()}": json.loads(blob) for blob in blobs}
        assert len(texts) == len(blobs)
        self.sent = len(blobs)
        if lost:
            self.layout.forget()
            return dict(steps)
        self.blobs.update(texts)
        for key, value in steps:
            *above, name = key.split(".")
            inside = self.root
            for each in above:
                inside = self.opened(inside.setdefault(each, {}))
            inside.pop(name, None)
            if value is not None:
                value = json.loads(value)
                inside[name] = value if isinstance(value, dict) and "ver" in value else encoded(value)
            # what changes below a reference is written anew above it
            for level in range(len(above)):
                self.open(above[:level + 1])
        return dict(steps)

    def opened(self, entry):
        """The entries of a directory, which are the transaction's own from now on."""
        if entry.get("type") == "dirref":
            found = copy.deepcopy(self.blobs[entry["data"][0]])
            entry.clear()
            entry.update(found["data"])
        return entry

    def open(self, path):
        inside = self.root
        for each in path:
            inside = self.opened(inside[each])

    def read(self, key):
        """A value, a directory of values, "-> target", or None, as a reader finds them."""
        entry = self.root
        names = key.split(".")
        while names:
            if entry.get("type") == "dirref":
                entry = self.blobs[entry["data"][0]]["data"]
            entry = entry.get(names.pop(0))
            if entry is None:
                return None
            if entry.get("type") == "symlink" and names:
                names = entry["data"]["target"].split(".") + names
                entry = self.root
        return self.plain(entry)

    def plain(self, entry):
        kind = entry.get("type")
        if kind == "dirref":
            entry = self.blobs[entry["data"][0]]["data"]
        elif kind == "symlink":
            return "-> " + entry["data"]["target"]
        elif kind == "val":
            return json.loads(base64.b64decode(entry["data"]))
        return {name: self.plain(each) for name, each in entry.items()}

    def links(self):
        return {int(name) for name in self.read("lwj") if name.isdigit()}

    def states(self):
        return {number: self.read(f"lwj.{number}.state") for number in self.links()}


def encoded(value):
    return {"ver": 1, "type": "val", "data": base64.b64encode(json.dumps(value).encode()).decode()}


RESERVED = {"state": "reserved"}


def test_a_record_is_one_directory_each_time_until_its_job_is_over():
    kvs = Kvs()
    long = "x" * 500
    asked = {"id": 77, "rank.0.cores": 4, "rank.12.cores": 4, "cmdline": [long]}
    kvs.write({"lwj.first": 1, "lwj.next": 2, "lwj:1": asked})
    first = {"id": 77, "rank": {"0": {"cores": 4}, "12": {"cores": 4}}, "cmdline": [long]}
    assert kvs.read("lwj.1") == "-> lwj-data.0.0.1" and kvs.read("lwj-data.0.0.1") == first
    assert kvs.read("lwj.1.rank.12.cores") == 4
    assert kvs.read("lwj.next") == "-> lwj-data.next" and kvs.read("lwj-data.next") == 2
    # only references to it: itself, what all its ranks have, its ranks, its ten, its block
    assert set(kvs.write({"lwj:1": {"state": "running"}})) == {"lwj-data.0"}
    assert kvs.sent == 5
    assert kvs.read("lwj-data.0.0.1") == {**first, "state": "running"}
    kvs.write({"lwj:1": {"state": "complete"}})
    # nothing is known of it any more, as of one from before the module was loaded
    assert set(kvs.write({"lwj:1": {"state": "null"}})) == {"lwj-data.0.0.1.state"}
    assert kvs.read("lwj-data.0.0.1") == {**first, "state": "null"}


def test_every_link_leads_somewhere():
    kvs = Kvs()
    kvs.write({"lwj:1": {"id": 77, "state": "running"}, "lwj:3": {"id": 79, "state": "running"}})
    # one record each, one that is shared, ten tens, their block, and the links
    assert kvs.sent == 2 + 1 + 10 + 1 + 1
    assert kvs.states() == {**dict.fromkeys(range(1, BLOCK), "reserved"), 1: "running", 3: "running"}
    # the next one takes its place, and has its link
    assert set(kvs.write({"lwj:4": {"id": 80, "state": "running"}})) == {"lwj-data.0"}
    assert kvs.states()[4] == "running" and kvs.read("lwj.4.id") == 80 and kvs.read("lwj.1.id") == 77
    assert set(kvs.write({f"lwj:{BLOCK}": {"id": 99, "state": "running"}})) == {"lwj", "lwj-data.1"}
    assert kvs.links() == set(range(1, 2 * BLOCK)) and set(kvs.states().values()) == {"reserved", "running"}


def test_a_record_that_comes_after_later_ones_is_linked_and_takes_nothing_from_them():
    kvs = Kvs()
    kvs.write({"lwj:22": {"id": 3, "state": "running"}})
    kvs.write({"lwj:21": {"id": 2, "state": "running"}})
    assert [kvs.read(f"lwj.{number}.id") for number in (21, 22)] == [2, 3]
    # likewise at the beginning of a block
    kvs.write({"lwj:101": {"id": 5, "state": "running"}})
    kvs.write({"lwj:100": {"id": 4, "state": "running"}})
    assert [kvs.read(f"lwj.{number}.id") for number in (21, 22, 100, 101)] == [2, 3, 4, 5]


def test_a_module_that_is_loaded_again_keeps_what_there_is():
    kvs = Kvs()
    kvs.write({f"lwj:{number}": {"id": number, "state": "complete"} for number in range(1, 131)})
    kvs.layout = Kvs().layout
    # of a job from before
    kvs.write({"lwj:130": {"state": "failed"}})
    kvs.write({"lwj.first": 1, "lwj:131": {"id": 131, "state": "running"}})
    kvs.write({"lwj:131": {"state": "complete"}, "lwj:132": {"id": 132, "state": "submitted"}})
    states = kvs.states()
    assert states == {**dict.fromkeys(range(1, 132), "complete"), 130: "failed", 132: "submitted",
                      **dict.fromkeys(range(133, 2 * BLOCK), "reserved")}
    # the next block is known as a whole
    kvs.write({f"lwj:{2 * BLOCK}": {"id": 200, "state": "running"}})
    assert set(kvs.write({f"lwj:{2 * BLOCK}": {"state": "complete"}})) == {"lwj-data.2"}


def test_records_that_are_not_kept_go_with_their_block_and_the_next_links():
    kvs = Kvs()
    kvs.write({f"lwj:{number}": {"id": number} for number in range(1, 2 * BLOCK)})
    assert kvs.write({"lwj.first": BLOCK, **{f"lwj:{number}": None for number in range(1, BLOCK)}}) == {
        "lwj-data.first": str(BLOCK).encode()}
    kvs.write({f"lwj:{2 * BLOCK}": {"id": 200}})
    assert kvs.read("lwj-data.0") is None and kvs.links() == set(range(BLOCK, 3 * BLOCK))
    # several blocks do not wait
    kvs.write({"lwj.first": 3 * BLOCK, **{f"lwj:{number}": None for number in range(BLOCK, 3 * BLOCK)}})
    assert kvs.read("lwj-data.1") is None and kvs.read("lwj-data.2") is None and kvs.links() == set()
    # the number 200 was known, and is not any more
    assert set(kvs.write({"lwj:200": {"state": "running"}})) == {"lwj-data.2.0.200.state"}


def test_the_more_is_kept_the_more_is_linked_at_a_time():
    kvs = Kvs()
    kvs.write({"lwj.first": 1, f"lwj:{25 * BLOCK}": {"id": 1}})
    assert kvs.links() == set(range(1, 28 * BLOCK))
    kvs.write({f"lwj:{number}": {"id": 1} for number in range(25 * BLOCK + 1, 27 * BLOCK)})
    assert set(kvs.write({f"lwj:{27 * BLOCK}": {"id": 1}})) == {"lwj-data.27"}


def test_other_keys_go_where_they_belong():
    kvs = Kvs()
    kvs.write({"R:1": {"a": 1}})
    assert kvs.root["job"]["0000"]["0000"]["0000"]["0001"]["R"] == encoded({"a": 1}) and kvs.sent == 0


@pytest.mark.parametrize("number", [1, 5, BLOCK])
def test_what_a_failed_transaction_held_is_written_again_and_overwrites_nothing(number):
    kvs = Kvs()
    earlier = {f"lwj:{each}": {"id": each, "state": "complete"} for each in range(1, number)}
    if earlier:
        kvs.write(earlier)
    record = {f"lwj:{number}": {"id": 77, "state": "running"}}
    kvs.write({"lwj.next": number + 1, **record}, lost=True)
    kvs.write({"lwj.next": number + 1, **record, f"lwj:{number + 1}": {"id": 78, "state": "submitted"}})
    kvs.write({f"lwj:{number}": {"state": "complete"}})
    assert kvs.read("lwj-data.next") == number + 1
    states = kvs.states()
    assert all(states[each] == "complete" for each in range(1, number + 1)) and states[number + 1] == "submitted"
    assert set(states.values()) <= {"complete", "submitted", "reserved"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_play_of_records_reads_as_what_was_put(data):
    """Records that begin, change, end and go, with transactions that fail and modules that are loaded again."""
    kvs, model, staged, first, following = Kvs(), {}, {}, 1, data.draw(st.sampled_from((1, 95, 199)))
    first = following
    alive = set()
    for _ in range(data.draw(st.integers(1, 12))):
        for _ in range(data.draw(st.sampled_from((0, 1, 3, 40)))):
            staged[following] = {"id": following, "state": "submitted", "rank.3.cores": following % 3}
            alive.add(following)
            following += 1
        for number in sorted(alive):
            if data.draw(st.booleans()) and data.draw(st.booleans()):
                state = data.draw(st.sampled_from(("running", "complete")))
                staged.setdefault(number, {})["state"] = state
                if state == "complete":
                    alive.discard(number)
        puts = {"lwj.first": first, "lwj.next": following}
        while following - first > 150:
            puts[f"lwj:{first}"] = None
            staged.pop(first, None)
            model.pop(first, None)
            alive.discard(first)
            first += 1
        puts["lwj.first"] = first
        puts.update({f"lwj:{number}": fields for number, fields in staged.items()})
        if data.draw(st.integers(0, 4)) == 0:
            kvs.write(puts, lost=True)
            continue
        kvs.write(puts)
        for number, fields in staged.items():
            model.setdefault(number, {}).update(fields)
        staged = {}
        if data.draw(st.integers(0, 6)) == 0:
            kvs.layout = Kvs().layout
        for number, fields in model.items():
            got = kvs.read(f"lwj.{number}.rank.3.cores")
            assert (kvs.read(f"lwj.{number}.id"), kvs.read(f"lwj.{number}.state"), got) == tuple(fields.values())[:3]
    if model:
        unknown = {number for number, state in kvs.states().items() if state != "reserved" and number not in model}
        assert all(number < first for number in unknown)


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
        assert BLOCK <= numbers[0] <= 211 and numbers == list(range(numbers[0], 3 * BLOCK))
        # each link leads to a record, and those of no job say so, and of one whose record was never written
        states = [kept(instance, number, "state") for number in numbers]
        assert set(states[:211 - numbers[0]]) <= {"complete", "reserved"}
        assert states[211 - numbers[0]:] == ["complete"] * 20 + ["reserved"] * 69
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
