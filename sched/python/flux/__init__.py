# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The module ``flux`` of an embedded session: what programs that ``import flux`` most often use of flux-core's module.

It talks to the session of FLUX_URI over its socket, and needs nothing but Python.  doc/python.md says what it covers.
It lies in a folder of its own, which only a session puts on PYTHONPATH, so that it never hides flux-core's module where
that is installed.
"""
from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from typing import Optional

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _load(name: str, spec: Optional[ModuleSpec]) -> bool:
    """Import a module by its specification, under `name`; whether there is one."""
    if spec is None or spec.loader is None:
        return False
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return True


def _other() -> Optional[ModuleSpec]:
    """flux-core's own module, if FLUX_URI is that of a Flux instance, as in one that was started inside a job."""
    uri = os.environ.get("FLUX_URI", "")
    path = uri[len("local://") :] if uri.startswith("local://") else ""
    # The mark of an embedded session (wire.MARK), which cannot be imported yet.
    if not path or os.path.exists(os.path.join(os.path.dirname(path), "embedded")):
        return None
    own = os.path.dirname(_FOLDER)
    paths = [path for path in sys.path if os.path.abspath(path) != own]
    return importlib.machinery.PathFinder.find_spec("flux", paths)


def _find_package() -> None:
    """Make `fluxsched`, of which this module is a part, known to a Python that does not have it installed.

    Its folder does not become one of sys.path, as other libraries lie beside it."""
    folder = os.path.dirname(os.path.dirname(os.path.dirname(_FOLDER)))
    path = os.path.join(folder, "__init__.py")
    if "fluxsched" not in sys.modules and os.path.basename(folder) == "fluxsched" and os.path.exists(path):
        spec = importlib.util.spec_from_file_location("fluxsched", path, submodule_search_locations=[folder])
        _load("fluxsched", spec)


if not _load("flux", _other()):
    _find_package()
    from flux import constants, future, job, resource, rpc
    from flux.handle import Flux

    __all__ = ["Flux", "constants", "future", "job", "resource", "rpc"]
