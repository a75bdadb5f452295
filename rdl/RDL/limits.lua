-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What one RDL file may use up. A program that embeds RDL may change these
-- numbers before it calls RDL.eval or RDL.evalf.

return {
    source = 64 * 1024 * 1024,      -- bytes of RDL text
    instructions = 3e8,             -- Lua virtual machine instructions: about a second
    seconds = 15,                   -- of processor time
    memory = 1024 * 1024 * 1024,    -- bytes allocated while the file is read
    watch_lines = true,             -- look at memory at each line too; not needed where the
                                    -- allocator is bounded, and three times as slow
    text = 1024 * 1024,             -- bytes of one string made by string.rep or table.concat
    resources = 4000000,            -- resources in one store, and ids in one list
    depth = 64,                     -- levels of one hierarchy
}
