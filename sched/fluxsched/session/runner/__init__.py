# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What outlives the broker: a program of its own, which uses the standard library only.

It is run as a folder (``python -S -E runner``), so that it starts without site packages; its modules import each
other by their plain names.
"""
