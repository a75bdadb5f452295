# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Of ``./flux start``: it starts its instance without a scheduler, so that
``flux module load sched`` finds the place free.  Instances inside that one are
to have theirs, so the variable that says so goes no further."""


def setup(context):
    if hasattr(context, "setenv"):
        context.setenv("FLUX_SCHED_MODULE", None)
