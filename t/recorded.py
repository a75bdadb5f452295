# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sessions and instances under test record what their schedulers decide; at their end the record is replayed."""

import tempfile


class Recorded:
    """A folder for the record of one session or instance: ``environment`` is what its broker is to have, so that the
    scheduler records. Other schedulers that the test starts inside do not. With a folder named by the test, or "" for
    none, that is the test's own."""

    def __init__(self, named=None):
        self._folder = tempfile.TemporaryDirectory(prefix="record") if named is None else None
        self.environment = {"FLUX_SCHED_RECORD": self._folder.name if self._folder else named}

    def close(self):
        """The end: every decision is to be the same again. Does nothing the second time."""
        folder, self._folder = self._folder, None
        if folder is None:
            return
        from fluxsched.service.parts import numbered

        try:
            if numbered(folder.name):  # one that was killed at once may have begun none
                check(folder.name)
        finally:
            folder.cleanup()


def check(folder):
    """AssertionError unless a record replays to the same decisions; the replay."""
    from fluxsched.twin.replay import Replay

    run = Replay(folder)
    difference = run.run()
    assert difference is None, difference
    return run
