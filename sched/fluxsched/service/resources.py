# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the service schedules, and by which settings.

The settings are the module's arguments over the instance's ``[sched]`` table;
the resources are those of ``resource.acquire``, linked to RDL where it is
asked for.  An engine is built of both, and may be built anew when the settings
change.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterable, Optional

from fluxsched.core import Engine, PluginError
from fluxsched.formats import queues as _queues
from fluxsched.formats import r as _r
from fluxsched.formats import rdl as _rdl
from fluxsched.formats import slips
from fluxsched.formats.jobspec import Request
from fluxsched.formats.quote import quote
from fluxsched.policy import names
from fluxsched.policy.loader import load_plugin
from fluxsched.service import parts, rdl_match
from fluxsched.service import settings as _args
from fluxsched.service.ends import Ends
from fluxsched.service.host import LOG_INFO, LOG_WARNING, Host
from fluxsched.service.protocol import ProtocolError, ServiceError, field
from fluxsched.service.recording import Recording

__all__ = ["Resources"]

# Settings whose change needs another engine.
REBUILT = frozenset((
    "rdl_conf", "rdl_resource", "sched_once", "in_sim", "queues", "record", "record_size", "record_age",
    "shadow",
))

# Tables of the configuration that say what is scheduled, and how; others are not ours to know.
TABLES = ("policy", "queues", "resource", "sched")

# The line that says the module is ready names resources in so many characters.
SUMMARY_MAX = 120


def unknown_keys(config: dict[str, Any]) -> list[str]:
    """A line for each key of the configuration that has no effect: keys of queues that there are not, and tables whose
    names look like slips of ours."""
    lines = [f"configuration: {text}" for text in slips.tables(config, TABLES)]
    queues = config.get("queues")
    for name, queue in queues.items() if isinstance(queues, dict) else ():
        for key in queue if isinstance(queue, dict) else ():
            if key not in _queues.KEYS:
                lines.append(
                    f"configuration: queues.{name}.{quote(key)[1:-1]}: unknown key, expected one of"
                    f" {', '.join(sorted(_queues.KEYS))}"
                )
    return lines

# The job manager counts the requests that it sends in all, not by queue.
DEPTH_AND_QUEUES = (
    "queue-depth={0}: the job manager hands over that many jobs of all queues together, so that {0} blocked jobs of one"
    " queue hold up the others; plugin-opts=queue-depth={0} counts by queue"
)


class Resources:
    """The settings, and the resources of the instance as they are now.

    Raises ServiceError if arguments, configuration, plugin, RDL or the folder of the record cannot be used. `ends` is
    told when the instance ends; `recording` makes the engines.
    """

    def __init__(self, host: Host, arguments: Iterable[str], ends: Ends, recording: Recording) -> None:
        self.host = host
        self._recording = recording
        self.ends = ends
        self._arguments = list(arguments)
        self.settings, self._parents = self._read()
        self._hierarchy = self._load(self.settings)
        self._R: Optional[dict[str, Any]] = None    # as acquired
        self._marks = rdl_match.Marks()     # what happened to it since
        self.scheduling: Any = None     # of R, opaque; rides along in the R of jobs (RFC 20)
        self.described = False          # the resources are RDL's
        self.host_of: dict[int, str] = {}   # rank -> host name
        self.summary = ""               # what there is, in short

    def _read(self) -> tuple[_args.Settings, dict[str, str]]:
        config = self.host.config()
        for line in unknown_keys(config):
            self.host.log(LOG_WARNING, line)
        try:
            settings = _args.parse(self._arguments, config.get("sched"), os.environ)
        except _args.ArgumentError as error:
            raise ServiceError(str(error)) from None
        try:
            parents = _queues.parents(config.get("queues"))
        except _queues.QueuesError as error:
            raise ServiceError(f"configuration: {error}") from None
        if settings.queue_depth is not None and config.get("queues"):
            self.host.log(LOG_WARNING, DEPTH_AND_QUEUES.format(settings.queue_depth))
        return settings, parents

    def placed(self, request: Request) -> Request:
        """The request as the engine is to have it: a virtual queue's jobs are in the domain of its parent."""
        return request._replace(queue=_queues.domain(request.queue, self._parents))

    @staticmethod
    def _load(settings: _args.Settings) -> Optional[_rdl.Hierarchy]:
        """Check the plugin and its options, the shadows and the folder of the record, and read the RDL."""
        try:
            load_plugin(settings.plugin, settings.plugin_opts)
        except PluginError as error:
            raise ServiceError(str(error)) from None
        for shadow in settings.shadow:
            try:
                names.load(names.choose(shadow))
            except (PluginError, names.PolicyError) as error:
                raise ServiceError(f"shadow={shadow}: {error}") from None
        if settings.record:
            try:
                parts.prepare(settings.record)
            except OSError as error:
                raise ServiceError(f"record={settings.record}: {error.strerror or error}") from None
        if not settings.rdl_conf:
            return None
        try:
            return _rdl.load(settings.rdl_conf, settings.rdl_resource)
        except OSError as error:
            raise ServiceError(f"rdl-conf={settings.rdl_conf}: {error.strerror or error}") from None
        except _rdl.RDLError as error:
            raise ServiceError(f"rdl-conf={settings.rdl_conf}: {error}") from None

    def acquire(self, payload: dict[str, Any]) -> Engine:
        """The engine, from the first response of resource.acquire."""
        R = self._R = field(payload, "resources", dict, "resource.acquire")
        self.scheduling = R.get("scheduling")
        engine = self.build()
        expiration = self.update(engine, payload)
        if expiration is not None:
            self.ends.moves(engine, (), expiration)
        return engine

    def build(self) -> Engine:
        """An engine in which all is as resource.acquire has said so far."""
        assert self._R is not None
        settings = self.settings
        inventory, hierarchy = rdl_match.inventory(
            self._R, self._hierarchy, settings.in_sim, settings.rdl_conf, self.host.log
        )
        described = hierarchy is not None
        policy = load_plugin(settings.plugin, settings.plugin_opts)
        engine = self._recording.make(inventory, policy, settings, hierarchy)
        execution = self._R["execution"]
        if described:
            # The tree is RDL's, or has memory; the instance's own properties hold beside its.
            for name, ranks in (execution.get("properties") or {}).items():
                engine.property_add(name, ranks)
        if not self.host_of:
            self.ends.instance = inventory.expiration or float(execution.get("expiration") or 0.0)
        engine.set_expiration(self.ends.instance)
        self._marks.replay(engine)
        self.described = described
        self.host_of = dict(zip(inventory.ranks, inventory.hosts))
        text = _r.summary(inventory.to_r())
        if settings.verbosity > 0:
            self.host.log(LOG_INFO, f"resources: {inventory.nnodes} nodes: {text}")
        self.summary = text if len(text) <= SUMMARY_MAX else text[:SUMMARY_MAX] + "..."
        return engine

    def update(self, engine: Engine, payload: dict) -> Optional[float]:
        """Take over another response of resource.acquire. The new end of the instance (0: none), None if it says
        nothing of it. ValueError, ProtocolError."""
        rdl_match.apply(engine, payload)
        self._marks.add(payload)
        expiration = payload.get("expiration")
        if expiration is None:
            return None
        if type(expiration) not in (int, float) or not 0 <= expiration < 2**53:
            raise ProtocolError(
                f"resource.acquire: field 'expiration': expected seconds since the epoch, got {quote(expiration)}"
            )
        self.host.log(LOG_INFO, f"resource expiration updated to {expiration:.2f}")
        return float(expiration)

    def reconfigure(self, rebuild: Callable[[], bool], set_policy: Callable[[Any], bool]) -> list[str]:
        """Take over changed settings: ``rebuild()`` says whether an engine
        could be made by them, ``set_policy(policy)`` changes the policy, and
        says whether it could.  Returns the names of what changed.
        ServiceError, and then the settings are as they were."""
        settings, parents = self._read()
        if (settings, parents) == (self.settings, self._parents):
            return []
        old = self.settings, self._parents, self._hierarchy, self.described, self.host_of
        self._hierarchy = self._load(settings)
        self.settings, self._parents = settings, parents
        changed = [name for name in settings._fields if getattr(old[0], name) != getattr(settings, name)]
        if parents != old[1]:
            changed.append("queues")
        if self._R is None:
            return changed
        done = True
        if not REBUILT.isdisjoint(changed):
            done = rebuild()
        elif "plugin" in changed or "plugin_opts" in changed:
            done = set_policy(load_plugin(settings.plugin, settings.plugin_opts))
        if not done:
            self.settings, self._parents, self._hierarchy, self.described, self.host_of = old
            raise ServiceError(f"{', '.join(changed)}: the new values cannot be taken over; see the log")
        return changed
