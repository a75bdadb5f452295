# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux completion: what bash, zsh and fish are told when somebody presses Tab.

The one source is the commands' own argument parsers.  A script for each shell asks `flux completion SHELL -- WORDS...`
for the words that may stand where the cursor is; the command named there is run up to the point at which it would read
its words (options.Revealed), so what is offered is what it takes.  Ids and queues come from the session.
"""
from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

from fluxsched.errors import FluxSchedError
from fluxsched.session import jobid as ids
from fluxsched.session.commands import COMMANDS, TABLE, common, jobs, options, scripts
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser
from fluxsched.session.commands.options import REST, SUPPRESS, Declared, Revealed
from fluxsched.session.errors import CommandError

MOST_JOBS = 200  # ids that are offered

#: What the shell is to complete itself.
FILES = ":files"
COMMAND = ":command"

STATES = ("pending", "running", "active", "inactive", "depend", "sched", "run", "cleanup", "completed", "failed",
          "canceled", "timeout")  # fmt: skip


class Word(NamedTuple):
    """A word that may stand at the cursor, and what it means; or FILES or COMMAND."""

    text: str
    meaning: str = ""


def main(name: str, words: list[str]) -> int:
    """flux completion; the exit code."""
    p = Parser(name, description='Print the completion of a shell, for: eval "$(flux completion bash)".',
               usage="flux completion [-h] {bash,zsh,fish} [-- WORDS...]")  # fmt: skip
    p.add_argument("shell", choices=tuple(scripts.SCRIPTS))
    p.add_argument("words", nargs="...", help=SUPPRESS)
    o = p.parse_args(words)
    if o.words[:1] != ["--"]:
        if o.words:
            raise CommandError(f"{o.words[0]!r}: expected -- in front of the words to complete")
        print(scripts.script(o.shell, "flux", "flux-session"), end="")
        return 0
    asked = o.words[1:] or [""]
    cut = 0
    if o.shell == "bash":
        asked, cut = _joined(asked)
    for word in sorted(set(complete(asked))):
        text = word.text[cut:] if not word.text.startswith(":") else word.text
        meaning = word.meaning.partition("\n")[0]
        print(f"{text}\t{meaning}" if meaning and o.shell != "bash" else text)
    return 0


def _joined(words: list[str]) -> tuple[list[str], int]:
    """The words as they were before bash cut them at =, and how much of the last one bash takes for other words."""
    out: list[str] = []
    glue = False
    for word in words:
        if word == "=" and out:
            out[-1] += "="
            glue = True
        elif glue:
            out[-1] += word
            glue = False
        else:
            out.append(word)
    return out, out[-1].rfind("=") + 1 if "=" in out[-1] and (glue or words[-2:-1] == ["="]) else 0


def complete(words: list[str]) -> Iterator[Word]:
    """What may stand for the last of `words`, which follow `flux`; its beginning is there already."""
    *before, last = words
    if not before:
        for command in TABLE:
            if command.name.startswith(last):
                yield Word(command.name, command.summary)
        return
    if before[0] == "sched":
        yield from _of_click(before[1:], last)
        return
    if before[0] == "help":
        yield from complete([last])
        return
    found = _reveal(before)
    if found is None:
        return
    if found.table:
        meanings = dict(line.split(None, 1) for line in found.hint.splitlines() if len(line.split(None, 1)) == 2)
        for name in found.table:
            if name.startswith(last):
                yield Word(name, meanings.get(name, ""))
    elif found.parser is not None:
        yield from _of_parser(found.parser, found.words, last)


def _reveal(words: list[str]) -> Optional[Revealed]:
    """The parser, or the table of commands, that the words lead to; None if they lead nowhere."""
    command = COMMANDS.get(words[0])
    if command is None:
        return None
    options.revealing = True
    try:
        importlib.import_module(f"fluxsched.session.commands.{command.file}").main(words[0], words[1:])
    except Revealed as found:
        return found
    except FluxSchedError:
        return None
    finally:
        options.revealing = False
    return None


def _of_click(words: list[str], last: str) -> Iterator[Word]:
    """Of flux-sched, whose library completes."""
    from click.shell_completion import ShellComplete

    from fluxsched.cli import main as cli

    for item in ShellComplete(cli.main, {}, "flux sched", "_FLUX_COMPLETE").get_completions(words, last):
        yield Word(FILES if item.type in ("file", "dir") else item.value, item.help or "")


# the options of commands


def _of_parser(parser: Parser, words: Sequence[str], last: str) -> Iterator[Word]:
    known = {name: one for one in parser.declared for name in one.names if name.startswith("-")}
    places = [one for one in parser.declared if not one.names[0].startswith("-")]
    pending, count, command = _walked(known, places, words)
    if command:
        yield Word(FILES)
        return
    if pending is not None:
        yield from _values(pending, last, "")
        return
    head, equals, value = last.partition("=")
    if equals and head in known:
        yield from _values(known[head], value, f"{head}=")
        return
    if last.startswith("-"):
        for name, one in known.items():
            if name.startswith(last) and one.settings.get("help") != SUPPRESS:
                yield Word(name, one.settings.get("help") or "")
        for name in ("-h", "--help"):
            if name.startswith(last):
                yield Word(name, "show this help")
        return
    if places:
        yield from _values(places[min(count, len(places) - 1)], last, "")


def _walked(
    known: dict[str, Declared], places: list[Declared], words: Sequence[str]
) -> tuple[Optional[Declared], int, bool]:
    """(the option that waits for its value, how many words are no options, whether the command that takes all that
    follows has begun)"""
    count = 0
    pending: Optional[Declared] = None
    for word in words:
        if pending is not None:
            pending = None
        elif word.startswith("-") and word not in ("-", "--"):
            one = known.get(word)
            pending = one if one is not None and one.action in ("store", "append") and one.nargs is None else None
        elif word != "--":
            count += 1
            if places and places[min(count, len(places)) - 1].nargs == REST:
                return None, count, True
    return pending, count, False


def _values(one: Declared, last: str, prefix: str) -> Iterator[Word]:
    """The values that an option or a positional may have."""
    what = one.settings.get("metavar") or one.dest.upper()
    if one.choices is not None:
        for choice in one.choices:
            if str(choice).startswith(last):
                yield Word(f"{prefix}{choice}")
    elif one.dest == "command" and one.nargs == REST:
        yield Word(COMMAND)
    elif one.convert is common.jobid or what in ("JOBID", "JOBIDS"):
        yield from _jobs(last, prefix)
    elif one.dest in ("queue", "other"):
        yield from _queues(last, prefix)
    elif one.dest == "format":
        yield from (Word(prefix + name) for name in jobs.FORMATS if name.startswith(last))
    elif "STATE" in what:
        comma = last.rfind(",") + 1
        for state in STATES:
            if state.startswith(last[comma:]):
                yield Word(f"{prefix}{last[:comma]}{state}")
    elif "FILE" in what or "DIR" in what or one.dest in ("jobspec", "script"):
        yield Word(FILES)


def _ask(topic: str, **payload: Any) -> Any:
    try:
        return Client().rpc(topic, payload)
    except FluxSchedError:
        return None  # without a session there is nothing to offer


def _jobs(last: str, prefix: str) -> Iterator[Word]:
    answer = _ask("job.list", count=MOST_JOBS)
    # Who has typed an f cannot type the other letter.
    plain = last.startswith("f")
    for job in answer["jobs"] if answer is not None else ():
        text = ids.f58(job["id"], plain=True) if plain else ids.show(job["id"])
        if last[:1].isdigit():
            text = str(job["id"])
        if text.startswith(last):
            yield Word(prefix + text, f"{job['name']}, {job['status'].lower()}")


def _queues(last: str, prefix: str) -> Iterator[Word]:
    answer = _ask("queue.list")
    for name, _, _ in answer["queues"] if answer is not None else ():
        if name.startswith(last):
            yield Word(prefix + name)
