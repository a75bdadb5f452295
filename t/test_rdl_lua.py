# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""RDL's tests in Lua (t/lua), each under lupa and under plain lua5.1."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fluxsched.formats import rdl

FOLDER = Path(__file__).parent / "lua"
FILES = ("idset", "language", "store", "sandbox")
TESTS = [
    (file, name)
    for file in FILES
    for name in re.findall(r"^function test\.(\w+)", (FOLDER / f"{file}.lua").read_text(), re.MULTILINE)
]
LUA = shutil.which("lua5.1")


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_under_lupa(file, name):
    lua, _ = rdl.interpreter()
    lua.globals().package.path += f";{FOLDER}/?.lua"
    lua.globals().dofile(f"{FOLDER}/{file}.lua")[name]()


@pytest.mark.skipif(LUA is None, reason="lua5.1 is not installed")
@pytest.mark.parametrize(("file", "name"), TESTS)
def test_under_lua(file, name, top):
    run = subprocess.run(
        [LUA, FOLDER / "run.lua", FOLDER / f"{file}.lua", name],
        env={**os.environ, "LUA_PATH": f"{top}/rdl/?.lua;{FOLDER}/?.lua"},
        capture_output=True, text=True, timeout=120,
    )
    assert run.returncode == 0, run.stderr
