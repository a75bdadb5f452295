# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What would another policy do to our waits?  A tour of the simulator's Python API, to be read from top to bottom.

Run it as it is (python doc/examples/simulate.py [FOLDER]: pictures go there), or cell by cell in an editor that knows
the # %% marks.
"""
# %% A trace: here a synthetic one, a month or two of a 256-processor machine.  simulate.run takes a path as well.
import sys

import numpy as np

from fluxsched import simulate

trace = simulate.generate(jobs=4000, procs=256, load=0.95, seed=7, overestimate=5.0, users=12)
print(f"{len(trace):,} jobs over {(trace.submit[-1] - trace.submit[0]) / 86400:.0f} days, "
      f"{np.mean(trace.procs == 1):.0%} of them on one processor")

# %% One policy.  The result is arrays: start and finish in seconds, one entry a job, in queue order.
easy = simulate.run(trace, procs=256, plugin="easy")
print(f"EASY: mean wait {easy.wait.mean() / 3600:.1f} h, {easy.backfilled.mean():.0%} of the jobs backfilled")

# %% Several, in one table.
policies = ["fcfs", "easy", "conservative", "hybrid8", "easy+sjf", "easy+f1"]
results = {name: simulate.run(trace, procs=256, plugin=name) for name in policies}
print(f"{'':14}{'mean wait':>12}{'p95 wait':>12}{'slowdown':>12}{'utilisation':>12}")
for name, result in results.items():
    m = simulate.measure(result)
    print(f"{name:14}{m['mean_wait'] / 3600:>10.1f} h{m['p95_wait'] / 3600:>10.1f} h"
          f"{m['mean_bounded_slowdown']:>12.1f}{m['utilisation']:>12.1%}")

# %% Who gains?  The waits of small and of large jobs, EASY against shortest job first.
large = trace.procs >= 64
for label, which in (("small", ~large), ("large", large)):
    waits = [results[name].wait[which].mean() / 3600 for name in ("easy", "easy+sjf")]
    print(f"{label} jobs: {waits[0]:.1f} h under EASY, {waits[1]:.1f} h with the shortest first")

# %% What if users asked for what they need?  The same jobs with exact requests, from plain arrays.
exact = simulate.trace_of(trace.submit, trace.run, trace.procs, request=trace.run)
better = simulate.measure(simulate.run(exact, procs=256, plugin="easy"))
print(f"EASY with exact requests: mean wait {better['mean_wait'] / 3600:.1f} h")

# %% A larger machine: how fast does the mean wait fall?
for procs in (256, 288, 320, 384):
    wait = simulate.measure(simulate.run(trace, procs=procs, plugin="easy", record=False))["mean_wait"]
    print(f"{procs} processors: mean wait {wait / 3600:.1f} h")

# %% Pictures.
if len(sys.argv) > 1:
    from fluxsched.simulate import plots

    for path in plots.plot(easy, sys.argv[1]) + plots.compare(list(results.values()), sys.argv[1]):
        print(path)
