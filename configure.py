# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Find what the build needs, record it in build/config.json and say what will be built.

Run through ./configure. make runs it again with the recorded arguments when it has changed (--recheck), and lets it
create the virtual environment (--make-venv). All that is missing is named at once, with the command that installs it.
"""

import argparse
import fcntl
import glob
import json
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent
sys.path.insert(0, str(TOP / "tools"))

import makevenv  # noqa: E402

BUILD = TOP / "build"
CONFIG = BUILD / "config.json"
SHELL_CONFIG = BUILD / "config.sh"

PYTHON_OLDEST = (3, 9)
# 0.70 is the first flux-core that tells a scheduler which part of a running job's resources is already free.
FLUX_OLDEST = (0, 70)
FLUX_TRIED = (0, 88)

# Printed by a candidate interpreter about itself.
PROBE = """
import json, os, platform, sys, sysconfig
def has(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True
get = sysconfig.get_config_var
executable = sys.executable
if sys.prefix != getattr(sys, "base_prefix", sys.prefix):
    executable = getattr(sys, "_base_executable", executable)
include = sysconfig.get_path("include", vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix,
                                              "installed_base": sys.base_prefix})
library = get("LDLIBRARY") or ""
folders = [get("LIBDIR") or "", os.path.join(get("LIBDIR") or "", get("MULTIARCH") or ""), get("LIBPL") or ""]
shared = [d for d in folders if library.endswith(".so") and os.path.exists(os.path.join(d, library))]
json.dump({
    "executable": executable,
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "include": include,
    "headers": os.path.exists(os.path.join(include, "Python.h")),
    "venv": has("venv") and has("ensurepip"),
    "libpython": library if shared else None,
    "libdir": shared[0] if shared else None,
    "ldversion": get("LDVERSION") or get("VERSION"),
}, sys.stdout)
"""

FLUX_PROGRAM = """
#include <flux/core.h>
#include <stdio.h>
int main (void)
{
    puts (flux_core_version_string ());
    return flux_module_set_running == NULL;
}
"""


class ConfigureError(Exception):
    """One line: what is wrong and what to do."""


class Missing(ConfigureError):
    """Something that packages bring: a text for people, and things by the names that tools/packages.sh knows."""

    def __init__(self, text, *things):
        self.things = list(things)
        super().__init__(text)


def run(command, **kwargs):
    """The finished process, or None where the program cannot be run at all."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
    except (OSError, subprocess.TimeoutExpired):
        return None


def version_tuple(text):
    """The leading numbers of a version: "0.88.0-12-gabc" is (0, 88, 0)."""
    return tuple(int(part) for part in re.match(r"[\d.]*", text).group().strip(".").split(".") if part)


def dotted(version):
    return ".".join(map(str, version))


def project_version():
    return runpy.run_path(str(TOP / "sched/fluxsched/version.py"))["VERSION"]


# Python


def probe_python(command):
    done = run([command, "-I", "-c", PROBE])
    if done is None or done.returncode:
        return None
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None  # whatever it is, it is no Python


def python_trouble(python):
    """Why this Python cannot be used, as an exception, or None."""
    name = "{executable} (Python {version})".format(**python)
    if version_tuple(python["version"]) < PYTHON_OLDEST:
        return ConfigureError(
            f"{name} is too old: install Python {dotted(PYTHON_OLDEST)} or later, or name one with PYTHON="
        )
    if python["implementation"] != "CPython":
        return ConfigureError(f"{name} is {python['implementation']}: CPython is needed; name one with PYTHON=")
    lacks = {"headers": "Python.h", "venv": "the venv module"}
    things = [thing for thing in lacks if not python[thing]]
    if not things:
        return None
    text = " and ".join(lacks[thing] for thing in things) + f" of {name}"
    if python["executable"].startswith("/usr/bin/"):
        return Missing(text, *(thing + package_suffix(python) for thing in things))
    # Its packages, if it has any, are unknown here, but the distribution's own Python will do.
    return Missing(text, "python", "headers", "venv")


def package_suffix(python):
    """What distinguishes the packages of this Python from those of the distribution's python3: "" or ":3.13"."""
    default = os.path.realpath("/usr/bin/python3")
    if os.path.realpath(python["executable"]) == default:
        return ""
    return ":" + dotted(version_tuple(python["version"])[:2])


def python_candidates(environ):
    if environ.get("PYTHON"):
        return [environ["PYTHON"]]
    # The system's own comes first: a version manager's Python may be gone tomorrow, and a broker would still load it.
    names = ["/usr/bin/python3", "python3"]
    names += [f"python3.{minor}" for minor in range(14, PYTHON_OLDEST[1] - 1, -1)]
    return names + [sys.executable]


def find_pythons(environ):
    """The usable Pythons, best first."""
    found, seen = [], set()
    for name in python_candidates(environ):
        path = shutil.which(name, path=environ.get("PATH"))
        if path is None:
            continue
        python = probe_python(path)
        if python is None or python["executable"] in seen:
            continue
        seen.add(python["executable"])
        found.append(python)
    named = environ.get("PYTHON")
    if not found:
        if named:
            raise ConfigureError(f"PYTHON={named} cannot be run: name a Python 3 interpreter")
        raise Missing("Python with its headers and its venv module", "python", "headers", "venv")
    usable = [python for python in found if python_trouble(python) is None]
    if not usable:
        trouble = python_trouble(found[0])
        if named and "python" in getattr(trouble, "things", ()):
            raise ConfigureError(f"PYTHON={named}: {trouble} is missing: install it, or name another interpreter")
        raise trouble
    return usable


def choose_python(pythons, want_shared):
    """The first one, or the first one with a shared libpython where one is wanted."""
    return min(pythons, key=lambda python: want_shared and python["libpython"] is None)


# The compiler


def compile_and_run(cc, program, flags=()):
    """Output of a small C program built with these flags; raises ConfigureError with the compiler's first complaint."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "conftest.c"
        source.write_text(program)
        done = run([*shlex.split(cc), str(source), "-o", folder + "/conftest", *flags])
        if done is None:
            raise ConfigureError(f"{cc} cannot be run")
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
            raise ConfigureError(lines[0].replace(folder + "/", "").strip())
        done = run([folder + "/conftest"])
        if done is None or done.returncode:
            raise ConfigureError("the program it builds does not run")
        return done.stdout.strip()


def find_compiler(environ):
    names = [environ["CC"]] if environ.get("CC") else ["cc", "gcc", "clang"]
    troubles = []
    for name in names:
        if shutil.which(shlex.split(name)[0], path=environ.get("PATH")) is None:
            continue
        try:
            compile_and_run(name, "#include <stdio.h>\nint main (void) { return 0; }\n")
        except ConfigureError as error:
            troubles.append(f"a C compiler that works ({name} builds no program: {error})")
        else:
            return name
    if environ.get("CC") and not troubles:
        raise ConfigureError(f"CC={environ['CC']} was not found: name a C compiler")
    raise Missing(troubles[0] if troubles else "a C compiler (cc, gcc or clang)", "compiler")


# flux-core


class FluxMissing(Exception):
    """Why flux-core will not be used."""


def pkg_config_folders(environ):
    """Where flux-core.pc is looked for: the user's folders first, then the usual prefixes."""
    prefixes = [*sorted(glob.glob("/opt/flux*")), "/usr/local", "/usr"]
    flux = shutil.which("flux", path=environ.get("PATH"))
    if flux and Path(flux).resolve() != TOP / "flux":
        prefixes.insert(0, str(Path(flux).parent.parent))
    if environ.get("HOME"):
        prefixes.append(environ["HOME"] + "/local")
    folders = [folder for folder in environ.get("PKG_CONFIG_PATH", "").split(":") if folder]
    for prefix in prefixes:
        for lib in ("lib", "lib64", f"lib/{platform.machine()}-linux-gnu", "share"):
            folders.append(f"{prefix}/{lib}/pkgconfig")
    return list(dict.fromkeys(folders))


def check_flux(flux, cc):
    """Raise FluxMissing unless the headers and the library are there, agree and are new enough."""
    rpath = [f"-Wl,-rpath,{flux['libdir']}"]
    try:
        version = compile_and_run(cc, FLUX_PROGRAM, [*flux["cflags"], *flux["libs"], *rpath])
    except ConfigureError as error:
        raise FluxMissing(f"flux-core in {flux['where']} cannot be used: {error}") from None
    flux["version"] = version
    if version_tuple(version) < FLUX_OLDEST:
        raise FluxMissing(f"flux-core in {flux['where']} is {version}: {dotted(FLUX_OLDEST)} or later is needed")
    if not os.access(flux["command"], os.X_OK):
        raise FluxMissing(f"flux-core in {flux['where']} has no flux command ({flux['command']})")
    return flux


def flux_from_builddir(folder, cc):
    """A flux-core build tree that is not installed; its sources may lie in another folder."""
    build = Path(folder).resolve()
    library = build / "src/common/.libs/libflux-core.so"
    if not build.is_dir():
        raise FluxMissing(f"{folder} is no folder")
    source = build
    makefile = build / "Makefile"
    if makefile.is_file():
        found = re.search(r"^srcdir = (.+)$", makefile.read_text(errors="replace"), re.M)
        if found:
            source = (build / found.group(1).strip()).resolve()
    if not (source / "src/include/flux/core.h").is_file():
        raise FluxMissing(f"{folder} holds no flux-core (no src/include/flux/core.h)")
    if not library.exists():
        raise FluxMissing(f"flux-core in {folder} is not built (no src/common/.libs/libflux-core.so): run make there")
    folders = dict.fromkeys([str(build), str(build / "src/include"), str(source), str(source / "src/include")])
    flux = {
        "where": str(build),
        "how": "build tree",
        "prefix": None,
        "command": str(build / "src/cmd/flux"),
        "cflags": [f"-I{item}" for item in folders],
        "libs": [f"-L{library.parent}", "-lflux-core"],
        "libdir": str(library.parent),
        "moduledir": None,
        "cmddir": None,
    }
    return check_flux(flux, cc)


def flux_from_pkg_config(pkg_config, environ, cc):
    if pkg_config is None:
        raise FluxMissing(f"not looked for: no pkg-config{hint('pkg-config')}")
    folders = pkg_config_folders(environ)
    there = [folder for folder in folders if os.path.exists(folder + "/flux-core.pc")]
    if not there:
        return flux_not_found(folders)
    paths = dict(environ, PKG_CONFIG_PATH=":".join(folders))

    def ask(*arguments):
        done = run([pkg_config, *arguments, "flux-core"], env=paths)
        if done is None or done.returncode:
            complaint = done.stderr.strip().splitlines() if done else []
            raise FluxMissing(f"{there[0]}/flux-core.pc cannot be used: {complaint[-1] if complaint else 'pkg-config'}")
        return done.stdout.strip()

    prefix = ask("--variable=prefix")
    flux = {
        "where": prefix,
        "how": "pkg-config",
        "prefix": prefix,
        "command": prefix + "/bin/flux",
        "cflags": shlex.split(ask("--cflags")),
        "libs": shlex.split(ask("--libs")),
        "libdir": ask("--variable=libdir"),
        "moduledir": ask("--variable=fluxmoddir") or None,
        "cmddir": ask("--variable=fluxcmddir") or None,
    }
    return check_flux(flux, cc)


def flux_not_found(folders):
    prefixes = dict.fromkeys(re.sub(r"/(lib|lib64|lib/[^/]+|share)/pkgconfig$", "", folder) for folder in folders)
    raise FluxMissing("not found (no flux-core.pc below " + ", ".join(prefixes) + ")")


# Packages


def packages(action, things):
    """Output of tools/packages.sh, or None where it fails; what is installed is shown as it goes."""
    command = ["/bin/sh", str(TOP / "tools/packages.sh"), action, *things]
    done = subprocess.run(command, stdout=subprocess.PIPE if action == "line" else None, text=True)
    return None if done.returncode else (done.stdout or "").strip()


def hint(*things):
    """The command that installs these, in brackets."""
    line = packages("line", things)
    return f" ({line})" if line else ""


def complaint(error):
    """What configure says of an error: a line, and below it the command that installs what is missing."""
    if not isinstance(error, Missing):
        return str(error)
    line = packages("line", error.things)
    if line is None:
        return f"missing: {error}: install them"
    return f"missing: {error}; to install what is needed:\n    {line}"


def find_all(environ, *finders):
    """What each of these functions finds; all that is missing is raised together."""
    found, missing = [], []
    for finder in finders:
        try:
            found.append(finder(environ))
        except Missing as error:
            missing.append(error)
    if missing:
        raise Missing("; ".join(map(str, missing)), *(thing for error in missing for thing in error.things))
    return found


def configure_installing(options, environ):
    """What configure() finds after missing packages were installed, where that may be done."""
    things = []
    try:
        config = configure(options, environ)
    except Missing as error:
        things = error.things
    if options.install_packages == "tests" and shutil.which("lua5.1", path=environ.get("PATH")) is None:
        things.append("lua")
    if things:
        packages("install", things)
        config = configure(options, environ)
    return config


# Results


def configure(options, environ):
    """Everything found, as it is recorded in build/config.json."""
    cc, pythons = find_all(environ, find_compiler, find_pythons)
    pkg_config = next(
        filter(None, (shutil.which(name, path=environ.get("PATH")) for name in ("pkg-config", "pkgconf"))), None
    )
    flux, reason = None, "left out with --without-flux-core"
    if options.with_flux_core_builddir is not None:
        try:
            flux = flux_from_builddir(options.with_flux_core_builddir, cc)
        except FluxMissing as error:
            raise ConfigureError(f"--with-flux-core-builddir: {error}") from None
    elif not options.without_flux_core:
        try:
            flux = flux_from_pkg_config(pkg_config, environ, cc)
        except FluxMissing as error:
            reason = str(error)
    python = choose_python(pythons, want_shared=flux is not None)
    prefix = options.prefix
    if prefix is None:
        # Where flux-core looks for modules, unless that is the system's own tree.
        prefix = flux["prefix"] if flux and flux["prefix"] not in (None, "/usr") else "/usr/local"
    return {
        "arguments": options.arguments,
        "environ": {name: environ[name] for name in ("CC", "PYTHON", "PKG_CONFIG_PATH") if environ.get(name)},
        "top": str(TOP),
        "version": project_version(),
        "prefix": prefix,
        "python": python,
        "cc": cc,
        "pkg_config": pkg_config,
        "flux": flux,
        "flux_reason": None if flux else reason,
        "lua": shutil.which("lua5.1", path=environ.get("PATH")),
    }


def broker_module(config):
    """Why sched.so is not built, or None when it is."""
    if config["flux"] is None:
        return "no flux-core"
    if config["python"]["libpython"] is None:
        return f"{config['python']['executable']} has no shared libpython; the distribution's own Python has"
    return None


def summary(config):
    python, flux = config["python"], config["flux"]
    lines = [f"flux-sched {config['version']}", ""]
    shared = python["libpython"] or "no shared libpython"
    rows = [
        ("Python", f"{python['executable']} ({python['version']}, {shared})"),
        ("C compiler", config["cc"]),
        ("pkg-config", config["pkg_config"] or "not found"),
        ("Lua 5.1", config["lua"] or "not found (only tests of RDL in plain Lua need it)"),
    ]
    if flux:
        note = ""
        if version_tuple(flux["version"])[:2] > FLUX_TRIED:
            note = f"; newer than {dotted(FLUX_TRIED)}, the last one tried"
        elif version_tuple(flux["version"])[:2] < FLUX_TRIED:
            note = f"; older than {dotted(FLUX_TRIED)}, the one tried"
        rows.append(("flux-core", f"{flux['version']} in {flux['where']} ({flux['how']}{note})"))
    else:
        rows.append(("flux-core", config["flux_reason"]))
    rows.append(("prefix", config["prefix"]))
    lines += [f"  {name:<11} {text}" for name, text in rows]
    lines += ["", "To be built:"]
    lines += [
        "  sched.plugin1.so, backfill.plugin1.so, the embedded session, the simulator and the commands",
    ]
    why = broker_module(config)
    if why is None:
        lines += ["  sched.so, the broker module", "./flux runs the real flux."]
    else:
        lines += [f"  not sched.so, the broker module: {why}", "./flux runs the embedded session."]
    return "\n".join(lines)


def write_if_changed(path, text):
    if not path.exists() or path.read_text() != text:
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(path)
    # make compares times, and this is the time of the check.
    os.utime(path)


def record(config):
    BUILD.mkdir(exist_ok=True)
    flux = config["flux"]["command"] if broker_module(config) is None else ""
    write_if_changed(SHELL_CONFIG, f"FLUX={shlex.quote(flux)}\n")
    write_if_changed(CONFIG, json.dumps(config, indent=2) + "\n")


def load():
    try:
        return json.loads(CONFIG.read_text())
    except (OSError, ValueError):
        raise ConfigureError("not configured: run ./configure first") from None


def absolute(folder):
    if not folder:
        raise argparse.ArgumentTypeError("a folder expected")
    return os.path.abspath(os.path.expanduser(folder))


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="configure",
        description="Find what the build needs and record it in build/.",
        epilog="Environment: PYTHON (interpreter), CC (C compiler), PKG_CONFIG_PATH (folders of flux-core.pc).",
    )
    parser.add_argument(
        "--prefix",
        metavar="DIR",
        type=absolute,
        help="where make install puts things (default: flux-core's own prefix, else /usr/local)",
    )
    flux = parser.add_mutually_exclusive_group()
    flux.add_argument(
        "--with-flux-core-builddir",
        metavar="DIR",
        type=absolute,
        help="use the flux-core built in DIR, not an installed one",
    )
    flux.add_argument("--without-flux-core", action="store_true", help="do not look for flux-core")
    parser.add_argument("--recheck", action="store_true", help="run again as it was run last")
    parser.add_argument(
        "--install-packages",
        nargs="?",
        const="build",
        choices=("build", "tests"),
        help="as root in a container: install packages that are missing, with =tests those that only tests need, too",
    )
    parser.add_argument("--make-venv", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.arguments = []
    if options.prefix is not None:
        options.arguments.append(f"--prefix={options.prefix}")
    if options.with_flux_core_builddir is not None:
        options.arguments.append(f"--with-flux-core-builddir={options.with_flux_core_builddir}")
    if options.without_flux_core:
        options.arguments.append("--without-flux-core")
    return options


def main(arguments, environ):
    options = parse(arguments)
    try:
        if options.make_venv:
            BUILD.mkdir(exist_ok=True)
            with open(BUILD / "venv.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                makevenv.make_venv(load())
            return 0
        if options.recheck and CONFIG.exists():
            last = load()
            wanted, options = options.install_packages, parse(last["arguments"])
            options.install_packages = wanted
            environ = dict(environ, **last["environ"])
        config = configure_installing(options, environ) if options.install_packages else configure(options, environ)
        record(config)
    except (ConfigureError, makevenv.VenvError) as error:
        print(f"configure: {complaint(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"configure: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(summary(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
