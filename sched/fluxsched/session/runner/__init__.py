# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What outlives the broker: the launcher, and the workers that run jobs.

They use the standard library and spawn.pyx only, and run without site packages, so that they start fast and stay small.
"""
