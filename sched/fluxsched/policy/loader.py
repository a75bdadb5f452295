# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Finding and loading policy plugins.

A plugin NAME is a file NAME.so (a Cython extension) or NAME.py, looked for
along FLUX_MODULE_PATH, then beside the package. It holds a class Plugin with
the five operations of fluxsched.core.engine.Operations. In Cython that class
derives from fluxsched.policy.base.Policy; in Python it derives from nothing, and is made with the
plugin's options as its one argument.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import linecache
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from fluxsched.core.engine import PluginError
from fluxsched.policy.base import Policy
from fluxsched.policy.options import parse_options
from fluxsched.policy.pyplugin import OPERATIONS, PythonPolicy, missing_operations


class NotFound(PluginError):
    """There is no plugin of a name."""


_HERE = Path(__file__).resolve()


def search_path() -> list[Path]:
    """The folders looked at for a plugin, in order."""
    named = [Path(entry) for entry in os.environ.get("FLUX_MODULE_PATH", "").split(":") if entry]
    # Installed, the loadables are in fluxsched/plugins; in the tree, in sched/.
    return named + [_HERE.parents[1] / "plugins", _HERE.parents[2]]


def find_plugin(name: str) -> Path:
    """The file of a plugin; name may also be a path. Raises PluginError."""
    if "/" in name:
        path = Path(name)
        if path.suffix not in (".so", ".py"):
            raise PluginError(f"plugin {name}: expected a file that ends in .so or .py")
        if not path.is_file():
            raise NotFound(f"plugin {name}: there is no such file")
        return path
    folders = search_path()
    for folder in folders:
        for suffix in (".so", ".py"):
            path = folder / (name + suffix)
            if path.is_file():
                return path
    places = ":".join(str(folder) for folder in folders)
    raise NotFound(f"plugin {name}: neither {name}.so nor {name}.py in {places}")


def load_plugin(name: str, options: str | dict[str, Any] = "") -> Any:
    """Load a plugin and make its policy object for one engine.

    name: of a loadable, or the path of one; options: "key=value,…" or a dict.
    Raises PluginError: not found, does not load, lacks an operation, or an
    option that it does not take.
    """
    path = find_plugin(name)
    chosen = parse_options(options)
    # Under a name without dots: an extension's init function has the name of
    # its module, and Python would look for a parent package.
    module_name = path.name[: -len(path.suffix)].replace(".", "_").replace("-", "_")
    loader: Any
    if path.suffix == ".so":
        loader = importlib.machinery.ExtensionFileLoader(module_name, str(path))
    else:
        module_name = "fluxsched_plugin_" + module_name
        loader = importlib.machinery.SourceFileLoader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, str(path), loader=loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except Exception as error:
        raise PluginError(f"plugin {name}: {path} does not load: {type(error).__name__}: {error}") from error
    return _policy(module, name, chosen, str(path))


def load_text(name: str, text: str, options: str | dict[str, Any] = "") -> Any:
    """The policy object of a plugin in Python that is given as a text, not as a file.

    name: what errors and tracebacks call it.  Raises PluginError as load_plugin does.
    """
    module = ModuleType("fluxsched_plugin_text")
    module.__file__ = name
    try:
        code = compile(text, name, "exec")
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {name}: it does not load: {type(error).__name__}: {error}") from error
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    return _policy(module, name, parse_options(options), name)


def _policy(module: ModuleType, name: str, chosen: dict[str, str], path: str) -> Any:
    """The policy object of a module.  Raises PluginError."""
    kind = getattr(module, "Plugin", None)
    if not isinstance(kind, type):
        raise PluginError(f"plugin {name}: {path} has no class Plugin")
    try:
        if issubclass(kind, Policy):
            policy = kind(name, chosen)
            missing = missing_operations(policy)
        else:
            missing = [op for op in OPERATIONS if not callable(getattr(kind, op, None))]
            policy = None if missing else PythonPolicy(name, chosen, kind(dict(chosen)))
    except PluginError as error:
        raise PluginError(f"plugin {name}: {error}") from None
    except Exception as error:
        raise PluginError(f"plugin {name}: {type(error).__name__}: {error}") from error
    if missing:
        raise PluginError(f"plugin {name}: {path} lacks the operation {', '.join(missing)}")
    return policy
