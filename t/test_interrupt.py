# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ctrl-C while Python starts, before a line of ours has run."""

import os
import signal
import subprocess
import sys

import pytest

import makevenv
from embedded import clean_environment, until

WAITS = "import os, time; open(os.environ['READY'], 'w').close(); time.sleep(100)\n"


@pytest.fixture
def tree(tmp_path, top):
    """A tree with the `flux` of this one, whose Python waits where it looks for its libraries."""
    venv = tmp_path / "build" / "venv"
    packages = venv / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "waits.pth").write_text(WAITS)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
    (tmp_path / "build" / "config.sh").write_text("FLUX=\n")
    session = tmp_path / "sched" / "fluxsched" / "session"
    session.mkdir(parents=True)
    (session / "entry.py").symlink_to(top / "sched" / "fluxsched" / "session" / "entry.py")
    (tmp_path / "sched" / "sched.plugin1.so").touch()
    (tmp_path / "flux").write_text((top / "flux").read_text())
    (tmp_path / "installed").write_text(makevenv.command_text(str(venv / "bin" / "python"), "nosuch"))
    for name in ("flux", "installed"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("name", ["flux", "installed"], ids=["tree", "installed"])
def test_ctrl_c_is_quiet(tree, name):
    ready = tree / "ready"
    started = subprocess.Popen(
        [tree / name, "jobs"], env=clean_environment(READY=str(ready)), stderr=subprocess.PIPE, text=True
    )
    until(ready.exists, "Python to look for its libraries")
    started.send_signal(signal.SIGINT)
    assert (started.communicate(timeout=30)[1], started.returncode) == ("", -signal.SIGINT)
