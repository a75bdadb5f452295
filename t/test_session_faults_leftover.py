# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a session without a state directory leaves when it is killed is tidied by the next one."""

import os

from embedded import Session, alive, job_processes, until


def test_job_of_a_killed_session_is_ended_by_the_next(tmp_path):
    pids = tmp_path / "pids"
    folder = tmp_path / "tmp"
    folder.mkdir()
    with Session(TMPDIR=str(folder)) as session:
        script = f"env -i setsid sh -c 'echo $$ >>{pids}; exec sleep 60' & sleep 60"
        jobid = session("submit", "sh", "-c", script)
        until(lambda: pids.exists() and pids.read_text().endswith("\n"), "a process")
        session.kill()
    assert job_processes(jobid)
    assert os.listdir(folder)
    with Session(TMPDIR=str(folder)) as session:
        until(lambda: not job_processes(jobid) and not alive(pids.read_text().strip()), "the job to end")
        until(lambda: len(os.listdir(folder)) == 2, "its folders to go")
    assert os.listdir(folder) == []
