# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The table of trace formats: all that a new one needs is a module and an entry."""
import csv
import subprocess
import sys

import pytest

from fluxsched.simulate import api, results
from fluxsched.traces import load as formats
from fluxsched.traces.files import TraceError

READER = """
from fluxsched.traces.files import lines
from fluxsched.traces.trace import build

def read(path, begun=None):
    rows = [line.split(":") for line in lines(path, begun)][1:]
    submit, run, procs = zip(*rows)
    return build({"job_id": range(len(rows)), "submit": submit, "run": run, "procs": procs, "request": run},
                 source=path, notes={"odd": 2})
"""


@pytest.mark.parametrize("name, format", [("x.colon", None), ("x.COLON.gz", None), ("x", None), ("x.swf", "colon")])
def test_a_format_is_a_file_and_an_entry(tmp_path, monkeypatch, name, format):
    (tmp_path / "colon_reader.py").write_text(READER)
    (tmp_path / name).write_text("%colon\n0:10:4\n5:20:8\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = formats.Format("colon", "colons", "colon_reader", (".colon",), lambda head: head.startswith(b"%colon"))
    monkeypatch.setattr(formats, "FORMATS", (entry, *formats.FORMATS))
    assert formats.load(tmp_path / name, format).procs.tolist() == [4, 8]


def test_no_format_known(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "FORMATS", formats.FORMATS[:2])
    (tmp_path / "x").write_text("%\n")
    with pytest.raises(TraceError, match="no known trace format"):
        formats.load(tmp_path / "x")


def test_the_table_needs_no_numpy():
    code = "import sys; import fluxsched.traces.load, fluxsched.cli.simulate; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_results_name_jobs_as_the_trace_does(tmp_path):
    (tmp_path / "x.csv").write_text("JobID,NCPUS,Submit,Elapsed\n7_1,1,0,60\n3,1,0,60\n\"a,b\",1,0,60\n")
    results.write_jobs(api.run(formats.load(tmp_path / "x.csv"), procs=4), tmp_path / "jobs.csv")
    with open(tmp_path / "jobs.csv", newline="") as f:
        assert [row["job_id"] for row in csv.DictReader(f)] == ["7_1", "3", "5"]
