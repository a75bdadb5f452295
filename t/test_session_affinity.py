# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which cpus and gpus tasks get, and how the gpus of a machine are found."""

import os
import time

import pytest

from embedded import Session
from fluxsched.formats import idset
from fluxsched.session import shelloptions
from fluxsched.session.broker import layout, machine, ranks
from fluxsched.session.commands import buildspec
from fluxsched.session.commands import submit as commands

CPUS = [0, 1, 2, 3, 8, 9, 10, 11]  # of cores 0 to 7


def spec(*words):
    options = commands.parser("submit").parse_args([*words, "true"])
    return buildspec.build(options, options.command, env={})


def tasks(*words, cores=8, gpus=(), near=layout.NOTHING, hosts=1):
    """(cpus, gpus) of each task of a job that has all of its nodes."""
    R = ranks.build([f"n{i}" for i in range(hosts)], range(cores), gpus)
    return [(cpus, seen) for _, _, _, cpus, seen in layout.tasks(spec(*words), R, CPUS, near)]


def cpus(*words, **options):
    return [cpus for cpus, _ in tasks(*words, **options)]


def gpus(*words, **options):
    return [seen for _, seen in tasks(*words, **options)]


def test_cpus():
    pair = ("-n2", "-c4")
    assert cpus(*pair) == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert cpus(*pair, "-o", "cpu-affinity=on") == [CPUS, CPUS]
    assert cpus(*pair, "-o", "cpu-affinity=off") == [None, None]
    assert cpus(*pair, "-o", "cpu-affinity=map:0;8-9") == [[0], [8, 9]]
    assert cpus(*pair, "-o", "cpu-affinity=map:0xf") == [[0, 1, 2, 3]] * 2
    assert cpus(*pair, "-o", "cpu-affinity=map:0x1,0x80000002;3,1") == [[1, 31, 32], [1, 3]]
    with pytest.raises(ValueError) as error:
        cpus(*pair, "-o", "cpu-affinity=map:0,9;4-5")
    assert str(error.value) == "cpu-affinity: map: 4-5: no such cpu, the session has 0-3,8-11"
    assert cpus("-o", "cpu-affinity=map:0;4") == [[0]]  # nobody gets the second one
    # More tasks than slots share, or are dealt out.
    three = ("--cores=8", "--tasks-per-node=3")
    assert cpus(*three) == [CPUS] * 3
    assert cpus(*three, "-o", "cpu-affinity=per-task") == [[0, 1], [2, 3, 8], [9, 10, 11]]
    assert cpus("--cores=2", "--tasks-per-node=3", "-o", "cpu-affinity=per-task", cores=2) == [[0], [0], [1]]
    assert cpus("-N2", "-n4", "-c4", hosts=2) == [[0, 1, 2, 3], [8, 9, 10, 11]] * 2
    # Cores that this machine does not have bind nobody.
    assert cpus("-n2", "-c8", cores=16) == cpus("-n2", "-c8", "-o", "cpu-affinity=per-task", cores=16) == [None, None]


def test_gpus():
    pair = ("-n2", "-c4", "-g2")
    assert gpus(*pair, gpus=range(4)) == ["0,1,2,3"] * 2
    assert gpus(*pair, "-o", "gpu-affinity=on", gpus=range(4)) == ["0,1,2,3"] * 2
    assert gpus(*pair, "-o", "gpu-affinity=per-task", gpus=range(4)) == ["0,1", "2,3"]
    assert gpus(*pair, "-o", "gpu-affinity=map:3;0-1", gpus=range(4)) == ["3", "0,1"]
    assert gpus(*pair, "-o", "gpu-affinity=off", gpus=range(4)) == [None, None]
    assert gpus("-n2", "-c4") == ["-1", "-1"]
    assert gpus("-n2", "-c4", "-g1", "-o", "gpu-affinity=per-task", gpus=[5]) == ["-1", "-1"]  # one for two


def test_cpus_are_near_the_gpus_of_their_task():
    near = {0: frozenset(range(8, 16)), 1: frozenset(range(8))}
    pair = ("-n2", "-c4", "-g1")
    each = (*pair, "-o", "gpu-affinity=per-task")
    assert tasks(*each, gpus=[0, 1], near=near) == [([8, 9, 10, 11], "0"), ([0, 1, 2, 3], "1")]
    assert cpus(*each, "-o", "cpu-affinity=per-task", gpus=[0, 1], near=near) == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert cpus(*each, "-o", "cpu-affinity=map:0;1", gpus=[0, 1], near=near) == [[0], [1]]  # as asked for
    assert cpus(*pair, gpus=[0, 1], near=near) == [[0, 1, 2, 3], [8, 9, 10, 11]]  # all see both
    # A preference: there are only so many near.
    assert cpus(*each, gpus=[0, 1], near={0: frozenset([2, 9])}) == [[0, 1, 2, 9], [3, 8, 10, 11]]
    assert cpus(*each, gpus=[0, 1], near={7: frozenset([9])}) == [[0, 1, 2, 3], [8, 9, 10, 11]]
    # Who is near nothing takes what is left.
    mixed = ("-n2", "-c4", "-g1", "-o", "gpu-affinity=map:0;1")
    assert cpus(*mixed, gpus=[0, 1], near={1: frozenset(range(4))}) == [[8, 9, 10, 11], [0, 1, 2, 3]]


def test_what_is_told():
    R = ranks.build(["n0"], range(8))
    for option, bound in (("verbose", [0, 1, 2, 3]), ("dry-run,verbose", None), ("dry-run", None)):
        asked = spec("-n2", "-c4", "-o", f"cpu-affinity={option}")
        assert layout.notes(asked, R, CPUS, {}) == (
            "cpu-affinity: task 0: cpus 0-3\ncpu-affinity: task 1: cpus 8-11\n"
        )
        assert layout.tasks(asked, R, CPUS)[0][3] == bound
    assert layout.notes(spec("-n2"), R, CPUS, {}) == ""
    assert "task 0: not bound" in layout.notes(spec("-o", "cpu-affinity=verbose,off"), R, CPUS, {})


@pytest.mark.parametrize(
    "option, said",
    [
        ("cpu-affinity=none", "cpu-affinity: expected on, off, per-task or map:LIST, got 'none'"),
        ("cpu-affinity=", "cpu-affinity: expected on, off, per-task or map:LIST, got ''"),
        ("cpu-affinity", "cpu-affinity: expected on, off, per-task or map:LIST, got 1"),
        ("cpu-affinity=verbose,x", "cpu-affinity: expected on, off, per-task or map:LIST, got 'verbose,x'"),
        ("cpu-affinity=map:", "cpu-affinity: map: '' is empty"),
        ("cpu-affinity=map:0;;1", "cpu-affinity: map: '' is empty"),
        ("cpu-affinity=map:x", "cpu-affinity: map: 'x' is not an idset"),
        ("cpu-affinity=map:8192", "cpu-affinity: map: '8192' has id 8192, the largest allowed is 8191"),
        ("cpu-affinity=map:0x0", "cpu-affinity: map: '0x0' is empty"),
        ("cpu-affinity=map:0xg", "cpu-affinity: map: expected a mask such as 0xf, got '0xg'"),
        ("cpu-affinity=map:0x1" + "0" * 2047, "has number 8188"),
        ("cpu-affinity=map:0x1" + "0" * 2047 + ",0x0", "has number 8220, the largest allowed is 8191"),
        ("cpu-affinity=map:" + "0;" * 65536, "cpu-affinity: map: expected at most 65536 sets, got 65537"),
        ("gpu-affinity=verbose", "gpu-affinity: expected on, off, per-task or map:LIST, got 'verbose'"),
        ("gpu-affinity=map:1-0", "gpu-affinity: map: '1-0' is not an idset"),
    ],
)
def test_what_is_refused(option, said):
    if "8188" in said:  # the largest mask that there can be
        assert shelloptions.affinity(dict([option.split("=")]), "cpu-affinity").sets == [[8188]]
        return
    with pytest.raises(buildspec.SpecError) as error:
        spec("-o", option)
    assert str(error.value).startswith("--setopt: ") and said in str(error.value)
    name, _, value = option.partition("=")
    with pytest.raises(shelloptions.OptionError):
        shelloptions.check({name: value if "=" in option else 1})


# the gpus of a machine


class Machine:
    """A machine in a folder: commands, the kernel's files, and what was told."""

    def __init__(self, path, monkeypatch):
        self.path = path
        self.told = []
        monkeypatch.setenv("PATH", f"{path}/bin:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(machine, "WAIT", 5.0)

    def command(self, name, script):
        path = self.path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def device(self, address, vendor, kind="0x030200", cpus=None):
        folder = self.path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("class", kind), ("local_cpulist", cpus)):
            if text is not None:
                (folder / name).write_text(text + "\n")

    def kfd(self, node, text):
        folder = self.path / "sys/class/kfd/kfd/topology/nodes" / node
        folder.mkdir(parents=True)
        (folder / "properties").write_text(text)

    def gpus(self):
        return machine.gpus(self.told.append, str(self.path / "sys"), str(self.path / "dev"))


@pytest.fixture
def box(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


NVIDIA_TWO = r"""cat <<END
GPU 0: NVIDIA A100 (UUID: GPU-1)
  MIG 1g.5gb Device 0: (UUID: MIG-2)
GPU 1: NVIDIA A100 (UUID: GPU-3)
END"""


def test_no_gpus(box):
    assert box.gpus() == ([], {})
    box.command("nvidia-smi", "exit 9")
    box.command("rocm-smi", "echo no")
    assert box.gpus() == ([], {})
    assert box.told == []


def test_nvidia(box, monkeypatch):
    box.command("nvidia-smi", NVIDIA_TWO)
    assert box.gpus() == ([0, 1], {})
    box.device("0000:c1:00.0", "0x10de", cpus="32-63,96-127")
    box.device("0000:41:00.0", "0x10de", "0x030000", cpus="0-31")
    box.device("0000:41:00.1", "0x10de", "0x040300", cpus="0-31")  # its sound
    box.device("0000:03:00.0", "0x1a03", "0x030000", cpus="0-31")  # of the board
    found = box.gpus()
    assert (found.ids, sorted(found.near)) == ([0, 1], [0, 1])
    assert found.near[0] == frozenset(range(32)) and max(found.near[1]) == 127
    # A job's own gpus are those that a session in it has.
    for value, ids in (("1", [1]), ("-1", []), ("", []), ("1,0", [0, 1]), ("7", []), ("GPU-1", [0, 1])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert box.gpus().ids == ids
        assert set(box.gpus().near) == set(ids)
    # Another number of devices says nothing about which is which.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    box.device("0000:42:00.0", "0x10de", cpus="what")
    assert box.gpus() == ([0, 1], {})


def test_nvidia_without_its_command(box):
    (box.path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (box.path / "dev" / name).touch()
    box.device("0000:41:00.0", "0x10de", cpus="0-3")
    box.device("0000:42:00.0", "0x10de", cpus="what")  # not said which
    assert box.gpus() == ([0, 1], {0: frozenset(range(4))})


def test_rocm(box):
    box.kfd("0", "cpu_cores_count 64\nsimd_count 0\n")
    box.kfd("1", "simd_count 416\nlocation_id 49920\ndomain 0\n")  # c3:00.0
    box.kfd("2", "simd_count 416\nlocation_id 768\ndomain 0\nbroken\n")  # 03:00.0
    box.device("0000:03:00.0", "0x1002", cpus="0-7")
    assert box.gpus() == ([0, 1], {0: frozenset(range(8))})


def test_rocm_without_the_kernels_list(box):
    box.command("rocm-smi", "[ $1 = --showid ] && printf 'GPU[0]\\t: a\\nGPU[0]\\t: b\\nGPU[1]\\t: a\\n'")
    box.device("0000:03:00.0", "0x1002", cpus="0-7")
    box.device("0000:04:00.0", "0x1002", cpus="8-15")
    assert box.gpus().ids == [0, 1]
    assert box.gpus().near[1] == frozenset(range(8, 16))


@pytest.mark.parametrize(
    "script, said",
    [
        ("sleep 600", "nvidia-smi -L has not answered within 0.3 s; it is not asked again"),
        ("trap '' TERM; echo GPU; sleep 600 & wait", "nvidia-smi -L has not answered within 0.3 s"),
        ("exec >&-; sleep 600", "nvidia-smi -L has not answered within 0.3 s"),
        ("exec yes", "nvidia-smi -L does not stop writing"),
    ],
)
def test_a_command_that_hangs_is_given_up(box, monkeypatch, script, said):
    monkeypatch.setattr(machine, "WAIT", 0.3 if "stop" not in said else 30.0)
    box.command("nvidia-smi", script)
    begin = time.monotonic()
    assert box.gpus() == ([], {})
    assert time.monotonic() - begin < 20
    assert len(box.told) == 1 and box.told[0].startswith(said)


def test_a_command_that_cannot_run_is_told(box):
    box.command("nvidia-smi", "")
    (box.path / "bin/nvidia-smi").write_text("#!/no/such/shell\n")
    assert box.gpus() == ([], {})
    assert box.told == ["nvidia-smi: No such file or directory"]


def test_session_has_the_gpus(box):
    box.command("nvidia-smi", NVIDIA_TWO)
    with Session() as session:
        assert session("resource", "list", "-n", "-s", "free").split()[3] == "2"
        show = 'echo "$CUDA_VISIBLE_DEVICES $HIP_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"'
        assert session("run", "-g2", "sh", "-c", show) == "0,1 0,1 PCI_BUS_ID"
        one = session("run", "-g1", "-o", "cpu-affinity=verbose", "sh", "-c", show)
        assert one == "0 0 PCI_BUS_ID"
        assert session("run", "sh", "-c", show) == "-1 -1 PCI_BUS_ID"
        done = session.run("run", "-o", "gpu-affinity=off", "-o", "cpu-affinity=dry-run", "sh", "-c", show,
                           env={"CUDA_VISIBLE_DEVICES": "mine"})  # fmt: skip
        cpu = min(os.sched_getaffinity(0))
        assert (done.stdout, done.stderr) == ("mine  \n", f"cpu-affinity: task 0: cpus {cpu}\n")
        cores = session("run", "-o", "cpu-affinity=off", "grep", "Cpus_allowed_list", "/proc/self/status")
        assert idset.ids(cores.split()[1]) == sorted(os.sched_getaffinity(0))
