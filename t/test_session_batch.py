# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux batch and alloc: what they ask for and refuse, options in scripts, the archive of a nested session."""

import json
import tarfile

import pytest

from embedded import Session, flux
from fluxsched.session.commands import batch, directives
from fluxsched.session.errors import CommandError


@pytest.fixture(scope="module")
def session():
    with Session() as session:
        yield session


REFUSED_BATCH = [
    (("-n1", "nosuch.sh"), "nosuch.sh: No such file or directory"),
    (("-n1", "binary"), "binary: expected a script, got what is no UTF-8 text"),
    (("-n1", "words"), "words: expected a script that begins with #!, such as #!/bin/sh, or --wrap"),
    (("-n1", "zero"), "zero: expected a script, got a byte 0"),
    (("-n1", "bad.sh"), "bad.sh: line 3: error: unrecognized arguments: --nosuch"),
    (("-n1", "late.sh"), "late.sh: line 4: a directive after line 2: directives end with the first line that is no "),
    (("-n1", "command.sh"), "command.sh: line 2: expected options, got 'x'"),
    (("-n1", "wrap.sh"), "wrap.sh: line 2: --wrap: expected on the command line, if at all"),
    (("ok.sh",), "expected --nslots or --nodes: how much is to be allocated"),
    (("-N2", "-n1", "ok.sh"), "--nodes=2: expected at most --nslots=1"),
    (("-n1", "-x", "ok.sh"), "--exclusive: it can only be set with --nodes"),
    (("-n0", "ok.sh"), "--nslots: expected a whole number of at least 1, got 0"),
    (("-n1", "-c", "x", "ok.sh"), "--cores-per-slot: invalid int value 'x'"),
    (("-n1", "-g", "-1", "ok.sh"), "--gpus-per-slot: expected a whole number of at least 0, got -1"),
    (("-n1", "--conf=nosuch.toml", "ok.sh"), "--conf: nosuch.toml: No such file or directory"),
    (("-n1", "--conf=resource.config=[]", "ok.sh"), "--conf: resource.config: a session in a job has the resources of"),
    (("-n1", "--conf=a=1e999", "ok.sh"), "--conf: expected finite numbers, which JSON has"),
    (("-n1", "--dump", "ok.sh"), "--dump: expected a file that ends in .tar, .tgz, .tar.gz, .tar.bz2, .tar.xz, got "
     "'ok.sh'; if that is what to run, put -- ahead of it"),
    (("-n1", "--broker-opts=-Stbon.fanout=2", "ok.sh"), "--broker-opts: -S: 'tbon.fanout': expected one of statedir, "
     "content.dump, broker.rc2_none; a session is one process, without the overlay network"),
    (("-n1", "--broker-opts=-Sstatedir=", "ok.sh"), "--broker-opts: -S: statedir: expected a folder, got nothing"),
    (("-n1", "--broker-opts=-Scontent.dump=.tar", "ok.sh"), "-S: content.dump: expected a file that ends"),
    (("-n1", "--broker-opts=-Sstatedir=a,--statedir=b", "ok.sh"), "--statedir and -S statedir cannot be used together"),
    (("-n1", "--broker-opts=-v,x", "ok.sh"), "--broker-opts: expected options of flux start, got 'x'"),
    (("-n1", "--broker-opts=--nosuch", "ok.sh"), "--broker-opts: error: unrecognized arguments: --nosuch"),
    (("-n1", "--broker-opt=-s2", "ok.sh"), "--broker-opts: --test-size: a session in a job has the resources"),
    (("-n1", "--broker-opts=--stay", "ok.sh"), "--broker-opts: --stay: --bg is for that"),
    (("-n1", "--broker-opts=-cx.json", "--conf=a=1", "ok.sh"), "--config-path and --conf cannot be used together"),
    (("-n1", "--signal=x", "ok.sh"), "--signal: invalid signal 'x'"),
    (("-n1", "-t", "x", "ok.sh"), "--time-limit: "),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for name, text in {
        "binary": b"\xff\xfe\x80", "words": b"echo x\n", "zero": b"#!/bin/sh\n\0\n", "ok.sh": b"#!/bin/sh\n",
        "bad.sh": b"#!/bin/sh\n#flux: -n1\n#flux: --nosuch\n", "late.sh": b"#!/bin/sh\n#flux: -n1\ntrue\n#flux: -n2\n",
        "command.sh": b"#!/bin/sh\n#flux: -n1 x\n", "wrap.sh": b"#!/bin/sh\n#flux: --wrap\n",
    }.items():  # fmt: skip
        (folder / name).write_bytes(text)
    return folder


@pytest.mark.parametrize(("words", "text"), REFUSED_BATCH, ids=[" ".join(words) for words, _ in REFUSED_BATCH])
def test_batch_that_is_refused(words, text, scripts, monkeypatch):
    monkeypatch.chdir(scripts)
    with pytest.raises(CommandError) as error:
        batch.main("batch", ["--dry-run", *words])
    assert text in str(error.value)


def test_what_a_batch_job_asks_for(scripts):
    spec = json.loads(flux("batch", "--dry-run", "-N2", "ok.sh", "a", cwd=scripts).stdout)
    assert spec["resources"][0]["type"] == "node" and spec["resources"][0]["exclusive"]
    assert spec["tasks"][0]["command"] == ["flux", "start", "--", "{{tmpdir}}/script", "a"]
    system = spec["attributes"]["system"]
    assert system["files"]["script"] == {"mode": 0o100700, "encoding": "utf-8", "data": "#!/bin/sh\n"}
    assert system["shell"]["options"]["output"]["stdout"]["path"] == "flux-{{id}}.out"
    assert system["job"]["name"] == "ok.sh"
    spec = json.loads(flux("alloc", "--dry-run", "-n4", "-c2", "-g1", "x").stdout)
    parts = [{"type": "core", "count": 2}, {"type": "gpu", "count": 1}]
    assert spec["resources"] == [{"type": "slot", "count": 4, "label": "task", "with": parts}]
    assert spec["tasks"][0]["command"] == ["flux", "start", "--", "x"]


def test_options_of_the_nested_session(scripts, monkeypatch, tmp_path):
    """--conf is built at submission, from all its values; --broker-opts and --dump are words for flux start."""
    monkeypatch.chdir(scripts)
    (tmp_path / "flux" / "config").mkdir(parents=True)
    (tmp_path / "flux" / "config" / "mine.toml").write_text("[queues.b]\n[policy.limits]\nduration='1h'\n")
    (tmp_path / "a.json").write_text('{"queues": {"a": {}}}')
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    conf = [f"--conf={tmp_path}/a.json", "--conf=mine", "--conf=\n[x]\nday=2030-01-31\n"]
    conf.append("--conf=policy.limits.duration=2h")
    words = ["--broker-opts=-v,-Sstatedir=st", "--dump", "--dry-run", "-n1", *conf]
    spec = json.loads(flux("batch", *words, "--wrap", "x", cwd=scripts).stdout)
    start = ["flux", "start", "-v", "-Sstatedir=st", "-S", "content.dump=flux-{{jobid}}-dump.tgz"]
    assert spec["tasks"][0]["command"] == [*start, "-c", "{{tmpdir}}/conf.json", "--", "{{tmpdir}}/script"]
    assert spec["attributes"]["system"]["files"]["conf.json"]["data"] == {
        "queues": {"a": {}, "b": {}}, "policy": {"limits": {"duration": "2h"}}, "x": {"day": "2030-01-31"},
    }  # fmt: skip
    spec = json.loads(flux("alloc", "--dump=x.tar", "--dry-run", "-n1", "--", "y", cwd=scripts).stdout)
    assert spec["tasks"][0]["command"] == ["flux", "start", "-S", "content.dump=x.tar", "--", "y"]


def test_dump(session, tmp_path):
    """What a nested session has kept is in an archive when it is over, and in its own state directory."""
    inside = "flux kvs put a.b=1 x/y=2; flux run sh -c 'echo out; echo err >&2'; flux submit --urgency=0 true; exit 3"
    words = ["--dump=d-{{id}}.tar.gz", "--broker-opts=-S,statedir=st-{{id}}", "--wrap", inside]
    jobid = session("batch", "-n1", *words, cwd=tmp_path)
    session.wait_state(jobid, "INACTIVE")
    assert session.job(jobid)["returncode"] == 3
    with tarfile.open(tmp_path / f"d-{jobid}.tar.gz") as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive}
    assert (found["a/b"], found["x%2Fy"]) == (b"1", b"2")
    jobs = sorted({name.rpartition("/")[0] for name in found if name.startswith("job/")})
    kept = [{name.rpartition("/")[2] for name in found if name.startswith(f"{job}/")} for job in jobs]
    assert kept == [{"jobspec", "R", "eventlog", "stdout", "stderr"}, {"jobspec", "eventlog"}]
    assert (found[f"{jobs[0]}/stdout"], found[f"{jobs[0]}/stderr"]) == (b"out\n", b"err\n")
    assert json.loads(found[f"{jobs[0]}/jobspec"])["tasks"][0]["command"][0] == "sh"
    assert json.loads(found[f"{jobs[0]}/eventlog"].splitlines()[0])["name"] == "submit"
    listed = flux("start", f"--statedir={tmp_path}/st-{jobid}", "flux", "jobs", "-ano", "{status}").stdout.split()
    assert listed == ["SCHED", "COMPLETED"]
    done = session.run("alloc", "-n1", f"--dump={tmp_path}/none/x.tar", "true")
    assert (done.returncode, f"content.dump: {tmp_path}/none: expected a folder" in done.stderr) == (1, True)
    done = session.run("alloc", "-n1", "--dump=x.tar", f"--cwd={tmp_path}", "--", "mkdir", "x.tar")
    assert (done.returncode, "content.dump: " in done.stderr, (tmp_path / "x.tar.part").exists()) == (1, True, False)


GOOD = [
    ("#!/bin/sh\n\n# flux: -n1\n#\n\n# flux: -N 2 'a b' # no\n#flux\necho\n", [["-n1"], ["-N", "2", "a b"]]),
    ("//FLUX: --x='''\n//FLUX: a\n//FLUX: b'''\n", [["--x=a\nb"]]),
    ("#!x\n#flux:  --x=\"\"\"\n#flux:  it's\n#flux:  \"b\"\n#flux:  \"\"\"\n", [["--x=it's\n\"b\"\n"]]),
    ("#flux: --x='''a b''' -y\n#flux:\n", [["--x=a b", "-y"]]),
    ("#flux: # nothing\n", []),
    ("", []),
]
BAD = [
    ("#flux: -n1\n# flux: -n2\n", "line 2: expected '#flux:' as before, got '# flux:'"),
    ("#flux: --x='a\n", "line 1: --x='a: No closing quotation"),
    ("#flux: n\n", "line 1: expected options, got 'n'"),
    ("#flux: --x='''\necho\n", "line 2: expected ''', which line 1 has opened"),
    ("#flux: --x='''\n", "line 1: expected ''' further down, which closes it"),
    ("#flux: --x='''a b\n", "line 1: triple quotes that are not closed: --x='''a b"),
]


@pytest.mark.parametrize(("script", "found"), GOOD)
def test_directives(script, found):
    assert [words for _, words in directives.parse(script)] == found


@pytest.mark.parametrize(("script", "text"), BAD)
def test_directives_that_are_refused(script, text):
    with pytest.raises(directives.DirectiveError) as error:
        list(directives.parse(script))
    assert str(error.value) == text
