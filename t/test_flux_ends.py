# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""When running jobs end, in real instances: updates, reloads, and instances that end."""

import json
import time

import pytest

from fluxinstance import Instance, config_text

pytestmark = pytest.mark.flux
WHOLE = {"slots": 1, "cores": 4}


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with Instance(tmp_path_factory.mktemp("flux"), config=config_text()) as made:
        made.load("plugin=backfill.plugin1")
        yield made


def estimate(instance, jobid, wanted):
    close = pytest.approx(wanted, abs=2.0)
    instance.wait(lambda: instance.annotation(jobid, "t_estimate") == close, f"an estimate of {wanted}")


def test_an_update_is_known_after_a_reload(instance):
    first = instance.submit(nodes=4, duration=600.0, run=60, **WHOLE)
    begin = instance.event(first, "alloc")["timestamp"]
    second = instance.submit(nodes=4, duration=10.0, **WHOLE)
    estimate(instance, second, begin + 600)
    instance.flux("update", str(first), "duration=1800s")
    estimate(instance, second, begin + 1800)
    instance.reload("plugin=backfill.plugin1")
    estimate(instance, second, begin + 1800)
    instance.end(first, second)


# What an instance of four nodes in a job finds of its end; prints one line of JSON.
INNER = """
set -e
flux module list | grep -q '^sched-simple' && flux module remove sched-simple
flux module load sched plugin=backfill.plugin1
first=$(flux submit -N3 -c4 sleep 60)
flux job wait-event -t 20 $first start >/dev/null
second=$(flux submit -N4 -c4 true)
third=$(flux submit -N1 -c4 sleep 60)
flux job wait-event -t 20 $third start >/dev/null
sleep 1.5
told=$(flux jobs -no '{annotations.sched.t_estimate:h}/{annotations.sched.reason_pending:h}' $second)
end() { flux job info $1 R | sed 's/.*"expiration": *\\([0-9.]*\\).*/\\1/'; }
echo "first=$(end $first) third=$(end $third) told=$told"
touch $1.ready
while ! test -e $1.go; do sleep 0.1; done
sleep 1
flux cancel $third
flux job wait-event -t 20 $third clean >/dev/null
limited=$(flux submit -N1 -c4 -t 20m sleep 60)
flux job wait-event -t 20 $limited start >/dev/null
flux job info $first eventlog | grep -o 'resource-update.*'
flux module reload sched plugin=backfill.plugin1
flux cancel --all
flux queue idle -q
"""


def test_an_instance_that_ends_and_is_extended(instance, tmp_path):
    script = tmp_path / "inner.sh"
    script.write_text(INNER)
    mark = tmp_path / "mark"
    out = tmp_path / "out"
    jobid = int(instance.flux("job", "id", instance.flux(
        "batch", "-N4", "-c4", "-n4", "-t", "10m", f"--output={out}", "--wrap", f"sh {script} {mark}").strip()))
    instance.wait((tmp_path / "mark.ready").exists, f"the inner instance: {out.read_text() if out.exists() else ''}")
    end = instance.R(jobid)["execution"]["expiration"]
    assert end == pytest.approx(time.time() + 600, abs=60)
    line = dict(part.split("=", 1) for part in out.read_text().splitlines()[-1].split(" ", 2))
    assert float(line["first"]) == pytest.approx(end, abs=2) and float(line["third"]) == pytest.approx(end, abs=2)
    # backfilled although the one ahead waits, for which no start is planned: there is none before the end
    told, _, reason = line["told"].partition("/")
    assert told in ("", "-", "0", "0.0") and reason
    instance.flux("update", str(jobid), "duration=40m")
    (tmp_path / "mark.go").touch()
    instance.event(jobid, "clean")
    text = out.read_text()
    update = next(line for line in text.splitlines() if line.startswith("resource-update"))
    value = json.loads("{" + update[update.index('"expiration"'):].split("}")[0] + "}")["expiration"]
    assert value == pytest.approx(end + 1800, abs=5)
