# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What MPI programs find in a job: the variables that lead them to PMI, and what the PMI server is told."""

from __future__ import annotations

import os
from typing import Any, Optional, Sequence

from fluxsched.formats import taskmap
from fluxsched.session import jobid as ids
from fluxsched.session import shelloptions
from fluxsched.session.runner import pmi

#: Of whoever submitted the job, which may have been a task of an MPI program itself.
STALE = ("PMI_FD", "PMI_RANK", "PMI_SIZE", "PMI_PORT", "PMI_ID", "PMI_SPAWNED", "FLUX_PMI_LIBRARY_PATH")
BACKING = "OMPI_MCA_btl_vader_backing_directory"


def set_environment(env: dict[str, str], options: dict[str, Any]) -> None:
    """Change a job's environment: without the PMI of whoever submitted it, and with the library that Open MPI before
    version 5 opens, which is of use to a single task as well."""
    for name in STALE:
        env.pop(name, None)
    library = pmi.library() if shelloptions.pmi(options) else None
    if library is not None:
        env["FLUX_PMI_LIBRARY_PATH"] = library


def folders(env: dict[str, str], options: dict[str, Any], tmpdir: str, nodes: int) -> list[str]:
    """The folder for Open MPI's shared memory on each of a job's nodes; none if it is left as it is.

    Open MPI names these files by a job id, which it reads as 0 for each job here, and by the task's number on its node.
    All nodes are this machine, so each node of each job has a folder of its own."""
    if BACKING in env or not shelloptions.pmi(options):
        return []
    return [tmpdir] if nodes == 1 else [os.path.join(tmpdir, f"node{node}") for node in range(nodes)]


def server(options: dict[str, Any], name: str, tasks: Sequence[Sequence[Any]]) -> Optional[dict[str, str]]:
    """What the supervisor of a job needs to serve PMI to `tasks`, see :mod:`layout`: the `name` of the key-value space
    and the `mapping`.  None if it is not to: one task is an MPI program without it, and starts a little faster."""
    if len(tasks) < 2 or not shelloptions.pmi(options):
        return None
    return {"name": name, "mapping": taskmap.to_pmi(task[1] for task in tasks)}


def parts(
    jobid: int, env: dict[str, str], options: dict[str, Any], tmpdir: str, uris: Sequence[str], tasks: Sequence[Any]
) -> dict[str, Any]:
    """What a supervisor is told of this: `node_env`, the variables of each node of the job, whose FLUX_URIs are `uris`;
    `folders` to make; and `pmi`, for the server, or None."""
    found = folders(env, options, tmpdir, len(uris))
    node_env = {str(node): {"FLUX_URI": uri} for node, uri in enumerate(uris)}
    for node, folder in enumerate(found):
        node_env[str(node)][BACKING] = folder
    return {
        "node_env": node_env,
        "folders": found if len(uris) > 1 else [],
        "pmi": server(options, ids.f58(jobid, plain=True), tasks),
    }
