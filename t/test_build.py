# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""configure: what it finds, what it says is missing, and the virtual environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import conftest
import makevenv
from builds import TOP, sh, write

sys.path.insert(0, str(TOP))

import configure

COPIED = (
    "configure",
    "configure.py",
    "pyproject.toml",
    "tools/packages.sh",
    "tools/makevenv.py",
    "sched/fluxsched/version.py",
)


@pytest.fixture
def tree(tmp_path):
    """A copy of what configure is made of, with a folder of tools that is its whole PATH."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in COPIED:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tree / name)
    (tmp_path / "bin").mkdir()
    return tree


@pytest.fixture
def tool(tmp_path):
    """Put a tool of this machine on the tree's PATH."""

    def add(*names):
        for name in names:
            goal = shutil.which(name)
            if goal is None:
                pytest.skip(f"no {name} on this machine")
            # A wrapper and not a link: some compilers and interpreters look at where they were started.
            sh(tmp_path / "bin" / name, f'exec {goal} "$@"\n')

    return add


def run_configure(tree, *arguments, cwd=None, **environ):
    return subprocess.run(
        [str(tree / "configure"), *arguments],
        env={"PATH": str(tree.parent / "bin"), "HOME": str(tree.parent), **environ},
        cwd=cwd or tree,
        capture_output=True,
        text=True,
        timeout=120,
    )


def complaint(done):
    """The single line that a failed run printed."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def missing(done):
    """What a failed run said is missing, and the command that installs it."""
    assert done.returncode == 1
    assert done.stdout == ""
    text, command = done.stderr.splitlines()
    start, end = "configure: missing: ", "; to install what is needed:"
    assert text.startswith(start) and text.endswith(end), text
    # The first part is only there on a machine that has never asked for its packages.
    return text[len(start) : -len(end)], command.strip().replace("apt-get update && ", "")


def config_of(tree):
    return json.loads((tree / "build/config.json").read_text())


@pytest.fixture
def python():
    """The Python that the build uses, by its own name."""
    return config_of(TOP)["python"]["executable"]


@pytest.fixture
def interpreter(tree, python):
    """PATH with a python3."""
    sh(tree.parent / "bin/python3", f'exec {python} "$@"\n')


@pytest.fixture
def toolchain(interpreter, tool):
    """PATH with all that configure wants but flux-core."""
    tool("cc", "as", "ld", "pkg-config")


# configure: what is missing


@pytest.fixture
def apt(tree):
    """PATH with an apt-get that only notes how it was run."""
    return sh(tree.parent / "bin/apt-get", f'echo "$DEBIAN_FRONTEND $*" >>{tree.parent}/apt.log\n')


def test_no_python(tree):
    text = complaint(run_configure(tree))
    assert text.startswith("configure: missing: Python 3.9 or later, a C compiler that works: install them")


def test_all_that_is_missing_without_python(tree, apt, tool):
    text, command = missing(run_configure(tree))
    assert text == "Python 3.9 or later, a C compiler that works"
    assert command == "apt-get install gcc libc6-dev python3 python3-dev python3-venv"
    # A compiler without its headers is none.
    sh(tree.parent / "bin/cc", "exit 1\n")
    assert missing(run_configure(tree))[1] == command
    tool("gcc", "as")
    text, command = missing(run_configure(tree))
    assert (text, command) == ("Python 3.9 or later", "apt-get install python3 python3-dev python3-venv")


def test_python_too_old(tree):
    # The front asks twice: is it new enough (no), and which version is it.
    sh(tree.parent / "bin/python3", 'case $2 in *str*) printf False ;; *) printf 3.8 ;; esac\n')
    assert complaint(run_configure(tree)) == (
        "configure: Python 3.9 or later is needed, but python3 is 3.8: install a newer one or name it with PYTHON="
    )


def test_named_python_that_is_none(tree, toolchain):
    text = complaint(run_configure(tree, PYTHON="/nowhere/python"))
    assert text == "configure: PYTHON=/nowhere/python cannot be run: name a Python 3 interpreter"


def test_no_compiler(tree, interpreter, apt):
    text, command = missing(run_configure(tree))
    assert (text, command) == ("a C compiler (cc, gcc or clang)", "apt-get install gcc libc6-dev")
    apt.unlink()
    assert complaint(run_configure(tree)) == "configure: missing: a C compiler (cc, gcc or clang): install them"


def test_named_python_that_does_nothing(tree, toolchain):
    program = sh(tree.parent / "quiet", "exit 0\n")
    text = complaint(run_configure(tree, PYTHON=str(program)))
    assert text == f"configure: PYTHON={program} cannot be run: name a Python 3 interpreter"


def test_named_compiler_that_is_none(tree, toolchain):
    assert complaint(run_configure(tree, CC="nocc")) == "configure: CC=nocc was not found: name a C compiler"


def test_compiler_without_libc(tree, interpreter, apt):
    sh(tree.parent / "bin/cc", "echo 'x.c:1:10: fatal error: stdio.h: No such file or directory' >&2; exit 1\n")
    text, command = missing(run_configure(tree))
    assert "cc builds no program" in text and "stdio.h" in text
    assert command == "apt-get install gcc libc6-dev"


def test_second_compiler_is_tried(tree, toolchain, tool):
    sh(tree.parent / "bin/cc", "exit 1\n")
    tool("gcc")
    assert run_configure(tree, "--without-flux-core").returncode == 0
    assert config_of(tree)["cc"] == "gcc"


GOOD_PYTHON = {
    "executable": "/x/python3",
    "version": "3.12.1",
    "implementation": "CPython",
    "headers": True,
    "venv": True,
    "libpython": "libpython3.12.so",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "3.8.18"}, ["/x/python3", "3.8.18", "too old", "3.9"]),
        ({"implementation": "PyPy"}, ["/x/python3", "PyPy", "CPython is needed"]),
    ],
)
def test_python_trouble(change, words):
    assert configure.python_trouble(GOOD_PYTHON) is None
    trouble = configure.python_trouble({**GOOD_PYTHON, **change})
    assert not isinstance(trouble, configure.Missing)
    for word in words:
        assert word in str(trouble)


@pytest.mark.parametrize(
    ("executable", "change", "text", "things"),
    [
        ("/usr/bin/python3", {"headers": False}, "Python.h", ["headers"]),
        ("/usr/bin/python3", {"venv": False}, "the venv module", ["venv"]),
        ("/usr/bin/python3", {"headers": False, "venv": False}, "Python.h and the venv module", ["headers", "venv"]),
        ("/usr/bin/python3.99", {"headers": False, "venv": False}, "Python.h and the venv module",
         ["headers:3.12", "venv:3.12"]),
        ("/x/python3", {"headers": False}, "Python.h", ["python", "headers", "venv"]),
    ],
)
def test_python_without_parts(executable, change, text, things):
    trouble = configure.python_trouble({**GOOD_PYTHON, "executable": executable, **change})
    assert isinstance(trouble, configure.Missing)
    assert str(trouble) == f"{text} of {executable} (Python 3.12.1)"
    assert trouble.things == things


def fake_pythons(monkeypatch, *pythons):
    by_path = {python["executable"]: python for python in pythons}
    monkeypatch.setattr(configure, "python_candidates", lambda environ: list(by_path))
    monkeypatch.setattr(configure.shutil, "which", lambda name, path=None: name)
    monkeypatch.setattr(configure, "probe_python", by_path.get)


def test_python_with_libpython_is_preferred_for_flux():
    static = {**GOOD_PYTHON, "executable": "/a", "libpython": None}
    shared = {**GOOD_PYTHON, "executable": "/b"}
    assert configure.choose_python([static, shared], want_shared=False) is static
    assert configure.choose_python([static, shared], want_shared=True) is shared
    assert configure.choose_python([static], want_shared=True) is static


def test_incomplete_python_is_passed_over(monkeypatch):
    bare = {**GOOD_PYTHON, "executable": "/a", "headers": False}
    fake_pythons(monkeypatch, bare, {**GOOD_PYTHON, "executable": "/b"})
    assert [python["executable"] for python in configure.find_pythons({})] == ["/b"]
    fake_pythons(monkeypatch, bare, {**bare, "executable": "/b"})
    with pytest.raises(configure.Missing, match=r"Python\.h of /a "):
        configure.find_pythons({})
    with pytest.raises(configure.ConfigureError, match=r"PYTHON=/a: Python\.h of /a .*name another") as raised:
        configure.find_pythons({"PYTHON": "/a"})
    assert not isinstance(raised.value, configure.Missing)


def test_no_candidate_at_all(monkeypatch):
    fake_pythons(monkeypatch)
    with pytest.raises(configure.Missing, match="Python with its headers"):
        configure.find_pythons({})


def test_all_that_is_missing_is_named_at_once(monkeypatch):
    fake_pythons(monkeypatch, {**GOOD_PYTHON, "executable": "/usr/bin/python3", "headers": False, "venv": False})
    with pytest.raises(configure.Missing) as raised:
        configure.find_all({"PATH": "/nowhere", "CC": ""}, lambda environ: missing_compiler(), configure.find_pythons)
    assert raised.value.things == ["compiler", "headers", "venv"]
    assert str(raised.value).split("; ")[0] == "no compiler"
    assert configure.find_all({}, lambda environ: 1, lambda environ: 2) == [1, 2]


def missing_compiler():
    raise configure.Missing("no compiler", "compiler")


# Packages


def packages(folder, *arguments, **environ):
    """tools/packages.sh with the folder as PATH."""
    command = ["/bin/sh", str(TOP / "tools/packages.sh"), *arguments]
    return subprocess.run(command, env={"PATH": str(folder), **environ}, capture_output=True, text=True)


ALL_THINGS = ("compiler", "python", "headers", "venv", "headers:3.13", "venv:3.13", "lua", "pkg-config")


@pytest.mark.parametrize(
    ("manager", "names"),
    [
        ("apt-get", "gcc libc6-dev python3 python3-dev python3-venv python3.13-dev python3.13-venv lua5.1 pkg-config"),
        ("dnf", "gcc python3 python3-devel python3.13-devel python3.13 compat-lua pkgconf-pkg-config"),
    ],
)
def test_packages_of_a_distribution(tmp_path, manager, names):
    sh(tmp_path / manager, "")
    done = packages(tmp_path, "line", *ALL_THINGS)
    assert done.stdout.replace("apt-get update && ", "") == f"{manager} install {names}\n"
    sh(tmp_path / "sudo", "")
    assert packages(tmp_path, "line", "lua").stdout.startswith(f"sudo {manager} ")
    sh(tmp_path / "id", "echo 0\n")
    assert packages(tmp_path, "line", "lua").stdout.startswith(manager)


def test_packages_without_a_package_manager(tmp_path):
    done = packages(tmp_path, "line", "compiler")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_packages_that_nobody_knows(tmp_path):
    sh(tmp_path / "dnf", "")
    done = packages(tmp_path, "line", "compiler", "fortran")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "packages.sh: no packages are known for fortran\n"


@pytest.mark.parametrize("manager", ["apt-get", "dnf"])
def test_packages_are_installed_only_by_root(tmp_path, manager):
    sh(tmp_path / manager, f'echo "$*" >>{tmp_path}/log\n')
    sh(tmp_path / "id", "echo 1000\n")
    assert packages(tmp_path, "install", "lua", CI="true").returncode == 1
    assert not (tmp_path / "log").exists()
    sh(tmp_path / "id", "echo 0\n")
    done = packages(tmp_path, "install", "lua", CI="true")
    assert done.returncode == 0 and done.stdout.startswith("As root in a container or CI job: installing")
    assert "lua" in (tmp_path / "log").read_text()
    sh(tmp_path / manager, "exit 100\n")
    assert packages(tmp_path, "install", "lua", CI="true").returncode == 100


def test_configure_installs_what_is_missing(tree, tool, python):
    """As root in a container, from nothing at all: an apt-get that brings what it is asked for."""
    folder, stock = tree.parent / "bin", tree.parent / "stock"
    sh(folder / "id", "echo 0\n")
    for name, goal in (("python3", python), ("cc", shutil.which("cc"))):
        sh(stock / name, f'exec {goal} "$@"\n')
    sh(folder / "apt-get", f'echo "$*" >>{tree.parent}/apt.log\n{shutil.which("cp")} {stock}/* {folder}\n')
    tool("as", "ld")
    # Named, but not installed without being asked.
    missing(run_configure(tree, CI="true"))
    assert not (tree.parent / "apt.log").exists()
    done = run_configure(tree, "--without-flux-core", "--install-packages=tests", CI="true")
    assert done.returncode == 0, done.stderr
    assert "installing with apt-get: gcc libc6-dev python3 python3-dev python3-venv" in done.stdout
    assert (tree.parent / "apt.log").read_text().splitlines()[-1].endswith("lua5.1")
    assert config_of(tree)["arguments"] == ["--without-flux-core"]


def test_configure_names_what_could_not_be_installed(tree, apt):
    sh(tree.parent / "bin/id", "echo 0\n")
    done = run_configure(tree, "--install-packages", CI="true")
    assert done.returncode == 1
    assert done.stdout.count("installing with apt-get") == 1
    assert done.stderr.splitlines()[0].startswith("configure: missing: Python 3.9 or later, a C compiler")


# configure: flux-core


def fake_flux(prefix, version="0.88.0", command=True):
    """A library that says it is flux-core, with its header and .pc file."""
    write(
        prefix / "include/flux/core.h",
        "const char *flux_core_version_string (void);\nint flux_module_set_running (void *h);\n",
    )
    source = write(
        prefix / "lib/core.c",
        f'const char *flux_core_version_string (void) {{ return "{version}"; }}\n'
        "int flux_module_set_running (void *h) { return 0; }\n",
    )
    library = prefix / "lib/libflux-core.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    write(
        prefix / "lib/pkgconfig/flux-core.pc",
        f"prefix={prefix}\nlibdir=${{prefix}}/lib\nfluxmoddir=${{prefix}}/lib/flux/modules\n"
        "fluxcmddir=${prefix}/libexec/flux/cmd\n"
        f"Name: flux-core\nDescription: fake\nVersion: {version}\nLibs: -L${{libdir}} -lflux-core\n"
        "Cflags: -I${prefix}/include\n",
    )
    if command:
        sh(prefix / "bin/flux", 'printf "%s " "$FLUX_MODULE_PATH_PREPEND|$FLUX_EXEC_PATH_PREPEND|$LUA_PATH" "$@"\n')
    return prefix


def test_without_flux(tree, toolchain):
    done = run_configure(tree, "--without-flux-core", "--prefix=/opt/x")
    assert done.returncode == 0, done.stderr
    assert re.search(r"flux-core +left out", done.stdout)
    assert "not sched.so, the broker module: no flux-core" in done.stdout
    assert "embedded session" in done.stdout
    config = config_of(tree)
    assert config["flux"] is None and config["prefix"] == "/opt/x"
    assert (tree / "build/config.sh").read_text() == "FLUX=''\n"


def test_flux_by_pkg_config_path(tree, toolchain):
    prefix = fake_flux(tree.parent / "prefix")
    done = run_configure(tree, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    assert done.returncode == 0, done.stderr
    assert f"0.88.0 in {prefix} (pkg-config)" in done.stdout
    config = config_of(tree)
    assert config["flux"]["moduledir"] == f"{prefix}/lib/flux/modules"
    assert config["prefix"] == str(prefix)
    if config["python"]["libpython"]:
        assert "\n  sched.so, the broker module" in done.stdout


def test_flux_in_home_local(tree, toolchain):
    prefix = fake_flux(tree.parent / "local")
    if any(Path(p, "lib/pkgconfig/flux-core.pc").exists() for p in ("/usr", "/usr/local")):
        pytest.skip("a flux-core in /usr comes before that in $HOME/local")
    assert f"in {prefix} " in run_configure(tree).stdout


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.69.1", "is 0.69.1: 0.70 or later is needed"),
        ("0.75.0", "older than 0.88, the one tried"),
        ("0.88.0-12-g0a1b2c3", "0.88.0-12-g0a1b2c3 in"),
        ("1.2.0", "newer than 0.88, the last one tried"),
    ],
)
def test_flux_version(tree, toolchain, version, words):
    prefix = fake_flux(tree.parent / "prefix", version)
    done = run_configure(tree, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_flux_that_is_broken(tree, toolchain):
    prefix = fake_flux(tree.parent / "prefix", command=False)
    where = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    assert "has no flux command" in run_configure(tree, **where).stdout
    (prefix / "include/flux/core.h").unlink()
    assert "cannot be used" in run_configure(tree, **where).stdout
    (prefix / "lib/pkgconfig/flux-core.pc").write_text("nonsense\n")
    done = run_configure(tree, **where)
    assert "flux-core.pc cannot be used" in done.stdout and config_of(tree)["flux"] is None


def test_flux_needs_pkg_config(tree, toolchain):
    (tree.parent / "bin/pkg-config").unlink()
    done = run_configure(tree)
    assert done.returncode == 0
    assert "not looked for: no pkg-config\n" in done.stdout


def test_flux_searched_prefixes_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(configure, "pkg_config_folders", lambda environ: ["/a/lib64/pkgconfig", "/a/share/pkgconfig"])
    with pytest.raises(configure.FluxMissing, match=r"no flux-core\.pc below /a\)"):
        configure.flux_from_pkg_config("pkg-config", {}, "cc")


def test_no_libpython_means_no_broker_module():
    config = {"flux": {"version": "0.88.0"}, "python": {**GOOD_PYTHON, "libpython": None}}
    assert "no shared libpython" in configure.broker_module(config)
    assert configure.broker_module({**config, "python": GOOD_PYTHON}) is None


def test_builddir_that_holds_no_flux(tree, toolchain):
    folder = tree.parent / "empty"
    assert "is no folder" in complaint(run_configure(tree, f"--with-flux-core-builddir={folder}"))
    folder.mkdir()
    text = complaint(run_configure(tree, "--with-flux-core-builddir=empty", cwd=tree.parent))
    assert f"{folder} holds no flux-core" in text
    write(folder / "src/include/flux/core.h", "")
    text = complaint(run_configure(tree, f"--with-flux-core-builddir={folder}"))
    assert "is not built" in text and "run make" in text
    assert not (tree / "build/config.json").exists()


@pytest.mark.parametrize("version", ["0.88.0", "0.60.0"])
def test_builddir(tree, toolchain, version):
    # The build tree lies apart from its sources.
    source, build = tree.parent / "flux-source", tree.parent / "flux-build"
    fake = fake_flux(tree.parent / "fake", version)
    shutil.copytree(fake / "include/flux", source / "src/include/flux")
    (build / "src/common/.libs").mkdir(parents=True)
    shutil.copy(fake / "lib/libflux-core.so", build / "src/common/.libs")
    sh(build / "src/cmd/flux", "")
    write(build / "Makefile", "srcdir = ../flux-source\n")
    done = run_configure(tree, "--with-flux-core-builddir=flux-build", cwd=tree.parent)
    if version == "0.60.0":
        assert "0.70 or later is needed" in complaint(done)
        return
    assert done.returncode == 0, done.stderr
    assert f"0.88.0 in {build} (build tree)" in done.stdout
    assert config_of(tree)["flux"]["command"] == str(build / "src/cmd/flux")
    # make runs it again from another folder, with nothing on its command line.
    first = config_of(tree)
    assert run_configure(tree, "--recheck", cwd="/").returncode == 0
    assert config_of(tree) == first


def test_recheck_keeps_the_environment(tree, toolchain, python):
    assert run_configure(tree, "--without-flux-core", CC="cc -O1", PYTHON=python).returncode == 0
    assert run_configure(tree, "--recheck").returncode == 0
    config = config_of(tree)
    assert config["cc"] == "cc -O1" and config["environ"] == {"CC": "cc -O1", "PYTHON": python}
    assert config["flux"] is None


def test_unknown_option(tree, toolchain):
    done = run_configure(tree, "--with-fluxx")
    assert done.returncode == 2 and "--with-fluxx" in done.stderr
    done = run_configure(tree, "--prefix=")
    assert done.returncode == 2 and "--prefix: a folder expected" in done.stderr


def test_results_that_cannot_be_written(tree, toolchain):
    write(tree / "build", "")
    assert complaint(run_configure(tree, "--without-flux-core")) == f"configure: {tree}/build: File exists"


# The virtual environment


def test_venv_needs_configure(tree, toolchain):
    text = complaint(run_configure(tree, "--make-venv"))
    assert text == "configure: not configured: run ./configure first"


def test_no_network(tree, toolchain):
    assert run_configure(tree, "--without-flux-core").returncode == 0
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    done = run_configure(tree, "--make-venv", PIP_NO_CACHE_DIR="1", **closed)
    assert done.returncode == 1
    assert done.stderr.startswith("configure: no network: pip cannot reach the package index")
    assert done.stderr.count("\n") == 1
    assert not (tree / "build/venv/.complete").exists()


def test_pip_trouble():
    log = "Collecting x\nERROR: Could not build wheels for x\nERROR: another\n"
    assert makevenv.pip_trouble(log) == "pip failed: Could not build wheels for x (see build/venv.log)"
    assert "no network" in makevenv.pip_trouble("[Errno -3] Temporary failure in name resolution\n" + log)
    assert "no network" in makevenv.pip_trouble("ERROR: Could not find x>=1 (from versions: none)\n")
    assert "no reason given" in makevenv.pip_trouble("")


@pytest.mark.parametrize("folder", ["plain", "with spaces", "it's", "long" * 50])
def test_command_wherever_the_tree_is(tmp_path, folder):
    """Its arguments and all of its environment reach it, and the caller's Python settings do not."""
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    (tmp_path / "goal.py").write_text(
        "import os, sys\ndef main():\n    print(sys.argv[1:], os.environ['a.b'], os.environ['BASH_FUNC_f%%'])\n"
        "    return 3\n"
    )
    command = tmp_path / folder / "command"
    command.write_text(makevenv.command_text(str(python), "goal", str(tmp_path)))
    command.chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/goal.py").write_text("raise SystemExit('not this one')\n")
    environ = {"PYTHONPATH": str(tmp_path / "elsewhere"), "a.b": "dots", "BASH_FUNC_f%%": "() { :; }"}
    done = subprocess.run([str(command), "a b"], env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "['a b'] dots () { :; }\n", "")


@pytest.mark.parametrize("text", [None, "", "[1"])
def test_venv_that_is_not_complete(tree, monkeypatch, text):
    monkeypatch.setattr(makevenv, "STAMP", tree / "stamp")
    if text is not None:
        write(tree / "stamp", text)
    assert makevenv.stamp() is None


def test_venv_that_fits_is_kept(tree, toolchain, monkeypatch):
    """With a complete environment nothing is run but its own Python, once."""
    monkeypatch.setattr(makevenv, "VENV", TOP / "build/venv")
    config = config_of(TOP)
    assert makevenv.venv_fits(config["python"])
    assert not makevenv.venv_fits({**config["python"], "version": "3.9.0"})
    monkeypatch.setattr(makevenv, "VENV", tree)
    assert not makevenv.venv_fits(config["python"])


# make check


def test_tests_of_one_file_need_no_workers():
    def workers(*names):
        return conftest.pytest_xdist_auto_num_workers(SimpleNamespace(args=[str(TOP / name) for name in names]))

    assert workers("t/test_build.py") == workers("t/test_build.py::test_one", "t/test_build.py::test_two") == 0
    all_cores = len(os.sched_getaffinity(0))
    assert workers("t") == workers("t/test_build.py", "t/test_r.py") == workers("t/none.py") == all_cores + 2


def test_longest_files_begin_first():
    names = ["test_r", "test_session_run", "test_flux_jobs", "test_idset", "test_install", "test_session_store"]
    items = [SimpleNamespace(path=Path(f"{name}.py")) for name in names]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path.stem for item in items] == [
        "test_install", "test_flux_jobs", "test_session_run", "test_session_store", "test_r", "test_idset",
    ]
