# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""flux enable, disable, status: a session that is open from each start of the machine on.

systemd of the user keeps it where there is one; elsewhere cron's @reboot starts it, and people are told the line.  The
session (flux start --service) makes itself known to all shells, see wellknown.py.
"""
from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

from fluxsched.formats.quote import printable
from fluxsched.program import tell
from fluxsched.session import fsd, wellknown
from fluxsched.session.commands.client import Client
from fluxsched.session.commands.common import Parser, absolute, call
from fluxsched.session.errors import CommandError

UNIT = "flux-session.service"
OPENING = 60.0  # seconds that a session may take to open
POLL = 0.05  # seconds between two looks at whether it is open
LOG_MAX = 1 << 20  # bytes of the log file of a session without systemd; a larger one is begun anew


def main(name: str, words: list[str]) -> int:
    """flux enable, disable and status; the exit code."""
    return {"enable": enable, "disable": disable, "status": status}[name](words)


# the parts


def own_command() -> list[str]:
    """The words that run these commands, in every environment: an installed flux-session, or this very Python."""
    package = Path(__file__).absolute().parents[2]
    found = [Path(sys.prefix, "bin", "flux-session")]
    if package.parts[-4:-1] == ("lib", "flux-sched", "python"):
        found.insert(0, package.parents[3] / "bin" / "flux-session")
    for script in found:
        if os.access(script, os.X_OK):
            return [str(script)]
    return [sys.executable, "-I", "-m", "fluxsched.session.main"]


def unit_path() -> Path:
    """The file of the unit of systemd."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~"), ".config")
    return root / "systemd" / "user" / UNIT


def _unit_word(word: str) -> str:
    """A word of ExecStart: quoted, and nothing in it is a specifier or a variable."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def unit_text(words: list[str]) -> str:
    """The unit that runs `words` from each login on, and again when it has failed.

    Only the session itself is stopped with it (KillMode): its jobs go on, and the next one finds them.  It may make
    control groups below its own (Delegate)."""
    return (
        "[Unit]\nDescription=Job queue of this user (flux-sched)\n\n"
        f"[Service]\nExecStart={' '.join(map(_unit_word, words))}\n"
        "Restart=on-failure\nRestartSec=1\nKillMode=process\nDelegate=yes\n\n"
        "[Install]\nWantedBy=default.target\n"
    )


def cron_line(words: list[str]) -> str:
    """The line of a crontab that runs `words` at each boot; to cron a bare % is the end of the line."""
    return "@reboot " + shlex.join(words).replace("%", "\\%")


def _systemctl(*words: str) -> Optional[subprocess.CompletedProcess[str]]:
    """systemctl --user; None if there is none."""
    program = shutil.which("systemctl")
    if program is None:
        return None
    return subprocess.run(
        [program, "--user", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def has_systemd() -> bool:
    """Whether a systemd of the user answers."""
    done = _systemctl("show-environment")
    return done is not None and done.returncode == 0


def _must(*words: str) -> None:
    done = _systemctl(*words)
    if done is None or done.returncode:
        text = "it is gone" if done is None else done.stderr.strip() or f"exit code {done.returncode}"
        raise CommandError(f"systemctl --user {' '.join(words)}: {text}")


def connect() -> Optional[Client]:
    """A connection to the session that stays open, None if it is not open."""
    uri = wellknown.find()
    try:
        return None if uri is None else Client(uri)
    except CommandError:
        return None


def _wait_until_open(process: Optional[subprocess.Popen[bytes]], where: str, begin: int = 0) -> None:
    """Wait for the session. `where` tells of its log; with a `process`, that is a file, in which its lines begin at a
    byte.  Raises CommandError."""
    deadline = time.monotonic() + OPENING
    while True:
        client = connect()
        if client is not None:
            client.close()
            return
        if process is not None and process.poll() is not None:
            raise CommandError(f"the session has not opened: {_last_line(where, begin)}; its log is {where}")
        if time.monotonic() > deadline:
            raise CommandError(f"the session has not opened within {OPENING:.0f} s: see {where}")
        time.sleep(POLL)


def _last_line(path: str, begin: int) -> str:
    """The last line of a file from a byte on, without the name of the program in front."""
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            lines = file.read(LOG_MAX).decode(errors="replace").split("\n")
    except OSError as error:
        return error.strerror or str(error)
    said = [line for line in lines if line.strip()] or ["it has said nothing"]
    return said[-1].removeprefix("flux-start: ")


def open_in_background(words: list[str]) -> None:
    """Open the session that stays, by systemd if that knows it, and wait until it answers.  Raises CommandError."""
    if unit_path().exists() and has_systemd():
        _must("start", UNIT)
        _wait_until_open(None, f"journalctl --user -u {UNIT}")
        return
    folder = Path(wellknown.state_folder())
    log = folder / "log"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        large = log.exists() and log.stat().st_size > LOG_MAX
        with open(log, "wb" if large else "ab") as file:
            begin = file.tell()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", start_new_session=True
            )
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}") from None
    _wait_until_open(process, str(log), begin)


def _leave() -> bool:
    """Have the session end, if one is open, and wait until it has; whether one was.  Raises CommandError."""
    client = connect()
    if client is None:
        return False
    pid = int(call(client.rpc, "attr.get", {"name": "broker.pid"})["value"])
    call(client.rpc, "session.leave")
    deadline = time.monotonic() + OPENING
    while _runs(pid):
        if time.monotonic() > deadline:
            raise CommandError(f"the session has not ended within {OPENING:.0f} s")
        time.sleep(POLL)
    return True


def _check_folder(client: Client, wanted: Optional[str]) -> None:
    """Refuse another state directory than that of the session that is open.  Raises CommandError."""
    used = call(client.rpc, "attr.get", {"name": "statedir"})["value"]
    if wanted is not None and absolute(wanted) != used:
        raise CommandError(f"--statedir: a session is open already, on {used}; flux-session disable ends it")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


# the commands


def _session_words(o: Any) -> list[str]:
    words = [*own_command(), "start", "--service"]
    if o.statedir is not None:
        words.append(f"--statedir={absolute(o.statedir)}")
    if o.config_path is not None:
        words.append(f"--config-path={absolute(o.config_path)}")
    return words


def enable(words: list[str]) -> int:
    """flux enable"""
    p = Parser("enable", description="Open a session that stays: from now on, and from each start of the machine.")
    p.add_argument("--statedir", metavar="DIR", help="keep jobs in DIR (default: ~/.local/state/flux-sched/queue)")
    p.add_argument("-c", "--config-path", metavar="FILE", help="read the configuration from FILE, TOML or JSON")
    o = p.parse_args(words)
    for name, value in (("statedir", o.statedir), ("config-path", o.config_path)):
        if value is not None and (not value or not absolute(value).isprintable()):
            raise CommandError(f"--{name}: expected a path of printable characters, got {value!r}")
    run = _session_words(o)
    if has_systemd():
        path = unit_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(unit_text(run), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{error.filename or path}: {error.strerror}") from None
        _must("daemon-reload")
        _must("enable", UNIT)
        _leave()  # one that systemd has not opened
        _must("restart", UNIT)
        _wait_until_open(None, f"journalctl --user -u {UNIT}")
        print(printable(f"Written: {path}"))
        print("The session is open, and will be from each login on. Its log: journalctl --user -u flux-session")
        print("For it to run while you are logged out, too: loginctl enable-linger")
        return 0
    client = connect()
    if client is None:
        open_in_background(run)
    else:
        _check_folder(client, o.statedir)
    print("The session is open." if client is None else "A session is open already.")
    print("There is no systemd of yours here. For a session from each boot on, add this line by crontab -e:")
    print(f"    {cron_line(run)}")
    return 0


def disable(words: list[str]) -> int:
    """flux disable"""
    p = Parser("disable", description="End the session that stays, and open it no more. Its jobs go on and are kept.")
    p.parse_args(words)
    path = unit_path()
    had_unit = path.exists()
    was_open = False
    if had_unit:
        if has_systemd():
            was_open = connect() is not None
            _must("disable", "--now", UNIT)
            was_open = was_open and connect() is None
        try:
            path.unlink()
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        if has_systemd():
            _must("daemon-reload")
        print(printable(f"Removed: {path}"))
    if was_open or _leave():
        print("The session has ended. Jobs that run go on; those that wait are kept for the next one.")
    elif not had_unit:
        tell("flux-disable: no session that stays is open")
    if not has_systemd():
        print("If crontab -l shows a line with @reboot and start --service, remove it by crontab -e.")
    return 0


def status(words: list[str]) -> int:
    """flux status"""
    p = Parser("status", description="Whether the session that stays is open and enabled; exit code 1 if not open.")
    p.parse_args(words)
    path = unit_path()
    if path.exists():
        done = _systemctl("is-enabled", UNIT)
        print(printable(f"unit:     {path}, {(done.stdout.strip() if done else '') or 'no systemd answers'}"))
    else:
        print("unit:     none (flux-session enable writes one)")
    client = connect()
    if client is None:
        stale = wellknown.find()
        raise CommandError("no session that stays is open" + (f": the one at {stale} has gone" if stale else ""))
    up = call(client.rpc, "session.uptime")
    counts = call(client.rpc, "job-manager.alloc-query")
    folder = call(client.rpc, "attr.get", {"name": "statedir"})["value"]
    print(printable(f"session:  {client.uri}, open for {fsd.show(up['seconds'])}"))
    waiting = counts["queued"] + counts["pending"]
    print(printable(f"jobs:     {up['running']} running, {waiting} waiting; kept in {folder}"))
    return 0


def offer(command: str) -> bool:
    """Ask at a terminal whether to open a session, as `command` needs one, and open it; False without a terminal, or
    if the answer is no.  Raises CommandError if it does not open."""
    try:
        asks = os.isatty(0) and os.isatty(2)
    except OSError:
        asks = False
    if not asks:
        return False
    sys.stderr.write(f"flux-{command}: no session is open. Open one in the background, which stays? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        return False
    open_in_background([*own_command(), "start", "--service"])
    tell("flux-start: a session is open; flux-session disable ends it, flux-session enable opens it at each boot, too")
    return True
