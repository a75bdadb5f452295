# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux help: the overview, or a manual page.

Pages lie in man/manN below the build folder of a source tree, or share/man of where this is installed.  man shows them;
where it is missing their text is printed.
"""
from __future__ import annotations

import gzip
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from fluxsched.session.commands import COMMANDS, overview
from fluxsched.session.commands.common import Parser
from fluxsched.session.errors import CommandError

_ROFF_LINE = re.compile(r"^[.'](\w*)\s*(.*)$")
_ROFF_ESCAPE = re.compile(r"\\(f(?:\[\w*\]|\(\w\w|.)|s[-+]?\d+|[&|^/,]|\(\w\w|\[[\w:']*\]|.)")
_LETTERS = {"e": "\\", "-": "-", "(aq": "'", "(dq": '"', "(bu": "*", "(em": "--", "(en": "-", " ": " ", "~": " ",
            "(ti": "~", "(ha": "^", "(ga": "`", "(lq": '"', "(rq": '"', "(oq": "'", "(cq": "'", "t": "\t"}  # fmt: skip


def folders() -> list[Path]:
    """The man folders that may hold our pages: those of the tree, and of each prefix that this may be installed in."""
    here = Path(__file__).resolve()
    found = [parent / "build" / "man" for parent in here.parents if (parent / "configure.py").is_file()]
    found += [parent / "share" / "man" for parent in here.parents]
    found.append(Path(sys.prefix) / "share" / "man")
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def page(topic: str) -> Path | None:
    """The page of a topic, as `submit`, `traces` or `flux-sched`; None if there is none.

    Of several sections it is the first, unless the topic names one, as `rdl.5` or `rdl(5)`.
    """
    match = re.fullmatch(r"([\w.+-]{1,64}?)(?:\.([1-8])|\(([1-8])\))?", topic)
    if match is None:
        return None
    section = match[2] or match[3] or "[1-8]"
    for folder in folders():
        for prefix in ("flux-session-", "flux-sched-", "flux-", ""):
            name = f"man{section}/{prefix}{match[1]}.{section}"
            found = sorted([*folder.glob(name), *folder.glob(f"{name}.gz")])
            if found:
                return found[0]
    return None


def plain(source: str) -> str:
    """The text of a manual page in roff, without its dress: for machines without man."""
    out: list[str] = []
    defining = False
    for line in source.splitlines():
        # The definition of a macro ends with two dots.
        if defining or line.startswith(".de"):
            defining = line != ".."
            continue
        match = _ROFF_LINE.match(line)
        if match is None:
            out.append(_unescaped(line))
            continue
        macro, rest = match[1], _unescaped(match[2]).replace('"', "")
        if macro in ("SH", "SS"):
            out += ["", rest if macro == "SS" else rest.upper()]
        elif macro in ("PP", "P", "LP", "TP", "IP", "sp"):
            out += ["", rest] if macro == "IP" and rest else [""]
        elif macro in ("B", "I", "BR", "RB", "IR", "RI", "BI", "IB"):
            out.append(rest)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip("\n") + "\n"


def _unescaped(text: str) -> str:
    return _ROFF_ESCAPE.sub(lambda match: _LETTERS.get(match[1], ""), text)


def show(path: Path) -> int:
    """Show a page by man, or its text where there is no man; the exit code."""
    sys.stdout.flush()
    man = shutil.which("man")
    if man is not None:
        manpath = os.pathsep.join([str(path.parent.parent), os.environ.get("MANPATH", "")])
        name, section = path.name.removesuffix(".gz").rsplit(".", 1)
        done = subprocess.run([man, section, name], env=dict(os.environ, MANPATH=manpath), check=False)
        if done.returncode == 0:
            return 0
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise CommandError(f"{path}: {error}") from None
    print(plain(data.decode(errors="replace")), end="")
    return 0


def main(name: str, words: list[str]) -> int:
    """flux help; the exit code."""
    p = Parser(name, description="Show all commands, or the page of a command or topic.")
    p.add_argument("topic", metavar="TOPIC", nargs="?", help="a command, or a page such as sched.7, rdl.5, traces")
    o = p.parse_args(words)
    if o.topic is None:
        print(overview(), end="")
        return 0
    found = page(o.topic)
    if found is not None:
        return show(found)
    if o.topic in COMMANDS:
        command = importlib.import_module(f"fluxsched.session.commands.{COMMANDS[o.topic].file}")
        return command.main(o.topic, ["--help"])
    raise CommandError(f"{o.topic}: no such command or page")
