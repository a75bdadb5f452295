# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The attributes that a session is opened with (-S NAME=VALUE), by the names that flux-core has for them."""
from __future__ import annotations

from fluxsched.formats.quote import quote
from fluxsched.session.errors import SessionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DUMP = "content.dump"  # a file for what the session has kept, at its end
STATEDIR = "statedir"
NO_COMMAND = "broker.rc2_none"  # stay open without a command
KNOWN = (STATEDIR, DUMP, NO_COMMAND)
#: The mode in which tarfile writes a file whose name ends so.
ARCHIVES: dict[str, Any] = {".tar": "w", ".tgz": "w:gz", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
NOT_HERE = "a session is one process, without the overlay network, content store and rc scripts that it is about"


def parse(rules: Iterable[str]) -> dict[str, str]:
    """The values by their names; a rule without a value sets nothing to be the value.  Raises SessionError."""
    found: dict[str, str] = {}
    for rule in rules:
        name, _, value = rule.partition("=")
        if name not in KNOWN:
            raise SessionError(f"-S: {quote(name)}: expected one of {', '.join(KNOWN)}; {NOT_HERE}")
        found[name] = value
    if STATEDIR in found and not found[STATEDIR]:
        raise SessionError(f"-S: {STATEDIR}: expected a folder, got nothing")
    if DUMP in found:
        try:
            archive_mode(found[DUMP])
        except SessionError as error:
            raise SessionError(f"-S: {DUMP}: {error}") from None
    return found


def archive_mode(path: str) -> Any:
    """The mode of tarfile for an archive of this name.  Raises SessionError."""
    for suffix, mode in ARCHIVES.items():
        if path.endswith(suffix) and not path.endswith("/" + suffix) and path != suffix:
            return mode
    raise SessionError(f"expected a file that ends in {', '.join(ARCHIVES)}, got {quote(path)}")
