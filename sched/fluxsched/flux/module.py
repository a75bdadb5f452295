# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Entry of the broker module: module.c calls :func:`run` with the handle and
the module's arguments, on the thread (or in the process) of the module.

What fails before the module is set running is the error that ``flux module
load`` shows; the reason is logged too.
"""

from __future__ import annotations

import errno
import functools
import gc
from typing import Any, Optional

import orjson

from fluxsched.errors import FluxSchedError
from fluxsched.flux.handle import Handle, live
from fluxsched.flux.host import BrokerHost
from fluxsched.service.host import LOG_ERR, LOG_INFO
from fluxsched.service.service import RPCS, Service, ServiceError

__all__ = ["run"]

# "flux module reload NAME" removes the module of that name, and then looks for a file of that name.
RENAMED = "loaded as {0}, which is no file's name: to reload it, flux module reload --name={0} sched"


class LoadError(FluxSchedError):
    """The module cannot be loaded; the text says why."""


def run(capsule: Any, arguments: list[str]) -> None:
    """Be the scheduler until the broker ends the module.  Raises OSError or
    LoadError; module.c logs it and reports its errno."""
    handle = Handle(capsule)
    try:
        _serve(handle, arguments)
    except BaseException:
        handle.close()
        raise
    handle.close()
    # The interpreter stays for the next load: nothing of libflux may stay in it.
    gc.collect()
    left = {kind: count for kind, count in live().items() if count}
    if left:
        handle.log(LOG_ERR, f"not released at the end: {left}")


def _serve(handle: Handle, arguments: list[str]) -> None:
    if handle.rank() != 0:
        raise LoadError("the scheduler is loaded on rank 0 only")
    config = orjson.loads(handle.rpc_wait("config.get", None))
    attribute = orjson.loads(handle.rpc_wait("attr.get", b'{"name":"content.hash"}'))
    host = BrokerHost(handle, config, attribute["value"])
    try:
        service = Service(host, arguments)
    except ServiceError as error:
        raise LoadError(str(error)) from None
    try:
        _register(handle, host, service)
        handle.set_running()
        service.start()
        handle.run()
    finally:
        service.stop()


def _register(handle: Handle, host: BrokerHost, service: Service) -> None:
    name = handle.name()
    for wanted in ("sched", "feasibility"):
        if wanted == name:
            continue    # the module's own name is a service already
        try:
            handle.service_register(wanted)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise LoadError(
                    f"the service {wanted} exists: another scheduler is loaded, remove it first"
                ) from None
            raise
    for topic, declaration in RPCS.items():
        take = functools.partial(_handle, host, service, topic)
        handle.on_request(topic, take, declaration.guests, declaration.ordered)
    if name != "sched":
        for method in ("stats-get", "stats-clear"):
            handle.on_request(f"{name}.{method}", functools.partial(_handle, host, service, f"sched.{method}"))
        host.log(LOG_INFO, RENAMED.format(name))
    handle.on_request(f"{name}.config-reload", functools.partial(_config_reload, host, service))


def _handle(host: BrokerHost, service: Service, topic: str, message: Any, text: Optional[bytes]) -> None:
    try:
        payload = None if text is None else orjson.loads(text)
    except ValueError as error:
        host.log(LOG_ERR, f"{topic}: payload is not JSON: {error}")
        host.respond_error(message, errno.EPROTO, f"payload is not JSON: {error}")
        return
    service.handle(topic, message, payload)


def _config_reload(host: BrokerHost, service: Service, message: Any, text: Optional[bytes]) -> None:
    before = host.config()
    try:
        config = orjson.loads(text or b"")
        if not isinstance(config, dict):
            raise ValueError("expected an object")
    except ValueError as error:
        host.respond_error(message, errno.EPROTO, f"config-reload: {error}")
        return
    host.set_config(config)
    try:
        service.reconfigure()
    except ServiceError as error:
        host.set_config(before)
        host.respond_error(message, errno.EINVAL, str(error))
        return
    host.respond(message, None)
