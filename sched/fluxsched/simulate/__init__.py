# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The simulator: a job trace replayed in virtual time by the engine and the plugins of production."""
