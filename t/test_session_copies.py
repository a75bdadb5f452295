# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""`submit --cc`: {cc} is replaced in the command and in every option, as flux-core does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded import Session, flux
from fluxsched.session.commands import copies, submit
from fluxsched.session.commands.buildspec import SpecError


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("plain", "plain"),
        ("o-{cc}.txt", "o-7.txt"),
        ("{cc}{cc}", "77"),
        ("{cc:03d}|{cc:>4}|{cc:x}|{cc!r:>3}|{cc!s}", "007|   7|7|  7|7"),
        ("{{id}}-{cc}", "{{id}}-7"),
        ("{{id}}-{{{{x}}}}", "{{id}}-{{{{x}}}}"),
        ("{{{cc}}}", "{{7}}"),
        ("", ""),
    ],
)
def test_replacing(text, replaced):
    assert copies.replace(text, copies.of_copy(7), "--output") == replaced


@pytest.mark.parametrize("text", ["{}", "{0}", "{x}", "{cc.real}", "{cc[0]}", "{cc!x}", "{cc:99999999999}", "{cc:{cc}}",
                                  "{cc:q}", "{", "}", "a{cc", "{cc}}", "{print $1}", "{cc:s}"])  # fmt: skip
def test_what_is_no_replacement(text):
    if text == "{cc}}":
        assert copies.replace("{cc}}}", copies.of_copy(7), "--output") == "7}}"
    with pytest.raises(SpecError, match="^--output: "):
        copies.replace(text, copies.of_copy(7), "--output")


@given(st.text(alphabet="{}c:!d03 x"), st.integers(0, 2**31 - 1))
def test_any_text(text, cc):
    try:
        out = copies.replace(text, copies.of_copy(cc), "command")
    except SpecError:
        return
    assert len(out) <= len(text) + 1000 * text.count("{")


def test_every_option_with_a_value_is_replaced():
    """But for what says how often, and what is for the command line alone."""
    p = submit.parser("submit")
    valued = {one.dest for one in p.declared if one.action in ("store", "append")} - {"cc", "bcc", "command"}
    assert valued == set(copies.REPLACED)


def specs(*words):
    done = flux("submit", "--dry-run", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_all_options_of_a_copy():
    words = ["--cc=2-3", "-n{cc}", "-t{cc}m", "-q", "q{cc}", "--job-name=j{cc}", "--output=o{cc}-{{id}}",
             "--error=e{cc}", "--input=/i{cc}", "--env=A=a{cc}", "--setattr=x.y{cc}={cc}", "-o", "opt={cc}",
             "--cwd=/d{cc}", "--requires=p{cc}", "echo", "{cc}", "{{cc}}"]  # fmt: skip
    for cc, spec in zip((2, 3), specs(*words)):
        system = spec["attributes"]["system"]
        options = system["shell"]["options"]
        assert spec["tasks"][0]["command"] == ["echo", str(cc), "{{cc}}"]
        assert spec["resources"][0]["count"] == cc
        assert (system["duration"], system["queue"], system["job"]["name"]) == (60 * cc, f"q{cc}", f"j{cc}")
        assert options["output"]["stdout"]["path"] == f"o{cc}-{{{{id}}}}"
        assert options["output"]["stderr"]["path"] == f"e{cc}"
        assert options["input"]["stdin"]["path"] == f"/i{cc}"
        assert (system["environment"]["A"], system["environment"]["FLUX_JOB_CC"]) == (f"a{cc}", str(cc))
        assert (system["x"], options["opt"], system["cwd"]) == ({f"y{cc}": cc}, cc, f"/d{cc}")
        assert system["constraints"] == {"properties": [f"p{cc}"]}


def test_bcc_and_neither():
    (spec,) = specs("--bcc=5", "echo", "{cc}")
    assert spec["tasks"][0]["command"] == ["echo", "5"]
    assert "FLUX_JOB_CC" not in spec["attributes"]["system"]["environment"]
    (spec,) = specs("echo", "{cc}", "{")
    assert spec["tasks"][0]["command"] == ["echo", "{cc}", "{"]
    (spec,) = specs("--cc=1", "--setattr=environment=5", "true")
    assert spec["attributes"]["system"]["environment"] == 5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--output={x}", "true"], "--output: invalid replacement '{x}'"),
        (["--job-name={", "true"], "--job-name: invalid replacement '{'"),
        (["awk", "{print $1}"], "command: invalid replacement '{print $1}'"),
        (["-n{cc}x", "true"], "--ntasks"),
    ],
)
def test_errors_name_the_option(words, text):
    done = flux("submit", "--cc=1-2", *words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert text in done.stderr


def test_a_copy_that_is_wrong_comes_after_good_ones():
    with Session() as session:
        done = session.run("submit", "--cc=1-2", "--urgency=1{cc}", "--setattr=exec.test.run_duration=1s",
                           "-n{cc}", "-N1", "true")  # fmt: skip
        assert done.returncode == 0
        done = session.run("submit", "--cc=30-32", "--urgency={cc}", "--setattr=exec.test.run_duration=0.1s", "true")
        assert (done.returncode, done.stdout.count("\n")) == (1, 2)
        assert done.stderr == "flux-submit: ERROR: urgency range is [0:31]\n"


def test_files_of_copies(tmp_path):
    with Session() as session:
        session("submit", "--quiet", "--wait", "--cc=1-3", f"--output={tmp_path}/o-{{cc}}.txt", "echo", "job {cc}")
        assert [(tmp_path / f"o-{n}.txt").read_text() for n in (1, 2, 3)] == ["job 1\n", "job 2\n", "job 3\n"]
