# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Finding and loading policy plugins.

A plugin NAME is a file NAME.so (a Cython extension) or NAME.py, looked for
along FLUX_MODULE_PATH, then beside the package; a name with a slash, or that
ends in .so or .py, is the path of such a file. It holds a class Plugin with
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
from typing import Any, Mapping

from fluxsched.core.engine import PluginError
from fluxsched.policy.base import ListPolicy, Policy
from fluxsched.policy.options import parse_options
from fluxsched.policy.pyplugin import OPERATIONS, PythonPolicy, missing_operations


class NotFound(PluginError):
    """There is no plugin of a name."""


# Beside the package's modules; in the tree, and in builds for looking for faults, that is a link to another folder.
_OWN = (Path(__file__).absolute().parents[1] / "plugins").resolve()


def search_path() -> list[Path]:
    """The folders looked at for a plugin, in order."""
    named = [Path(entry) for entry in os.environ.get("FLUX_MODULE_PATH", "").split(":") if entry]
    return [*named, _OWN]


def find_plugin(name: str) -> Path:
    """The file of a plugin, by its name or path.  Raises PluginError."""
    if "/" in name or name.endswith((".so", ".py")):
        path = Path(name)
        if path.suffix not in (".so", ".py"):
            raise PluginError(f"plugin {name}: expected a file that ends in .so or .py")
        if not os.path.isfile(path):
            raise NotFound(f"plugin {name}: there is no such file")
        return path
    folders = search_path()
    for folder in folders:
        for suffix in (".so", ".py"):
            path = folder / (name + suffix)
            if os.path.isfile(path):
                return path
    places = ":".join(str(folder) for folder in folders)
    raise NotFound(f"plugin {name}: neither {name}.so nor {name}.py in {places}")


def is_own(name: str) -> bool:
    """Whether a plugin, by its name or path, is a compiled one of flux-sched itself.  Raises PluginError if there is
    none."""
    path = find_plugin(name)
    return path.suffix == ".so" and path.resolve().parent == _OWN


def load_plugin(name: str, options: str | dict[str, Any] = "", defaults: Mapping[str, str] | None = None) -> Any:
    """Load a plugin and make its policy object for one engine.

    name: of a loadable, or the path of one; options: "key=value,…" or a dict; defaults: those of ListPolicy's options
    that are to count where they are not given.
    Raises PluginError: not found, does not load, lacks an operation, or an
    option that it does not take.
    """
    path = find_plugin(name)
    # Under a name without dots: an extension's init function has the name of
    # its module, and Python would look for a parent package.
    module_name = path.name[: -len(path.suffix)].replace(".", "_").replace("-", "_")
    loader: Any
    if path.suffix == ".so":
        # By its own folder: the name of a file alone is looked for along the path of libraries.
        loader = importlib.machinery.ExtensionFileLoader(module_name, str(path.absolute()))
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
    return make_policy(_plugin_of(module, name, path), name, options, defaults, str(path))


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
    return make_policy(_plugin_of(module, name, name), name, options, place=name)


def _plugin_of(module: ModuleType, name: str, path: str | Path) -> type:
    """The class Plugin of a module.  Raises PluginError."""
    kind = getattr(module, "Plugin", None)
    if not isinstance(kind, type):
        raise PluginError(f"plugin {name}: {path} has no class Plugin")
    return kind


def make_policy(plugin: Any, name: str, options: str | dict[str, Any] = "",
                defaults: Mapping[str, str] | None = None, place: str = "") -> Any:
    """The policy object of a plugin that is there already: of a class, one that is made with the options; of an object
    with the five operations, the one that calls them; a Policy is one itself, and takes no options any more.

    name: what errors call it; defaults: as for load_plugin; place: where it is from, for errors.
    Raises PluginError: it lacks an operation, or an option that it does not take.
    """
    chosen = parse_options(options)
    if chosen and not isinstance(plugin, type):
        raise PluginError(f"plugin {name}: an object has its options already: none expected, {min(chosen)} found")
    try:
        if isinstance(plugin, type) and issubclass(plugin, Policy):
            if issubclass(plugin, ListPolicy):
                chosen = {**chosen, **{key: text for key, text in (defaults or {}).items() if key not in chosen}}
            plugin = plugin(name, chosen)
        if isinstance(plugin, Policy):
            policy = plugin
            missing = missing_operations(policy)
        else:
            missing = [op for op in OPERATIONS if not callable(getattr(plugin, op, None))]
            if isinstance(plugin, type) and not missing:
                plugin = plugin(dict(chosen))
            policy = None if missing else PythonPolicy(name, chosen, plugin)
    except PluginError as error:
        raise PluginError(f"plugin {name}: {error}") from None
    except Exception as error:
        raise PluginError(f"plugin {name}: {type(error).__name__}: {error}") from error
    if missing:
        subject = f"{place} lacks" if place else "lacks"
        raise PluginError(f"plugin {name}: {subject} the operation {', '.join(missing)}")
    return policy
