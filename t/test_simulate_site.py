# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator with a site's configuration: its machine, queues, parents, defaults and limits."""
import json

import pytest

from fluxsched.simulate import api, results
from fluxsched.simulate.inputs import SimulateError
from fluxsched.simulate.site import Site, SiteError, ranks_of
from fluxsched.traces.load import load
from test_simulate_cli import call

MACHINE = {"config": [{"hosts": "n[0-3]", "cores": "0-3"}, {"hosts": "n[0-2]", "properties": ["batch"]},
                      {"hosts": "n3", "properties": ["debug"], "gpus": "0-1"}]}
QUEUES = {"batch": {"requires": ["batch"]}, "debug": {"requires": ["debug"]}, "urgent": {"parent": "batch"}}


@pytest.fixture
def site(tmp_path):
    """The path of a configuration with these tables."""
    def site(**tables):
        path = tmp_path / "flux.json"
        path.write_text(json.dumps({"resource": MACHINE, "queues": QUEUES, **tables}))
        return path
    return site


@pytest.fixture
def read(tmp_path):
    """A trace of Slurm's jobs (submit, elapsed, limit, nodes, partition)."""
    def read(*rows):
        lines = ["|".join(map(str, (number, *row))) for number, row in enumerate(rows, 1)]
        (tmp_path / "x.csv").write_text("\n".join(["JobID|Submit|Elapsed|Timelimit|NNodes|Partition", *lines]))
        return load(tmp_path / "x.csv")
    return read


def test_queues_have_their_nodes(site, read):
    t = read((0, 10, 10, 3, "batch"), (0, 20, 20, 1, "debug"), (1, 10, 10, 1, "batch"), (2, 5, 5, 1, "debug"))
    r = api.run(t, config=site(), exclusive=True)
    assert (r.nodes, r.procs, r.cores) == (4, 16, 4) and r.start.tolist() == [0, 0, 10, 20]
    assert [results.ranges(r, k) for k in range(4)] == ["0-11", "12-15", "0-3", "12-15"]


def test_a_virtual_queue_is_part_of_its_parent(site, read):
    """The head of the parent's queue holds it up, unlike a job of another queue."""
    t = read((0, 10, 10, 2, "batch"), (1, 10, 10, 3, "batch"), (2, 5, 5, 1, "urgent"), (2, 5, 5, 1, "debug"))
    assert api.run(t, config=site(), exclusive=True).start.tolist() == [0, 10, 20, 2]


def test_a_machine_that_is_given_goes_before_the_configured_one(site, read):
    t = read((0, 10, 10, 3, "a"), (0, 20, 20, 1, "b"), (1, 10, 10, 1, "b"))
    r = api.run(t, nodes=4, cores=1, config=site(queues={"a": {}, "b": {}}))
    assert r.nodes == 4 and r.start.tolist() == [0, 0, 10]
    assert api.machine(nodes=2, config=site()).site is not None


def test_no_queues(site, read):
    t = read((0, 10, 10, 3, "whatever"), (0, 20, 20, 1, ""))
    assert api.run(t, config=site(queues={})).start.tolist() == [0, 0]


def test_the_default_queue_and_time_limits(site, read):
    policy = {"jobspec": {"defaults": {"system": {"queue": "batch", "duration": "30s"}}}}
    own = {"jobspec": {"defaults": {"system": {"duration": "20s"}}}}
    queues = {**QUEUES, "debug": {**QUEUES["debug"], "policy": own}}
    t = read((0, 100, "UNLIMITED", 1, ""), (0, 100, "UNLIMITED", 1, "debug"), (0, 100, 50, 1, "debug"))
    r = api.run(t, config=site(policy=policy, queues=queues))
    assert r.start.tolist() == [0, 0, 0] and r.finish.tolist() == [30, 20, 50]
    assert results.ranges(r, 0) == "0"


@pytest.mark.parametrize("limits, kept", [
    ({"duration": "20s"}, [0, 1]),
    ({"duration": "0"}, [0, 1, 2, 3]),
    ({"job-size": {"max": {"nnodes": 2}}}, [0, 2, 3]),
    ({"job-size": {"min": {"nnodes": 2}, "max": {"nnodes": -1}}}, [1, 2]),
    ({"job-size": {"max": {"ncores": 1}}}, [0, 3]),
    ({"job-size": {"max": {"ngpus": 0}}}, [0, 1, 2, 3]),
    ({"job-size": {"min": {"ngpus": 1}}}, []),
])
@pytest.mark.parametrize("own", [False, True])
def test_limits(site, read, limits, kept, own):
    t = read((0, 10, 10, 1, "batch"), (0, 20, 20, 3, "batch"), (0, 30, 30, 2, "batch"), (0, 5, "UNLIMITED", 1, "batch"))
    general = {"duration": "1s"} if own and "duration" in limits else {} if own else limits
    queues = {**QUEUES, "batch": {**QUEUES["batch"], "policy": {"limits": limits}}} if own else QUEUES
    path = site(policy={"limits": general}, queues=queues)
    if not kept:
        with pytest.raises(SiteError, match="every job of x.csv is beyond the limits of its queue"):
            api.run(t, config=path)
        return
    r = api.run(t, config=path)
    assert [int(number) - 1 for number in r.trace.job_id] == kept
    assert r.left_out == ({"over_limits": 4 - len(kept)} if len(kept) < 4 else {})


def test_partitions_map_by_name(site, read, tmp_path):
    t = read((0, 10, 10, 1, "big,debug"))                   # the first that is configured
    assert results.ranges(api.run(t, config=site()), 0) == "12"
    line = "{} 0 -1 10 1 -1 -1 1 10 -1 1 1 1 -1 {} {} -1 -1\n"
    (tmp_path / "x.swf").write_text("; Queue: 1 normal\n; Queue: 2 debug\n; Partition: 7 batch\n; Queue: x y\n"
                                    + line.format(1, 2, -1) + line.format(2, 1, 7) + line.format(3, 2, 7))
    t = load(tmp_path / "x.swf")
    assert t.label("queue", 1) == "normal" and t.label("queue", 3) == "3" and t.partition.tolist() == [-1, 7, 7]
    r = api.run(t, config=site())
    assert [results.ranges(r, k) for k in range(3)] == ["12", "0", "13"]


@pytest.mark.parametrize("rows, what", [
    ([(0, 10, 10, 1, "big"), (0, 10, 10, 1, "big"), (0, 1, 1, 1, "batch"), (0, 1, 1, 1, "x")],
     r"flux.json: queues of x.csv that are not configured: 'big' \(2 jobs\), 'x' \(1 jobs\); expected one of batch, "
     "debug, urgent"),
    ([(0, 10, 10, 1, "")], r"queues of x.csv that are not configured: none \(1 jobs\)"),
])
def test_unknown_queues(site, read, rows, what):
    with pytest.raises(SiteError, match=what):
        api.run(read(*rows), config=site())


def test_excluded_nodes_get_no_jobs(site, read):
    t = read((0, 10, 10, 1, "batch"), (0, 10, 10, 3, "batch"), (0, 10, 10, 2, "batch"))
    r = api.run(t, config=site(resource={**MACHINE, "exclude": "n0"}))
    assert results.ranges(r, 0) == "4" and r.left_out == {"denied": 1}


def test_resources_in_another_file(site, read, tmp_path):
    (tmp_path / "R").write_text(json.dumps(api.Inventory.from_counts(5, 2).to_r()))
    assert api.run(read((0, 1, 1, 1, "")), config=site(resource={"path": "R"}, queues={})).procs == 10


def test_gpus_and_constraints(site, tmp_path):
    """A slot a gpu, if a job of the trace states no nodes; where the machine has no gpus, or no properties, they are
    left out of account."""
    (tmp_path / "x.csv").write_text("JobID,Submit,Elapsed,NCPUS,ReqTRES,Constraints,Partition\n"
                                    "1,0,10,4,gres/gpu=2,,debug\n2,0,10,1,gres/gpu=1,,debug\n3,0,10,1,gres/gpu=3,,debug\n"
                                    "4,0,10,1,,debug,debug\n5,0,10,1,,debug,batch\n6,0,10,1,,batch|debug,batch\n"
                                    "7,0,10,1,,x&y,batch\n")
    t = load(tmp_path / "x.csv")
    r = api.run(t, config=site())
    assert r.trace.job_id.tolist() == [1, 2, 4, 6] and r.left_out == {"denied": 3}
    assert r.start.tolist() == [0, 10, 10, 0] and results.ranges(r, 0) == "12-15"
    assert api.run(t, procs=16).start.tolist() == [0] * 7


# Jobs of 2 of the 4 cores of a node and some GB; the last one is beyond what a node has.
MEMORY = ("JobID,Submit,Elapsed,NCPUS,NNodes,ReqTRES,OverSubscribe\n1,0,10,2,1,mem=6G,OK\n2,0,10,2,1,mem=6G,OK\n"
          "3,1,10,2,1,mem=2G,OK\n4,2,10,2,1,,OK\n5,3,10,2,1,mem=1G,NO\n6,4,10,2,1,mem=9G,OK\n")


@pytest.mark.parametrize("policy, starts", [("fcfs", [0, 0, 1, 2, 11]), ("conservative", [0, 0, 1, 2, 11])])
def test_memory_counts_where_the_machine_has_it(tmp_path, policy, starts):
    """Two nodes: the jobs of 6 GB need one each, and those of 2 GB and of none find room beside them. The exclusive
    one waits for a whole node."""
    (tmp_path / "x.csv").write_text(MEMORY)
    t = load(tmp_path / "x.csv")
    r = api.run(t, nodes=2, cores=4, memory=8 * 1024**3 / 1e6, plugin=policy)
    assert r.trace.job_id.tolist() == [1, 2, 3, 4, 5] and r.left_out == {"denied": 1} and r.start.tolist() == starts
    assert {results.ranges(r, k)[0] for k in range(2)} == {"0", "4"}
    r = api.run(t, nodes=2, cores=4, plugin=policy)
    assert r.trace.job_id.tolist() == [1, 2, 3, 4, 5, 6] and r.start[:4].tolist() == [0, 0, 1, 2]


def test_memory_of_an_rdl_file(tmp_path):
    (tmp_path / "m.lua").write_text("""uses "Node"
        Hierarchy "default" { Resource { "cluster", name = "c", children = { ListOf { Node, ids = "0-1", args = {
            name = "n", sockets = { "0-3" }, memory_per_socket = 8000 } } } } }""")
    (tmp_path / "x.csv").write_text(MEMORY)
    on = api.machine(rdl=tmp_path / "m.lua")
    assert on.has_memory and on.nodes == 2
    r = api.run(load(tmp_path / "x.csv"), on=on)
    assert r.start.tolist() == [0, 0, 10, 10, 10] and r.left_out == {"denied": 1}


def test_memory_of_processors(tmp_path):
    """SWF: KB of each processor. Four processors of 2 GB do not fit in a node of 7."""
    (tmp_path / "x.swf").write_text("1 0 -1 10 4 -1 -1 4 10 2000000 1 1 1 -1 1 -1 -1 -1\n"
                                    "2 0 -1 10 1 -1 -1 1 10 2000000 1 1 1 -1 1 -1 -1 -1\n")
    t = load(tmp_path / "x.swf")
    assert t.memory.tolist() == pytest.approx([8192, 2048])
    r = api.run(t, nodes=2, cores=4, memory=7000)
    assert r.start.tolist() == [0, 0] and results.ranges(r, 0) == "0-2 4" and results.ranges(r, 1) == "5"
    assert results.ranges(api.run(t, nodes=2, cores=4), 0) == "0-3"


def test_memory_of_a_configured_machine(site, read):
    t = read((0, 10, 10, 1, "debug"), (0, 10, 10, 1, "batch"))
    on = api.machine(config=site(), memory=1000)
    assert on.inventory.properties == api.machine(config=site()).inventory.properties and on.has_gpus
    assert api.run(t, on=on).start.tolist() == [0, 0]
    with pytest.raises(SimulateError, match="memory is the machine's"):
        api.run(t, on=on, memory=3)
    for given, what in (({"memory": 0}, "memory: MB from 1 to"), ({"memory": "x"}, "memory: MB from 1 to"),
                        ({"memory": 5, "rdl": "hype.lua", "config": None}, "memory: an RDL file has its own")):
        with pytest.raises(SimulateError, match=what):
            api.machine(**{"config": site(), **given})


def test_requests_of_jobspecs(site, tmp_path):
    """What jobs asked for: slots of 3 cores and not any 6; memory where there is any; one of several counts; whole
    nodes, which get no more cores by that."""
    def job(jobid, submit, inside, nnodes=1):
        return {"id": jobid, "t_submit": submit, "t_run": 100.0, "t_cleanup": 110.0, "duration": 10.0, "ncores": 4,
                "nnodes": nnodes, "queue": "batch"}, {
            "version": 1, "resources": [inside], "attributes": {"system": {"duration": 10.0}},
            "tasks": [{"command": ["a"], "slot": "t", "count": {"per_slot": 1}}]}

    def slots(count, cores, memory=0):
        each = [{"type": "core", "count": cores}] + [{"type": "memory", "count": memory}] * bool(memory)
        return {"type": "slot", "count": count, "label": "t", "with": each}

    rows = [job(1, 10.0, slots(2, 3)), job(2, 30.0, slots(1, 1, 900)), job(3, 30.0, slots(1, 1, 200)),
            job(4, 50.0, slots({"min": 2, "max": 3}, 4)),
            job(5, 70.0, {"type": "node", "count": 2, "exclusive": True, "with": [slots(1, 1)]}, nnodes=2),
            job(6, 70.0, slots(2, 1)),
            job(7, 90.0, {"type": "node", "count": 3, "exclusive": True, "with": [slots(1, 9)]})]
    (tmp_path / "jobs.json").write_text(json.dumps([found for found, _ in rows]) + "\n".join(
        f" {found['id']} {json.dumps(spec)}" for found, spec in rows))
    t = load(tmp_path / "jobs.json")
    r = api.run(t, config=site())
    assert r.trace.job_id.tolist() == [1, 2, 3, 4, 5, 6] and r.left_out == {"too_large": 1}
    assert [results.ranges(r, k) for k in range(6)] == ["0-2 4-6", "0", "1", "0-11", "0-7", "8-9"]
    r = api.run(t, config=site(), memory=1000)
    assert [results.ranges(r, k) for k in range(4)] == ["0-2 4-6", "0", "4", "0-11"]
    assert results.ranges(api.run(t, procs=16), 0) == "0-3"        # a machine without nodes
    assert results.ranges(api.run(t, config=site(), exclusive=True), 3) == "0-3"


@pytest.mark.parametrize("tables, what", [
    ({"queues": 3}, "flux.json: queues: expected a table"),
    ({"queues": {"a": {"requires": "x"}}}, "queues.a: expected a table with requires, a list of properties"),
    ({"queues": {"a": {"parent": "b"}}}, "queues.a.parent: expected a queue that is configured, got 'b'"),
    ({"resource": []}, "resource: expected a table"),
    ({"resource": {"config": 1}}, "resource.config: expected a list of tables"),
    ({"resource": {"config": [{"hosts": "a", "core": "0"}]}}, r"resource.config\[0\]: 'core': unknown key"),
    ({"resource": {"path": 3}}, "resource.path: expected the name of a file, got 3"),
    ({"resource": {"path": "none"}}, "resource.path: none: No such file"),
    ({"resource": {"path": "flux.json"}}, "flux.json: version: expected 1"),
    ({"resource": {**MACHINE, "exclude": "n9"}}, "resource.exclude: expected nodes that there are, got n9"),
    ({"resource": {**MACHINE, "exclude": "0-9"}}, "resource.exclude: expected nodes that there are, got 4, 5, 6, 7, 8"),
    ({"resource": {**MACHINE, "exclude": 7}}, "resource.exclude: expected ranks or host names, got 7"),
    ({"policy": {"limits": {"duration": "soon"}}}, "policy.limits.duration: expected a duration"),
    ({"policy": {"limits": {"job-size": {"max": {"nodes": 1}}}}},
     "policy.limits.job-size.max.nodes: unknown key, expected one of nnodes, ncores, ngpus"),
    ({"queues": {"a": {"policy": {"limits": {"job-size": {"min": {"ncores": -2}}}}}}},
     "queues.a.policy.limits.job-size.min.ncores: expected a number, or -1 for no limit, got -2"),
    ({"policy": {"jobspec": {"defaults": {"system": {"duration": "x"}}}}},
     "policy.jobspec.defaults.system.duration: expected a duration"),
])
def test_bad_configurations(site, read, tables, what):
    with pytest.raises(SiteError, match=what):
        api.run(read((0, 1, 1, 1, "a")), config=site(**tables))


def test_bad_files_and_arguments(site, read, tmp_path):
    with pytest.raises(SiteError, match="none.toml: No such file"):
        Site(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(SiteError, match="bad.toml: "):
        Site(tmp_path / "bad.toml")
    with pytest.raises(SimulateError, match="config is the machine's"):
        api.run(read((0, 1, 1, 1, "")), on=api.machine(procs=3), config=site())
    with pytest.raises(ValueError, match="expected nodes that there are, got '\\[\\]'"):
        ranks_of("[]", api.Inventory.from_counts(2, 1))


def test_on_the_command_line(site, read, tmp_path):
    """TOML, as a site has it."""
    read((0, 10, 10, 3, "batch"), (0, 20, 20, 9, "batch"))
    (tmp_path / "flux.toml").write_text('[[resource.config]]\nhosts = "n[0-9]"\ncores = "0-3"\n\n[queues.batch]\n'
                                        '[queues.batch.policy.limits]\njob-size.max.nnodes = 4\n')
    out, err = call("simulate", "--trace", "x.csv", "--config", "flux.toml", cwd=tmp_path)
    assert "x.csv: 1 jobs on 10 nodes x 4 cores" in out and "1 are beyond the limits of their queues" in out and not err
    _, err = call("simulate", "--trace", "x.csv", "--config", "x.csv", cwd=tmp_path, code=1)
    assert err.startswith("flux-sched: x.csv: ") and len(err.splitlines()) == 1


def test_memory_by_command(tmp_path):
    (tmp_path / "x.csv").write_text(MEMORY)
    arguments = ("simulate", "--trace", "x.csv", "--nodes", 2, "--cores", 4, "--memory")
    out, _ = call(*arguments, "8G", cwd=tmp_path)
    assert "x.csv: 5 jobs on 2 nodes x 4 cores" in out and "1 were denied by the scheduler" in out
    assert "denied" not in call(*arguments, 10_000, cwd=tmp_path)[0]
    for wrong in ("much", "0", "-5", "3K"):
        err = call(*arguments[:-1], f"--memory={wrong}", cwd=tmp_path, code=2)[1]
        assert f"'{wrong}': MB, or a number with M, G or T expected" in err
