# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scheduling engine and its plugins."""
from fluxsched.core.api import Engine, Pass
from fluxsched.core.engine import PluginError
from fluxsched.core.inventory import Inventory
from fluxsched.core.request import Infeasible

__all__ = ["Engine", "Infeasible", "Inventory", "Pass", "PluginError"]
