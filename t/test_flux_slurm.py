# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The README's Slurm session: srun starts the brokers, then load, submit and
examine.  Slurm is this test's own: a controller and three nodes on this
machine, on ports that were free."""

import getpass
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fluxinstance import TOP, Instance, flux_command, need

pytestmark = pytest.mark.flux
WAIT = 60.0

CONF = """
ClusterName=flux-sched
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SchedulerType=sched/builtin
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=pmi2
ReturnToService=2
NodeName=d[0-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[3]}] CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=d[0-2] Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    """The first of `count` neighbouring ports that are free."""
    for first in range(17000 + os.getpid() % 1000 * 10, 45000, 10):
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    pytest.skip("no free ports for Slurm")


class Slurm:
    """munged, slurmctld and three slurmd, and the environment to reach them."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        conf = folder / "slurm.conf"
        conf.write_text(CONF.format(
            host=socket.gethostname().partition(".")[0], user=getpass.getuser(), folder=folder,
            ports=free_ports(4), cpus=os.cpu_count(),
        ))
        self.environment = {**Instance.environment_base(), "SLURM_CONF": str(conf)}
        (folder / "state").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        folder.chmod(0o755)
        self.start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
        )
        self.wait(lambda: (folder / "munge.socket").exists(), "munged")
        self.start("slurmctld", "-D", "-f", str(conf))
        for number in range(3):
            (folder / f"spool.d{number}").mkdir()
            self.start("slurmd", "-D", "-f", str(conf), "-N", f"d{number}")
        self.wait(self.idle, "three idle nodes")

    def start(self, program, *arguments):
        log = open(self.folder / f"{program}.out", "ab")  # noqa: SIM115  the process's
        path = need(program) if program not in ("munged", "slurmctld", "slurmd") else sbin(program)
        self.processes.append(subprocess.Popen(
            [path, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
        ))
        log.close()

    def idle(self):
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%D %t"], env=self.environment, capture_output=True, text=True, timeout=WAIT,
        )
        return done.stdout.split() == ["3", "idle"]

    def wait(self, condition, what):
        end = time.monotonic() + WAIT
        while not condition():
            assert all(process.poll() is None for process in self.processes), self.logs()
            assert time.monotonic() < end, f"waited in vain for {what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
                         for path in [*self.folder.glob("*.log"), *self.folder.glob("*.out")])

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def sbin(program):
    """The path of a daemon; skips the test where it is not installed."""
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin", "/usr/local/sbin"]:
        path = Path(folder) / program
        if folder and os.access(path, os.X_OK):
            return str(path)
    return pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def slurm():
    flux_command()
    for program in ("munged", "slurmctld", "slurmd"):
        sbin(program)
    for program in ("srun", "sinfo"):
        need(program)
    if os.getuid() != 0:
        pytest.skip("slurmd has to be started by root")
    # munge wants a folder whose parents are all the user's or root's, sockets a short name
    with tempfile.TemporaryDirectory(prefix="slurm") as name:
        made = Slurm(Path(name))
        try:
            yield made
        finally:
            made.stop()


SCRIPT = """
set -e
test $(flux getattr size) = 3
flux module load sched rdl-conf=conf/hype.lua
flux module list | grep '^sched '
flux submit -N3 -n3 sleep 1
flux job wait-event -t 20 $(flux job last) clean >/dev/null
sleep 0.5
flux kvs dir lwj.1
flux dmesg | grep 'sched\\.'
"""


def check(text):
    assert "lwj.1.nnodes = 3" in text, text
    assert 'lwj.1.state = "complete"' in text, text
    assert "allocated rank[0-2]/core" in text, text


def test_start(slurm):
    done = subprocess.run(
        ["srun", "-N3", str(TOP / "flux"), "start", "sh", "-c", SCRIPT],
        env=slurm.environment, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check(done.stdout)


def test_broker_on_a_terminal(slurm):
    """srun --pty flux broker, as the README has it."""
    script = slurm.folder / "session.sh"
    script.write_text(SCRIPT)
    command = ["srun", "-N3", "--pty", str(TOP / "flux"), "broker", "sh", str(script)]
    try:
        pid, terminal = pty.fork()
    except OSError as error:
        pytest.skip(f"no pseudo terminal: {error.strerror}")
    if pid == 0:
        os.chdir(TOP)
        os.execvpe(command[0], command, slurm.environment)
    chunks = []
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(pid, signal.SIGKILL))
    signal.alarm(int(WAIT))
    try:
        while True:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        _, status = os.waitpid(pid, 0)
    finally:
        signal.alarm(0)
        os.close(terminal)
    text = b"".join(chunks).decode(errors="replace").replace("\r\n", "\n")
    print(text, file=sys.stderr)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, text
    check(text)
