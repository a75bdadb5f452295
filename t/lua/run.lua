-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- One test of one file: lua5.1 run.lua FILE TEST. The file returns a table of functions.

local file, name = ...
local tests = dofile(file)
assert(tests[name], file .. " has no test " .. name)()
