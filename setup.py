# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compile and lay out flux-sched.

``build_tree`` (make) builds inside the source tree: the package goes to build/lib/fluxsched, pure Python files as
symbolic links so that an edit is seen at once, and the loadables to sched/. ``install_tree`` (make install) copies
that below the configured prefix. ``pip install .`` builds a wheel without the broker module, which has to know where
its Python will be.

Beside its modules the package has ``share/rdl``, ``share/conf``, ``share/cmd``, ``share/python`` and ``plugins`` (the
loadables): links in the source tree and below a prefix, copies in a wheel.
"""

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Command, find_packages, setup
from setuptools import Extension as _Extension
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.command.build_py import build_py as _build_py

TOP = Path(__file__).resolve().parent
os.chdir(TOP)
sys.path.insert(0, str(TOP / "tools"))
import makevenv  # noqa: E402

SOURCE = Path("sched")
BUILD = Path("build")
CONFIG = BUILD / "config.json"
# Newer than what was compiled when flux-core has become another one.
FLUX_FLAGS = BUILD / "temp" / "flux.flags"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "show_performance_hints": True,
}
CFLAGS = ["-O3", "-Wno-unused-function", "-Wno-array-bounds"]
# An assert of Cython is compiled in debug builds only.
RELEASE = ["-DCYTHON_WITHOUT_ASSERTIONS"]

# Builds for looking for faults, each below build/NAME; what they change of the directives and the compiler's arguments.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
MODES = {
    # FLUXSCHED_DEBUG is DEBUG in core/types.pxd.
    "debug": (
        {"boundscheck": True, "wraparound": True, "initializedcheck": True, "show_performance_hints": False},
        ["-O1", "-g", "-DFLUXSCHED_DEBUG"],
        [],
    ),
    "asan": ({}, ["-O1", "-g", "-fno-omit-frame-pointer", *RELEASE, *SANITIZERS], SANITIZERS),
    # gcc counts how often each line of C ran; linetrace marks in the C file which of them are a line of Cython.
    # tools/cython_lines.py puts the two together. A tracer would take the GIL for each line.
    "coverage": (
        {"linetrace": True, "show_performance_hints": False},
        ["-O0", *RELEASE, "--coverage", "-DCYTHON_PROFILE=0"],
        ["--coverage"],
    ),
}
# Functions and lines for a debugger or a profiler, but not every variable, which would be a third of a compiler's time.
# Nobody debugs a wheel, and without debug information it is a fifth as large. The code is the same.
TREE_FLAGS = ["-g1"]
WHEEL_FLAGS = ["-g0"]

CORES = len(os.sched_getaffinity(0))

# PMI-1 for MPI libraries that open it by its path: plain C, and no module of Python.
PMI_LIBRARY = "fluxsched.session.runner.libpmi"

# The loader opens a plugin under a name without dots, so the module is sched_plugin1 and its file sched.plugin1.so.
PLUGINS = {"sched_plugin1": "sched.plugin1.so", "backfill_plugin1": "backfill.plugin1.so"}

# What the package has beside its modules, and where that lies in the source tree.
SHARE = {
    "share/rdl": Path("rdl"),
    "share/conf": Path("conf"),
    "share/cmd": SOURCE / "cmd",
    "share/python": SOURCE / "python",  # the module flux of a session
    "plugins": SOURCE,
}


class Extension(_Extension):
    # Cython keeps those it could not translate in a set, and setuptools' own have no hash.
    __hash__ = object.__hash__


def fail(text):
    raise SystemExit(f"flux-sched: {text}")


def configuration():
    """What configure found, or None where it never ran (pip)."""
    if not CONFIG.exists():
        return None
    try:
        config = json.loads(CONFIG.read_text())
    except ValueError:
        fail(f"{CONFIG} is damaged: run ./configure")
    if config["top"] != str(TOP):
        fail(f"build/ was made for {config['top']}: run make distclean, then make")
    return config


def package_extensions(flux=None, more=TREE_FLAGS):
    """One extension for each .pyx of the package; those of fluxsched.flux only with flux-core."""
    found = []
    for path in sorted((SOURCE / "fluxsched").rglob("*.pyx")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        extra = {"extra_compile_args": [*CFLAGS, *RELEASE, *more]}
        if parts[1] == "flux":
            if flux is None:
                continue
            extra = {
                "extra_compile_args": [*CFLAGS, *RELEASE, *more, *flux["cflags"]],
                "extra_link_args": flux["libs"] + [f"-Wl,-rpath,{flux['libdir']}"],
                "depends": [str(FLUX_FLAGS)],
            }
        found.append(Extension(".".join(parts), [str(path)], **extra))
    return found


def plugin_extensions(more=TREE_FLAGS):
    paths = {name: SOURCE / "plugins" / (name + ".pyx") for name in PLUGINS}
    flags = [*CFLAGS, *RELEASE, *more]
    return [Extension(name, [str(path)], extra_compile_args=flags) for name, path in paths.items() if path.exists()]


def pmi_library():
    source = (SOURCE / PMI_LIBRARY.replace(".", "/")).with_suffix(".c")
    return [Extension(PMI_LIBRARY, [str(source)], extra_compile_args=["-std=gnu11", "-fvisibility=hidden"])]


def link(goal, path):
    """Make path a relative symbolic link to goal, whatever it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = os.path.relpath(goal, path.parent)
    if path.is_symlink() and os.readlink(path) == text:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(text)


class build_ext(_build_ext):
    """Translates late, so that commands that build nothing need no Cython run, and knows the loadables' names."""

    translated = BUILD / "wheel" / "cython"
    loadables = None
    annotate = False
    force_translation = None
    directives = DIRECTIVES
    failed = ()

    def finalize_options(self):
        extensions = self.distribution.ext_modules
        if any(source.endswith(".pyx") for extension in extensions for source in extension.sources):
            # One broken file must not keep the others from being built.
            translated = cythonize(
                extensions,
                include_path=[str(SOURCE)],
                build_dir=str(self.translated),
                compiler_directives=self.directives,
                annotate=self.annotate,
                force=self.force_translation,
                exclude_failures=True,
                nthreads=CORES,
            )
            self.failed = sorted({e.name for e in extensions} - {e.name for e in translated})
            self.distribution.ext_modules = translated
        self.parallel = self.parallel or CORES
        super().finalize_options()

    def run(self):
        super().run()
        self.check_translated()

    def check_translated(self):
        if self.failed:
            fail(f"Cython refused {', '.join(self.failed)}: see above")

    def get_ext_fullpath(self, ext_name):
        if ext_name == PMI_LIBRARY:
            return str((Path(self.build_lib) / ext_name.replace(".", "/")).with_suffix(".so"))
        if ext_name in PLUGINS:
            folder = self.loadables or Path(self.build_lib) / "fluxsched" / "plugins"
            return str(folder / PLUGINS[ext_name])
        return super().get_ext_fullpath(ext_name)


class build_py(_build_py):
    """Of the wheel: adds the RDL language, the configurations and the commands."""

    def run(self):
        # What an earlier build left there would end up in the wheel.
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for name, folder in SHARE.items():
            if folder != SOURCE and folder.is_dir():
                shutil.copytree(folder, Path(self.build_lib) / "fluxsched" / name)


class build_tree(Command):
    description = "build in place: build/lib/fluxsched and the loadables in sched/"
    user_options = [("mode=", None, f"instead below build/MODE, without flux-core: {', '.join(MODES)}")]

    def initialize_options(self):
        self.config = None
        self.mode = ""

    def finalize_options(self):
        self.config = configuration()
        if self.config is None:
            fail("not configured: run ./configure, or make")
        if self.mode and self.mode not in MODES:
            fail(f"mode {self.mode}: expected one of {', '.join(MODES)}")
        self.folder = BUILD / self.mode
        self.loadables = self.folder / "sched" if self.mode else SOURCE

    def run(self):
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "build.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.build()

    def build(self):
        os.environ.setdefault("CC", self.config["cc"])
        flux = self.config["flux"] if self.config["python"]["libpython"] else None
        self.mirror()
        if self.mode:
            self.compile(package_extensions() + plugin_extensions())
            return
        if flux is not None:
            stamp = BUILD / "temp" / "sched.so.command"
            built = TOP / BUILD
            flags = repr((flux["cflags"], flux["libs"], flux["libdir"]))
            if not FLUX_FLAGS.exists() or FLUX_FLAGS.read_text() != flags:
                FLUX_FLAGS.parent.mkdir(parents=True, exist_ok=True)
                FLUX_FLAGS.write_text(flags)
            broker_module(self.config, SOURCE / "sched.so", built / "venv/bin/python", built / "lib", stamp)
        else:
            (SOURCE / "sched.so").unlink(missing_ok=True)
        self.compile(package_extensions(flux) + plugin_extensions() + pmi_library())

    def compile(self, extensions):
        directives, flags, link_flags = MODES.get(self.mode, ({}, [], []))
        if self.mode:
            for extension in extensions:
                extension.extra_compile_args = CFLAGS + flags
                extension.extra_link_args = link_flags
        # Neither Cython nor setuptools looks at anything but the times of files.
        signature = repr((sys.version, Cython.__version__, DIRECTIVES, CFLAGS, RELEASE, MODES, self.config["cc"]))
        stamp = self.folder / "temp" / "signature"
        changed = not stamp.exists() or stamp.read_text() != signature
        command = build_ext(self.distribution)
        command.build_lib = str(self.folder / "lib")
        command.build_temp = str(self.folder / "temp")
        command.translated = self.folder / "cython"
        command.loadables = self.loadables
        command.directives = {**DIRECTIVES, **directives}
        # What these pages show is looked at below: the GIL in code without it.
        command.annotate = not self.mode
        command.force = command.force_translation = changed or None
        before = self.annotations()
        self.distribution.ext_modules = extensions
        try:
            command.ensure_finalized()
            self.drop_stale(command, extensions)
            _build_ext.run(command)
        finally:
            self.warn(path for path, time in self.annotations().items() if before.get(path) != time)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(signature)
        command.check_translated()

    def annotations(self):
        return {path: path.stat().st_mtime_ns for path in (self.folder / "cython").rglob("*.html")}

    def warn(self, pages):
        import lint

        for page in sorted(pages):
            for text in lint.python_in_nogil(page):
                print("warning:", text, file=sys.stderr)

    def drop_stale(self, command, extensions):
        """Remove modules whose source is gone, or that another Python was to load."""
        wanted = {os.path.abspath(command.get_ext_fullpath(extension.name)) for extension in extensions}
        for path in (self.folder / "lib").rglob("*.so"):
            if os.path.abspath(path) not in wanted:
                path.unlink()

    def mirror(self):
        """Link every file of the package that is not compiled, and drop what has lost its source."""
        source, target = SOURCE / "fluxsched", self.folder / "lib" / "fluxsched"
        for path in source.rglob("*"):
            if path.is_file() and path.suffix not in (".pyx", ".c", ".h", ".pyc"):
                link(path, target / path.relative_to(source))
        kept = {target / name for name in SHARE}
        for name, folder in SHARE.items():
            link(self.loadables if folder == SOURCE else folder, target / name)
        for path in target.rglob("*"):
            if path.is_symlink() and not path.exists() and path not in kept:
                path.unlink()


def broker_module(config, target, python, lib, stamp=None):
    """Link sched.so, which embeds the interpreter ``python`` and imports fluxsched from the folder ``lib``.

    With a file ``stamp`` that is only done when something has changed.
    """
    folder = SOURCE / "fluxsched" / "flux"
    sources = sorted(folder.glob("*.c"))
    if not sources:
        return
    flux, interpreter = config["flux"], config["python"]
    command = [
        *shlex.split(os.environ.get("CC", config["cc"])),
        *("-std=gnu11", "-shared", "-fPIC", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter"),
        f'-DFLUXSCHED_PYTHON="{python}"',
        f'-DFLUXSCHED_LIB="{lib}"',
        f"-I{interpreter['include']}",
        *flux["cflags"],
        *map(str, sources),
        *("-o", str(target) + ".new"),
        f"-L{interpreter['libdir']}",
        f"-lpython{interpreter['ldversion']}",
        *flux["libs"],
        # Python cannot be unmapped while its threads and exit handlers live.
        "-Wl,-z,nodelete",
        f"-Wl,-rpath,{flux['libdir']}:{interpreter['libdir']}",
    ]
    text = shlex.join(command)
    if stamp is not None and stamp.exists() and stamp.read_text() == text and target.exists():
        built = target.stat().st_mtime
        if all(path.stat().st_mtime < built for path in [*sources, *folder.glob("*.h")]):
            return
    print("linking", target, flush=True)
    if subprocess.run(command).returncode:
        fail(f"{target} could not be built: see above")
    # A broker may have the old one mapped.
    os.replace(str(target) + ".new", target)
    if stamp is not None:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(text)


def strip(path):
    """Drop the debug information of a library, which is most of it; it stays where no strip is at hand."""
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-debug", "--preserve-dates", str(path)], check=False)


def requirement_closure(names):
    """Installed distributions that these requirements need, themselves included."""
    from packaging.requirements import Requirement

    found, queue = {}, list(names)
    while queue:
        requirement = Requirement(queue.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        distribution = metadata.distribution(requirement.name)
        if distribution.metadata["Name"] not in found:
            found[distribution.metadata["Name"]] = distribution
            queue += distribution.requires or []
    return list(found.values())


class install_tree(Command):
    """Below the prefix: lib/flux-sched/python (the package and the very versions it was tested with),
    share/flux-sched (RDL and configurations), the loadables in the folder of flux modules, and the commands."""

    description = "install what build_tree built below the configured prefix"
    user_options = [
        ("prefix=", None, "another prefix than the configured one"),
        ("destdir=", None, "put everything below this folder instead of /"),
        ("extras=", None, "also what these extras of pyproject.toml need, by commas: simulate"),
        ("no-manual", None, "leave the manual pages out"),
    ]
    boolean_options = ["no-manual"]

    def initialize_options(self):
        self.prefix = ""
        self.destdir = ""
        self.extras = ""
        self.no_manual = False
        self.config = None

    def finalize_options(self):
        self.config = configuration()
        if self.config is None:
            fail("not configured: run ./configure, or make")
        self.prefix = os.path.abspath(os.path.expanduser(self.prefix or self.config["prefix"]))
        self.extras = self.extras.replace(",", " ").split()
        known = self.distribution.extras_require
        for name in self.extras:
            if name not in known:
                fail(f"extras={name}: no such extra; there are {', '.join(sorted(known))}")

    def staged(self, path):
        return Path(f"{self.destdir}{path}")

    def run(self):
        prefix = Path(self.prefix)
        flux = self.config["flux"] if self.config["python"]["libpython"] else None
        own = flux is not None and flux["prefix"] == str(prefix)
        python = prefix / "lib/flux-sched/python"
        share = prefix / "share/flux-sched"
        modules = Path(flux["moduledir"]) if own and flux["moduledir"] else prefix / "lib/flux/modules"
        commands = Path(flux["cmddir"]) if own and flux["cmddir"] else prefix / "libexec/flux/cmd"
        try:
            self.install_python(python)
            for folder in (Path("rdl"), Path("conf"), SOURCE / "python"):
                name = folder.name
                self.install_folder(folder, share / name)
                link(self.staged(share / name), self.staged(python / "fluxsched/share" / name))
            for name in PLUGINS.values():
                self.install_file(SOURCE / name, modules / name)
                strip(self.staged(modules / name))
            link(self.staged(modules), self.staged(python / "fluxsched/plugins"))
            if not self.no_manual:
                self.install_manual(prefix / "share/man")
            self.install_completion(prefix)
            self.install_launcher(prefix / "bin/flux-sched", python, "fluxsched.cli.main")
            self.install_launcher(prefix / "bin/flux-session", python, "fluxsched.session.main")
            if flux is not None:
                broker_module(
                    self.config, self.staged(modules / "sched.so"), self.config["python"]["executable"], python
                )
                strip(self.staged(modules / "sched.so"))
                for path in sorted((SOURCE / "cmd").glob("flux-*.py")):
                    self.install_file(path, commands / path.name)
                self.install_launcher(commands / "flux-sched", python, "fluxsched.cli.main")
        except OSError as error:
            fail(f"{error.filename or prefix}: {error.strerror}: choose another --prefix, or install as its owner")
        print(f"Installed below {self.staged(prefix)}")
        if flux is not None and not own:
            print("For flux to find it, start brokers and commands with")
            print(f"    export FLUX_MODULE_PATH_PREPEND={modules}")
            print(f"    export FLUX_EXEC_PATH_PREPEND={commands}")

    def install_python(self, python):
        target = self.staged(python)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(BUILD / "lib" / "fluxsched", target / "fluxsched", ignore=self.left_out)
        for path in (target / "fluxsched").rglob("*.so"):
            strip(path)
        wanted = list(self.distribution.install_requires)
        for name in self.extras:
            wanted += self.distribution.extras_require[name]
        for distribution in requirement_closure(wanted):
            for file in distribution.files or ():
                if ".." not in file.parts and "__pycache__" not in file.parts and file.locate().exists():
                    self.install_file(file.locate(), python / file)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(target)], check=False)

    @staticmethod
    def left_out(folder, names):
        if Path(folder) == BUILD / "lib" / "fluxsched":
            return {"share", "plugins"} & set(names)
        return {"__pycache__"} & set(names)

    def install_folder(self, source, target):
        shutil.rmtree(self.staged(target), ignore_errors=True)
        shutil.copytree(source, self.staged(target), ignore=self.left_out)

    def install_manual(self, folder):
        """The manual pages, made now; without them if what makes them cannot be had."""
        import man

        trouble = man.build()
        if trouble:
            print(f"No manual pages are installed: {trouble}", file=sys.stderr)
            return
        for path in sorted(man.PAGES.glob("man*/*")):
            self.install_file(path, folder / path.parent.name / path.name)

    def install_completion(self, prefix):
        """What shells complete flux-session with."""
        from fluxsched.session.commands import scripts

        for shell, name in scripts.INSTALLED.items():
            path = self.staged(prefix / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scripts.script(shell, "flux-session"))

    def install_file(self, source, target):
        path = self.staged(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        # With their times, so that compiled Python files stay valid.
        shutil.copy2(source, temporary)
        temporary.replace(path)

    def install_launcher(self, path, python, module):
        """A command that runs the installed package and sees nothing of the caller's Python environment."""
        staged = self.staged(path)
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(makevenv.command_text(self.config["python"]["executable"], module, python))
        staged.chmod(0o755)


# pip in a fresh clone comes before configure, and setuptools makes no egg_base.
BUILD.mkdir(exist_ok=True)

# Cython's processes import this file again, where Python starts them anew.
if __name__ == "__main__":
    setup(
        packages=find_packages("sched", include=["fluxsched", "fluxsched.*"]),
        # Declarations too: a plugin in Cython is written against them.
        package_data={"": ["*.pxd", "py.typed"]},
        ext_modules=package_extensions(more=WHEEL_FLAGS) + plugin_extensions(more=WHEEL_FLAGS) + pmi_library(),
        cmdclass={"build_ext": build_ext, "build_py": build_py, "build_tree": build_tree, "install_tree": install_tree},
        # pip builds in the source folder, whose build/lib is the tree's own.
        options={"build": {"build_base": "build/wheel"}, "egg_info": {"egg_base": "build"}},
    )
