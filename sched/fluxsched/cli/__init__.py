# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command flux-sched: a file for each of its subcommands, read when it is asked for."""
