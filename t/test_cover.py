# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""make coverage: what its report says of a file, and which lines of Cython modules ran."""

import shutil
import subprocess

import pytest

import cover
import cython_lines


def entry(covered, missing):
    return {"summary": {"percent_covered": covered, "num_statements": 100}, "missing_lines": missing}


def test_files_of_core_service_and_formats_are_held_to_95_percent():
    files = {
        "sched/fluxsched/core/a.pyx": entry(94.9, [3, 4, 5, 9]),
        "sched/fluxsched/service/b.py": entry(95.0, [1, 7]),
        "sched/fluxsched/formats/c.py": entry(0.0, [1]),
        "sched/fluxsched/session/d.py": entry(10.0, list(range(90))),
    }
    table, short = cover.judge(files)
    assert table[0] == "  94.9 %   100 lines  core/a.pyx"
    assert [line.split()[-1] for line in table] == ["core/a.pyx", "formats/c.py", "service/b.py", "session/d.py"]
    assert short == ["core/a.pyx: 94.9 %, not run: 3-5 9", "formats/c.py: 0.0 %, not run: 1"]
    files["sched/fluxsched/core/a.pyx"] = entry(0, [3])
    assert "core/: no line of Cython was counted" in cover.judge(files)[1]


@pytest.mark.parametrize(("lines", "text"), [([], ""), ([5], "5"), ([2, 1], "1-2"), ([1, 3, 4, 8], "1 3-4 8")])
def test_lines_in_short(lines, text):
    assert cover.missing_ranges(lines) == text


def test_parts_of_the_tests():
    assert cover.parts(["t/test_r.py", "-k", "word"]) == [["t/test_r.py", "-k", "word"]]
    paths = []
    for option, words, *files in cover.parts([]):
        assert option == "-k" and "not long_queue and not " in words
        paths += files
    assert len(set(paths)) == len(paths) > 60 and str(cover.TOP / "t" / "test_engine.py") in paths


# A loop with pass, as Cython writes it with linetrace, and an inline function of another file.
TRANSLATED = """\
 */
  __Pyx_TraceLine(9,0,0,0)
/* "core/a.pxd":3
 */
    __Pyx_TraceLine(3,0,1,0)
    return x;
  /* "core/a.pyx":7
 * def f():  # <<<<<<<<<<<<<<
 */
  __Pyx_TraceLine(7,0,0,0)
  for (i = 0; i < n; i++) {
    __Pyx_TraceLine(7,1,0,0)
    /* "core/a.pyx":8
 * pass  # <<<<<<<<<<<<<<
 */
    __Pyx_TraceLine(8,1,0,0)
  }
  /* "core/a.pyx":9
 */
  __Pyx_TraceLine(9,1,0,0)
  if (unlikely(x)) {
    y = 3;
  }
  __Pyx_TraceLine(10,1,0,0)
  y = 4;
"""


def test_lines_of_cython_from_counts_of_lines_of_c():
    text = TRANSLATED.splitlines()
    places = [(5, "core/a.pxd", 3), (10, "core/a.pyx", 7), (12, "core/a.pyx", 7), (16, "core/a.pyx", 8)]
    assert cython_lines.marks(text) == [*places, (20, "core/a.pyx", 9), (24, "core/a.pyx", 10)]
    # What a statement runs only at times says nothing of it; what has no code of its own is no line.
    counts = {6: 0, 11: 4, 21: 1, 22: 0, 25: 0}
    lines = cython_lines.ran(text, counts)
    assert lines == {"core/a.pxd": {3: False}, "core/a.pyx": {7: True, 9: True, 10: False}}
    assert cython_lines.ran(text, {}) == {}
    assert cover.judge({"sched/fluxsched/core/a.pyx": cython_lines.entry(lines["core/a.pyx"])}) == (
        ["  66.7 %     3 lines  core/a.pyx"],
        ["core/a.pyx: 66.7 %, not run: 10"],
    )
    assert cython_lines.entry({})["summary"]["percent_covered"] == 100.0


def test_counts_of_gcov():
    lines = [{"line_number": 5, "count": 0}, {"line_number": 5, "count": 2}, {"line_number": 6, "count": 0}]
    report = {"files": [{"file": "build/a.c", "lines": lines}, {"file": "Python.h", "lines": lines[:1]}]}
    assert cython_lines.counts_of(report, "a.c") == {5: 2, 6: 0}


@pytest.mark.parametrize(("compiler", "name"), [("cc", "gcov"), ("ccache-gcc-12 -m64", "ccache-gcov-12")])
def test_the_gcov_of_a_compiler(tmp_path, monkeypatch, compiler, name):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=f"has no {name}: install it"):
        cython_lines.gcov(compiler)
    (tmp_path / name).touch(mode=0o755)
    assert cython_lines.gcov(compiler) == str(tmp_path / name)


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("gcov")), reason="no gcc with a gcov")
def test_entries_of_a_build(tmp_path, monkeypatch):
    monkeypatch.setattr(cython_lines, "TOP", tmp_path)
    folder = tmp_path / "build" / "coverage"
    source, translated = tmp_path / "sched/core/a.pyx", folder / "cython/sched/core/a.c"
    notes = folder / "temp/build/coverage/cython/sched/core/a.gcno"
    for path in (source, translated, notes):
        path.parent.mkdir(parents=True)
    source.touch()
    head = "#define __Pyx_TraceLine(a)\nint main(int n, char **words) {\n"
    body = ['/* "core/a.pyx":3\n */', " __Pyx_TraceLine(3,)", " if (n > 1)", " __Pyx_TraceLine(4,)", " return 0;"]
    translated.write_text(head.replace("(a)", "(a, b)") + "\n".join(body) + "\n return 0;\n}\n")
    for words in (["--coverage", "-c", translated, "-o", notes.with_suffix(".o")],
                  [notes.with_suffix(".o"), "--coverage", "-o", tmp_path / "a"]):  # fmt: skip
        subprocess.run(["gcc", *words], check=True, cwd=tmp_path)
    tool = cython_lines.gcov("gcc")

    def found(*words):
        subprocess.run([tmp_path / "a", *words], check=True)
        return cython_lines.entries(folder, tool)["sched/core/a.pyx"]["missing_lines"]

    assert found() == [4]
    assert found("more") == []  # counts add up
    cython_lines.forget(folder / "temp")
    assert found() == [4]
    source.unlink()
    assert cython_lines.entries(folder, tool) == {}
