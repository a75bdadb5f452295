-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- A store as RDL text. Equal siblings that follow each other are folded, so that a cluster
-- of a thousand equal nodes is a few lines.

local idset = require "RDL.idset"

local byte, format, gsub, rep = string.byte, string.format, string.gsub, string.rep
local concat, insert, sort = table.concat, table.insert, table.sort

-- Lua holds at most 2^18 different constants in one function. What is longer than this
-- many bytes is put into functions of its own.
local LONG = 20000

local function quoted(text)
    -- %q leaves most control characters as they are.
    return (gsub(gsub(format("%q", text), "\\\n", "\\n"), "[%z\1-\31\127]", function(c)
        return format("\\%03d", byte(c))
    end))
end

local function scalar(value)
    if type(value) == "string" then
        return quoted(value)
    elseif type(value) == "number" then
        return format("%.17g", value)
    end
    return tostring(value)
end

local function scalars(t)
    local names = {}
    for name in pairs(t) do
        names[#names + 1] = name
    end
    sort(names)
    for i, name in ipairs(names) do
        names[i] = format("[%s] = %s", quoted(name), scalar(t[name]))
    end
    return "{ " .. concat(names, ", ") .. " }"
end

-- What all resources of a kind share.
local function kind_fields(kind)
    local parts = { quoted(kind.type) }
    if kind.basename ~= kind.type then
        parts[#parts + 1] = "name = " .. quoted(kind.basename)
    end
    if kind.size ~= 1 then
        parts[#parts + 1] = format("size = %.0f", kind.size)
    end
    if next(kind.properties) then
        parts[#parts + 1] = "properties = " .. scalars(kind.properties)
    end
    if next(kind.tags) then
        parts[#parts + 1] = "tags = " .. scalars(kind.tags)
    end
    return concat(parts, ", ")
end

return function(store)
    local fields = {}       -- kind -> text
    local parts = {}        -- { v, items }: children that are too long to stand with v
    local items

    -- Text of a resource without its ids; and whether it can stand for equal siblings too.
    local function body(v, depth)
        local kind = store.kind[v]
        local text = fields[kind]
        if not text then
            text = kind_fields(kind)
            fields[kind] = text
        end
        if store.used[v] then
            text = format("%s, allocated = %.0f", text, store.used[v])
        end
        if not store.children[v] then
            return text, true
        end
        local list, length = items(v, depth + 1)
        if length > LONG then
            parts[#parts + 1] = { v, list }
            return text, false
        end
        local indent = rep("    ", depth)
        return format("%s, children = {\n%s\n%s}", text, concat(list, "\n"), indent), true
    end

    local function item(text, ids, width, depth)
        local which = ""
        if #ids > 1 then
            which = format(", ids = \"%s\"", idset.format(ids, width))
        elseif ids[1] and width > 0 then
            which = format(", id = \"%s\"", idset.padded(ids[1], width))
        elseif ids[1] then
            which = format(", id = %d", ids[1])
        end
        -- The ids follow the type, before any children.
        local at = text:find(",", 1, true) or #text + 1
        return format("%sResource { %s%s%s },", rep("    ", depth), text:sub(1, at - 1), which, text:sub(at))
    end

    -- Texts of the children of v, equal ones folded, and their length.
    function items(v, depth)
        local list, length = {}, 0
        local children = store.children[v]
        local i, n = 1, #children
        local text, foldable = body(children[1], depth)
        while i <= n do
            local first = children[i]
            local width, last_id = store.kind[first].width, store.id[first]
            local ids = { last_id or nil }
            local next_text, next_foldable
            i = i + 1
            while i <= n do
                local other = children[i]
                local id = store.id[other]
                next_text, next_foldable = body(other, depth)
                if not (foldable and next_foldable and last_id and id and id > last_id
                    and text == next_text and store.kind[other].width == width) then
                    break
                end
                ids[#ids + 1] = id
                last_id = id
                i = i + 1
            end
            local line = item(text, ids, width, depth)
            list[#list + 1] = line
            length = length + #line
            text, foldable = next_text, next_foldable
        end
        return list, length
    end

    local out = {}
    for _, name in ipairs(store.roots) do
        local root = store.root[name]
        local ids = { store.id[root] or nil }
        parts = {}
        local text = item((body(root, 1)), ids, store.kind[root].width, 1)
        insert(out, format("Hierarchy \"%s\" {\n%s\n}", name, text))
        -- Children were met before their parents, and are put after them.
        for i = #parts, 1, -1 do
            local v, list = parts[i][1], parts[i][2]
            local at = 1
            while at <= #list do
                local chunk, length = {}, 0
                while at <= #list and (length == 0 or length + #list[at] <= LONG) do
                    chunk[#chunk + 1] = list[at]
                    length = length + #list[at]
                    at = at + 1
                end
                insert(out, format("do\n    local function part()\n        Hierarchy \"%s:%s\" {\n%s\n        }\n"
                    .. "    end\n    part()\nend", name, store:path_of(v), concat(chunk, "\n")))
            end
        end
    end
    return concat(out, "\n") .. "\n"
end
