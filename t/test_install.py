# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the build leaves behind, make install, a wheel, and the launcher."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import requirements
from builds import TOP, VENV_PYTHON, sh, write
from fluxsched.program import extra_needed
from fluxsched.version import VERSION

sys.path.insert(0, str(TOP))

import configure


@pytest.fixture(scope="module")
def python(build_config):
    """The Python that the build uses, by its own name."""
    return build_config["python"]["executable"]


# What the build leaves behind


def dynamic_section(path):
    if shutil.which("readelf") is None:
        pytest.skip("no readelf on this machine")
    return subprocess.run(["readelf", "-d", str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_every_module_is_built(build_config):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for path in (TOP / "sched/fluxsched").rglob("*.pyx"):
        name = path.relative_to(TOP / "sched")
        if name.parts[1] == "flux" and build_config["flux"] is None:
            continue
        assert (TOP / "build/lib" / name.with_suffix(suffix)).exists(), name
    for path in (TOP / "sched/fluxsched").rglob("*.py"):
        assert (TOP / "build/lib" / path.relative_to(TOP / "sched")).samefile(path)


def test_share_is_beside_the_package():
    package = TOP / "build/lib/fluxsched"
    assert (package / "share/conf/hype.lua").exists()
    assert (package / "share/rdl/RDL.lua").exists()
    assert (package / "share/python/flux/__init__.py").exists()
    assert (package / "plugins/sched.plugin1.so").exists()


def test_standard_sched_still_imports():
    """sched/ holds a sched.so and no __init__.py, and is on no path that Python searches."""
    assert not (TOP / "sched/__init__.py").exists()
    done = subprocess.run(
        [str(VENV_PYTHON), "-c", "import sched, fluxsched; print(sched.scheduler, sched.__file__)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert str(TOP) not in done.stdout


@pytest.mark.parametrize("name", ["sched.plugin1.so", "backfill.plugin1.so"])
def test_plugins_bring_no_python(name):
    assert "libpython" not in dynamic_section(TOP / "sched" / name)
    symbols = subprocess.run(["nm", "-D", str(TOP / "sched" / name)], stdout=subprocess.PIPE, text=True).stdout
    assert re.search(rf" T PyInit_{name.replace('.so', '').replace('.', '_')}\b", symbols)


def test_broker_module(build_config):
    if configure.broker_module(build_config) is not None:
        pytest.skip(f"not built: {configure.broker_module(build_config)}")
    section = dynamic_section(TOP / "sched/sched.so")
    assert "libpython" in section and "libflux-core" in section and "NODELETE" in section
    symbols = subprocess.run(["nm", "-D", str(TOP / "sched/sched.so")], stdout=subprocess.PIPE, text=True).stdout
    assert re.search(r" T mod_main\b", symbols)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (None, "not configured: run ./configure, or make"),
        ("{", "build/config.json is damaged: run ./configure"),
        ('{"top": "/elsewhere"}', "build/ was made for /elsewhere: run make distclean, then make"),
    ],
)
@pytest.mark.parametrize("command", ["build_tree", "install_tree"])
def test_build_that_is_not_configured(tmp_path, command, config, line):
    names = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "tools/makevenv.py", "sched/fluxsched/version.py")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tmp_path / name)
    if config is not None:
        write(tmp_path / "build/config.json", config)
    done = subprocess.run([str(VENV_PYTHON), str(tmp_path / "setup.py"), "-q", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"flux-sched: {line}"


# Installing


def test_every_folder_of_modules_is_a_package():
    """A wheel has no others, though they can be imported in the tree."""
    folders = {path.parent for suffix in ("py", "pyx") for path in (TOP / "sched/fluxsched").rglob(f"*.{suffix}")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


SHOW_INSTALLED = """
import os, fluxsched
from fluxsched.policy.loader import load_plugin
from fluxsched.formats import rdl
here = os.path.dirname(fluxsched.__file__)
load_plugin("backfill.plugin1")
h = rdl.load(os.path.join(here, "share", "conf", "hype.lua"))
print(here, h.type.count("node"))
"""


def install_tree(*options):
    # A test installs no Sphinx.
    manual = ["--no-manual"] if requirements.missing("man") else []
    command = [str(VENV_PYTHON), "setup.py", "-q", "install_tree", *manual, *options]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("installed")
    done = install_tree(f"--prefix={prefix}")
    assert done.returncode == 0, done.stderr
    return prefix, done.stdout


def test_installed_package_stands_alone(installed, python):
    """It runs with nothing of the source tree or its virtual environment."""
    prefix, _ = installed
    lib = prefix / "lib/flux-sched/python"
    done = subprocess.run(
        [python, "-I", "-c", f"import sys; sys.path.insert(0, {str(lib)!r})\n" + SHOW_INSTALLED],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{lib}/fluxsched 154\n", done.stderr
    assert not [path for path in lib.rglob("*") if path.is_symlink() and str(TOP) in os.path.realpath(path)]


def test_installed_command(installed):
    prefix, _ = installed
    done = subprocess.run(
        [str(prefix / "bin/flux-sched"), "rdl", str(prefix / "share/flux-sched/conf/hype.lua"), "aggregate"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "154" in done.stdout


INSTALLED_SESSION = (
    "flux module load sched rdl-conf=hype.lua rdl-resource=default:/hype/hype201 in-sim=true plugin=sched.plugin1 "
    "&& flux run sh -c 'echo ${PYTHONPATH-none}' && flux getattr size"
)


def check_installed_session(command, folder):
    done = subprocess.run(
        [str(command), "start", "--emulate=hype.lua", "sh", "-c", INSTALLED_SESSION],
        env={"PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # The session's own module flux, and nothing of the Python that it runs with.
    path, size = done.stdout.splitlines()
    assert path.endswith("fluxsched/share/python") and os.pathsep not in path, done.stdout
    assert size == "154" and os.path.exists(os.path.join(path, "flux", "__init__.py"))


def test_installed_session(installed, tmp_path):
    check_installed_session(installed[0] / "bin/flux-session", tmp_path)


def test_installed_manual(installed):
    """Below share/man, where help of the installed session finds it."""
    if requirements.missing("man"):
        pytest.skip("no Sphinx: make man installs it")
    prefix, _ = installed
    assert (prefix / "share/man/man5/flux-sched-traces.5").is_file()
    command = [str(prefix / "bin/flux-session"), "help", "traces"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True)
    assert "flux-sched-traces - job traces for the simulator" in " ".join(done.stdout.split())


def test_installed_broker_module(installed, build_config):
    if configure.broker_module(build_config) is not None:
        pytest.skip(f"not built: {configure.broker_module(build_config)}")
    prefix, told = installed
    modules = prefix / "lib/flux/modules"
    assert f"export FLUX_MODULE_PATH_PREPEND={modules}\n" in told
    assert f"export FLUX_EXEC_PATH_PREPEND={prefix}/libexec/flux/cmd\n" in told
    script = (
        "flux module remove sched-simple && flux module load sched rdl-conf=hype.lua in-sim=true && "
        "flux wreckrun -n1 echo it runs && flux sched --version && flux sched queue"
    )
    done = subprocess.run(
        [build_config["flux"]["command"], "start", "sh", "-c", script],
        env={
            "PATH": f"{Path(build_config['flux']['command']).parent}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "FLUX_MODULE_PATH_PREPEND": str(modules),
            "FLUX_EXEC_PATH_PREPEND": f"{prefix}/libexec/flux/cmd",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    queue = "sched.plugin1, order fcfs: 0 jobs waiting"
    assert done.stdout == f"it runs\nflux-sched {VERSION}\n{queue}\n", done.stderr


def size_of(folder):
    """Bytes of all files below the folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def test_installed_is_small(installed):
    """Neither the simulator's libraries nor debug information: what each node of a cluster reads."""
    prefix, _ = installed
    brought = {path.name for path in (prefix / "lib/flux-sched/python").iterdir()}
    assert {"fluxsched", "lupa", "click", "orjson"} <= brought
    assert not {"numpy", "matplotlib", "rich", "pygments"} & brought
    assert size_of(prefix) < 30e6
    if shutil.which("strip") and shutil.which("readelf"):
        for path in prefix.rglob("*.so"):
            sections = subprocess.run(["readelf", "-SW", str(path)], stdout=subprocess.PIPE, text=True).stdout
            assert ".debug_info" not in sections, path


def test_installed_says_its_version(installed):
    prefix, _ = installed
    environ = {"PATH": "/usr/bin:/bin"}
    command = [str(prefix / "bin/flux-sched"), "--version"]
    assert subprocess.check_output(command, env=environ, text=True) == f"flux-sched {VERSION}\n"
    command = [str(prefix / "bin/flux-session"), "version"]
    assert VERSION in subprocess.check_output(command, env=environ, text=True)
    assert (prefix / "lib/flux-sched/python/fluxsched/py.typed").exists()


def test_version_stands_in_one_place():
    assert configure.project_version() == VERSION
    command = [str(TOP / "build/venv/bin/flux-sched"), "--version"]
    assert subprocess.check_output(command, text=True) == f"flux-sched {VERSION}\n"
    assert 'dynamic = ["version"]' in (TOP / "pyproject.toml").read_text()


def without(*modules):
    """flux-sched where these modules are not installed."""
    code = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\nfrom fluxsched.cli.main import main; main()"

    def run(*arguments):
        return subprocess.run([str(VENV_PYTHON), "-c", code, *arguments], capture_output=True, text=True)

    return run


def test_commands_name_the_extra_that_they_need(tmp_path):
    run = without("numpy", "matplotlib", "rich")
    line = (
        "flux-sched: this needs numpy, which is not installed: pip install 'flux-sched-cython[simulate]', or make "
        "install extras=simulate\n"
    )
    trace = str(tmp_path / "trace.swf")
    for words in (["simulate", "--trace", trace], ["generate-trace", trace]):
        done = run(*words)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    hype = str(TOP / "conf/hype.lua")
    for words in (["--help"], ["simulate", "--help"], ["plugin", "--help"], ["rdl", hype, "aggregate"]):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
    # Told before the run, not after it.
    write(tmp_path / "trace.swf", "; MaxProcs: 1\n1 0 0 1 1 -1 -1 1 1 -1 1 1 1 1 1 1 -1 -1\n")
    done = without("matplotlib")("simulate", "--trace", trace, "--out", str(tmp_path / "out"), "--plot")
    assert (done.returncode, done.stdout) == (1, "") and "this needs matplotlib" in done.stderr
    assert not (tmp_path / "out").exists()


def test_modules_that_no_extra_brings():
    assert "needs rich" in extra_needed(ModuleNotFoundError("no", name="rich.console"))
    assert extra_needed(ModuleNotFoundError("no", name="fluxsched.nonsense")) == ""
    assert extra_needed(ModuleNotFoundError("no")) == ""
    done = without("fluxsched.cli.rdl")("rdl", "x.lua")
    assert "Traceback" in done.stderr


def test_install_of_an_unknown_extra(tmp_path):
    done = install_tree(f"--prefix={tmp_path}/x", "--extras=pictures")
    assert done.returncode == 1 and not (tmp_path / "x").exists()
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch("flux-sched: extras=pictures: no such extra; there are .*simulate.*", last)


def test_install_staged(tmp_path):
    done = install_tree("--prefix=/opt/x", f"--destdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opt/x/bin/flux-sched").read_text().count("/opt/x/lib/flux-sched/python") == 1
    # The links inside are relative, so they hold here and where the files will go.
    assert (tmp_path / "opt/x/lib/flux-sched/python/fluxsched/plugins/sched.plugin1.so").exists()


def test_install_where_nothing_can_be(tmp_path):
    write(tmp_path / "file", "")
    done = install_tree(f"--prefix={tmp_path}/file/below")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"flux-sched: {tmp_path}/file")
    assert "choose another --prefix" in done.stderr


@pytest.mark.skipif(
    os.environ.get("FLUXSCHED_TEST_PIP") != "1", reason="compiles everything again: set FLUXSCHED_TEST_PIP=1"
)
def test_pip_install(tmp_path, python):
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clone, venv = tmp_path / "clone", tmp_path / "venv"
    shutil.copytree(TOP, clone, ignore=shutil.ignore_patterns("build", ".git", "*.so", "__pycache__", ".hypothesis"))
    subprocess.run([python, "-m", "venv", str(venv)], check=True)

    def pip(*words):
        subprocess.run([str(venv / "bin/pip"), *words], check=True, cwd=tmp_path, env=environ)

    pip("wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(clone))
    (wheel,) = tmp_path.glob("flux_sched_cython-*.whl")
    assert wheel.name.startswith(f"flux_sched_cython-{VERSION}-") and wheel.stat().st_size < 5e6
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "fluxsched/py.typed" in names and "fluxsched/core/types.pxd" in names
        archive.extractall(tmp_path / "unpacked")
    pip("install", "-q", str(wheel))
    done = subprocess.run(
        [str(venv / "bin/python"), "-I", "-c", SHOW_INSTALLED], capture_output=True, text=True, cwd=tmp_path
    )
    assert re.fullmatch(rf"{venv}/lib\S*/fluxsched 154\n", done.stdout), done.stderr
    done = subprocess.run([str(venv / "bin/flux-sched"), "--version"], capture_output=True, text=True)
    assert done.stdout == f"flux-sched {VERSION}\n", done.stderr
    code = "import sys; sys.path.insert(0, 'unpacked'); from fluxsched.cli.main import main; main(['--version'])"
    done = subprocess.run([str(venv / "bin/python"), "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"flux-sched {VERSION}\n", done.stderr
    done = subprocess.run(
        [str(venv / "bin/flux-sched"), "generate-trace", "x.swf"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "flux-sched-cython[simulate]" in done.stderr, done.stderr
    check_installed_session(venv / "bin/flux-session", tmp_path)


# The launcher


@pytest.fixture
def tree(tmp_path):
    """A tree with nothing but the launcher."""
    (tmp_path / "tree").mkdir()
    shutil.copy(TOP / "flux", tmp_path / "tree/flux")
    return tmp_path / "tree"


def test_launcher_before_make(tree):
    done = subprocess.run([str(tree / "flux"), "start"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"flux: nothing is built in {tree} yet: run make there\n"


@pytest.fixture
def launcher(tree):
    """A tree where the launcher's two goals only tell how they were run."""
    sh(tree / "build/venv/bin/python", 'echo "python ${PYTHONPATH-}|$FLUX_MODULE_PATH|$*"\n')
    write(tree / "sched/sched.plugin1.so", "")
    real = sh(tree.parent / "real flux", 'echo "real $FLUX_MODULE_PATH_PREPEND|$FLUX_EXEC_PATH_PREPEND|$LUA_PATH|$*"\n')

    def run(flux, program=None, **environ):
        write(tree / "build/config.sh", f"FLUX='{flux and real}'\n")
        done = subprocess.run(
            [str(program or tree / "flux"), "run", "a b"],
            env={"PATH": "/usr/bin:/bin", **environ},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return run


def test_launcher_embedded(tree, launcher):
    goal = f"python |{tree}/sched|-IS {tree}/sched/fluxsched/session/entry.py run a b"
    assert launcher("") == goal
    assert launcher("yes", FLUX_SCHED_EMBEDDED="1") == goal
    assert launcher("", PYTHONPATH="/elsewhere") == goal.replace("python |", "python /elsewhere|")
    assert launcher("", FLUX_MODULE_PATH="/mine") == goal.replace("/sched|", "/sched:/mine|")


def test_launcher_real(tree, launcher):
    goal = f"real {tree}/sched|{tree}/sched/cmd|{tree}/rdl/?.lua;;|run a b"
    assert launcher("yes") == goal
    assert launcher("yes", FLUX_SCHED_EMBEDDED="0") == goal
    assert f"{tree}/rdl/?.lua;/m/?.lua|" in launcher("yes", LUA_PATH="/m/?.lua")


def test_launcher_through_a_link(tree, launcher):
    folder = tree.parent / "elsewhere"
    folder.mkdir()
    (folder / "flux").symlink_to("../tree/flux")
    (folder / "again").symlink_to(folder / "flux")
    assert f"|{tree}/sched/cmd|" in launcher("yes", program=folder / "again")


@pytest.mark.parametrize("flux", ["", "real"])
def test_launcher_keeps_the_environment(tree, flux):
    """Names that no shell would make, and functions that bash exports, reach the jobs."""
    write(tree / "sched/sched.plugin1.so", "")
    write(tree / "build/config.sh", f"FLUX='{flux and tree / flux}'\n")
    for path in (tree / "build/venv/bin/python", tree / "real"):
        write(path, "#!/bin/bash -p\nexec env -0\n", 0o755)
    odd = {"a.b": "1", "x-y": "a b", "BASH_FUNC_f%%": "() {  :;\n}", "BASH_ENV": "/nowhere", "1": "one"}
    environ = {"PATH": "/usr/bin:/bin", **odd}
    done = subprocess.run([str(tree / "flux"), "jobs"], env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    seen = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    assert {name: seen.get(name) for name in odd} == odd
