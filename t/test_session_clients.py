# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Programs that nobody here wrote: the commands that they run, as they run them."""

import os
import pwd
import shutil
import subprocess
import sys

import pytest

from embedded import Session, configured, until

CONFIG = {"queues": {"batch": {"requires": []}, "debug": {"requires": []}}}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with Session(configured(tmp_path_factory.mktemp("config"), CONFIG)) as session:
        yield session


def shell(session, text, **options):
    """What a line of sh prints, with the session's flux on PATH."""
    done = subprocess.run(
        ["sh", "-c", text], env=session.env, capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nextflow(session, tmp_path):
    """The commands of Nextflow's FluxExecutor: submit in the task's folder, ask for all jobs, cancel."""
    work = tmp_path / "ab" / "a task"
    work.mkdir(parents=True)
    (work / ".command.run").write_text("pwd\necho to the log\necho an error >&2\n")
    submit = [
        "flux", "submit", f"--setattr=cwd={work}", '--job-name="nf-foo_(1)"', f"--output={work}/.command.log",
        "--cores-per-task=1", "--time-limit=01", "--queue=batch", "/bin/bash", ".command.run",
    ]  # fmt: skip
    done = subprocess.run(submit, cwd=work, env=session.env, capture_output=True, text=True, timeout=60, check=True)
    jobid = done.stdout.strip()
    assert jobid.startswith("ƒ")
    session("job", "wait", jobid)
    assert (work / ".command.log").read_text() == f"{work}\nto the log\nan error\n"
    job = session.job(jobid)
    assert (job["name"], job["duration"], job["queue"]) == ('"nf-foo_(1)"', 60, "batch")

    held = shell(session, "flux submit --queue=batch --urgency=0 sleep 60")
    user = pwd.getpwuid(os.getuid()).pw_name
    query = 'flux jobs --suppress-header --format="{id.f58} {status_abbrev}" --since="-15m"'
    states = dict(line.split() for line in shell(session, f"{query} --queue=batch --user={user}").splitlines())
    assert states == {jobid: "CD", held: "S"}
    assert shell(session, f"{query} --queue=debug --user={user}") == ""
    shell(session, f"flux job cancel {held}")
    assert dict(line.split() for line in shell(session, query).splitlines())[held] == "CA"


STATUS = """\
#!/bin/sh
case $(flux jobs -no '{status}' "$1") in
COMPLETED) echo success ;;
FAILED|CANCELED|TIMEOUT) echo failed ;;
*) echo running ;;
esac
"""


def test_snakemake(session, tmp_path):
    """Snakemake's executor for any cluster: a submit command in front of a script, which prints the id;
    a status command that says success, failed or running; a cancel command that gets several ids."""
    status, cancel = tmp_path / "status", tmp_path / "cancel"
    status.write_text(STATUS)
    cancel.write_text('#!/bin/sh\nexec flux cancel "$@"\n')
    script = tmp_path / "snakejob.some rule.1.sh"
    script.write_text(f"#!/bin/sh\n# properties = {{}}\ncd '{tmp_path}' && touch made && exit 0 || exit 1\n")
    failing = tmp_path / "snakejob.bad.2.sh"
    failing.write_text("#!/bin/sh\nexit 1\n")
    for path in (status, cancel, script, failing):
        path.chmod(0o755)
    submit = f"flux submit -q debug -c 1 -t 10m --job-name=some_rule --output={tmp_path}/log"
    jobid, bad, held = (
        shell(session, text).splitlines()[0]
        for text in (f'{submit} "{script}"', f'{submit} "{failing}"', f'{submit} --urgency=hold "{script}"')
    )
    until(lambda: shell(session, f"{status} '{jobid}'") == "success", "the job to succeed")
    until(lambda: shell(session, f"{status} '{bad}'") == "failed", "the job to fail")
    assert shell(session, f"{status} '{held}'") == "running" and (tmp_path / "made").exists()
    subprocess.run([str(cancel), held], env=session.env, check=True, timeout=60)
    assert shell(session, f"{status} '{held}'") == "failed"


def test_gnu_parallel_feeds_the_queue(session, tmp_path):
    if shutil.which("parallel") is None:
        pytest.skip("GNU parallel is not installed")
    out = shell(session, f"seq 6 | parallel -j3 flux submit -q batch --output={tmp_path}/{{}}.txt echo number {{}}")
    assert len(set(out.split())) == 6
    for jobid in out.split():
        session("job", "wait", jobid)
    assert sorted(path.read_text() for path in tmp_path.glob("*.txt")) == [f"number {i}\n" for i in range(1, 7)]


def test_xargs_and_loops_feed_the_queue(session, tmp_path):
    """Several shells at once, one queue: no job is lost, and each is there once."""
    lines = f"seq 8 | xargs -P4 -I% flux submit -q batch --output={tmp_path}/%.txt sh -c 'echo $FLUX_JOB_ID'"
    out = shell(session, lines)
    assert len(set(out.split())) == 8
    for jobid in out.split():
        session("job", "wait", jobid)
    assert {path.read_text().strip() for path in tmp_path.glob("*.txt")} == set(out.split())


def test_snakemake_itself(session, tmp_path):
    """Snakemake, as it is, where a Python has it with its executor for any cluster."""
    executable = os.environ.get("FLUXSCHED_SNAKEMAKE", sys.executable)
    words = [executable, "-c", "import snakemake, snakemake_executor_plugin_cluster_generic"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("Snakemake is not installed (FLUXSCHED_SNAKEMAKE names a Python that has it)")
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'sum.txt'\n"
        "rule part:\n    output: 'part.{n}.txt'\n    shell: 'echo {wildcards.n} $FLUX_JOB_ID > {output}'\n"
        "rule sum:\n    input: 'part.1.txt', 'part.2.txt'\n    output: 'sum.txt'\n    shell: 'cat {input} > {output}'\n"
    )
    words = ["--executor", "cluster-generic", "--cluster-generic-submit-cmd", "flux submit -q batch -c {threads}"]
    done = subprocess.run(
        [executable, "-m", "snakemake", "--jobs", "2", "--latency-wait", "10", "--seconds-between-status-checks", "1",
         *words],
        cwd=tmp_path, env=session.env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = [line.split() for line in (tmp_path / "sum.txt").read_text().splitlines()]
    assert [number for number, _ in parts] == ["1", "2"] and parts[0][1] != parts[1][1]
