# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ctrl-C while Python starts, before a line of ours has run, and where something must not be left half done."""

import os
import signal
import subprocess
import sys
import threading

import pytest

import makevenv
from embedded import clean_environment, until
from fluxsched.interrupts import raise_on_interrupt, uninterrupted

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


@pytest.fixture
def handler():
    """Set a handler of SIGINT for a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda wanted: signal.signal(signal.SIGINT, wanted)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_a_block(handler):
    handler(signal.default_int_handler)
    done = []
    with pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("inside")
        done.append("behind")
    assert done == ["inside"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with uninterrupted():
        pass
    with pytest.raises(OSError, match="full"), uninterrupted():
        raise OSError("full")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_ignored_stays_so(handler):
    handler(signal.SIG_IGN)
    raise_on_interrupt()
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    handler(signal.SIG_DFL)
    raise_on_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_have_no_handlers(handler):
    handler(signal.SIG_DFL)
    done = []

    def run():
        raise_on_interrupt()
        with uninterrupted():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done == [signal.SIG_DFL]
