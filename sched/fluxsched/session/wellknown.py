# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the session that stays open is found from every shell of its owner.

It makes a symbolic link to its run directory: in XDG_RUNTIME_DIR, or else in the state folder, which is
XDG_STATE_HOME/flux-sched or ~/.local/state/flux-sched.  A session that is opened at boot has no XDG_RUNTIME_DIR, and
shells have one, so both are looked at.  What is not ours, or others may enter, is passed over.
"""
from __future__ import annotations

import os

from fluxsched.session.wire import MARK

LINK = "flux-session"
SOCKET = "local-0"
_DIRECTORY = 0o040000  # the type in a mode, and what others may do
_TYPE = 0o170000
_OTHERS = 0o077


def state_folder() -> str:
    """The folder for what outlives sessions; it may not be there yet."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "flux-sched")


def _places() -> list[str]:
    """Where the link may be, the best place first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [os.path.join(runtime, LINK)] if os.path.isabs(runtime) and os.path.isdir(runtime) else []
    return [*found, os.path.join(state_folder(), LINK)]


def announce(rundir: str) -> None:
    """Make the link to the run directory of a session, in place of an older one.  Raises OSError."""
    link = _places()[0]
    os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
    fresh = f"{link}.{os.getpid()}"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    os.symlink(rundir, fresh)
    os.replace(fresh, link)


def withdraw(rundir: str) -> None:
    """Remove the links to this run directory."""
    for link in _places():
        try:
            if os.readlink(link) == rundir:
                os.unlink(link)
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
        private = folder.st_mode & _TYPE == _DIRECTORY and not folder.st_mode & _OTHERS
        if ours and private and os.path.isabs(rundir) and os.path.exists(os.path.join(rundir, MARK)):
            return f"local://{rundir}/{SOCKET}"
    return None
