# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""One file per group of commands; each has ``main(words)`` and returns an exit code."""
