# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The base of the errors that this package raises for people."""

from __future__ import annotations


class FluxSchedError(Exception):
    """Something that is wrong outside of this package: a file, a request, an option, a plugin.

    The text says what, and what was expected, in a line or more for people. A program that ends with it shows the text
    and exits with `code`. Each room has errors of its own, which are subclasses.
    """

    code = 1
