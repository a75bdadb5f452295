# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The commands flux-sched simulate and generate-trace, as a user calls them."""
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedded import open_terminal

TOP = Path(__file__).resolve().parent.parent
RUN = "import sys; from fluxsched.cli.main import main; sys.exit(main(prog_name='flux-sched'))"
ENV = {**os.environ, "PYTHONPATH": str(TOP / "build/lib"), "COLUMNS": "100"}

SLOW = """
import time
class Plugin:
    def __init__(self, options): self.passes = 0
    def sched_loop_setup(self, engine):
        self.passes += 1
        if self.passes == 30:
            open("reached", "w").close()
        if self.passes >= 30:
            time.sleep(0.02)
    def find_resources(self, engine, job): return engine.fits_now(job)
    def select_resources(self, engine, job): return engine.select(job)
    def allocate_resources(self, engine, job): engine.start(job)
    def reserve_resources(self, engine, job): return 1
"""


def command(*args, cwd, **more):
    return subprocess.Popen([sys.executable, "-c", RUN, *map(str, args)], cwd=cwd, env=ENV, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **more)


def call(*args, cwd, code=0):
    process = command(*args, cwd=cwd)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return out, err


@pytest.fixture
def trace(tmp_path):
    call("generate-trace", "g.swf.gz", "--jobs", 300, "--procs", 32, "--load", 1.1, "--seed", 3, "--overestimate", 3,
         "--users", 4, cwd=tmp_path)
    return tmp_path / "g.swf.gz"


def test_the_whole_way(trace, tmp_path):
    out, err = call("simulate", "--trace", trace, "--plugin", "backfill.plugin1", "--plugin-opts", "reserve-depth=1",
                    "--out", "o", "--plot", cwd=tmp_path)
    assert err == ""
    assert "g.swf.gz: 300 jobs on 32 nodes, 32 processors" in out
    assert "mean bounded slowdown (10 s)" in out and "time per pass" in out
    assert sorted(os.listdir(tmp_path / "o")) == ["gantt.png", "gantt.svg", "jobs.csv", "load.png", "load.svg",
                                                  "summary.json", "wait.png", "wait.svg"]
    assert sorted(os.listdir(tmp_path)) == ["g.swf.gz", "o"]
    summary = json.loads((tmp_path / "o/summary.json").read_text())
    with open(tmp_path / "o/jobs.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert summary["finished"] == len(rows) == 300 and summary["plugin_opts"] == "reserve-depth=1"
    wait = [float(row["waiting_time"]) for row in rows]
    assert sum(wait) / 300 == pytest.approx(summary["mean_wait"])
    assert all(float(row["finish_time"]) == pytest.approx(float(row["starting_time"]) + float(row["execution_time"]))
               for row in rows)


def test_compare(trace, tmp_path):
    out, _ = call("simulate", "--trace", trace, "--compare", "fcfs,easy,conservative,hybrid4+sjf", "--out", "o",
                  cwd=tmp_path)
    header = next(line for line in out.splitlines() if "conservative" in line)
    assert header.split() == ["fcfs", "easy", "conservative", "hybrid4+sjf"]
    assert sorted(os.listdir(tmp_path / "o")) == ["compare.json", "compare.png", "compare.svg", "conservative", "easy",
                                                  "fcfs", "hybrid4+sjf"]
    waits = {s["policy"]: s["mean_wait"] for s in json.loads((tmp_path / "o/compare.json").read_text())}
    assert waits["easy"] < waits["fcfs"]
    # Again into the same folder: it is replaced.
    call("simulate", "--trace", trace, "--compare", "fcfs,easy", "--out", "o", cwd=tmp_path)
    assert sorted(os.listdir(tmp_path / "o")) == ["compare.json", "compare.png", "compare.svg", "easy", "fcfs"]


def test_machines_and_cuts(trace, tmp_path):
    out, _ = call("simulate", "--trace", trace, "--nodes", 8, "--cores", 8, "--until", "2d", cwd=tmp_path)
    assert "8 nodes x 8 cores, 64 processors" in out and "not yet submitted" in out and "makespan" in out
    out, _ = call("simulate", "--trace", trace, "--rdl", TOP / "conf/hype.lua", "--plugin", "easy", cwd=tmp_path)
    assert "154 nodes x 16 cores" in out
    out, _ = call("simulate", "--trace", trace, "--procs", 16, cwd=tmp_path)
    assert "are larger than the machine: left out" in out


def test_what_one_policy_denies(tmp_path):
    """A job of more bandwidth than there is runs where nobody looks at bandwidth."""
    (tmp_path / "io.csv").write_text("JobID,NNodes,NCPUS,Submit,Elapsed,IORate(MB)\n1,1,16,0,60,5\n2,1,16,0,60,10\n")
    machine = ["--trace", "io.csv", "--rdl", TOP / "conf/hype-io.lua"]
    out, _ = call("simulate", *machine, "--compare", "easy:io-aware=false,easy", cwd=tmp_path)
    assert out.startswith("io.csv: 2 jobs on 154 nodes x 16 cores")
    assert "  1 were denied by the scheduler under easy\n" in out and out.count("denied") == 1
    out, _ = call("simulate", *machine, "--plugin", "easy", cwd=tmp_path)
    assert "  1 were denied by the scheduler\n" in out


def test_the_example_of_the_readme(tmp_path):
    """Word for word; and it prints the figures that stand there."""
    part = (TOP / "README.md").read_text().partition("## What would another policy have done?")[2].partition("\n## ")[0]
    shown = [line[4:] for line in part.splitlines() if line.startswith("    ")]
    commands = [line.split()[1:] for line in shown if line.startswith("build/venv/bin/flux-sched ")]
    assert [words[0] for words in commands] == ["generate-trace", "simulate"]
    call(*commands[0], cwd=tmp_path)
    out, _ = call(*commands[1], cwd=tmp_path)
    figures = [line for line in shown if line and not line.startswith("build/")]
    # How wide the columns are depends on the times measured, which stand in them, too.
    assert len(figures) == 5
    assert {tuple(line.split()) for line in figures} <= {tuple(line.split()) for line in out.splitlines()}
    for name in ("compare.png", "easy/jobs.csv", "easy/summary.json", "easy/gantt.png"):
        assert (tmp_path / "results" / name).exists() and name.split("/")[-1].split(".")[0] in part.lower()


@pytest.mark.parametrize("args, code, what", [
    (["--trace", "none.swf"], 1, "none.swf: cannot be read: No such file"),
    (["--trace", "empty.swf"], 1, "empty.swf: no jobs in the trace"),
    (["--trace", "binary.swf"], 1, "a binary file, not a trace"),
    (["--trace", "words.swf"], 1, "words.swf: line 3: field 4: a number expected, 'ten' found"),
    (["--trace", "short.swf.gz"], 1, "truncated or broken gzip file"),
    (["--trace", "g.swf.gz", "--plugin", "no.such"], 1, "plugin no.such: neither no.such.so nor no.such.py"),
    (["--trace", "g.swf.gz", "--plugin", "easy", "--plugin-opts", "depth=1"], 1, "unknown option 'depth'"),
    (["--trace", "g.swf.gz", "--plugin", "easy", "--plugin-opts", "depth"], 1, "key=value expected"),
    (["--trace", "g.swf.gz", "--plugin", "easy+best"], 1, "unknown order 'best'"),
    (["--trace", "g.swf.gz", "--rdl", "none.lua"], 1, "none.lua"),
    (["--trace", "g.swf.gz", "--procs", "0"], 2, "0 is not in the range"),
    (["--trace", "g.swf.gz", "--procs", "4", "--nodes", "4"], 2, "one machine expected"),
    (["--trace", "g.swf.gz", "--cores", "4"], 2, "--nodes N expected with it"),
    (["--trace", "g.swf.gz", "--plugin", "easy", "--compare", "fcfs"], 2, "no --plugin with it"),
    (["--trace", "g.swf.gz", "--compare", "fcfs,fcfs"], 2, "names a policy twice"),
    (["--trace", "g.swf.gz", "--until", "soon"], 2, "'soon': seconds, [D-]HH:MM:SS"),
    (["--trace", "g.swf.gz", "--plot"], 2, "--plot needs --out"),
    (["--trace", "g.swf.gz", "--out", "full"], 1, "full: holds other files"),
    (["--trace", "g.swf.gz", "--out", "no/where"], 1, "there is no folder"),
    (["--trace", "g.swf.gz", "--out", ""], 1, "the name of a folder expected"),
    (["--trace", "none.swf", "--compare", "easy,no.such"], 1, "plugin no.such: neither"),     # before any work
    ([], 2, "one trace expected: --trace FILE, or --generate"),
])
def test_one_clear_error_and_nothing_written(trace, tmp_path, args, code, what):
    (tmp_path / "empty.swf").write_text("")
    (tmp_path / "binary.swf").write_bytes(b"\x7fELF\0\1\2")
    good = "1 0 -1 10 4 -1 -1 -1 -1 -1 1 1 1 -1 0 -1 -1 -1\n"
    (tmp_path / "words.swf").write_text("; Version: 2\n" + good + good.replace(" 10 ", " ten "))
    (tmp_path / "short.swf.gz").write_bytes(trace.read_bytes()[:1000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("")
    before = sorted(os.listdir(tmp_path))
    where = [] if "--out" in args or code == 2 else ["--out", "o"]
    out, err = call("simulate", *args, *where, cwd=tmp_path, code=code)
    lines = [line for line in err.splitlines() if line]
    assert what in lines[-1] and out == ""
    if code == 1:
        assert len(lines) == 1 and lines[0].startswith("flux-sched: ")
    assert sorted(os.listdir(tmp_path)) == before


def wait_for(path, process):
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_ctrl_c_writes_what_there_is(trace, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    process = command("simulate", "--trace", trace, "--plugin", "./slow.py", "--out", "o", "--plot", cwd=tmp_path)
    wait_for(tmp_path / "reached", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted at" in err and "what there is was written" in err and "Traceback" not in err
    summary = json.loads((tmp_path / "o/summary.json").read_text())
    with open(tmp_path / "o/jobs.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert summary["stopped"] == "interrupted"
    assert 0 < len(rows) == summary["finished"] + summary["running"] < 300
    assert "not yet submitted" in out


@pytest.mark.parametrize("where", ["fluxsched.traces.load.load", "fluxsched.simulate.api.machine",
                                   "fluxsched.simulate.results.write", "fluxsched.simulate.plots.compare",
                                   "fluxsched.cli.simulate.show"])
def test_ctrl_c_at_any_time_exits_130(trace, tmp_path, where):
    """While the trace is read, between two steps, while results are written or drawn: no traceback, nothing left."""
    module, _, function = where.rpartition(".")
    run = f"""
import importlib, os, signal
module = importlib.import_module({module!r})
call = module.{function}
def interrupted(*args, **more):
    os.kill(os.getpid(), signal.SIGINT)
    return call(*args, **more)
module.{function} = interrupted
""" + RUN
    command = [sys.executable, "-c", run, "simulate", "--trace", "g.swf.gz", "--compare", "fcfs,easy", "--out", "o"]
    done = subprocess.run([*command, "--plot"], cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr and "Aborted" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == (["g.swf.gz", "o"] if where.endswith("show") else ["g.swf.gz"])


def test_ctrl_c_while_modules_are_read(tmp_path):
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = {**ENV, "PYTHONPATH": f"{tmp_path}:{ENV['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", RUN, "simulate", "--trace", "g.swf.gz"], cwd=tmp_path, env=env,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_matplotlib_is_for_pictures_only(trace, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError(name='matplotlib')\n")
    env = {**ENV, "PYTHONPATH": f"{tmp_path}:{ENV['PYTHONPATH']}"}
    for args, code in ((["--plugin", "easy", "--out", "o"], 0), (["--compare", "easy,fcfs"], 0),
                       (["--out", "p", "--plot"], 1), (["--compare", "easy,fcfs", "--out", "p"], 1)):
        command = [sys.executable, "-c", RUN, "simulate", "--trace", "g.swf.gz", *args]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("this needs matplotlib" in done.stderr) == bool(code)
    assert not (tmp_path / "p").exists()


def test_what_each_policy_ran_with(trace, tmp_path):
    out, _ = call("simulate", "--trace", trace, "--compare", "fcfs,easy+sjf,easy+f2:aging=900", cwd=tmp_path)
    assert out.endswith("""
policy             plugin            options
fcfs               sched.plugin1     none
easy+sjf           backfill.plugin1  reserve-depth=1, order=sjf, aging=0
easy+f2:aging=900  backfill.plugin1  reserve-depth=1, order=f2, aging=900
""")
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("killed")] == [["killed", "at", "their"]]


def test_killed_leaves_no_results(trace, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    process = command("simulate", "--trace", trace, "--plugin", "./slow.py", "--out", "o", cwd=tmp_path)
    wait_for(tmp_path / "reached", process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "o").exists()


def test_a_progress_bar_on_a_terminal_only(trace, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW.replace("0.02", "0.003"))
    mine, theirs = open_terminal()
    process = subprocess.Popen([sys.executable, "-c", RUN, "simulate", "--trace", str(trace), "--plugin", "./slow.py"],
                               cwd=tmp_path, env={**ENV, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while True:
            piece = os.read(mine, 4096)
            if not piece:
                break
            seen += piece
    except OSError:                 # the other end is closed
        pass
    os.close(mine)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and b"/300" in seen and b"in the system" in seen and b"300" in out


@pytest.mark.parametrize("columns, tables", [(200, 1), (70, 2), (20, 3)])
def test_a_table_as_wide_as_the_terminal(trace, tmp_path, columns, tables):
    mine, theirs = open_terminal()
    command = ["simulate", "--trace", str(trace), "--compare", "fcfs,easy,conservative+multifactor"]
    process = subprocess.Popen([sys.executable, "-c", RUN, *command], cwd=tmp_path, stdout=theirs, stderr=theirs,
                               env={**ENV, "TERM": "dumb", "COLUMNS": str(columns)})
    os.close(theirs)
    seen = b""
    try:
        while True:
            piece = os.read(mine, 4096)
            if not piece:
                break
            seen += piece
    except OSError:                 # the other end is closed
        pass
    os.close(mine)
    assert process.wait(60) == 0
    lines = seen.decode().splitlines()
    assert sum(line.startswith("mean wait") for line in lines) == tables
    waits = [word for line in lines if line.startswith("mean wait") for word in line.split()[2::2]]
    assert len(waits) == 3
    if columns == 70:
        assert max(len(line) for line in lines if line.startswith(("mean", "passes"))) <= 70


def test_results_that_cannot_be_written_are_printed_at_least(trace, tmp_path):
    """The disk is full: a folder of which the writer's own file size limit stands for the end."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " \
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    done = subprocess.run([sys.executable, "-c", limit + RUN, "simulate", "--trace", "g.swf.gz", "--out", "o"],
                          cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "mean wait" in done.stdout
    assert done.stderr == "flux-sched: results cannot be written: o: File too large\n"
    assert os.listdir(tmp_path) == ["g.swf.gz"]


def test_a_plugin_that_starts_nothing(trace, tmp_path):
    (tmp_path / "lazy.py").write_text(SLOW.replace("return engine.fits_now(job)", "return False").replace("0.02", "0"))
    out, err = call("simulate", "--trace", trace, "--plugin", "./lazy.py", cwd=tmp_path, code=1)
    assert "the plugin starts no more jobs" in err and "still waiting" in out


@pytest.mark.parametrize("code, what", [("1 // 0", "ZeroDivisionError: integer division or modulo by zero"),
                                        ("int('x')", "ValueError: invalid literal")])
def test_a_plugin_that_fails_is_told_with_its_line(trace, tmp_path, code, what):
    text = SLOW.replace("return engine.fits_now(job)", f"return {code}")
    (tmp_path / "broken.py").write_text(text)
    line = 1 + text[:text.index(code)].count("\n")
    out, err = call("simulate", "--trace", trace, "--plugin", "broken.py", "--out", "o", cwd=tmp_path, code=1)
    assert err.startswith(f"flux-sched: plugin broken.py: {what}") and err.endswith(f"broken.py, line {line})\n")
    assert len(err.splitlines()) == 1 and out == "" and not (tmp_path / "o").exists()


def test_generate(tmp_path):
    for name in ("a.swf", "b.swf"):
        out, _ = call("generate-trace", name, "--jobs", 50, "--seed", 9, cwd=tmp_path)
        assert f"{name}: 50 jobs on 128 processors" in out
    assert (tmp_path / "a.swf").read_bytes() == (tmp_path / "b.swf").read_bytes()
    _, err = call("generate-trace", "no/where.swf", cwd=tmp_path, code=1)
    assert err == "flux-sched: no/where.swf: cannot be written: No such file or directory\n"
    _, err = call("generate-trace", "x.swf", "--load", 0, cwd=tmp_path, code=2)
    assert "0" in err.splitlines()[-1]


def test_a_closed_pipe_is_no_error(trace, tmp_path):
    done = subprocess.run(f"'{sys.executable}' -c \"$RUN\" simulate --trace g.swf.gz --out o | true", shell=True,
                          cwd=tmp_path, env={**ENV, "RUN": RUN}, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "" and (tmp_path / "o/summary.json").exists()


@pytest.mark.parametrize("name", ["simulate", "generate-trace"])
def test_help(name, tmp_path):
    out, _ = call(name, "--help", cwd=tmp_path)
    assert "Usage: flux-sched " + name in out
