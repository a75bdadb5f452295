# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``make lint`` looks at: ruff, cython-lint, mypy, shellcheck, licence lines, length, memory, and the GIL.

The engine asks for memory, copies and sorts by core/memory.pxd alone.

The GIL in nogil code has two parts. A function that is nogil says ``noexcept nogil`` or ``except … nogil``: without
either Cython takes the GIL after every call. And no line of nogil code may have Python in its C, which is read from
Cython's annotated pages (the build warns with the same text). A line that raises is meant to take the GIL, and so is
what stands under ``with gil``; a ``finally`` takes it where an exception passes through.
"""

from __future__ import annotations

import ast
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterable, Iterator

TOP = Path(__file__).resolve().parent.parent
SPDX = ("SPDX-FileCopyrightText: 2026 The flux-sched authors", "SPDX-License-Identifier: LGPL-3.0-or-later")
COMMENTS = {".lua": "--", ".c": "//", ".h": "//"}
WITH_SPDX = {".py", ".pyx", ".pxd", ".lua", ".c", ".h", ".sh", ".toml", ".mk"}

MAX_FILE = 600  # lines
MAX_FUNCTION = 60
# One subject each, which needs them.
LONG_FILES = ("t/test_build.py", "t/test_plugins.py")

# What stands on core/memory.pxd, and the names of C that are not for it.
ENGINE = ("sched/fluxsched/core/", "sched/fluxsched/policy/", "sched/fluxsched/simulate/", "sched/plugins/")
MEMORY = {"malloc", "calloc", "realloc", "memset", "memcpy", "memmove", "memcmp", "qsort"}

PAGE_SOURCE = re.compile(r"<title>Cython: (.+)</title>")
PAGE_LINE = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>.*?<span class="">\s*(\d+)</span>: (.*?)</pre>')
NOGIL_HEAD = re.compile(r"^\s*(?:with\s+nogil\b|c(?:p?)def\b.*\bnogil\s*:|for\b.*\bprange\(.*nogil\s*=\s*True)")
RAISES = re.compile(r"^\s*(?:raise|with gil|finally)\b")


def indent(text: str) -> int:
    """Number of columns before the first word."""
    return len(text) - len(text.lstrip())


def code_of(line: str) -> str:
    """The line without its comment; a # inside quotes is rare enough in nogil code to be read as one."""
    return line.split("#", 1)[0].rstrip()


def logical_heads(lines: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """(first, last, text) of each statement; continuation lines inside brackets or after \\ are joined."""
    first: int | None = None
    text, depth = "", 0
    for number, line in enumerate(lines):
        code = code_of(line)
        if first is None:
            if not code.strip():
                continue
            first = number
        text += code.rstrip("\\") if not text else " " + code.strip().rstrip("\\")
        depth += sum(code.count(c) for c in "([{") - sum(code.count(c) for c in ")]}")
        if depth <= 0 and not code.endswith("\\"):
            yield first, number, text
            first, text, depth = None, "", 0


def nogil_lines(lines: list[str]) -> set[int]:
    """Indices of lines that run without the GIL, less those that raise or take it on purpose."""
    found: set[int] = set()
    inside: int | None = None
    allowed: int | None = None
    for first, last, text in logical_heads(lines):
        here = indent(text)
        if inside is not None and here <= inside:
            inside = None
        if allowed is not None and here <= allowed:
            allowed = None
        if inside is None:
            if NOGIL_HEAD.match(text) and text.endswith(":"):
                inside = here
                if "noexcept" in text:
                    found.update(range(first, last + 1))
            continue
        if allowed is None and RAISES.match(text):
            if text.endswith(":"):
                allowed = here
            continue
        if allowed is None:
            found.update(range(first, last + 1))
    return found


def python_in_nogil(page: str | Path) -> list[str]:
    """Warnings out of one annotated page, as ``file:line: text``."""
    text = Path(page).read_text(encoding="utf-8")
    source = Path(page).with_suffix(".pyx")
    for base in (TOP / "build" / "cython",):
        if base in source.parents:
            source = source.relative_to(base)
    scores: list[int] = []
    lines: list[str] = []
    for score, number, line in PAGE_LINE.findall(text):
        assert int(number) == len(lines) + 1
        scores.append(int(score))
        lines.append(html.unescape(re.sub(r"<[^>]*>", "", line)))
    return [
        f"{source}:{number + 1}: Python in nogil code: {lines[number].strip()}"
        for number in sorted(nogil_lines(lines))
        if scores[number] > 0
    ]


def bare_nogil(path: str | Path, text: str) -> list[str]:
    """Functions that are nogil and say neither noexcept nor except."""
    found: list[str] = []
    extern: int | None = None
    for first, _, head in logical_heads(text.splitlines()):
        if extern is not None and indent(head) > extern:
            continue
        extern = indent(head) if re.match(r"\s*cdef\s+extern\b", head) else None
        if extern is not None:
            continue
        is_function = re.match(r"\s*(?!with\b|for\b|if\b|while\b|def\b)\w.*\).*\bnogil\s*:?$", head)
        if is_function and not re.search(r"\)\s*(noexcept|except\b.*)\s+nogil\s*:?$", head):
            found.append(f"{path}:{first + 1}: nogil without noexcept or except: {head.strip()}")
    return found


def too_long(path: str | Path, text: str) -> list[str]:
    """Complaints about a file of more than MAX_FILE lines, and about functions in Python of more than MAX_FUNCTION."""
    found = []
    size = len(text.splitlines())
    if size > MAX_FILE and str(path) not in LONG_FILES:
        found.append(f"{path}:1: {size} lines, at most {MAX_FILE}: split it")
    if Path(path).suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                size = node.end_lineno - node.lineno + 1
                if size > MAX_FUNCTION:
                    found.append(
                        f"{path}:{node.lineno}: {node.name} has {size} lines, at most {MAX_FUNCTION}: split it"
                    )
    return found


def own_memory(path: str | Path, text: str) -> list[str]:
    """Complaints about code of the engine that takes from C what core/memory.pxd has: allocations that a test can let
    fail, and copies and sorts of arrays without items."""
    path = Path(path)
    if path.stem == "memory" or not str(path).startswith(ENGINE):
        return []
    return [
        f"{path}:{number}: {name} from {match[1]}: take it from fluxsched.core.memory"
        for number, line in enumerate(text.splitlines(), 1)
        for match in re.finditer(r"^from (libc\.\w+) cimport (.*)", line)
        for name in re.findall(r"\w+", match[2])
        if name in MEMORY
    ]


def missing_spdx(path: str | Path, text: str) -> list[str]:
    """The complaint about a file that does not begin, after a ``#!`` line, with the two SPDX lines."""
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    marker = COMMENTS.get(Path(path).suffix, "#")
    if [line.removesuffix(" */").replace("/*", "//") for line in lines[:2]] != [f"{marker} {line}" for line in SPDX]:
        return [f"{path}:1: the two SPDX lines are not on top"]
    return []


def project_files() -> list[Path]:
    """Every file of the project: what git knows or would add or, outside a checkout, what is not a product."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    names = listed.stdout.split("\0")
    if listed.returncode:
        names = [str(path.relative_to(TOP)) for path in TOP.rglob("*") if TOP / "build" not in path.parents]
    return sorted({Path(name) for name in names if name and (TOP / name).is_file()})


def is_shell(path: Path, text: str) -> bool:
    """Whether this is a script for a POSIX shell or bash."""
    return path.suffix == ".sh" or re.match(r"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", text) is not None


def own_checks() -> tuple[list[str], list[str], list[str]]:
    """What our own checks find, and the names of Cython's and of the shell's files."""
    problems: list[str] = []
    cython: list[str] = []
    shell: list[str] = []
    for path in project_files():
        try:
            text = (TOP / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        scripted = text.startswith("#!") or path.name == "Makefile"
        if (path.suffix in WITH_SPDX or scripted) and text.strip():
            problems += missing_spdx(path, text)
        if path.suffix in (".py", ".pyx", ".pxd", ".lua", ".c"):
            problems += too_long(path, text)
        if path.suffix in (".pyx", ".pxd"):
            cython.append(str(path))
            problems += bare_nogil(path, text)
            problems += own_memory(path, text)
        if is_shell(path, text):
            shell.append(str(path))
    for page in sorted((TOP / "build" / "cython").rglob("*.html")):
        problems += python_in_nogil(page)
    return problems, cython, shell


def run_tools(commands: list[list[str]]) -> bool:
    """Run the tools side by side and print their complaints one after another; whether there were none.

    A tool that is not installed is a complaint.
    """
    clean = True
    running = []
    for command in commands:
        if shutil.which(command[0]):
            running.append(
                subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
        else:
            print(f"{command[0]} is not installed: run make, which installs it into build/venv")
            clean = False
    for process in running:
        print(process.communicate()[0], end="")
        clean = process.returncode == 0 and clean
    return clean


def main() -> int:
    """Status of the program: 0 where nothing was found."""
    # Before any other: the tools that pyproject.toml asks for. cython-lint runs pycodestyle by its bare name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    problems, cython, shell = own_checks()
    for text in problems:
        print(text)
    tools = [["ruff", "check", "--quiet", "."], ["mypy", "--no-error-summary"]]
    if cython:
        tools.append(["cython-lint", *cython])
    if shell:
        tools.append(["shellcheck", *shell])
    failed = not run_tools(tools) or bool(problems)
    print("lint: " + ("problems, see above" if failed else "clean"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
