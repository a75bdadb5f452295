# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Policies: what a plugin is, how it is found and loaded, and the queue orders."""
