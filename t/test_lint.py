# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""``make lint``: its own checks, that each tool's complaint counts, and that this tree is clean."""

import shutil
import subprocess
import sys

import pytest

import lint

NOGIL_SOURCE = """\
# SPDX-FileCopyrightText: 2026 The flux-sched authors
cdef int deep(int x) except -1 nogil:
    if x < 0:
        with gil:
            raise ValueError(x)
    return x

cdef void bare(int x) nogil:
    pass

cdef int caller(
    int x,
) noexcept nogil:
    return deep(x)

cdef int clean(int x) noexcept nogil:
    return x + 1

def outside(items):
    cdef int k = 0
    with nogil:
        k = clean(k)
        with gil:
            k = items[0]
        bare(k)
    return k
"""


def test_nogil_lines():
    lines = NOGIL_SOURCE.splitlines()
    inside = {lines[i].strip() for i in lint.nogil_lines(lines)}
    assert {"if x < 0:", "return deep(x)", "k = clean(k)", "bare(k)", "int x,"} <= inside
    assert not {"raise ValueError(x)", "k = items[0]", "return k", "with gil:", "cdef int k = 0"} & inside


def test_python_in_nogil(tmp_path):
    """Read from pages that the installed Cython writes, so that a change in their form is noticed."""
    from Cython.Build import cythonize

    (tmp_path / "sample.pyx").write_text(NOGIL_SOURCE)
    cythonize([str(tmp_path / "sample.pyx")], annotate=True, quiet=True, language_level=3)
    found = lint.python_in_nogil(tmp_path / "sample.html")
    # An exception that deep() raises cannot leave caller(), which takes the GIL to say so.
    assert [text.split(": Python in nogil code: ")[1] for text in found] == ["cdef int caller("]
    assert found[0].startswith(f"{tmp_path}/sample.pyx:11:")


@pytest.mark.parametrize(
    "text",
    [
        "cdef int f(int x) nogil:\n    return x",
        "cdef void f(\n    int x,\n) nogil\n",
        "ctypedef int (*f)(int x) nogil\n",
        "cdef extern from 'a.h':\n    int g()\ncdef int f() nogil:\n    return 1\n",
    ],
)
def test_bare_nogil(text):
    assert len(lint.bare_nogil("a.pyx", text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "cdef int f(int x) noexcept nogil:\n    return x",
        "cdef int f(int x) except -1 nogil:\n    return x",
        "cdef int f(int x) except? (-1) nogil:\n    return x",
        "cdef extern from 'a.h' nogil:\n    int f(int x)\n    int g(int x) nogil\n",
        "def f(x):\n    with nogil:\n        pass\n",
        "cdef int f(int x):  # not nogil\n    return x",
    ],
)
def test_not_bare_nogil(text):
    assert lint.bare_nogil("a.pyx", text) == []


def test_spdx():
    two = [f"# {line}\n" for line in lint.SPDX]
    assert lint.missing_spdx("a.py", "".join(two)) == []
    assert lint.missing_spdx("a.sh", "#!/bin/sh\n" + "".join(two)) == []
    assert lint.missing_spdx("a.lua", "".join(two).replace("#", "--")) == []
    assert lint.missing_spdx("a.c", "".join(two).replace("#", "//")) == []
    assert lint.missing_spdx("a.c", "".join(two).replace("#", "/*").replace("\n", " */\n")) == []
    assert lint.missing_spdx("a.py", "".join(reversed(two))) != []
    assert lint.missing_spdx("a.py", "import os\n") != []
    assert lint.missing_spdx("a.py", "") != []


def test_own_memory():
    text = "from libc.stdlib cimport free, malloc\nfrom libc.string cimport memcpy, strlen\n"
    assert lint.own_memory("sched/fluxsched/core/queue.pyx", text) == [
        "sched/fluxsched/core/queue.pyx:1: malloc from libc.stdlib: take it from fluxsched.core.memory",
        "sched/fluxsched/core/queue.pyx:2: memcpy from libc.string: take it from fluxsched.core.memory",
    ]
    assert lint.own_memory("sched/fluxsched/core/memory.pyx", text) == []
    assert lint.own_memory("sched/fluxsched/traces/swfscan.pyx", text) == []


def test_length():
    long = "def f():\n" + "    pass\n" * lint.MAX_FUNCTION
    assert lint.too_long("a.py", long) == [
        f"a.py:1: f has {lint.MAX_FUNCTION + 1} lines, at most {lint.MAX_FUNCTION}: split it"
    ]
    assert lint.too_long("a.py", long.replace("    pass\n", "", 1)) == []
    assert lint.too_long("a.pyx", "\n" * lint.MAX_FILE) == []
    assert lint.too_long("a.pyx", "\n" * (lint.MAX_FILE + 1)) == ["a.pyx:1: 601 lines, at most 600: split it"]
    assert lint.too_long(lint.LONG_FILES[0], "\n" * (lint.MAX_FILE + 1)) == []


SPDX = "".join(f"# {line}\n" for line in lint.SPDX)
FAULTS = {
    "ruff": ("tools/a.py", SPDX + "import os\n"),
    "docstring": ("tools/a.py", SPDX + "def f(x: int) -> int:\n    return x\n"),
    "length": ("tools/a.py", SPDX + "X = 1\n" * 600),
    "mypy": ("tools/a.py", SPDX + "def _f(x):\n    return x\n"),
    "cython-lint": ("sched/a.pyx", SPDX + "cdef int f(int x) noexcept nogil:\n    cdef int y\n    return x\n"),
    "shellcheck": ("a.sh", "#!/bin/sh\n" + SPDX + "cd $1\n"),
    "licence": ("tools/a.py", "import os\n\nprint(os.name)\n"),
    None: ("tools/a.py", SPDX + "def _f(x: int) -> int:\n    return x\n"),
}


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("mypy"))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_complaint_counts(fault, top, mypy_cache, tmp_path, monkeypatch, capfd):
    """On a project with one fault, of which one tool tells."""
    name, text = FAULTS[fault]
    shutil.copy(top / "pyproject.toml", tmp_path)
    for path in ("sched/fluxsched/__init__.py", "sched/python/flux/__init__.py", "tools/b.py", name):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text if path == name else "")
    monkeypatch.setattr(lint, "TOP", tmp_path)
    monkeypatch.setenv("MYPY_CACHE_DIR", mypy_cache)
    assert lint.main() == (fault is not None)
    out = capfd.readouterr().out
    assert out.splitlines()[-1] == ("lint: problems, see above" if fault else "lint: clean")
    assert (name.split("/")[-1] in out) == (fault is not None)


def test_a_tool_that_is_missing_is_a_complaint(capfd):
    assert not lint.run_tools([["no-such-tool", "."]])
    assert capfd.readouterr().out == ("no-such-tool is not installed: run make, which installs it into build/venv\n")
    assert lint.run_tools([])


def test_this_tree_is_clean(top):
    done = subprocess.run([sys.executable, top / "tools/lint.py"], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
