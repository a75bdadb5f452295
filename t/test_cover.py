# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""make coverage: what its report says of a file, and where C files of Cython modules are found."""

import pytest

import cover
import requirements


def entry(covered, missing):
    return {"summary": {"percent_covered": covered, "num_statements": 100}, "missing_lines": missing}


def test_files_of_core_service_and_formats_are_held_to_95_percent():
    files = {
        "sched/fluxsched/core/a.pyx": entry(94.9, [3, 4, 5, 9]),
        "sched/fluxsched/service/b.py": entry(95.0, [1, 7]),
        "sched/fluxsched/formats/c.py": entry(0.0, [1]),
        "sched/fluxsched/session/d.py": entry(10.0, list(range(90))),
    }
    table, short = cover.judge({"files": files})
    assert table[0] == "  94.9 %   100 lines  core/a.pyx"
    assert [line.split()[-1] for line in table] == ["core/a.pyx", "formats/c.py", "service/b.py", "session/d.py"]
    assert short == ["core/a.pyx: 94.9 %, not run: 3-5 9", "formats/c.py: 0.0 %, not run: 1"]
    del files["sched/fluxsched/core/a.pyx"]
    assert "core/: no line of Cython was told" in cover.judge({"files": files})[1]


@pytest.mark.parametrize(("lines", "text"), [([], ""), ([5], "5"), ([2, 1], "1-2"), ([1, 3, 4, 8], "1 3-4 8")])
def test_lines_in_short(lines, text):
    assert cover.missing_ranges(lines) == text


@pytest.mark.skipif(bool(requirements.missing("coverage")), reason="no coverage.py: make coverage installs it")
def test_the_c_file_of_a_module(tmp_path, monkeypatch):
    import cython_lines

    monkeypatch.setattr(cython_lines, "SOURCE", tmp_path / "sched")
    monkeypatch.setattr(cython_lines, "TRANSLATED", tmp_path / "c")
    (tmp_path / "c" / "core").mkdir(parents=True)
    (tmp_path / "c" / "core" / "engine.c").touch()
    lines = cython_lines.Lines()
    find = lines._find_source_files
    assert find(str(tmp_path / "sched/core/engine.pyx")) == (str(tmp_path / "c/core/engine.c"), None)
    for name in ("sched/core/other.pyx", "sched/core/engine.py", "elsewhere/engine.pyx"):
        assert find(str(tmp_path / name)) == (None, None)
    # Which names its sources by the place of the package.
    source = tmp_path / "sched/core/engine.pyx"
    source.parent.mkdir(parents=True)
    source.write_text("x = 1\n")
    text = '  /* "core/engine.pyx":1\n * x = 1 # <<<<<<<<<<<<<<\n */\n  __Pyx_TraceLine(1,0,0,0)\n'
    (tmp_path / "c" / "core" / "engine.c").write_text(text)
    assert lines._read_source_lines(str(tmp_path / "c/core/engine.c"), str(source)) == ("core/engine.pyx", {1: "x = 1"})
