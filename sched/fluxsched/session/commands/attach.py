# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Following a job: its output, its end, its standard input, and Ctrl-C."""

import base64
import json
import os
import selectors
import signal
import sys
import time

from fluxsched.session import jobid as ids
from fluxsched.session.commands.client import ENODATA, Client, RPCError
from fluxsched.session.errors import CommandError

STDIN_CHUNK = 1 << 15
RETRY = 0.05


def say(text):
    print(f"flux-job: {text}", file=sys.stderr, flush=True)


def _in_background():
    """Whether reading the terminal would stop us."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False


class Attach:
    def __init__(self, client, jobid, label=False, events=False, quiet=False, stdin=False, until=None):
        self.client = client
        self.jobid = jobid
        self.label = label
        self.show_events = events
        self.quiet = quiet
        self.stdin = stdin
        self.until = until
        self.submitted = None
        self.code = 0
        self.started = False
        self.done = False
        self.selector = selectors.DefaultSelector()
        self.unsent = None  # stdin on its way, until the broker has taken it
        self.stdin_request = None
        self.stdin_open = False
        self.interrupted = None
        self.error = None
        self.retry_at = None

    # what comes

    def write(self, stream, data):
        file = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
        file.write(data)
        file.flush()

    def output(self, entries):
        for entry in entries:
            data = base64.b64decode(entry["b"]) if "b" in entry else entry["d"].encode("utf-8", "surrogatepass")
            if self.label:
                prefix = b"%d: " % entry["r"]
                data = b"".join(prefix + line for line in data.splitlines(True))
            self.write(entry["s"], data)

    def event(self, entry):
        name, context = entry["name"], entry.get("context")
        if self.submitted is None:
            self.submitted = entry["timestamp"]
        offset = f"{entry['timestamp'] - self.submitted:.3f}s"
        if name == "exception":
            if not self.quiet:
                note = f"{context['note']}" if context.get("note") else ""
                text = f"{offset}: job.exception {ids.show(self.jobid)} type={context['type']} "
                print(f"{text}severity={context['severity']} {note}", file=sys.stderr, flush=True)
            if context["severity"] == 0 and not self.code:
                self.code = 1
        elif self.show_events:
            tail = " " + json.dumps(context, separators=(",", ":")) if context else ""
            print(f"{offset}: job.{name}{tail}", file=sys.stderr, flush=True)
        if name == "start":
            self.started = True
            self.watch_stdin()
        elif name == "finish":
            self.finished(context["status"] >> 8)
        if name == self.until:
            self.done = True

    def finished(self, code):
        self.code = code or (self.code and 1)
        self.close_stdin()
        if code and not self.quiet:
            if code > 128 and code - 128 in set(signal.Signals):
                say(f"task(s) {signal.strsignal(code - 128)}")
            else:
                say(f"task(s) exited with exit code {code}")

    # stdin

    def watch_stdin(self):
        if not self.stdin or self.stdin_open or _in_background():
            return
        self.stdin_open = True
        try:
            self.selector.register(0, selectors.EVENT_READ, self.read_stdin)
        except PermissionError:
            self.read_file()  # a regular file, or /dev/null: always ready
        except (OSError, ValueError):
            self.send_stdin(b"")

    def read_file(self):
        try:
            self.send_stdin(os.read(0, STDIN_CHUNK))
        except OSError:
            self.send_stdin(b"")

    def read_stdin(self):
        self.selector.unregister(0)
        self.read_file()

    def send_stdin(self, data):
        self.unsent = data
        payload = {"id": self.jobid, "data": data.decode("latin-1"), "eof": not data}
        self.stdin_request = self.client.send("job.stdin", payload)

    def taken(self, answer, error):
        """The broker's answer to a piece of stdin."""
        data, self.unsent, self.stdin_request = self.unsent, None, None
        if error is not None or not answer["open"]:
            self.stdin_open = False
        elif answer.get("wait"):
            self.unsent = data
            self.retry_at = time.monotonic() + RETRY
        elif data:
            try:
                self.selector.register(0, selectors.EVENT_READ, self.read_stdin)
            except PermissionError:
                self.read_file()
        else:
            self.stdin_open = False

    def close_stdin(self):
        self.stdin = False
        if 0 in self.selector.get_map():
            self.selector.unregister(0)

    # signals

    def on_interrupt(self, number, frame):
        now = time.monotonic()
        if self.interrupted is not None and now - self.interrupted <= 2.0:
            self.interrupted = None
            say("canceling job on second ctrl-C")
            self.client.send("job-manager.raise", {"id": self.jobid, "type": "cancel", "note": "interrupted by ctrl-C"})
        else:
            self.interrupted = now
            say("one more ctrl-C within 2s to cancel or ctrl-Z to detach")

    def on_stop(self, number, frame):
        if self.interrupted is not None and time.monotonic() - self.interrupted <= 2.0:
            say("detaching...")
            self.done = True
            return
        say("one more ctrl-Z to suspend")
        self.interrupted = time.monotonic()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def on_term(self, number, frame):
        self.client.send("job-manager.kill", {"id": self.jobid, "signum": int(signal.SIGTERM)})

    # the whole

    def run(self, signals=True):
        """Follow the job to its end; its exit code."""
        watch = self.client.send("job.watch", {"id": self.jobid, "output": True})
        if signals:
            signal.signal(signal.SIGINT, self.on_interrupt)
            signal.signal(signal.SIGTSTP, self.on_stop)
            signal.signal(signal.SIGTERM, self.on_term)
        self.selector.register(self.client, selectors.EVENT_READ, None)
        try:
            while not self.done:
                self.wait(watch)
        finally:
            self.selector.close()
        if self.error is not None:
            raise CommandError(self.error)
        return self.code

    def wait(self, watch):
        timeout = None if self.retry_at is None else max(0.0, self.retry_at - time.monotonic())
        for key, _ in self.selector.select(timeout):
            if key.data is not None:
                key.data()
                continue
            for number, payload, error in self.client.arrived():
                if number == watch:
                    self.arrived(payload, error)
                elif number == self.stdin_request:
                    self.taken(payload, error)
                if self.done:
                    return
        if self.retry_at is not None and time.monotonic() >= self.retry_at:
            self.retry_at = None
            self.send_stdin(self.unsent)

    def arrived(self, payload, error):
        if error is not None:
            self.done = True
            if error.errno != ENODATA:
                self.error = error.text
        elif "output" in payload:
            self.output(payload["output"])
        else:
            self.event(payload["event"])


def submit_and_attach(spec, urgency, flags, **options):
    client = Client()
    try:
        jobid = client.rpc("job.submit", {"jobspec": spec, "urgency": urgency, "flags": flags})["id"]
    except RPCError as error:
        raise CommandError(f"ERROR: {error.text}", logged=True) from None
    return Attach(client, jobid, stdin=True, **options).run()
