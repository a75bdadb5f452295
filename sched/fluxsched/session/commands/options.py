# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The options of a command: declared as for argparse, and read without it where a line is plain.

To import argparse and to make its parser takes a command longer than all its work. So a declaration is only kept, and
a line of known options that are spelt out, with their values and positional words in one run, is read here. Any other
line (help, abbreviations, an error, a value that begins with a dash) is argparse's, which alone says what is wrong.
Both give the same, which a test makes sure of for lines of all kinds.
"""
from __future__ import annotations

from fluxsched.errors import FluxSchedError
from fluxsched.program import tell
from fluxsched.session.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any, Optional

SUPPRESS = "==SUPPRESS=="  # as help text: the option is not shown
REST = "..."  # as number of words: all from the first positional one on


#: Whether commands are run only to learn what they take: they raise Revealed where they would read their words.
revealing = False


class Revealed(FluxSchedError):
    """What a command takes: its `parser` and the `words` for it, or the `table` of its commands with their `hint`."""

    def __init__(self, parser: Optional[Parser] = None, words: Sequence[str] = (), table: Sequence[str] = (),
                 hint: str = "") -> None:
        super().__init__()
        self.parser = parser
        self.words = list(words)
        self.table = list(table)
        self.hint = hint


class Options:
    """What a command line says: the value of each option and positional by its name."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no option {name} is declared")

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Declared:
    """An option or a positional, as it was declared: its `names`, and the `settings` of argparse."""

    __slots__ = ("names", "settings", "dest", "action", "nargs", "convert", "choices")

    def __init__(self, names: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.names = names
        self.settings = settings
        long = [name for name in names if name.startswith("--")]
        self.dest: str = settings.get("dest") or (long or names)[0].lstrip("-").replace("-", "_")
        self.action: str = settings.get("action", "store")
        self.nargs: Optional[str] = settings.get("nargs")
        self.convert = settings.get("type")
        self.choices = settings.get("choices")

    def default(self) -> Any:
        """Its value if the line does not name it.  Raises _NotPlain."""
        found = self.settings.get("default", False if self.action == "store_true" else None)
        return self.value(found) if isinstance(found, str) else found

    def value(self, word: str) -> Any:
        """The value of a word.  Raises _NotPlain."""
        found: Any = word
        if self.convert is not None:
            try:
                found = self.convert(word)
            except Exception:
                raise _NotPlain from None
        if self.choices is not None and found not in self.choices:
            raise _NotPlain
        return found


class _NotPlain(Exception):
    """A line for argparse."""


class Group:
    """A group of options, which has a title in the help."""

    def __init__(self, parser: Parser, title: str) -> None:
        self.title = title
        self._parser = parser

    def add_argument(self, *names: str, **settings: Any) -> None:
        """As :meth:`Parser.add_argument`."""
        self._parser.declare(self, names, settings)


class Parser:
    """The options and positionals of `flux NAME`; no abbreviations are taken. `usage`
    and `options` are argparse's for a parser."""

    def __init__(self, name: str, usage: Optional[str] = None, **options: Any) -> None:
        self.usage = usage
        self._name = name
        self._options = options
        self.declared: list[Declared] = []
        self._groups: list[Optional[Group]] = []  # of each declaration

    def add_argument(self, *names: str, **settings: Any) -> None:
        """Declare an option ("-n", "--ntasks") or a positional ("id"), with the settings of argparse."""
        self.declare(None, names, settings)

    def add_argument_group(self, title: str) -> Group:
        """A group, to declare options in."""
        return Group(self, title)

    def declare(self, group: Optional[Group], names: tuple[str, ...], settings: dict[str, Any]) -> None:
        """Declare an option or a positional, perhaps in a group."""
        self.declared.append(Declared(names, settings))
        self._groups.append(group)

    def parse_args(self, words: Sequence[str]) -> Options:
        """Read a command line.  Raises CommandError, and SystemExit after help."""
        if revealing:
            raise Revealed(self, words)
        try:
            return self._plain(words)
        except _NotPlain:
            return self.strict(words)

    # plain lines

    def _plain(self, words: Sequence[str]) -> Options:
        known = {name: one for one in self.declared for name in one.names if name.startswith("-")}
        positionals = [one for one in self.declared if not one.names[0].startswith("-")]
        rest = bool(positionals) and positionals[-1].nargs == REST
        found = Options(**{one.dest: one.default() for one in self.declared})
        texts: Optional[list[str]] = None
        i = 0
        while i < len(words):
            word = words[i]
            if not word.startswith("-"):
                if texts is not None:
                    raise _NotPlain
                end = i + 1
                while end < len(words) and (rest or not words[end].startswith("-")):
                    end += 1
                texts = list(words[i:end])
                i = end
                continue
            i += self._option(found, known, word, words[i + 1] if i + 1 < len(words) else None)
        self._positionals(found, positionals, texts or [])
        return found

    @staticmethod
    def _option(found: Options, known: dict[str, Declared], word: str, following: Optional[str]) -> int:
        """Take an option of the line; of how many words it is.  Raises _NotPlain."""
        one, text, count = known.get(word), following, 2
        if one is None:
            long = word.startswith("--")
            name, equals, text = word.partition("=") if long else (word[:2], "", word[2:])
            one, count = known.get(name), 1
            if one is None or one.action not in ("store", "append") or not (equals or not long) or text[:1] == "=":
                raise _NotPlain
        if one.action in ("store_true", "store_const", "count"):
            if one.action == "count":
                setattr(found, one.dest, (getattr(found, one.dest) or 0) + 1)
            else:
                setattr(found, one.dest, one.settings.get("const", True))
            return 1
        if one.action not in ("store", "append") or one.nargs is not None or text is None:
            raise _NotPlain
        if count == 2 and text.startswith("-"):
            raise _NotPlain
        value = one.value(text)
        setattr(found, one.dest, value if one.action == "store" else [*(getattr(found, one.dest) or ()), value])
        return count

    @staticmethod
    def _positionals(found: Options, positionals: list[Declared], texts: list[str]) -> None:
        """Give each positional its words.  Raises _NotPlain."""
        for one in positionals:
            if one is positionals[-1] and one.nargs is not None:
                break
            if one.nargs is not None or not texts:
                raise _NotPlain
            setattr(found, one.dest, one.value(texts.pop(0)))
        else:
            if texts:
                raise _NotPlain
            return
        if one.nargs not in ("?", "*", "+", REST) or (one.nargs == "+" and not texts):
            raise _NotPlain
        values = [one.value(text) for text in texts]
        if one.nargs == "?":
            if len(values) > 1:
                raise _NotPlain
            if values:
                setattr(found, one.dest, values[0])
        elif values or one.nargs == REST or one.default() is None:
            setattr(found, one.dest, values)

    # all others

    def strict(self, words: Sequence[str]) -> Options:
        """Read a command line with argparse.  Raises CommandError, and SystemExit after help."""
        found = Options()
        self._argparse().parse_args(words, found)
        # "--" in the place of an option's value: Python before 3.13 makes an empty list of it.
        for one in self.declared:
            value = getattr(found, one.dest)
            values = value if one.nargs is None and isinstance(value, list) and value else [value]
            option = one.names[0].startswith("-")
            if option and one.nargs is None and any(isinstance(entry, list) for entry in values):
                self._refuse(self._argparse(), f"argument {'/'.join(one.names)}: expected one argument")
        return found

    def _argparse(self) -> argparse.ArgumentParser:
        import argparse

        refuse = self._refuse

        class Strict(argparse.ArgumentParser):
            """With errors that are the command's."""

            def error(self, message: str) -> Any:
                refuse(self, message)

        settings = dict(self._options, usage=self.usage)
        settings.setdefault("formatter_class", lambda prog: argparse.HelpFormatter(prog, max_help_position=32))
        parser = Strict(prog=f"flux {self._name}", allow_abbrev=False, **settings)
        groups: dict[Group, Any] = {}
        for one, group in zip(self.declared, self._groups):
            if group is not None and group not in groups:
                groups[group] = parser.add_argument_group(group.title)
            (parser if group is None else groups[group]).add_argument(*one.names, **one.settings)
        return parser

    @staticmethod
    def _refuse(parser: argparse.ArgumentParser, message: str) -> None:
        """Raise the error of a wrong option as the command's."""
        tell(parser.format_usage().rstrip())
        raise CommandError(f"error: {message}", 2)
