# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
from fluxsched.core.engine cimport Engine
from fluxsched.core.types cimport i32, i64


cdef list held(Engine e, i32 slot)
cdef list each(list rows)
cdef str ranks_text(Engine e, runs)
cdef str hosts_text(Engine e, list runs)
cdef dict R_of(Engine e, i32 slot, double starttime, double expiration)
cdef str summary(Engine e, i32 slot)
cdef tree_part(Engine e, i32 slot)
cdef dict resource_status(Engine e)
cdef dict stats(Engine e)
cdef place_of(Engine e, i32 slot)
cdef why_of(Engine e, i32 slot)
cdef nodes_for(Engine e, i32 slot)
cdef tuple ahead(Engine e, i32 slot, i32 most)
cdef tuple holding(Engine e, i32 slot)
cdef dict marks(Engine e)
