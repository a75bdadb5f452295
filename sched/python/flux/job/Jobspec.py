# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspecs (RFC 14, RFC 25): what a job asks for, and what it runs."""
from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional, Union

from fluxsched.session import fsd

PathOrText = Union[str, "os.PathLike[str]"]
Seconds = Union[int, float, str, datetime.timedelta]


def _count(name: str, value: Any, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return value


def _path(name: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: expected a path, got {type(value).__name__}")
    return str(os.fspath(value))


class Jobspec:
    """A jobspec: `jobspec` is the dict that becomes its JSON."""

    def __init__(
        self,
        resources: list[dict[str, Any]],
        tasks: list[dict[str, Any]],
        attributes: dict[str, Any],
        version: int = 1,
    ) -> None:
        """From its parts.  TypeError if one is of a wrong type; the session looks at the rest when it is submitted."""
        for name, value in (("resources", resources), ("tasks", tasks)):
            if not isinstance(value, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in value):
                raise TypeError(f"{name}: expected a list of objects")
        if not isinstance(attributes, Mapping):
            raise TypeError("attributes: expected an object")
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"version: expected a whole number of at least 1, got {version!r}")
        self.jobspec: dict[str, Any] = {
            "resources": resources, "tasks": tasks, "attributes": attributes, "version": version,
        }  # fmt: skip

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources."""
        found: list[dict[str, Any]] = self.jobspec["resources"]
        return found

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks: a command, and how many of it."""
        found: list[dict[str, Any]] = self.jobspec["tasks"]
        return found

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes."""
        found: dict[str, Any] = self.jobspec["attributes"]
        return found

    @property
    def version(self) -> int:
        """The version of the format."""
        return int(self.jobspec["version"])

    # attributes by their names

    @staticmethod
    def _parts(key: str) -> list[str]:
        if not isinstance(key, str) or not key or not all(key.split(".")):
            raise ValueError(f"expected a dotted name, got {key!r}")
        if not key.startswith("attributes."):
            key = key if key.startswith(("user.", "system.")) else f"system.{key}"
            key = f"attributes.{key}"
        return key.split(".")

    def getattr(self, key: str) -> Any:
        """The attribute of a dotted name, which begins in system unless it says so.  KeyError if there is none."""
        value: Any = self.jobspec
        for part in self._parts(key):
            if not isinstance(value, Mapping) or part not in value:
                raise KeyError(key)
            value = value[part]
        return value

    def setattr(self, key: str, val: Any) -> None:
        """Set the attribute of a dotted name.  TypeError if something on the way to it is no object."""
        table: Any = self.jobspec
        *way, last = self._parts(key)
        for part in way:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise TypeError(f"{key}: {part} is no object")
        table[last] = val

    def setattr_shell_option(self, key: str, val: Any) -> None:
        """Set an option of the shell, such as "output.stdout.path"."""
        self.setattr(f"system.shell.options.{key}", val)

    def _get(self, name: str) -> Any:
        return self.jobspec["attributes"].get("system", {}).get(name)

    @property
    def duration(self) -> Any:
        """The time limit in seconds, 0 is none.  Set to seconds, a timedelta, or text such as "1.5h".

        TypeError for anything else, ValueError for a negative or endless one."""
        return self._get("duration")

    @duration.setter
    def duration(self, duration: Seconds) -> None:
        if isinstance(duration, str):
            seconds = fsd.parse(duration)
        elif isinstance(duration, datetime.timedelta):
            seconds = duration.total_seconds()
        elif isinstance(duration, (int, float)):
            seconds = float(duration)
        else:
            raise TypeError(f"duration: expected seconds, text or a timedelta, got {type(duration).__name__}")
        if not 0 <= seconds < math.inf:
            raise ValueError(f"duration: expected a finite time that is not negative, got {duration!r}")
        self.setattr("system.duration", seconds)

    @property
    def queue(self) -> Any:
        """The queue, None if none is named; setting it is a TypeError if it is no string."""
        return self._get("queue")

    @queue.setter
    def queue(self, queue: str) -> None:
        if not isinstance(queue, str):
            raise TypeError(f"queue: expected a string, got {type(queue).__name__}")
        self.setattr("system.queue", queue)

    @property
    def cwd(self) -> Any:
        """The working directory, None if none is named; setting it is a TypeError if it is no path."""
        return self._get("cwd")

    @cwd.setter
    def cwd(self, cwd: PathOrText) -> None:
        self.setattr("system.cwd", _path("cwd", cwd))

    @property
    def environment(self) -> Any:
        """All variables of the job: the mapping that was set, not a copy.  TypeError if it is none."""
        return self._get("environment")

    @environment.setter
    def environment(self, environ: Mapping[str, str]) -> None:
        if not isinstance(environ, Mapping):
            raise TypeError(f"environment: expected a mapping, got {type(environ).__name__}")
        self.setattr("system.environment", environ)

    def add_file(self, path: str, data: str | dict[str, Any], perms: int = 0o600) -> None:
        """Have a session in the job find a file of this name in {{tmpdir}}: text, or a dict as JSON.  TypeError."""
        if not isinstance(data, (str, dict)):
            raise TypeError(f"data: expected text or a dict, got {type(data).__name__}")
        entry: dict[str, Any] = {"mode": 0o100000 | perms, "data": data}
        if isinstance(data, str):
            entry["encoding"] = "utf-8"
        self.jobspec["attributes"]["system"].setdefault("files", {})[path] = entry

    # standard streams

    def _stream(self, direction: str, name: str) -> Optional[str]:
        try:
            found: str = self.getattr(f"system.shell.options.{direction}.{name}.path")
        except KeyError:
            return None
        return found

    def _redirect(self, direction: str, name: str, path: PathOrText) -> None:
        text = _path(name, path)
        self.setattr_shell_option(f"{direction}.{name}.type", "file")
        self.setattr_shell_option(f"{direction}.{name}.path", text)

    @property
    def stdin(self) -> Optional[str]:
        """The file that is standard input, None if there is none; setting it is a TypeError if it is no path."""
        return self._stream("input", "stdin")

    @stdin.setter
    def stdin(self, path: PathOrText) -> None:
        self._redirect("input", "stdin", path)

    @property
    def stdout(self) -> Optional[str]:
        """The file that gets standard output, and errors unless `stderr` is set; else as of `stdin`."""
        return self._stream("output", "stdout")

    @stdout.setter
    def stdout(self, path: PathOrText) -> None:
        self._redirect("output", "stdout", path)

    @property
    def stderr(self) -> Optional[str]:
        """The file that gets standard error; else as of `stdin`."""
        return self._stream("output", "stderr")

    @stderr.setter
    def stderr(self, path: PathOrText) -> None:
        self._redirect("output", "stderr", path)

    input, output, error = stdin, stdout, stderr

    @property
    def unbuffered(self) -> bool:
        """Whether output is passed on as it comes, not by lines."""
        try:
            return bool(self.getattr("system.shell.options.output.stdout.buffer.type") == "none")
        except KeyError:
            return False

    @unbuffered.setter
    def unbuffered(self, value: bool) -> None:
        for name in ("stdout", "stderr"):
            self.setattr_shell_option(f"output.{name}.buffer.type", "none" if value else "line")

    # the whole

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The resources, each ahead of those inside it."""
        return (resource for _, resource, _ in self.resource_walk())

    def resource_walk(self) -> Iterator[tuple[Optional[dict[str, Any]], dict[str, Any], int]]:
        """(parent or None, resource, how many of it there are in all) of each resource, parents first."""

        def walk(
            entries: Iterable[dict[str, Any]], parent: Optional[dict[str, Any]], count: int
        ) -> Iterator[tuple[Optional[dict[str, Any]], dict[str, Any], int]]:
            for entry in entries:
                number = count * entry["count"]
                yield parent, entry, number
                yield from walk(entry.get("with", ()), entry, number)

        return walk(self.resources, None, 1)

    def resource_counts(self) -> dict[str, int]:
        """How many there are of each type of resource."""
        found: dict[str, int] = {}
        for _, entry, count in self.resource_walk():
            found[entry["type"]] = found.get(entry["type"], 0) + count
        return found

    def dumps(self, **kwargs: Any) -> str:
        """The jobspec as JSON; arguments as of json.dumps."""
        return json.dumps(self.jobspec, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.resources!r}, {self.tasks!r}, {self.attributes!r}, {self.version!r})"

    def __str__(self) -> str:
        return str(self.jobspec)


class JobspecV1(Jobspec):
    """A jobspec of version 1 (RFC 25)."""

    def __init__(
        self,
        resources: list[dict[str, Any]],
        tasks: list[dict[str, Any]],
        attributes: dict[str, Any],
        version: int = 1,
    ) -> None:
        """As of Jobspec, and ValueError for another version."""
        if version != 1:
            raise ValueError(f"version: expected 1, got {version!r}")
        super().__init__(resources, tasks, attributes, version)

    @classmethod
    def from_command(
        cls,
        command: Iterable[str],
        num_tasks: int = 1,
        cores_per_task: int = 1,
        gpus_per_task: Optional[int] = None,
        num_nodes: Optional[int] = None,
        exclusive: bool = False,
        duration: Optional[Seconds] = None,
        environment: Optional[Mapping[str, str]] = None,
        env_expand: Optional[Mapping[str, str]] = None,
        cwd: Optional[PathOrText] = None,
        rlimits: Optional[Mapping[str, int]] = None,
        name: Optional[str] = None,
        input: Optional[PathOrText] = None,
        output: Optional[PathOrText] = None,
        error: Optional[PathOrText] = None,
        label_io: bool = False,
        unbuffered: bool = False,
        queue: Optional[str] = None,
        bank: Optional[str] = None,
    ) -> JobspecV1:
        """A job of `num_tasks` tasks of a command, each with its cores and gpus, on `num_nodes` nodes if given.

        Without `environment` it is that of the caller; `env_expand` are variables with {{...}}, filled in where the job
        runs; `output` "none" and "kvs" mean the session's record. `rlimits` and `bank` are there for flux-core's sake,
        and mean nothing here. ValueError and TypeError name the argument."""
        words = list(command)
        if isinstance(command, (str, bytes)) or not words or not all(isinstance(word, str) for word in words):
            raise TypeError("command: expected a list of words, with at least one")
        resources, count = _shape(num_tasks, cores_per_task, gpus_per_task, num_nodes, exclusive)
        tasks = [{"command": words, "slot": "task", "count": count}]
        self = cls(resources, tasks, {"system": {"duration": 0}})
        self.environment = dict(os.environ) if environment is None else environment
        given = {"duration": duration, "cwd": cwd, "queue": queue, "input": input}
        given.update({key: path for key, path in (("output", output), ("error", error)) if path not in ("none", "kvs")})
        for key, value in given.items():
            if value is not None:
                setattr(self, key, value)
        if name is not None:
            self.setattr("system.job.name", name)
        if env_expand is not None:
            self.setattr_shell_option("env-expand", dict(env_expand))
        if label_io:
            for stream, path in (("stdout", self.stdout), ("stderr", self.stderr)):
                if path is not None:
                    self.setattr_shell_option(f"output.{stream}.label", True)
        if unbuffered:
            self.unbuffered = True
        return self

    @classmethod
    def per_resource(
        cls,
        command: Iterable[str],
        ncores: Optional[int] = None,
        nnodes: Optional[int] = None,
        per_resource_type: Optional[str] = None,
        per_resource_count: Optional[int] = None,
        gpus_per_node: Optional[int] = None,
        exclusive: bool = False,
        **kwargs: Any,
    ) -> JobspecV1:
        """A job of so many cores, on so many nodes, with `per_resource_count` tasks on each "core" or "node".

        Other arguments and errors as of :meth:`from_command`."""
        if (per_resource_type is None) != (per_resource_count is None):
            raise ValueError("per_resource_type and per_resource_count: expected both or none")
        if per_resource_type not in (None, "node", "core"):
            raise ValueError(f"per_resource_type: expected node or core, got {per_resource_type!r}")
        if nnodes is None and (exclusive or gpus_per_node is not None or ncores is None):
            raise ValueError("nnodes: expected for exclusive, gpus_per_node, or without ncores")
        if nnodes is not None and ncores is None and not exclusive:
            raise ValueError("ncores: expected with nnodes that are not exclusive")
        if nnodes is not None and ncores is not None and _count("ncores", ncores) % _count("nnodes", nnodes):
            raise ValueError(f"ncores: expected a multiple of nnodes, got {ncores}")
        if nnodes is None:
            self = cls.from_command(command, num_tasks=_count("ncores", ncores), **kwargs)
        else:
            self = cls.from_command(
                command, num_tasks=_count("nnodes", nnodes), cores_per_task=ncores // nnodes if ncores else 1,
                gpus_per_task=gpus_per_node, num_nodes=nnodes, exclusive=exclusive, **kwargs,
            )  # fmt: skip
        if per_resource_type is not None:
            count = _count("per_resource_count", per_resource_count)
            self.setattr_shell_option("per-resource", {"type": per_resource_type, "count": count})
        return self


    @classmethod
    def from_nest_command(
        cls,
        command: Iterable[str],
        num_slots: int = 1,
        cores_per_slot: int = 1,
        gpus_per_slot: Optional[int] = None,
        num_nodes: Optional[int] = None,
        broker_opts: Optional[Iterable[str]] = None,
        exclusive: bool = False,
        conf: Optional[Mapping[str, Any]] = None,
        **kwargs: Any,
    ) -> JobspecV1:
        """A job whose command runs in a session of its own, on so many slots; `conf` is the session's configuration.

        Other arguments and errors as of :meth:`from_command`; `broker_opts` are options of `flux start`."""
        if isinstance(command, (str, bytes)):
            raise TypeError("command: expected a list of words, with at least one")
        options = [*(broker_opts or ()), *([] if conf is None else ["-c", "{{tmpdir}}/conf.json"])]
        self = cls.from_command(
            ["flux", "start", *options, "--", *command], num_tasks=num_slots, cores_per_task=cores_per_slot,
            gpus_per_task=gpus_per_slot, num_nodes=num_nodes, exclusive=exclusive, **kwargs,
        )  # fmt: skip
        self.tasks[0]["count"] = {"per_slot": 1}
        self.setattr_shell_option("per-resource", {"type": "node", "count": 1})
        if conf is not None:
            self.add_file("conf.json", dict(conf))
        return self

    @classmethod
    def from_batch_command(
        cls, script: str, jobname: str, args: Optional[Iterable[str]] = None, **kwargs: Any
    ) -> JobspecV1:
        """A job that runs the text of a script, with arguments, in a session of its own.

        Other arguments and errors as of :meth:`from_nest_command`; ValueError if the script does not begin with #!."""
        if not isinstance(script, str) or not script.startswith("#!"):
            raise ValueError("script: expected text that begins with #!, such as #!/bin/sh")
        self = cls.from_nest_command(["{{tmpdir}}/script", *(args or ())], name=jobname, **kwargs)
        self.add_file("script", script, perms=0o700)
        return self


def _shape(
    tasks: int, cores: int, gpus: Optional[int], nodes: Optional[int], exclusive: bool
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """(resources, task count)"""
    _count("num_tasks", tasks)
    inner = [{"type": "core", "count": _count("cores_per_task", cores)}]
    if gpus is not None and _count("gpus_per_task", gpus, 0):
        inner.append({"type": "gpu", "count": gpus})
    slot: dict[str, Any] = {"type": "slot", "count": tasks, "with": inner, "label": "task"}
    if nodes is None:
        if exclusive:
            raise ValueError("exclusive: expected with num_nodes")
        return [slot], {"per_slot": 1}
    if _count("num_nodes", nodes) > tasks:
        raise ValueError(f"num_nodes: expected at most num_tasks, which is {tasks}, got {nodes}")
    slot["count"] = math.ceil(tasks / nodes)
    node: dict[str, Any] = {"type": "node", "count": nodes, "with": [slot]}
    if exclusive:
        node["exclusive"] = True
    return [node], {"per_slot": 1} if tasks % nodes == 0 else {"total": tasks}
