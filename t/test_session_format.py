# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Formats of `flux jobs -o`: what flux-core takes is taken, the rest is refused before it is used."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.session import jobid
from fluxsched.session.commands import jobfields
from fluxsched.session.commands.jobs import FORMATS
from fluxsched.session.commands.outputformat import MAX_WIDTH, FormatError, OutputFormat, split

T = 1700000000.25
JOB = {
    "id": 9848225792, "state": "RUN", "status": "RUN", "name": "a-long-name-here", "username": "anna", "userid": 7,
    "urgency": 16, "priority": 16, "cwd": "/", "ntasks": 4, "ncores": 8, "nnodes": 2, "duration": 90.0,
    "t_submit": T, "t_run": T + 1, "runtime": 3661.5, "expiration": time.time() + 1e6, "nodelist": "n[1-2]",
    "ranks": "0-1", "dependencies": [], "exception": {"occurred": False},
    "annotations": {"sched": {"reason_pending": "", "t_estimate": T}, "user": {"share": 0.125}},
}  # fmt: skip
WAITING = {**JOB, "state": "SCHED", "status": "SCHED", "name": "b", "runtime": 0.0, "annotations": {}, "urgency": 0}
for key in ("t_run", "nodelist", "ranks", "expiration"):
    del WAITING[key]
FAILED = {
    **JOB, "state": "INACTIVE", "status": "FAILED", "result": "FAILED", "returncode": 137, "success": False,
    "waitstatus": 137 << 8, "t_inactive": T + 2,
}  # fmt: skip


def table(text, *jobs, header=False):
    return OutputFormat(text, jobfields.heading, jobfields.value).lines(jobs or (JOB,), header)


def local(form, t=T):
    return time.strftime(form, time.localtime(t))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{id.dec} {id.kvs}", "9848225792 job.0000.0002.4b00.0000"),
        ("{id:,}", "9,848,225,792"),
        ("{id:d}", "9848225792"),
        ("{id!s:>10}|", f"{'ƒG1FjRR':>10}|"),
        ("{name:<10.10}|", "a-long-nam|"),
        ("{name:<10.10+}|", "a-long-na+|"),
        ("{name:.4}|{name!r}", "a-lo|'a-long-name-here'"),
        ("{name:^20}|", f"{'a-long-name-here':^20}|"),
        ("{ntasks:>6}|{ntasks:<6}|{ntasks:*^5}|{ntasks:04d}", "     4|4     |**4**|0004"),
        ("{ntasks:6}|{name:18}|", "     4|a-long-name-here  |"),
        ("{runtime:.1f} {runtime!F} {runtime!H}", "3661.5 1.017h 1:01:02"),
        ("{duration!F:>8h}|", "    1.5m|"),
        ("{nnodes:>6h}|", "     2|"),
        ("{t_submit!d:%H}", local("%H")),
        ("{t_submit!d:%b%d %R::>14}|", f"{local('%b%d %R'):>14}|"),
        ("{t_submit!D}", local("%Y-%m-%dT%H:%M:%S")),
        ("{t_submit!d}", local("%Y-%m-%dT%H:%M:%S")),
        ("{t_inactive!d:%R::>6h}|{t_inactive!D:h}", "     -|-"),
        ("{queue:>5h}|{queue}|", "    -||"),
        ("{annotations.user.share!P} {user.share!P}", "12.5% 12.5%"),
        ("{annotations.no.such.thing:>3}|{sched.t_estimate:.0f}", f"   |{T:.0f}"),
        ("{annotations}", '{"sched": {"reason_pending": "", "t_estimate": 1700000000.25}, "user": {"share": 0.125}}'),
        ("{{literal}} {state_single}", "{literal} R"),
        ("{t_remaining!F:.1}", "1"),
        ("{exception.occurred}", "False"),
        ("?:{queue:<8.8} {state}", " RUN"),
        ("?:{queue:<8.8}", None),
        ("+:{username:<8}|", "anna    |"),
        ("+:{name:<4.4}|", "a-long-name-here|"),
        ("?+:{name:>4}|?+:{queue}|", "a-long-name-here|"),
    ],
)
def test_a_line(text, line):
    assert table(text) == ([] if line is None else [line])


def test_header_keeps_only_alignment_and_width():
    assert table("{id.f58:>12} {ntasks:>6d} {t_submit!d:%R::>9}| {runtime!F:.3}", header=True)[0] == (
        "       JOBID NTASKS  T_SUBMIT| RUNTIME"
    )
    assert table("+:{userid:>1} ?:{queue} {annotations.user.share} {sched.odd}", header=True)[0] == (
        "UID USER.SHARE SCHED.ODD"
    )


def test_default_formats():
    head, row, waiting = table(FORMATS["default"], JOB, WAITING, header=True)
    assert head == "       JOBID USER     NAME       ST NTASKS NNODES     TIME INFO"
    assert row == "     ƒG1FjRR anna     a-long-na+  R      4      2   1.017h n[1-2]"
    assert waiting == "     ƒG1FjRR anna     b           S      4      2     1.5m held"
    with_queue = table(FORMATS["default"], {**JOB, "queue": "batch"}, header=True)
    assert " QUEUE    USER " in with_queue[0]
    assert " batch    anna " in with_queue[1]
    assert table(FORMATS["long"], WAITING)[0].split()[-5:] == [*local("%b%d %H:%M").split(), "-", "1.5m", "held"]
    assert table(FORMATS["endreason"], FAILED)[0].endswith("Killed")
    assert table(FORMATS["deps"], WAITING)[0].split() == ["ƒG1FjRR", "b", "0", "16", "SCHED"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "Killed"),
        ({"returncode": 3}, "Exit 3"),
        ({"returncode": 127}, "command not found"),
        ({"returncode": 255}, "Signaled 127"),
        ({"result": "CANCELED", "exception": {"occurred": True, "type": "cancel", "note": "no"}}, "Canceled: no"),
        ({"result": "CANCELED"}, "Canceled"),
        ({"result": "TIMEOUT"}, "Timeout"),
        ({"exception": {"occurred": True, "type": "alloc", "note": "x"}}, "Exception: type=alloc note=x"),
        ({"state": "RUN"}, ""),
    ],
)
def test_why_a_job_ended(change, reason):
    assert jobfields.value({**FAILED, **change}, "inactive_reason") == reason


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ({**WAITING, "state": "PRIORITY"}, "priority-wait"),
        ({**WAITING, "state": "DEPEND", "dependencies": ["after:1"]}, "depends:after:1"),
        ({**WAITING, "urgency": 1, "annotations": {"sched": {"reason_pending": "busy"}}}, "busy"),
        ({**WAITING, "annotations": {"sched": {"t_estimate": 1.0}}}, "eta:now"),
        ({**JOB, "state": "CLEANUP"}, "n[1-2]"),
    ],
)
def test_info_in_each_state(job, text):
    assert jobfields.value(job, "contextual_info") == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{name:{id}}", "fields inside of fields"),
        ("{name:9999999999}", f"at most {MAX_WIDTH} columns"),
        ("{name:.9999999999}", f"at most {MAX_WIDTH} columns"),
        (f"{{name:{MAX_WIDTH + 1}}}", f"at most {MAX_WIDTH} columns"),
        ("{t_submit!d:%9999999999Y}", "without widths"),
        ("{t_submit!d:%R::>9999999999}", f"at most {MAX_WIDTH} columns"),
        ("{name!x}", "conversion"),
        ("{name:>>>}", "invalid format"),
        ("{id", "expected '}'"),
        ("}", "Single '}'"),
        ("{}", "Unknown format field: "),
        ("{0}", "Unknown format field: 0"),
        ("{id.words}", "Unknown format field: id.words"),
        ("{name.__class__}", "Unknown format field"),
        ("{name[0]}", "Unknown format field"),
        ("x" * 5000, "at most 4096 characters"),
        ("{id}" * 300, "at most 200 fields"),
    ],
)
def test_formats_that_are_refused(text, why):
    with pytest.raises(FormatError) as raised:
        table(text)
    assert why in str(raised.value)


@pytest.mark.parametrize("text", ["{name!F}", "{name!d}", "{annotations!d}", "{name!H}", "{name!P}", "{name:d}",
                                  "{name:,}", "{ntasks:.3}", "{userid!d:%R::%}", "{success!F}"])  # fmt: skip
def test_formats_that_do_not_suit_the_value(text):
    with pytest.raises(FormatError):
        table(text, {**JOB, "success": True})


def test_rows_are_sorted_by_the_formats_prefix():
    layout = OutputFormat("sort:-name,id {name}", jobfields.heading, jobfields.value)
    assert (layout.sort_keys, layout.lines([JOB], False)) == (["-name", "id"], ["a-long-name-here"])
    jobs = [{**JOB, "nnodes": n} for n in (10, 9)] + [{**JOB, "nnodes": None}]
    assert [job["nnodes"] for job in sorted(jobs, key=lambda job: jobfields.sort_key(job, "nnodes"))] == [None, 9, 10]
    names = sorted([FAILED, {**JOB, "annotations": {}}, JOB], key=lambda job: jobfields.sort_key(job, "annotations"))
    assert len(names) == 3


def test_control_characters_are_shown():
    assert table("{name}|{name:<3.3}|", {**JOB, "name": "a\x1b[2J\nb\u2028"}) == ["a\\x1b[2J\\nb\\u2028|a\\x|"]


PIECES = st.sampled_from(
    ["{", "}", ":", "!", "d", "F", "H", "P", "%", "h", "+", "?:", "+:", "<", ">", "^", "9", "0", ".", ",", "name", "id",
     "t_submit", "annotations", "sort:", " ", "x", "\n", "{id}", "{name:>8}", "%b", "::", "z", "#", "_"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_text_makes_lines_or_a_refusal(text):
    try:
        lines = table(text, JOB, WAITING, FAILED, header=True)
    except FormatError as error:
        assert str(error)
    else:
        assert len(lines) <= 4
        assert all(len(line) < 20 * MAX_WIDTH for line in lines)


SPEC = re.compile(
    r"((?:.?[<>=^])?)([- +]?z?#?0?)([0-9]*)([_,]?)(?:\.([0-9]+))?([bcdeEfFgGnosxX%]?)(h?)(\+?)", re.DOTALL
)


@given(st.text(st.sampled_from("<>=^- +z#0129_,.dfsx%h\n\u0663*"), max_size=9))
def test_formats_of_columns_have_the_parts_that_pythons_have(text):
    match = SPEC.fullmatch(text)
    assert split(text) == (None if match is None else match.groups(""))


def test_values_that_are_equal_and_look_different_do_in_one_column():
    values = [0.0, -0.0, 1, 1.0, True, "1", 0, False]
    rows = [{"annotations": {"user": {"x": value}}} for value in values]
    assert table("{user.x}|", *rows) == [f"{value}|" for value in values]


def test_job_ids():
    assert jobid.parse("job.0000.0002.4b00.0000") == 9848225792
    assert jobid.stored(2**63 - 1) == 2**63 - 1
    with pytest.raises(ValueError, match="expected at most 9223372036854775807"):
        jobid.stored(2**63)
    assert jobid.parse(str(2**64 - 1)) == 2**64 - 1
    for text in (str(2**64), "-1", "f", "", "f" * 100000, "9" * 100000, "0x" + "f" * 17, "1.2.3", "٣", "1_0", "job."):
        with pytest.raises(ValueError, match="invalid JobID value"):
            jobid.parse(text)
