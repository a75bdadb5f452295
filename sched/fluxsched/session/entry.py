# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The first lines of ``./flux``, which runs this file by ``python -IS``: Ctrl-C ends the program from here on.

Python's own handler of SIGINT, which shows a traceback, is there from a moment before a program's first line. So
nothing is imported before it is taken away, and -S puts off the library ``site``, which takes longer than all else.
"""

if __name__ == "__main__":
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

    import site

    site.main()

    from fluxsched.session.main import start

    start()
