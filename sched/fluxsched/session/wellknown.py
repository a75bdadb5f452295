# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the session that stays open is found from every shell of its owner.

It makes a symbolic link to its run directory: in XDG_RUNTIME_DIR, or else in the state folder, which is
XDG_STATE_HOME/flux-sched or ~/.local/state/flux-sched.  A session that is opened at boot has no XDG_RUNTIME_DIR, and
shells have one, so both are looked at.  What is not ours, or others may enter, is passed over.
"""
from __future__ import annotations

import os
import stat
from pathlib import Path

from fluxsched.session.wire import MARK

LINK = "flux-session"
SOCKET = "local-0"


def state_folder() -> Path:
    """The folder for what outlives sessions; it may not be there yet."""
    base = os.environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~"), ".local", "state")
    return root / "flux-sched"


def _places() -> list[Path]:
    """Where the link may be, the best place first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(runtime, LINK)] if os.path.isabs(runtime) and os.path.isdir(runtime) else []
    return [*found, state_folder() / LINK]


def announce(rundir: str) -> None:
    """Make the link to the run directory of a session, in place of an older one.  Raises OSError."""
    link = _places()[0]
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(rundir)
    fresh.replace(link)


def withdraw(rundir: str) -> None:
    """Remove the links to this run directory."""
    for link in _places():
        try:
            if os.readlink(link) == rundir:
                link.unlink()
        except OSError:
            continue  # there is none, or it is another session's


def find() -> str | None:
    """FLUX_URI of the session that a link leads to, None if there is none.  That it still answers is not looked at."""
    for link in _places():
        try:
            found = os.lstat(link)
            rundir = os.readlink(link)
            folder = os.lstat(rundir)
        except OSError:
            continue
        ours = found.st_uid == folder.st_uid == os.getuid()
        private = stat.S_ISDIR(folder.st_mode) and not folder.st_mode & 0o077
        if ours and private and os.path.isabs(rundir) and os.path.exists(os.path.join(rundir, MARK)):
            return f"local://{rundir}/{SOCKET}"
    return None
