# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs under ``flux python`` beside a test's instance, so that a test need not
start a process for each request: reads one JSON request a line, answers one.

Requests are [name, arguments by name]; answers {"ok": value} or {"error":
[errno, text]}.
"""

import errno
import json
import os
import sys
import time

import flux
import flux.job
import flux.kvs


class Agent:
    def __init__(self):
        self.handle = flux.Flux()

    def rpc(self, topic, payload=None, nodeid=0xFFFFFFFF):
        return self.handle.rpc(topic, payload, nodeid).get()

    def start(self, topic, payload):
        """A request to flux-start, which minds the brokers."""
        return flux.Flux(os.environ["FLUX_START_URI"]).rpc(f"start.{topic}", payload).get()

    def submit(self, jobspecs, urgency=16):
        """Submit some at once; their ids."""
        futures = [flux.job.submit_async(self.handle, json.dumps(spec), urgency=urgency) for spec in jobspecs]
        return [int(future.get_id()) for future in futures]

    def event(self, jobid, name, timeout):
        """The first event of a name in a job's eventlog, or None if the log ends without."""
        end = time.monotonic() + timeout
        future = flux.job.event_watch_async(self.handle, jobid)
        while True:
            future.wait_for(max(end - time.monotonic(), 0.0))
            event = future.get_event(autoreset=False)
            if event is None:
                return None
            if event.name == name:
                future.cancel(stop=True)
                return {"name": event.name, "timestamp": event.timestamp, "context": event.context}
            future.reset()

    def lookup(self, jobid, key):
        """A key of a job: its eventlog as a list, others as they are."""
        value = self.handle.rpc("job-info.lookup", {"id": jobid, "keys": [key], "flags": 0}).get()[key]
        if key == "eventlog":
            return [json.loads(line) for line in value.splitlines()]
        return json.loads(value)

    def kvs(self, key):
        return flux.kvs.get(self.handle, key)

    def cancel(self, jobids):
        for jobid in jobids:
            flux.job.cancel(self.handle, jobid)


def main():
    agent = Agent()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"ok": getattr(agent, name)(**arguments)}
        except OSError as error:
            answer = {"error": [error.errno or errno.EIO, str(error)]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
