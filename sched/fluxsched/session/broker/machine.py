# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What this machine has: gpus, and which cpus are near them; memory.

Gpus are asked of `nvidia-smi -L`, then looked for in the kernel's list of ROCm devices, then asked of `rocm-smi`. A
driver that hangs must not hang the start of a session, so each command has a few seconds, and is not waited for after
that. The numbers are those of CUDA_DEVICE_ORDER=PCI_BUS_ID, which jobs get: by the address of the device.
"""

from __future__ import annotations

import glob
import os
import re
import select
import shutil
import signal
import subprocess
import time
from typing import Callable, NamedTuple, Optional

from fluxsched.formats import idset, sizes

WAIT = 4.0  # seconds that a command has to answer
ANSWER_MAX = 1 << 16  # bytes
NVIDIA, AMD = "0x10de", "0x1002"  # vendors of PCI devices
DISPLAY = re.compile(r"0x03[0-9a-f]{4}")  # class of PCI devices: display controllers

_NVIDIA_LINE = re.compile(rb"^GPU \d+: ", re.MULTILINE)
_ROCM_LINE = re.compile(rb"^GPU\[(\d+)\]", re.MULTILINE)

#: Told of what could not be found out: a sentence.
Tell = Callable[[str], None]


class Gpus(NamedTuple):
    """The gpus of a machine: their numbers, and for those where it is known the cpus near them."""

    ids: list[int]
    near: dict[int, frozenset[int]]


def answer(words: list[str], tell: Tell) -> Optional[bytes]:
    """The output of a command; None if it is not there, fails, or does not answer in time."""
    if shutil.which(words[0]) is None:
        return None
    deadline = time.monotonic() + WAIT
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        tell(f"{words[0]}: {error.strerror}")
        return None
    assert process.stdout is not None
    found, over = b"", False
    with process.stdout as pipe:
        while not over and len(found) <= ANSWER_MAX:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            data = os.read(pipe.fileno(), 4096)
            found += data
            over = not data
    while over and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    endless = len(found) > ANSWER_MAX
    running = process.poll() is None
    if running:
        # In the driver it may not even die, so nobody waits for it.
        os.killpg(process.pid, signal.SIGKILL)
    if running or endless:
        late = "does not stop writing" if endless else f"has not answered within {WAIT:g} s"
        tell(f"{' '.join(words)} {late}; it is not asked again")
        return None
    return found if process.returncode == 0 else None


def gpus(tell: Tell, sys: str = "/sys", dev: str = "/dev") -> Gpus:
    """The gpus of this machine, less those that CUDA_VISIBLE_DEVICES hides from us."""
    count, addresses = _found(tell, sys, dev)
    near = {}
    if len(addresses) == count:
        for number, address in enumerate(addresses):
            cpus = _cpus_near(sys, address)
            if cpus:
                near[number] = cpus
    ids = _visible(list(range(count)))
    return Gpus(ids, {number: near[number] for number in ids if number in near})


def _found(tell: Tell, sys: str, dev: str) -> tuple[int, list[str]]:
    """How many gpus there are, and the addresses of what may be these."""
    listed = answer(["nvidia-smi", "-L"], tell)
    count = len(_NVIDIA_LINE.findall(listed)) if listed is not None else 0
    if count:
        return count, _pci(sys, NVIDIA)
    addresses = _kfd(sys)
    if addresses:
        return len(addresses), addresses
    names = [os.path.basename(path) for path in glob.glob(f"{dev}/nvidia*")]
    count = len([name for name in names if re.fullmatch(r"nvidia\d+", name)])
    if count:
        return count, _pci(sys, NVIDIA)
    listed = answer(["rocm-smi", "--showid"], tell)
    count = len(set(_ROCM_LINE.findall(listed))) if listed is not None else 0
    return count, _pci(sys, AMD) if count else []


def _visible(ids: list[int]) -> list[int]:
    """Those of `ids` that whoever has started us may use: inside of a job its own."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return ids
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(re.fullmatch(r"-?\d{1,9}", word, re.ASCII) for word in words):
        return ids  # names of devices, which say nothing about numbers
    return sorted(set(ids) & {int(word) for word in words})


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read(4096).strip()
    except OSError:
        return ""


def _pci(sys: str, vendor: str) -> list[str]:
    """The addresses of a vendor's display controllers, in their order."""
    found = []
    for path in glob.glob(f"{sys}/bus/pci/devices/*"):
        if _read(f"{path}/vendor") == vendor and DISPLAY.fullmatch(_read(f"{path}/class")):
            found.append(os.path.basename(path))
    return sorted(found)


def _kfd(sys: str) -> list[str]:
    """The addresses of the gpus that the kernel lists for ROCm."""
    found = []
    for path in glob.glob(f"{sys}/class/kfd/kfd/topology/nodes/*/properties"):
        words = dict(line.split(" ", 1) for line in _read(path).splitlines() if " " in line)
        numbers = {name: int(words[name]) for name in ("simd_count", "domain", "location_id") if _digits(words, name)}
        if numbers.get("simd_count"):
            place = numbers.get("location_id", 0)
            found.append(f"{numbers.get('domain', 0):04x}:{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7}")
    return sorted(found)


def _digits(words: dict[str, str], name: str) -> bool:
    text = words.get(name, "")
    return text.isascii() and text.isdigit() and len(text) < 10


def _cpus_near(sys: str, address: str) -> frozenset[int]:
    """The cpus that the machine says are near a PCI device; none where it does not say."""
    try:
        return frozenset(idset.ids(_read(f"{sys}/bus/pci/devices/{address}/local_cpulist"), 1 << 16))
    except idset.IdsetError:
        return frozenset()


def memory(proc: str = "/proc") -> int:
    """The memory of this machine in MB (10^6 bytes), or 0 where it is not known."""
    match = re.search(r"^MemTotal:\s*(\d{1,15}) kB$", _read(f"{proc}/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 // sizes.MEGABYTE if match else 0
