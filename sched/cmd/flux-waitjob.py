# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``flux waitjob N``: wait until a job is over.

N is the number of the job's record, ``lwj.N``, or a job id as flux writes it.
The exit code is the job's: 128 plus the signal if one ended it, 1 if it ended
before it ran.
"""

import argparse
import logging
import os
import sys
import time

import flux
import flux.job
import flux.kvs
import flux.util

RECORDED = 1.2      # seconds
LONGEST = 9         # digits of a record's number
LOGGER = logging.getLogger("flux-waitjob")


def find(handle, text):
    """The job id of a record's number, or of a job id."""
    if text.isascii() and text.isdigit():
        # The record of a job that has just been submitted is written within a second.
        end = time.monotonic() + RECORDED
        while True:
            try:
                return flux.job.JobID(flux.kvs.get(handle, f"lwj.{text}.id"))
            except OSError:
                if time.monotonic() > end or len(text) > LONGEST:
                    break    # no such record: then it is a job id
            time.sleep(0.1)
    return flux.job.JobID(text)


def touch(path):
    if path is not None:
        with open(path, "w"):
            pass


def wait(handle, jobid):
    """The exit code of a job, when it is over."""
    code = 0
    for event in flux.job.event_watch(handle, jobid):
        if event.name == "finish":
            status = event.context["status"]
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        elif event.name == "exception" and event.context["severity"] == 0:
            code = code or 1
        elif event.name == "clean":
            break
    return code


@flux.util.CLIMain(LOGGER)
def main():
    parser = argparse.ArgumentParser(prog="flux-waitjob", description="wait until a job is over")
    parser.add_argument("-s", "--sync-start", metavar="FILE", help="create FILE when the wait has begun")
    parser.add_argument("-c", "--sync-complete", metavar="FILE", help="create FILE when the job is over")
    parser.add_argument("job", metavar="JOB", help="number of the job's record (lwj.N), or job id")
    args = parser.parse_args()
    handle = flux.Flux()
    try:
        jobid = find(handle, args.job)
    except ValueError:
        LOGGER.error("%s: expected the number of a job's record, or a job id", args.job)
        sys.exit(1)
    touch(args.sync_start)
    try:
        code = wait(handle, jobid)
    except FileNotFoundError:
        LOGGER.error("%s: no such job", args.job)
        sys.exit(1)
    touch(args.sync_complete)
    sys.exit(code)


if __name__ == "__main__":
    main()
