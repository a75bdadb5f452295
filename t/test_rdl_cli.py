# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command flux-sched, and flux-sched rdl."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from embedded import until
from fluxsched.cli import main as cli
from fluxsched.formats import r


@pytest.fixture
def run(top, monkeypatch):
    monkeypatch.chdir(top)

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli.main, arguments, prog_name="flux-sched", catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_version_and_help(run):
    assert run("--version").startswith("flux-sched ")
    assert "rdl" in run("--help")
    assert "URI" in run("rdl", "--help")
    assert "No such command 'frob'" in run("frob", code=2)


def test_commands_are_imported_when_named(top):
    code = ("import sys; from fluxsched.cli.main import main; main(['--version'], standalone_mode=False); "
            "print([m for m in sys.modules if 'lupa' in m or 'numpy' in m])")
    assert subprocess.check_output([sys.executable, "-c", code], text=True).endswith("[]\n")


def test_known_errors_are_one_line(run, monkeypatch):
    assert run("rdl", "none.lua", code=1) == "flux-sched: none.lua: No such file or directory\n"

    class Raises:
        def __init__(self, error):
            self.error = error

        def invoke(self, *arguments):
            raise self.error

    for error, text in ((PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied"),
                        (OSError("plain"), "plain"), (r.RError("bad R"), "bad R")):
        monkeypatch.setattr(cli.click.Group, "invoke", Raises(error).invoke)
        assert run("rdl", code=1) == f"flux-sched: {text}\n"
    monkeypatch.setattr(cli.click.Group, "invoke", Raises(ValueError("our mistake")).invoke)
    with pytest.raises(ValueError, match="our mistake"):
        run("rdl")


def test_tree(run):
    assert run("rdl", "conf/hype.lua") == """\
hype  cluster
  hype[201-354]  node
    socket0
      core[0-7]
      memory  size=15000
    socket1
      core[8-15]
      memory  size=15000
"""
    assert run("rdl", "conf/hype-io.lua", "tree", "default:/hype/hype204/socket1/core9") == """\
hype  cluster max_bw=10000
  hype204  node max_bw=144
    socket1  max_bw=72
      core9  max_bw=9
"""
    full = run("rdl", "conf/hype.lua", "--full").splitlines()
    assert len(full) == 3235
    assert full[:5] == ["hype  cluster", "  hype201  node", "    socket0", "      core0", "      core1"]


def test_tree_of_all_hierarchies(run, tmp_path):
    path = tmp_path / "two.lua"
    path.write_text("Hierarchy 'a' { Resource { 'x', tags = { 'flag' } } } Hierarchy 'b' { Resource { 'y', id = 1 } }")
    assert run("rdl", str(path)) == "x  flag\ny1\n"
    assert run("rdl", str(path), "aggregate", code=1).endswith("no hierarchy 'default' (there: a, b)\n")


@pytest.mark.parametrize("words", [[], ["tree"], ["resource"], ["aggregate"], ["find", "--type=core"], ["to-r"]])
def test_a_file_without_a_hierarchy_says_so(run, tmp_path, words):
    path = tmp_path / "none.lua"
    path.write_text("x = 1")
    assert "none.lua: default: no hierarchy 'default' (there: none: " in run("rdl", str(path), *words, code=1)


def test_resource(run):
    text = run("rdl", "conf/hype-io.lua", "resource", "default:/hype/hype201/socket1")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    fields = {name: value.strip() for name, value in fields.items()}
    assert len(fields.pop("uuid")) == 36
    assert fields == {
        "name": "socket1", "basename": "socket", "type": "socket", "id": "1", "path": "/hype/hype201/socket1",
        "uri": "default:/hype/hype201/socket1", "size": "1", "allocated": "0", "available": "1", "tags": "max_bw=72",
        "properties": "cpus=8-15", "children": "9",
    }
    assert "id:" not in run("rdl", "conf/hype.lua", "resource").replace("uuid:", "")


def test_aggregate(run):
    assert run("rdl", "conf/hype.lua", "aggregate").split() == [
        "cluster", "1", "core", "2464", "memory", "4620000", "node", "154", "socket", "308"]
    assert run("rdl", "conf/hype.lua", "aggregate", "default:/hype/hype300/socket0").split() == [
        "core", "8", "memory", "15000", "socket", "1"]


def test_find(run, tmp_path):
    assert run("rdl", "conf/hype.lua", "find", "--type=core", "--ids=3,9") == """\
hype  cluster
  hype[201-354]  node
    socket0
      core3
    socket1
      core9
"""
    assert run("rdl", "conf/hype.lua", "find", "default:/hype/hype202", "--name=memory") == """\
hype  cluster
  hype202  node
    socket0
      memory  size=15000
    socket1
      memory  size=15000
"""
    path = tmp_path / "tags.lua"
    path.write_text("Hierarchy 'default' { Resource { 'c', children = { "
                    "Resource { 'n', id = 1, tags = { 'a', b = 3 } }, "
                    "Resource { 'n', id = 2, tags = { 'a', b = 'x' }, allocated = 1 }, "
                    "Resource { 'n', id = 3, tags = { c = false } } } } }")
    for options, found in ((["--tag=a"], "12"), (["--tag=a", "--tag=b=3"], "1"), (["--tag=b=x"], "2"),
                           (["--tag=c=false"], "3"), (["--tag=a", "--available"], "1")):
        lines = run("rdl", str(path), "find", "--full", *options).splitlines()[1:]
        assert "".join(line.split()[0][1:] for line in lines) == found
    assert run("rdl", "conf/hype.lua", "find", "--type=gpu", code=1) == (
        "flux-sched: conf/hype.lua: find: no resource matches\n")
    assert "is no list of names" in run("rdl", "conf/hype.lua", "find", "--name=[", code=1)


def test_to_r(run, tmp_path):
    assert json.loads(run("rdl", "conf/hype.lua", "to-r")) == {
        "version": 1,
        "execution": {
            "R_lite": [{"rank": "0-153", "children": {"core": "0-15"}}],
            "nodelist": ["hype[201-354]"], "starttime": 0, "expiration": 0,
        },
    }
    path = tmp_path / "gpus.lua"
    path.write_text("""uses "Node"
        Hierarchy "default" { Resource { "cluster", children = {
            ListOf { Node, ids = "08-10", args = { name = "n", sockets = { "0-3", "8-11" } } },
            Node { name = "g", id = 1, sockets = { "0-3" }, tags = { "gpus", n = 1 }, properties = { "big" },
                   children = { Resource { "gpu", ids = "0-1" } } } } } }""")
    R = json.loads(run("rdl", str(path), "to-r"))["execution"]
    assert R["nodelist"] == ["g1,n[08-10]"]
    assert R["R_lite"] == [
        {"rank": "0", "children": {"core": "0-3", "gpu": "0-1"}}, {"rank": "1-3", "children": {"core": "0-3,8-11"}}]
    assert R["properties"] == {"gpus": "0", "big": "0"}
    assert run("rdl", str(path), "to-r", "default:/cluster/n09").count('"n09"') == 1


def test_to_r_without_nodes(run, tmp_path):
    path = tmp_path / "no.lua"
    path.write_text("Hierarchy 'default' { Resource { 'rack' } }")
    assert run("rdl", str(path), "to-r", code=1) == f"flux-sched: {path}: default: no resource of type node\n"


def test_misplaced_options(run):
    assert "--type goes with find" in run("rdl", "conf/hype.lua", "tree", "--type=node", code=2)
    assert "--full goes with tree and find" in run("rdl", "conf/hype.lua", "to-r", "--full", code=2)
    assert "'frob' is not one of" in run("rdl", "conf/hype.lua", "frob", code=2)


def test_a_file_that_loops_can_be_interrupted(tmp_path):
    path = tmp_path / "loop.lua"
    path.write_text("local s = string.rep('x', 1000000) while true do local t = s .. 'y' end")
    command = [sys.executable, "-c", "from fluxsched.cli.main import main; main()", "rdl", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ticks = os.sysconf("SC_CLK_TCK")
    used = Path(f"/proc/{process.pid}/stat")
    until(lambda: int(used.read_text().rpartition(")")[2].split()[11]) > ticks, "a second of processor time")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGINT
