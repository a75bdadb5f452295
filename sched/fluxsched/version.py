# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The version of flux-sched, which stands here and nowhere else."""

VERSION = "0.1.0"
