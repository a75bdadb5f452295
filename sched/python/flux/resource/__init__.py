# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The resources of the session."""
from __future__ import annotations

from flux.resource import list
from flux.resource.list import ResourceSet, SchedResourceList, resource_list

__all__ = ["ResourceSet", "SchedResourceList", "list", "resource_list"]
