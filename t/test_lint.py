# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The checks of ``make lint`` that are our own."""

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
