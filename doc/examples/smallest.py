# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A policy in plain Python: the smallest job first, and EASY's one reservation.

    flux-sched simulate --trace FILE --procs 128 --plugin doc/examples/smallest.py
    flux module load sched plugin=$PWD/doc/examples/smallest.py plugin-opts=limit=50
"""
from fluxsched.policy.pyplugin import GO_ON, RESERVED, RESOURCES


class Plugin:
    def __init__(self, options):
        self.queue_depth = int(options.pop("limit", -1))
        if options:
            raise ValueError(f"unknown option {min(options)!r}; it knows limit")

    def sched_loop_setup(self, engine):
        engine.reorder(lambda job: max(job.nnodes, 1) * job.nslots * job.cores)

    def find_resources(self, engine, job):
        return engine.fits_now(job)

    def select_resources(self, engine, job):
        return engine.select(job)

    def allocate_resources(self, engine, job):
        engine.start(job)

    def reserve_resources(self, engine, job):
        engine.explain(job, RESERVED if engine.reserved(job) else RESOURCES)
        if engine.reserved(job) == 0:
            engine.reserve(job)
        return GO_ON
