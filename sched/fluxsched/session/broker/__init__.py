# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The side of the embedded session that runs: ranks, jobs, modules, the store."""
