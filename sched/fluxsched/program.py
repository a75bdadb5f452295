# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What each program here does before its work and after it: standard streams, signals, one line for an error.

Standard streams may be closed (``flux submit true >&-``) or full (``flux jobs > /dev/full``), and whoever reads the
output may go away.  None of this is a fault of ours, so none of it shows a traceback.
"""
from __future__ import annotations

import io
import os
import sys

from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import printable
from fluxsched.native import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Callable

_MODES = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


def secure_streams() -> None:
    """Put /dev/null in the place of standard streams that are closed, so that no file of ours gets their numbers.

    Letters that the terminal does not know are written as escapes.
    """
    for fd, name, mode in _MODES:
        try:
            os.fstat(fd)
        except OSError:
            _open_null(fd, mode)
        if getattr(sys, name) is None:
            setattr(sys, name, _stream(fd, mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _open_null(fd: int, mode: str) -> None:
    try:
        null = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
    except OSError:
        return  # a root folder without /dev: there is nothing to put there
    if null != fd:
        os.dup2(null, fd)
        os.close(null)
    os.set_inheritable(fd, True)


def _stream(fd: int, mode: str) -> IO[str]:
    try:
        return open(fd, mode, errors="backslashreplace" if mode == "w" else "surrogateescape", closefd=False)
    except OSError:
        return io.TextIOWrapper(io.BytesIO())


def end_by_signal() -> None:
    """Let Ctrl-C and a reader that has gone end this process at once, as they end a program in C.

    For programs that have nothing to put away; for others see fluxsched.interrupts.  Python's own handler of SIGINT
    raises an exception wherever the program is, and it ignores SIGPIPE.  A SIGINT that is ignored stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def tell(text: str) -> None:
    """Write lines for people to standard error; if it takes none, there is nobody to tell."""
    try:
        print(printable(text, keep="\n"), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # what it holds would fail again at the end


def explain(error: OSError) -> str:
    """One line for an error of the system, with the file that it is about."""
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename is not None else text


# What pyproject.toml calls the extra "simulate": an installation for a cluster goes without.
_SIMULATE = frozenset(("numpy", "matplotlib", "rich"))


def extra_needed(error: ModuleNotFoundError) -> str:
    """A line that says how a module that is not installed is had, if it is of an optional part; empty else."""
    name = (error.name or "").partition(".")[0]
    if name not in _SIMULATE:
        return ""
    return (
        f"this needs {name}, which is not installed: pip install 'flux-sched-cython[simulate]', or make install "
        "extras=simulate"
    )


def run(name: str, function: Callable[[], int]) -> int:
    """Call a program's main function; the exit code, also if output could not be written.

    `name` stands before the line that tells of an error of the system.
    """
    try:
        code = function()
        flush()
        return code
    except BrokenPipeError:
        sys.stdout = None  # whoever read the output has gone; there is nobody to tell
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except FluxSchedError as error:
        tell(f"{name}: {error}")
        return error.code
    except ModuleNotFoundError as error:
        text = extra_needed(error)
        if not text:
            raise
        tell(f"{name}: {text}")
        return 1
    except OSError as error:
        tell(f"{name}: {explain(error)}")
        try:
            flush()
        except OSError:
            pass  # told already, or of less weight
        return 1
    except (MemoryError, RecursionError) as error:
        tell(f"{name}: out of memory" if isinstance(error, MemoryError) else f"{name}: input is nested too deeply")
        return 1


def flush() -> None:
    """Write what standard output has kept.  Raises OSError once, and gives the stream up then."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # at its end the interpreter would try again
        raise OSError(error.errno, error.strerror, "standard output") from None
