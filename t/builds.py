# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files and programs for the tests of configure, make and make install."""

from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
VENV_PYTHON = TOP / "build" / "venv" / "bin" / "python"


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def sh(path, text):
    return write(path, "#!/bin/sh\n" + text, 0o755)
