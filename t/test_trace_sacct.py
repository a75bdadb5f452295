# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading job traces in CSV."""
import math

import numpy as np
import pytest

from fluxsched.traces import files, sacct
from fluxsched.traces.files import TraceError
from fluxsched.traces.load import load
from fluxsched.traces.trace import ENDED, RUNNING, WAITING

HEAD = ("JobID,User,JobName,Account,Cluster,Partition,Priority,QOS,NNodes,NCPUS,Timelimit,State,Submit,Start,"
        "Elapsed,End,ExitCode,IORate(MB)\n")


def line(job=1, user="a", nodes=1, cpus=16, limit="00:10:00", submit="1", elapsed="00:06:00", rate=5):
    return f"{job},{user},n,acc,c,batch,1,normal,{nodes},{cpus},{limit},COMPLETED,{submit},1,{elapsed},180,0:0,{rate}\n"


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "x.csv").write_text(text)
        return load(tmp_path / "x.csv")
    return read


def test_the_columns_of_the_emulator(read):
    t = read(HEAD + line() + line(2, "b", 100, 1600, "16:00:00", "19643", "16:00:09", 2))
    assert t.job_id.tolist() == [1, 2]
    assert t.submit.tolist() == [1, 19643]
    assert t.run.tolist() == [360, 57609]
    assert t.request.tolist() == [600, 57600]
    assert t.procs.tolist() == [16, 1600]
    assert t.nodes.tolist() == [1, 100]
    assert t.io_rate.tolist() == [5, 2]
    assert t.user.tolist() == [0, 1] and t.header["User"] == ["a", "b"]
    assert t.notes == {"over_request": 1}


def test_columns_in_any_order_and_few(read):
    t = read("NNodes,Submit,End,Start\n4,0,30,10\n2,5,0-00:01:10,60\n")
    assert t.procs.tolist() == [4, 2] and t.run.tolist() == [20, 10] and t.job_id.tolist() == [1, 2]
    assert t.notes == {"no_request": 2}


def test_bars_and_calendar_times(read):
    t = read("JobID|NCPUS|Submit|Elapsed|Timelimit\n12_1|4|2024-05-01T00:00:10|02:00|UNLIMITED\n"
             "13|8|2024-05-01T00:00:00|1-00:00:00|2-00:00:00\n")
    assert t.unix_start == 1714521600
    assert t.submit.tolist() == [0, 10] and t.run.tolist() == [86400, 120]
    assert t.job_id.tolist() == [13, 14] and t.names == {14: "12_1"} and t.request.tolist() == [172800, np.inf]


def test_steps_are_parts_of_their_job(read):
    """sacct without -X: a line for each step as well."""
    t = read("JobID|NCPUS|Submit|Elapsed\n12|8|0|60\n12.batch|4|0|60\n12.0|8|1|50\n12_7|4|5|60\n12_7.extern|4|5|60\n"
             "14.0|2|9|60\n")
    assert t.submit.tolist() == [0, 5, 9] and t.notes["partial"] == 3
    # Numbers with a fraction that is none, as some tools write them, are no steps.
    assert read("JobID,NCPUS,Submit,Elapsed\n1.0,8,0,60\n2.0,8,0,60\n").job_id.tolist() == [1, 2]


@pytest.mark.parametrize("word, value", [
    ("0", 0), ("90", 90), ("1.5", 1.5), ("00:10:00", 600), ("2-03:04:05", 183845), ("03:04", 184),
    ("100:00:00", 360000), ("00:00:01.25", 1.25), ("1970-01-02T00:00:00", 86400),
])
def test_times(word, value):
    assert sacct.seconds(word) == value


@pytest.mark.parametrize("word", ["", "Unknown", "UNLIMITED", "Partition_Limit", "-1", "None"])
def test_times_that_are_missing(word):
    assert math.isnan(sacct.seconds(word))


@pytest.mark.parametrize("word", ["soon", "1:2:3:4", "2-10", "10:99:00", "10:00:60", "1e9", "12-30:00", "nan",
                                  "2024-13-01T00:00:00"])
def test_times_that_are_none(word):
    with pytest.raises(ValueError):
        sacct.seconds(word)


def test_duplicates_and_what_is_left_out(read):
    unknown = line(2, elapsed="Unknown").replace(",180,", ",Unknown,")
    t = read(HEAD + line() + line() + unknown + line(3, cpus=0, nodes=0) + "\n" + line(4))
    assert t.job_id.tolist() == [1, 4]
    assert t.notes == {"duplicate": 1, "no_run": 1, "no_procs": 1}


@pytest.mark.parametrize("text, what", [
    ("", "no jobs in the trace"),
    (HEAD, "no jobs in the trace"),
    ("a,b\n1,2\n", "line 1: no column Submit"),
    ("Submit,Elapsed\n1,2\n", "line 1: no column NCPUS or NNodes"),
    ("Submit,NCPUS\n1,2\n", "line 1: no column Elapsed"),
    ("Submit,Submit,NCPUS,Elapsed\n1,1,2,3\n", "line 1: column Submit is there twice"),
    (HEAD + line() + "1,2,3\n", "line 3: 18 columns expected, 3 found"),
    (HEAD + line(elapsed="soon"), "line 2: Elapsed: seconds or .* expected, 'soon' found"),
    (HEAD + line(cpus="x"), "line 2: NCPUS: a number expected, 'x' found"),
    (HEAD + line() + '2,"open\n', "line 3: a quote is not closed"),
])
def test_a_malformed_line_is_named(read, text, what):
    with pytest.raises(TraceError, match=r"x\.csv: " + what):
        read(text)


def test_no_text(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"Submit\xff\n")
    with pytest.raises(TraceError, match=r"not UTF-8 text \(byte 6\)"):
        load(tmp_path / "x.csv")


def test_too_many_jobs(read, monkeypatch):
    monkeypatch.setattr(files, "MAX_JOBS", 1)
    with pytest.raises(TraceError, match="more than 1 jobs"):
        read(HEAD + line(1) + line(2))


def test_known_without_a_suffix(tmp_path):
    (tmp_path / "log").write_text("Submit,NCPUS,Elapsed\n1,2,3\n")
    assert load(tmp_path / "log").procs.tolist() == [2]


BARS = "JobID|User|JobName|Account|Partition|NNodes|NCPUS|Timelimit|State|Submit|Start|Elapsed|End\n"


def bar(job, name="n", state="COMPLETED", start="2026-01-05T10:01:00", elapsed="00:10:00", end="2026-01-05T10:11:00"):
    return f"{job}|u1|{name}|acc|batch|1|4|01:00:00|{state}|2026-01-05T10:00:00|{start}|{elapsed}|{end}\n"


@pytest.mark.parametrize("delimiter", ["|", ","])
def test_sacct_does_not_quote(read, delimiter):
    t = read((BARS + bar(1, '"a') + bar(2, 'b"') + bar(3, '"c"') + bar(4, 'd"e')).replace("|", delimiter))
    assert t.job_id.tolist() == [1, 2, 3, 4]


def test_programs_that_write_commas_quote(read):
    head = "JobID,JobName,NCPUS,Submit,Elapsed\n"
    assert read(head + '1,"a,""b""",4,0,60\n2,"two\nlines",4,0,60\n3,c,4,0,60\n').job_id.tolist() == [1, 2, 3]
    with pytest.raises(TraceError, match=r"line 2: 5 columns expected, 6 found"):
        read(head + "1,a,b,4,0,60\n")
    with pytest.raises(TraceError, match=r"line 2: 13 columns expected, 14 found; sacct does not quote"):
        read(BARS + bar(1, "a|b"))


@pytest.mark.parametrize("change", [
    dict(start="None", elapsed="00:00:00", state="CANCELLED by 1000"), dict(start="Unknown", elapsed="00:00:00"),
    dict(end="Unknown"), dict(state="REVOKED"), dict(state="SPECIAL_EXIT"),
    dict(state="CANCELLED+", elapsed="00:00:00", start="2026-01-05T10:11:00"),
])
def test_jobs_that_never_started(read, change):
    t = read(BARS + bar(1) + bar(2, **change))
    assert t.job_id.tolist() == [1] and t.notes == {"no_run": 1}


def test_jobs_that_run_or_wait(read):
    going = dict(end="Unknown", start="2026-01-05T10:01:00")
    waiting = dict(end="Unknown", start="Unknown", elapsed="00:00:00")
    t = read(BARS + bar(1) + bar(2, **going, state="RUNNING", elapsed="00:30:00") + bar(3, **waiting, state="PENDING")
             + bar(4, **going, state="S", elapsed="00:29:00"))
    assert t.state.tolist() == [ENDED, RUNNING, WAITING, RUNNING] and t.notes == {"running": 2, "waiting": 1}
    assert t.run.tolist() == [600, 3600, 3600, 3600] and t.taken == 31 * 60
    assert t.began.tolist()[:2] == [60, 60] and math.isnan(t.began[2])
    assert read(BARS + bar(1) + bar(3, **waiting, state="PD")).taken == 11 * 60


def test_held_jobs_are_left_out(read):
    head = "JobID,NCPUS,State,Submit,Elapsed,Priority\n"
    t = read(head + "1,4,PENDING,0,0,0\n2,4,PENDING,0,0,7\n3,4,COMPLETED,0,5,0\n")
    assert t.job_id.tolist() == [2, 3] and t.notes["held"] == 1 and t.priority.tolist() == [7, 0]


def test_priority_gpus_memory_and_when_a_job_was_eligible(read):
    t = read("JobID|NCPUS|Submit|Eligible|Elapsed|Priority|ReqTRES|AllocTRES\n"
             "1|4|2024-05-01T00:00:00|2024-05-01T00:01:00|60|4294901755|cpu=4,mem=4G,gres/gpu=2|cpu=4,gres/gpu=4,mem=8G\n"
             "2|4|2024-05-01T00:00:01|Unknown|60||cpu=4,mem=1.5T|\n3|4|2024-05-01T00:00:02||60|1||mem=500M\n")
    assert t.ready.tolist() == [60, 1, 2] and t.priority.tolist() == [4294901755, -1, 1]
    assert t.gpus.tolist() == [4, 0, 0]
    assert t.memory.tolist() == pytest.approx([4 * 1024**3 / 1e6, 1.5 * 1024**4 / 1e6, 500 * 1024**2 / 1e6])


def test_memory_of_a_node_or_a_processor(read):
    t = read("JobID|NCPUS|NNodes|Submit|Elapsed|ReqMem|ReqTRES\n1|4|2|0|60|4Gn|\n2|4|2|0|60|512Mc|\n3|4|2|0|60|8G|\n"
             "4|4|2|0|60|8G|mem=2G\n5|4|2|0|60|0n|\n6|4|2|0|60|1000|\n7|4|2|0|60||\n")
    of = [8 * 1024**3, 2 * 1024**3, 8 * 1024**3, 2 * 1024**3, 0, 1000 * 1024**2, 0]
    assert t.memory.tolist() == pytest.approx([amount / 1e6 for amount in of])


def test_jobs_with_their_nodes_for_themselves(read):
    t = read("JobID|NCPUS|Submit|Elapsed|OverSubscribe|SubmitLine\n1|4|0|60|NO|sbatch a\n2|4|0|60|OK|sbatch -n4 a\n"
             "3|4|0|60||srun --exclusive a\n4|4|0|60|USER|sbatch --exclusive=user a\n")
    assert t.exclusive.tolist() == [True, False, True, False]


def test_constraints(read):
    t = read("JobID|NCPUS|Submit|Elapsed|Constraints\n1|4|0|60|gpu\n2|4|0|60|\n3|4|0|60|a&b-1\n4|4|0|60|[x*2]\n"
             "5|4|0|60|a|b\n6|4|0|60|gpu\n".replace("a|b", "a;b").replace("|", ",").replace("a;b", "a|b"))
    assert t.constraints == [{"properties": ["gpu"]}, {"properties": ["a", "b-1"]},
                             {"or": [{"properties": ["a"]}, {"properties": ["b"]}]}]
    assert t.constraint.tolist() == [0, -1, 1, -1, 2, 0] and t.notes["other_constraint"] == 1


def test_names_of_users_accounts_and_partitions(read):
    t = read(HEAD + line(1, "eve") + line(2, "bob") + line(3, "eve"))
    assert [t.label("user", number) for number in t.user.tolist()] == ["eve", "bob", "eve"]
    assert t.label("group", t.group[0]) == "acc" and t.label("queue", t.queue[0]) == "batch"


@pytest.mark.parametrize("change", [
    dict(state="CANCELLED by 1000"), dict(state="COMPLETED", elapsed="00:00:00"), dict(state="REQUEUED"),
    dict(state="TIMEOUT"), dict(state=""),
])
def test_jobs_that_ran(read, change):
    assert len(read(BARS + bar(1, **change))) == 1


def test_a_state_without_start(read):
    head = "JobID,NCPUS,State,Submit,Elapsed,NodeList\n"
    t = read(head + "1,4,CANCELLED by 7,0,0,n1\n2,4,COMPLETED,0,0,n1\n3,4,FAILED,0,0,None assigned\n")
    assert t.job_id.tolist() == [2] and t.notes["no_run"] == 2


@pytest.mark.parametrize("columns, words, nodes, procs", [
    ("AllocCPUS,NNodes", "104,2", 2, 104), ("NCPUS,AllocCPUS", "0,8", 0, 8), ("ReqCPUS,AllocCPUS", "4,8", 0, 8),
    ("AllocNodes", "3", 3, 3), ("ReqNodes", "3", 3, 3), ("AllocTRES", '"billing=9,cpu=8,mem=4G,node=2"', 2, 8),
    ("ReqTRES,AllocTRES", '"cpu=4,node=1",', 1, 4), ("nnodes,ncpus", "4K,16K", 4096, 16384),
    ("NNODES", "1.50K", 1536, 1536),
])
def test_every_spelling_of_sizes(read, columns, words, nodes, procs):
    t = read(f"JobID,Submit,Elapsed,{columns}\n1,0,60,{words}\n")
    assert (t.nodes.tolist(), t.procs.tolist()) == ([nodes], [procs])


def test_every_spelling_of_the_rest(read):
    t = read("JobIDRaw,UID,GID,Submit,ElapsedRaw,TimelimitRaw,NCPUS\n5,10,20,0,60,2,4\n6,11,20,0,60,UNLIMITED,4\n")
    assert t.job_id.tolist() == [5, 6] and t.run.tolist() == [60, 60] and t.request.tolist() == [120, np.inf]
    assert t.header == {"User": ["10", "11"], "Account": ["20"]}


def test_ids_are_told_apart(read):
    t = read("JobID,NCPUS,Submit,Elapsed\n7_1,4,0,60\n7_2,4,0,60\n1,4,1,60\n2,4,1,60\n9.batch,4,2,60\n12+1,4,3,60\n"
             "14.0,4,4,60\n14.1,4,4,60\n7_1,4,5,60\n")
    assert t.job_id.tolist() == [15, 16, 1, 2, 17, 18, 14, 19, 15]
    assert t.names == {15: "7_1", 16: "7_2", 17: "9.batch", 18: "12+1", 19: "14.1"}
    assert len(set(read("NCPUS,Submit,Elapsed\n4,0,60\n4,0,61\n4,0,62\n").job_id.tolist())) == 3


def test_large_ids_are_exact(read):
    assert read(f"JobID,NCPUS,Submit,Elapsed\n{2**63 - 1},4,0,60\n{2**53 + 1},4,0,60\n").job_id.tolist() == [
        2**63 - 1, 2**53 + 1]
    t = read(f"JobID,NCPUS,Submit,Elapsed\n{2**63},4,0,60\n{2**63 - 1},4,0,60\n")
    assert t.job_id.tolist()[1] == 2**63 - 1 and len(set(t.job_id.tolist())) == 2
