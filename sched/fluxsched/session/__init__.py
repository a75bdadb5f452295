# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The embedded session: a scheduler's world on one machine, without flux-core.

One broker process (:mod:`fluxsched.session.broker.broker`) plays the ranks, keeps the
jobs in SQLite, runs them as real processes, and hosts the same scheduler
service as a real Flux broker does.  The commands talk to it over a Unix socket.
"""
