# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Resource sets (RFC 20)."""

import copy
import json
import math
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxsched.core import Inventory, nodeview
from fluxsched.formats import hostlist, idset, r
from fluxsched.formats.jobspec import Request
from fluxsched.formats.r import RError
from naive import scheduler

FLUX = shutil.which("flux", path=os.pathsep.join([os.environ.get("PATH", ""), os.path.expanduser("~/local/bin")]))


def make(r_lite=None, nodelist=None, **execution):
    execution["R_lite"] = [{"rank": "0-1", "children": {"core": "0-3"}}] if r_lite is None else r_lite
    execution["nodelist"] = ["a[0-1]"] if nodelist is None else nodelist
    return {"version": 1, "execution": execution}


def entry(rank, core, **children):
    return {"rank": rank, "children": {"core": core, **children}}


def test_example_of_the_rfc():
    nodes = r.parse(make([entry("19-22", "0-47", gpu="0-7")], ["node[186-189]"], nslots=32, starttime=1676560542,
                         expiration=1676562342))  # fmt: skip
    assert nodes.ranks == [19, 20, 21, 22]
    assert nodes.hosts == ["node186", "node187", "node188", "node189"]
    assert nodes.cores == ["0-47"] * 4
    assert nodes.gpus == ["0-7"] * 4
    assert nodes.properties == {}
    assert (nodes.starttime, nodes.expiration) == (1676560542.0, 1676562342.0)


def test_hosts_go_by_ascending_rank():
    nodes = r.parse(make([entry("3,5", "0"), entry("0-1", "0-1", gpu=""), entry("4", "2")], ["x,a[7-8]", "x", "b"]))
    assert nodes.ranks == [0, 1, 3, 4, 5]
    assert nodes.hosts == ["x", "a7", "a8", "x", "b"]
    assert nodes.cores == ["0-1", "0-1", "0", "2", "0"]
    assert nodes.gpus == [""] * 5


def test_id_sets_are_written_one_way_and_shared():
    nodes = r.parse(make([entry("[0]", "0,1,2"), entry("1", "[0-1,2]")]))
    assert nodes.cores == ["0-2", "0-2"]
    assert nodes.cores[0] is nodes.cores[1]


def test_what_others_add_is_left_out():
    R = make([entry("0-1", "0", memory="0-3", hwthread=7)], scheduling={"x": 1}, nslots=2)
    R["scheduling"] = {"writer": "fluxion"}
    assert r.parse(R) == r.parse(make([entry("0-1", "0")]))


def test_properties():
    nodes = r.parse(make(properties={"+batch": "0-1", "a@gpu": "1", "none": ""}))
    assert nodes.properties == {"+batch": [0, 1], "a@gpu": [1]}
    assert r.public_properties(nodes.properties) == {"a@gpu": [1]}


def test_a_large_machine():
    R = make([entry("0-16383", "0-63", gpu="0-3")], ["node[0-16383]"], properties={"+q": "0-8191"})
    nodes = r.parse(R)
    assert len(nodes.ranks) == len(nodes.hosts) == len(nodes.cores) == len(nodes.gpus) == 16384
    assert nodes.hosts[16383] == "node16383"
    R["execution"].update(starttime=0, expiration=0)
    assert r.emit(*nodes) == R


def without(R, *path):
    R = copy.deepcopy(R)
    inner = R
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return R


DEEP = json.loads("[" * 500 + "]" * 500)


@pytest.mark.parametrize(
    ("R", "text"),
    [
        (None, "R: expected an object, got null"),
        ([], "R: expected an object, got a list"),
        ({}, "version: expected 1, got null"),
        ({"version": 2}, "version: expected 1, got 2"),
        ({"version": True}, "version: expected 1, got true"),
        ({"version": 1.0}, "version: expected 1, got 1.0"),
        ({"version": "1"}, "version: expected 1, got '1'"),
        ({"version": 1}, "execution: expected an object, got null"),
        ({"version": 1, "execution": DEEP}, "execution: expected an object, got a list"),
        (without(make(), "execution", "R_lite"), "execution.R_lite: expected a list, got null"),
        (without(make(), "execution", "nodelist"), "execution.nodelist: expected a list, got null"),
        (make({"rank": "0"}), "execution.R_lite: expected a list, got an object"),
        (make(["0"]), r"execution.R_lite\[0\]: expected an object, got '0'"),
        (make([{"children": {"core": "0"}}]), r"execution.R_lite\[0\].rank: expected an idset string, got null"),
        (make([entry(0, "0")]), r"execution.R_lite\[0\].rank: expected an idset string, got 0"),
        (make([entry("1-0", "0")]), r"execution.R_lite\[0\].rank: '1-0' is not an idset"),
        (make([entry("16777216", "0")]), r"execution.R_lite\[0\].rank: .* largest allowed is 16777215"),
        (make([entry("0-1048576", "0")]), "execution.R_lite: 1048577 ranks, the most allowed is 1048576"),
        (make([{"rank": "0"}]), r"execution.R_lite\[0\].children: expected an object, got null"),
        (make([{"rank": "0", "children": {}}]), r"R_lite\[0\].children.core: expected an idset string, got null"),
        (make([{"rank": "0", "children": {"gpu": "0"}}]), r"R_lite\[0\].children.core: expected an idset"),
        (make([entry("0", "0"), entry("1", "")]), r"R_lite\[1\].children.core: expected at least one core"),
        (make([entry("0-1", "0-65536")]), r"children.core: .* largest allowed is 65535"),
        (make([entry("0-1", "0", gpu=None)]), r"children.gpu: expected an idset string, got null"),
        (make([entry("0-1", "0", gpu="0-4000000")]), r"children.gpu: .* largest allowed is 65535"),
        (make([entry("0-1", "0"), entry("1-2", "1")]), "execution.R_lite: rank 1 is there twice"),
        (make([entry("0", "0"), entry("0", "0")]), "execution.R_lite: rank 0 is there twice"),
        (make(nodelist="a[0-1]"), "execution.nodelist: expected a list, got 'a"),
        (make(nodelist=["a", 1]), r"execution.nodelist\[1\]: expected a host list string, got 1"),
        (make(nodelist=["a["]), r"execution.nodelist\[0\]: 'a\[' is not a host list"),
        (make(nodelist=["a[0-999999999]"]), r"execution.nodelist\[0\]: .* too many hosts"),
        (make(nodelist=["a[0-1048575]", "b"]), r"execution.nodelist\[1\]: .* too many hosts"),
        (make(nodelist=["a"]), "execution.nodelist: 1 hosts for 2 ranks"),
        (make(nodelist=[]), "execution.nodelist: 0 hosts for 2 ranks"),
        (make(nodelist=["a[0-2]"]), "execution.nodelist: 3 hosts for 2 ranks"),
        (make(properties=["a"]), "execution.properties: expected an object, got a list"),
        (make(properties=None), "execution.properties: expected an object, got null"),
        (make(properties={"a": 0}), "execution.properties.a: expected an idset string, got 0"),
        (make(properties={"a": "x"}), "execution.properties.a: 'x' is not an idset"),
        (make(properties={"a": "0-2"}), "execution.properties.a: rank 2 is not in R_lite"),
        (make(properties={"a": "2-16777215"}), "execution.properties.a: rank 2 is not in R_lite"),
        (make(properties={"a|b": "0"}), r"execution.properties: illegal character '\|' in property 'a\|b'"),
        (make(properties={"^a": "0"}), r"execution.properties: illegal character '\^'"),
        (make(properties={"\udc80": "0"}), "execution.properties: property .* is not valid UTF-8"),
        (make(properties={"": "0"}), "execution.properties: a property must have a name"),
        (make(starttime="0"), "execution.starttime: expected seconds since the epoch or 0, got '0'"),
        (make(starttime=-1), "execution.starttime: .* got -1"),
        (make(starttime=None), "execution.starttime: .* got null"),
        (make(expiration=True), "execution.expiration: .* got true"),
        (make(expiration=math.nan), "execution.expiration: .* got nan"),
        (make(expiration=math.inf), "execution.expiration: .* got inf"),
        (make(expiration=10**400), "execution.expiration: .* got an integer of"),
        (make(starttime=2, expiration=1), "execution.expiration: expected a time after starttime 2.0, got 1.0"),
        (make(starttime=2, expiration=2), "execution.expiration: expected a time after starttime"),
    ],
)
def test_refuses(R, text):
    with pytest.raises(RError, match=text):
        r.parse(R)


def test_emit_folds():
    R = r.emit(
        [0, 1, 2, 5, 7],
        ["node0", "node1", "x", "x", "node2"],
        ["0-3", "0-1", "0-3", "0-3", "0-1"],
        ["", "", "0", "", ""],
        {"a": [0, 1, 2], "none": [], "+b": [7, 5]},
        10.0,
        20.5,
        nslots=3,
    )
    assert R == {
        "version": 1,
        "execution": {
            "R_lite": [
                {"rank": "0,5", "children": {"core": "0-3"}},
                {"rank": "1,7", "children": {"core": "0-1"}},
                {"rank": "2", "children": {"core": "0-3", "gpu": "0"}},
            ],
            "nodelist": ["node[0-1],x,x,node2"],
            "properties": {"a": "0-2", "+b": "5,7"},
            "starttime": 10.0,
            "expiration": 20.5,
            "nslots": 3,
        },
    }


def test_emit_sorts_by_rank():
    assert r.emit([3, 1], ["c", "a"], ["0", "1"], ["", "2"]) == r.emit([1, 3], ["a", "c"], ["1", "0"], ["2", ""])


def test_emit_nothing():
    R = r.emit([], [], [], [])
    assert R["execution"] == {"R_lite": [], "nodelist": [], "starttime": 0, "expiration": 0}
    assert r.parse(R) == ([], [], [], [], {}, 0.0, 0.0)


def test_emit_refuses():
    with pytest.raises(RError, match="2 ranks, 1 hosts, 2 cores and 2 gpus"):
        r.emit([0, 1], ["a"], ["0", "0"], ["", ""])
    with pytest.raises(RError, match="rank 1 is there twice"):
        r.emit([1, 0, 1], ["a", "b", "c"], ["0"] * 3, [""] * 3)
    with pytest.raises(RError, match=r"execution\.nodelist: 'a b' cannot be the name of a host"):
        r.emit([0], ["a b"], ["0"], [""])


@st.composite
def resource_sets(draw):
    ranks = sorted(draw(st.sets(st.integers(0, 40), max_size=12)))
    n = len(ranks)

    def column(values):
        return draw(st.lists(values, min_size=n, max_size=n))

    id_sets = st.sets(st.integers(0, 9), min_size=1, max_size=4).map(sorted).map(idset.encode)
    hosts = st.one_of(
        st.builds("n{}".format, st.integers(0, 20)), st.sampled_from(["x", "n007", "n08", "n09", "12", "a1b", "a-9"])
    )
    properties = {}
    if ranks:
        some = st.sets(st.sampled_from(ranks), min_size=1).map(sorted)
        properties = draw(st.dictionaries(st.sampled_from(["a", "+q", "b@gpu"]), some))
    starttime = draw(st.sampled_from([0.0, 1e9, 1e9 + 0.25]))
    expiration = draw(st.sampled_from([0.0, 1e9 + 0.5, 2e9]))
    gpus = column(st.one_of(st.just(""), id_sets))
    return r.RNodes(ranks, column(hosts), column(id_sets), gpus, properties, starttime, expiration)


@given(resource_sets())
def test_round_trip(nodes):
    R = r.emit(*nodes)
    assert r.parse(R) == nodes
    assert r.parse(json.loads(json.dumps(R))) == nodes
    ranks = [rank for e in R["execution"]["R_lite"] for rank in idset.ids(e["rank"])]
    assert sorted(ranks) == nodes.ranks
    children = [json.dumps(e["children"]) for e in R["execution"]["R_lite"]]
    assert len(set(children)) == len(children)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(alphabet="0a-[],", max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
FIELDS = [
    ("version",),
    ("execution",),
    *(("execution", key) for key in ("R_lite", "nodelist", "properties", "starttime", "expiration")),
    ("execution", "R_lite", 0),
    ("execution", "R_lite", 0, "rank"),
    ("execution", "R_lite", 0, "children"),
    ("execution", "R_lite", 0, "children", "core"),
    ("execution", "R_lite", 0, "children", "gpu"),
    ("execution", "nodelist", 0),
    ("execution", "properties", "a"),
]


@given(st.sampled_from(FIELDS), json_values)
def test_any_json_in_any_field_is_taken_or_refused(path, value):
    R = make([entry("0-1", "0-3", gpu="0")], properties={"a": "0"}, starttime=1, expiration=2)
    inner = R
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        nodes = r.parse(R)
    except RError:
        return
    assert r.parse(r.emit(*nodes)) == nodes


def flux_decode(R, *options):
    command = [FLUX, "R", "decode", *options]
    done = subprocess.run(command, input=json.dumps(R), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(FLUX is None, reason="flux-core is not installed")
class TestFluxCore:
    """flux-core reads what is written here, and what it writes is read here, with the same meaning."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(resource_sets().filter(lambda nodes: nodes.ranks))
    def test_round_trip(self, nodes):
        theirs = r.parse(json.loads(flux_decode(r.emit(*nodes))))
        assert theirs == nodes

    def test_hosts_by_rank(self):
        R = r.emit([5, 0, 2], ["c9", "a08", "c9"], ["0", "0-1", "0"], ["", "1", ""])
        assert flux_decode(R, "--nodelist", "--include=0").strip() == "a08"
        assert flux_decode(R, "--nodelist", "--include=2,5").strip() == "c[9,9]"
        assert flux_decode(R, "--count=core").strip() == "4"

    def test_slots_are_taken(self):
        R = r.emit([0], ["a"], ["0"], [""], nslots=4)
        assert json.loads(flux_decode(R))["execution"]["nslots"] == 4


# -- runs ---------------------------------------------------------------------


@given(st.sets(st.integers(0, 300)))
def test_runs_of_a_set(members):
    mask = sum(1 << i for i in members)
    runs = nodeview.runs_of_mask(mask)
    assert [i for first, last in runs for i in range(first, last + 1)] == sorted(members)
    assert all(later[0] > before[1] + 1 for before, later in zip(runs, runs[1:]))
    assert nodeview.mask_of_runs(runs) == mask


@given(st.lists(st.sampled_from(["n8", "n9", "n10", "n11", "n010", "n011", "m1", "m2", "x", "n9", "n99", "n100"]),
                max_size=12))
def test_runs_of_hosts_are_encoded_like_the_hosts(hosts):
    runs = []
    for host in hosts:
        if runs and hostlist.follows(host, runs[-1][1]):
            runs[-1] = (runs[-1][0], host)
        else:
            runs.append((host, host))
    assert hostlist.encode_runs(runs) == hostlist.encode(hosts)
    assert hostlist.decode(hostlist.encode_runs(runs)) == hosts if hosts else not runs


@given(st.lists(st.tuples(st.sampled_from(["n", "m"]), st.integers(0, 12), st.sampled_from(["0-3", "0,2", "1"])),
                min_size=1, max_size=70), st.data())
def test_an_engines_r_is_that_of_its_nodes(rows, data):
    hosts = [f"{prefix}{number}" for prefix, number, _ in rows]
    cores = [ids for _, _, ids in rows]
    inventory = Inventory(list(range(len(rows))), hosts, cores, [""] * len(rows), {"p": list(range(0, len(rows), 3))})
    assert inventory.to_r() == r.emit(inventory.ranks, hosts, cores, [""] * len(rows), {"p": range(0, len(rows), 3)})
    engine = scheduler(inventory)
    count = data.draw(st.integers(1, len(rows)))
    engine.add(1, Request(count, 1, 1, 0, data.draw(st.booleans()), 0, "", None, None))
    engine.schedule(1.0)
    held = engine.cores_by_rank(1)
    ranks = [rank for rank, _, _ in held]
    assert engine.R(1, 1, 2) == r.emit(ranks, [hosts[rank] for rank in ranks], [ids for _, ids, _ in held],
                                       [""] * count, {"p": [rank for rank in ranks if rank % 3 == 0]}, 1, 2, count)
    assert engine.allocated_ranks(1) == idset.encode(ranks)
    assert engine.resource_status()["all"] == inventory.to_r()


LITE = [
    {"rank": "0-1,4", "children": {"core": "0-3", "gpu": "0"}},
    {"rank": "2", "children": {"core": "1"}},
]


def test_readers_of_what_an_r_holds():
    R = {"version": 1, "execution": {"R_lite": LITE}}
    assert r.ranks_of(R) == "0-2,4"
    assert r.folded(R) == [("0-1,4", "0-3", "0"), ("2", "1", "")]
    assert r.summary(R) == "rank[0-1,4]/{core[0-3],gpu0} rank2/core1"


def test_ranks_of_joins_what_touches_or_overlaps():
    lite = [{"rank": "5-7"}, {"rank": "0-3"}, {"rank": "2-4"}, {"rank": "9"}]
    assert r.ranks_of({"execution": {"R_lite": lite}}) == "0-7,9"


@pytest.mark.parametrize("read", [r.parse, r.ranks_of, r.folded, r.summary])
@pytest.mark.parametrize("value", [None, [], "R", 5, True, [{}], math.nan])
def test_an_r_that_is_no_object(read, value):
    with pytest.raises(RError, match=r"^R: expected an object, got "):
        read(value)


@pytest.mark.parametrize("lite, text", [
    (None, r"execution\.R_lite: expected a list, got null"),
    ({}, r"execution\.R_lite: expected a list, got an object"),
    ([5], r"execution\.R_lite\[0\]: expected an object, got 5"),
    ([{"rank": 3, "children": {}}], r"execution\.R_lite\[0\]\.rank: expected an idset string, got 3"),
    ([*LITE, {"rank": "x", "children": {}}], r"execution\.R_lite\[2\]\.rank: 'x' is not an idset"),
    ([{"rank": str(2**40), "children": {}}], r"execution\.R_lite\[0\]\.rank: "),
])
def test_what_an_r_holds_is_checked(lite, text):
    for read in (r.ranks_of, r.folded, r.summary):
        with pytest.raises(RError, match="^" + text):
            read({"version": 1, "execution": {"R_lite": lite}})


@pytest.mark.parametrize("children, text", [
    (None, r"children: expected an object"), ("core", r"children: expected an object"),
    ({"core": 4}, r"children\.core: expected an idset string"), ({"gpu": "z"}, r"children\.gpu: 'z' is not an idset"),
])
def test_children_are_checked(children, text):
    for read in (r.folded, r.summary):
        with pytest.raises(RError, match=r"^execution\.R_lite\[0\]\." + text):
            read({"version": 1, "execution": {"R_lite": [{"rank": "0", "children": children}]}})
