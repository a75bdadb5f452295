# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""An engine that is driven by a record, and whose decisions are compared with it.

Where a part goes on from the one before it, so does the engine, and its state is compared with the one that the part
begins with. Else the state is built anew from the part.
"""

from __future__ import annotations

import zlib
from typing import Any, Callable, NamedTuple, Optional

import orjson

from fluxsched.core import PluginError
from fluxsched.errors import FluxSchedError
from fluxsched.formats.quote import quote
from fluxsched.policy.loader import load_plugin
from fluxsched.service.entries import hash_of, inventory_of, refused, request_of
from fluxsched.service.parts import in_use
from fluxsched.service.recording import RecordedEngine, head, state
from fluxsched.twin.read import Part, RecordError, Row, is_time, parts

__all__ = ["Difference", "Replay"]

# What a row that is not what it should be may raise.
_WRONG = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, zlib.error)


class Difference(NamedTuple):
    """The first decision that was not the same."""

    part: Part
    line: int
    time: float
    what: str       # the kind of decision: "pass", "add", ...
    recorded: Any
    replayed: Any


class Replay:
    """Replays a record.

    folder: of the record. watch: is called with (row, engine) before each row behind a state is applied, and with a
    row ["begun", t] once an engine is built. Attributes: engine; resources: the row that its inventory was made of;
    time: of the last row; decisions: jobs that were started or denied, and requests that were refused, so far; passes;
    replayed: parts; warnings: lines for people; difference: the first one, or None.
    """

    def __init__(self, folder: str, watch: Optional[Callable[[list[Any], RecordedEngine], Any]] = None) -> None:
        self._folder = folder
        self.parts = parts(folder)
        self.engine: Any = None
        self.resources: dict[str, Any] = {}
        self.time = 0.0
        self.begun = self.parts[0].head["time"]
        self.decisions = 0
        self.passes = 0
        self.replayed = 0       # parts
        self.warnings: list[str] = []
        self.difference: Optional[Difference] = None
        self._watch = watch
        self._until = float("inf")
        self._passes = True
        self._applies: dict[str, Callable[..., Any]] = {
            "up": lambda e, ranks: e.mark_up(ranks),
            "down": lambda e, ranks: e.mark_down(ranks),
            "gone": lambda e, ranks: e.remove(ranks),
            "property-add": lambda e, name, ranks: e.property_add(name, ranks),
            "property-remove": lambda e, name, ranks: e.property_remove(name, ranks),
            "expiration": lambda e, when: e.set_expiration(when),
            "policy": lambda e, fact: e.set_policy(self._policy(fact)),
            "settings": lambda e, settings: None,
            "add": _add,
            "adopt": lambda e, *values: e.adopt(*values),
            "hold": lambda e, *values: e.adopt_holding(*values),
            "end": lambda e, jobid, when: e.update_expiration(jobid, when),
            "cancel": lambda e, jobid: e.cancel(jobid),
            "priority": lambda e, jobid, priority: e.reprioritize(jobid, priority),
            "free": lambda e, jobid, ranks, final: e.free(jobid, ranks, final),
        }

    def run(self, until: float = float("inf"), passes: bool = True) -> Optional[Difference]:
        """Go on to the end, to the first difference, or to the last row that is not after this time (s since the
        epoch); without `passes` to the first pass.  Raises RecordError."""
        self._until = until
        self._passes = passes
        follows = False
        number = self.parts[0].number
        for part in self.parts:
            if part.head["time"] > until:
                break
            if part.number != number:
                last = part.number - 1
                missing = f"part {number} is" if number == last else f"parts {number} to {last} are"
                self.warnings.append(f"{part.path}: {missing} not there: what happened meanwhile is not known")
                follows = False
            number = part.number + 1
            self.replayed += 1
            rows = part.rows()
            built = self._state(part, rows)
            if follows and part.head["continues"]:
                try:
                    self._compare_state(part, built)
                except _WRONG as error:
                    raise part.error(1, f"{type(error).__name__}: {error}") from None
                self.engine.plan_anew()
            else:
                self._build(part, built)
            if self.difference is not None or not self._follow(part, rows):
                break
            follows = not part.torn
            if part.torn and not (part is self.parts[-1] and in_use(self._folder)):
                lost = f"the last {part.torn} bytes are incomplete"
                self.warnings.append(f"{part.path}: the scheduler was killed, or its disk was full: {lost}")
        return self.difference

    # The state that a part begins with.

    def _state(self, part: Part, rows: Any) -> list[Row]:
        found: list[Row] = []
        for row in rows:
            if row.values[0] == "begun":
                return found
            found.append(row)
        raise part.error(len(found) + 1, 'ends in its first state: no row ["begun", t]')

    def _policy(self, fact: dict[str, Any]) -> Any:
        """The policy that a row tells of."""
        name = fact["name"]
        policy = load_plugin(name, fact["options"])
        if fact["hash"] != hash_of(name):
            self.warnings.append(f"plugin {name}: its file is not the one that was recorded")
        if fact["state"] is not None:
            policy.restore(fact["state"])
        return policy

    def _build(self, part: Part, rows: list[Row]) -> None:
        """Make the engine that the part begins with."""
        line = 1
        try:
            inventory = inventory_of(rows[0].values[1])
            engine = RecordedEngine(inventory, load_plugin("sched.plugin1"), part.head["once"], True)
            engine.inventory_fact = rows[0].values[1]
            self._mark(engine, part.head)
            engine.set_policy(self._policy(part.head["policy"]))
            engine.know_users(part.head["users"])
            for row in rows[1:]:
                line = row.line
                kind, _, *values = row.values
                if kind == "add":
                    values.append(True)     # it was taken, whatever has become of the resources since
                self._applies[kind](engine, *values)
            if part.head["marks"]["denies"]:
                engine.remove(part.head["marks"]["gone"])
            engine.know_changes(part.head["marks"]["changes"])
        except PluginError:
            raise
        except _WRONG as error:
            raise part.error(line, f"{type(error).__name__}: {error}") from None
        self.engine = engine
        self.resources = rows[0].values[1]
        self.time = part.head["time"]
        if self._watch is not None:
            self._watch(["begun", self.time], engine)

    @staticmethod
    def _mark(engine: RecordedEngine, about: dict[str, Any]) -> None:
        """Let the resources be as they were."""
        marks = about["marks"]
        for name, ranks in engine.marks()["properties"].items():
            engine.property_remove(name, ranks)
        for name, ranks in marks["properties"].items():
            engine.property_add(name, ranks)
        engine.mark_up(marks["up"])
        for rows, pools in marks["spent"]:
            engine.spend(rows, pools)
        engine.set_expiration(marks["expiration"])
        if marks["gone"]:
            engine.remove(marks["gone"])
            # A pass without jobs: nobody is denied again for want of ranks that have been gone for long.
            engine.schedule(about["time"])

    def _compare_state(self, part: Part, rows: list[Row]) -> None:
        """The engine of the part before is to be in the state that this one begins with."""
        now = part.head["time"]
        own = dict.fromkeys(("continues", "settings", "version"))
        recorded = [part.head | own, *(row.values for row in rows)]
        replayed = _plain([head(self.engine, now) | own, *state(self.engine, now)])
        # Another file of the plugin was warned of; what matters is what it decides.
        replayed[0]["policy"]["hash"] = part.head["policy"]["hash"]
        if part.head["policy"]["state"] is None:
            # What a plugin in plain Python keeps may be more than JSON can hold, or was taken away with its names.
            replayed[0]["policy"]["state"] = None
        if recorded == replayed:
            return
        for line, (left, right) in enumerate(zip(recorded, replayed), 1):
            if left != right:
                self.difference = Difference(part, line, now, "state", left, right)
                return
        self.difference = Difference(part, 1, now, "state", f"{len(recorded)} rows", f"{len(replayed)} rows")

    # What happened.

    def _follow(self, part: Part, rows: Any) -> bool:
        """Apply the rows of a part behind its state; whether there is more to do."""
        for line, values in rows:
            try:
                time = values[1]
                if not is_time(time):
                    raise TypeError(f"expected a time, got {quote(time)}")
                if time > self._until or (values[0] == "pass" and not self._passes):
                    return False
                self.time = time
                if self._watch is not None:
                    self._watch(values, self.engine)
                if values[0] == "pass":
                    self._pass(part, line, values)
                else:
                    self._apply(part, line, values)
            except (PluginError, RecordError):
                raise
            except (FluxSchedError, *_WRONG) as error:
                raise part.error(line, f"{type(error).__name__}: {error}") from None
            if self.difference is not None:
                return False
        return True

    def _apply(self, part: Part, line: int, values: list[Any]) -> None:
        """One input; an error is a decision of the engine's."""
        recorded = None
        failed = refused(values)
        if failed:
            recorded = values[-1]["error"]
            values = values[:-1]
            self.decisions += 1
        apply = self._applies[values[0]]
        replayed = None
        try:
            apply(self.engine, *values[2:])
        except Exception as error:
            replayed = str(error)
            if not failed and not isinstance(error, FluxSchedError):
                raise
            if failed and recorded is None:
                return      # its text was taken away with the names in it
        if recorded != replayed or failed != (replayed is not None):
            self.difference = Difference(part, line, self.time, values[0], recorded, replayed)

    def _pass(self, part: Part, line: int, values: list[Any]) -> None:
        """A slice of a pass."""
        _, now, limit, *recorded = values
        self.passes += not recorded[2]
        self.decisions += len(recorded[0]) + len(recorded[1])
        decided: list[Any] = []
        engine = self.engine
        engine.note = decided.append
        try:
            engine.schedule(now, limit)
        except Exception as error:
            if not isinstance(recorded[-1], dict):
                decided[-1][-1]["error"] = f"{type(error).__name__}: {error}"
        finally:
            engine.note = None
        replayed = _plain(decided[-1])[3:]
        if recorded[-1] == {"error": None} and isinstance(replayed[-1], dict):
            replayed[-1] = recorded[-1]
        if recorded != replayed:
            self.difference = Difference(part, line, now, "pass", recorded, replayed)


def _add(
    engine: RecordedEngine, jobid: int, request: list[Any], priority: int, t_submit: float, user: Any, sequence: int,
    known: bool = False,
) -> None:
    engine.add(jobid, request_of(request), priority, t_submit, user, sequence, known)


def _plain(value: Any) -> Any:
    """As it is read back from JSON."""
    return orjson.loads(orjson.dumps(value))
