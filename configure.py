# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Find what the build needs, record it in build/config.json and say what will be built.

Run through ./configure. make runs it again with the recorded arguments when it has changed (--recheck), and lets it
create the virtual environment (--make-venv). Whatever is missing ends it with one line that says what to install.
"""

import argparse
import fcntl
import glob
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent
BUILD = TOP / "build"
CONFIG = BUILD / "config.json"
SHELL_CONFIG = BUILD / "config.sh"
VENV = BUILD / "venv"
STAMP = VENV / ".complete"

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
    """One line: what is missing and what to do."""


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
    return re.search(r'^version = "(.+)"', (TOP / "pyproject.toml").read_text(), re.M).group(1)


# Python


def probe_python(command):
    done = run([command, "-I", "-c", PROBE])
    if done is None or done.returncode:
        return None
    return json.loads(done.stdout)


def python_trouble(python):
    """Why this Python cannot be used, or None."""
    name = "{executable} (Python {version})".format(**python)
    short = dotted(version_tuple(python["version"])[:2])
    if version_tuple(python["version"]) < PYTHON_OLDEST:
        return f"{name} is too old: install Python {dotted(PYTHON_OLDEST)} or later, or name one with PYTHON="
    if python["implementation"] != "CPython":
        return f"{name} is {python['implementation']}: CPython is needed; name one with PYTHON="
    if not python["headers"]:
        return f"{name} has no Python.h: install its headers (Debian: apt install python3-dev or python{short}-dev)"
    if not python["venv"]:
        return f"{name} has no venv module: install it (Debian: apt install python3-venv or python{short}-venv)"
    return None


def python_candidates(environ):
    if environ.get("PYTHON"):
        return [environ["PYTHON"]]
    # The system's own comes first: a version manager's Python may be gone tomorrow, and a broker would still load it.
    names = ["/usr/bin/python3", "python3"]
    names += [f"python3.{minor}" for minor in range(14, PYTHON_OLDEST[1] - 1, -1)]
    return names + [sys.executable]


def find_python(environ, want_shared):
    """The first usable Python, or the first usable one with a shared libpython where one is wanted."""
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
    if not found:
        if environ.get("PYTHON"):
            raise ConfigureError(f"PYTHON={environ['PYTHON']} cannot be run: name a Python 3 interpreter")
        raise ConfigureError("no Python found: install it (Debian: apt install python3 python3-venv python3-dev)")
    usable = [python for python in found if python_trouble(python) is None]
    if not usable:
        raise ConfigureError(python_trouble(found[0]))
    if want_shared:
        usable.sort(key=lambda python: python["libpython"] is None)
    return usable[0]


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
            raise ConfigureError(lines[0].strip())
        done = run([folder + "/conftest"])
        if done is None or done.returncode:
            raise ConfigureError("the program it builds does not run")
        return done.stdout.strip()


def find_compiler(environ):
    names = [environ["CC"]] if environ.get("CC") else ["cc", "gcc", "clang"]
    for name in names:
        if shutil.which(shlex.split(name)[0], path=environ.get("PATH")) is None:
            continue
        try:
            compile_and_run(name, "#include <stdio.h>\nint main (void) { return 0; }\n")
        except ConfigureError as error:
            raise ConfigureError(
                f"the C compiler {name} builds no program ({error}): repair it (Debian: apt install gcc libc6-dev)"
            ) from None
        return name
    if environ.get("CC"):
        raise ConfigureError(f"CC={environ['CC']} was not found: name a C compiler")
    raise ConfigureError("no C compiler found (cc, gcc, clang): install one (Debian: apt install gcc libc6-dev)")


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
        raise FluxMissing("not looked for: no pkg-config (Debian: apt install pkg-config)")
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


# Results


def configure(options, environ):
    """Everything found, as it is recorded in build/config.json."""
    cc = find_compiler(environ)
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
    python = find_python(environ, want_shared=flux is not None)
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
        return f"{config['python']['executable']} has no shared libpython (Debian: apt install libpython3-dev)"
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


# The virtual environment


# Run by the virtual environment's Python, since only a Python with pip is sure to read TOML before 3.11.
REQUIREMENTS = """
import json, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    data = tomllib.load(file)
project = data["project"]
extras = project["optional-dependencies"]
json.dump(data["build-system"]["requires"] + project["dependencies"] + extras["test"] + extras["dev"], sys.stdout)
"""


def requirements():
    """What pyproject.toml asks for to build, run, test and lint."""
    return json.loads(
        subprocess.check_output([str(VENV / "bin/python"), "-c", REQUIREMENTS, str(TOP / "pyproject.toml")], text=True)
    )


NETWORK = re.compile(
    r"Failed to establish a new connection|Temporary failure in name resolution|Name or service not known|"
    r"Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|SSLError|"
    r"No route to host|ConnectionResetError|\(from versions: none\)",
)


def pip_trouble(log):
    """One line out of pip's log."""
    errors = [line.split("ERROR:", 1)[1].strip() for line in log.splitlines() if "ERROR:" in line]
    if NETWORK.search(log):
        return (
            "no network: pip cannot reach the package index; connect, or set PIP_INDEX_URL or PIP_FIND_LINKS to one"
            " within reach (see build/venv.log)"
        )
    return f"pip failed: {errors[0] if errors else 'no reason given'} (see build/venv.log)"


def venv_fits(python):
    """Whether build/venv works and comes from the configured Python."""
    script = "import os, pip, platform, sys; print(os.path.realpath(sys.executable), platform.python_version())"
    done = run([str(VENV / "bin/python"), "-c", script])
    wanted = f"{os.path.realpath(python['executable'])} {python['version']}"
    return done is not None and done.returncode == 0 and done.stdout.strip() == wanted


def logged(command, log):
    with open(log, "a") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode


def script(python, module):
    """Text of a command that runs main() of the module."""
    # A path with spaces, or a long one, cannot stand in the first line. For Python the second is a string.
    shell = f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''\n"
    return f"{shell}import sys\n\nfrom {module} import main\n\nsys.exit(main())\n"


def make_venv(config):
    """Create build/venv, or bring it up to date; nothing is done when it already is."""
    wanted = {
        "top": config["top"],
        "python": [config["python"]["executable"], config["python"]["version"]],
        "pyproject": hashlib.sha256((TOP / "pyproject.toml").read_bytes()).hexdigest(),
    }
    if STAMP.exists() and json.loads(STAMP.read_text()) == wanted and venv_fits(config["python"]):
        os.utime(STAMP)
        return
    log = BUILD / "venv.log"
    log.write_text("")
    if not venv_fits(config["python"]):
        print(f"Creating build/venv with {config['python']['executable']}", flush=True)
        if logged([config["python"]["executable"], "-m", "venv", "--clear", str(VENV)], log):
            raise ConfigureError(f"{config['python']['executable']} -m venv failed (see build/venv.log)")
    print("Installing what pyproject.toml requires into build/venv", flush=True)
    python = str(VENV / "bin/python")
    if logged([python, "-m", "pip", "--disable-pip-version-check", "install", *requirements()], log):
        raise ConfigureError(pip_trouble(log.read_text()))
    purelib = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.check_output(purelib, text=True).strip())
    (site / "fluxsched.pth").write_text(f"{TOP}/build/lib\n")
    command = VENV / "bin/flux-sched"
    command.write_text(script(python, "fluxsched.cli.main"))
    command.chmod(0o755)
    STAMP.write_text(json.dumps(wanted) + "\n")


def absolute(folder):
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
                make_venv(load())
            return 0
        if options.recheck and CONFIG.exists():
            last = load()
            options = parse(last["arguments"])
            environ = dict(environ, **last["environ"])
        config = configure(options, environ)
        record(config)
    except ConfigureError as error:
        print(f"configure: {error}", file=sys.stderr)
        return 1
    print(summary(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
