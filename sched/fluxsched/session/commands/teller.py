# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is told while many jobs are submitted: ids and refusals, on the terminal or in files, and how far it is."""
from __future__ import annotations

import sys
import time

from fluxsched.program import tell
from fluxsched.session import jobid as ids
from fluxsched.session.commands.follow import STREAMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Any

    from fluxsched.session.commands.options import Options


class Teller:
    """Tells of `total` jobs that are submitted with the options `o`, until it is closed."""

    def __init__(self, o: Options, total: int) -> None:
        self._quiet = o.quiet
        self._waits = bool(o.wait_event or o.watch)
        self._files: dict[str, IO[str]] = {}
        self._bar: Any = None
        self._rate = o.jps
        self._begin = time.monotonic()
        self._done = 0
        if o.progress and not sys.stderr.isatty():
            tell(f"flux-{o.name}: standard error is no terminal: --progress is ignored")
        elif o.progress:
            import click  # most submissions do without

            label = "over" if self._waits else "submitted"
            self._bar = click.progressbar(
                length=total, label=label, show_pos=True, file=sys.stderr, item_show_func=self._speed)
            self._bar.render_progress()

    def __enter__(self) -> Teller:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()
        for file in self._files.values():
            file.close()

    def submitted(self, own: Options, jobids: list[int]) -> None:
        """Jobs with the options `own` are submitted."""
        if not self._quiet:
            file = self._file(own.log)
            print("\n".join(map(ids.show, jobids)), file=file, flush=file is None)
        if not self._waits:
            self._advance(len(jobids))

    def refused(self, own: Options, text: str) -> None:
        """A job with the options `own` is refused."""
        line = f"flux-{own.name}: ERROR: {text}"
        file = self._file(own.log_stderr or own.log)
        if file is None:
            tell(line)
        else:
            print(line, file=file)
        self._advance(1)

    def over(self) -> None:
        """A job is over."""
        self._advance(1)

    def streams(self, own: Options) -> Mapping[str, int]:
        """The descriptors that take output and errors of a job with the options `own`."""
        out, err = self._file(own.log), self._file(own.log_stderr or own.log)
        return {
            "stdout": STREAMS["stdout"] if out is None else out.fileno(),
            "stderr": STREAMS["stderr"] if err is None else err.fileno(),
        }

    def _file(self, path: str | None) -> IO[str] | None:
        """The open file of --log; None without.  Raises OSError."""
        if path is None:
            return None
        if path not in self._files:
            # closed by __exit__
            self._files[path] = open(path, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        return self._files[path]

    def _advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count, self._done)

    def _speed(self, done: int | None) -> str | None:
        if not done or not self._rate:
            return None
        return f"{done / max(time.monotonic() - self._begin, 1e-3):.1f} job/s"
