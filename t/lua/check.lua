-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What the tests of RDL compare with, under any Lua 5.1.

local M = {}

local function shown(value)
    if type(value) ~= "table" then
        return type(value) == "string" and string.format("%q", value) or tostring(value)
    end
    local parts = {}
    for k, v in pairs(value) do
        parts[#parts + 1] = tostring(k) .. " = " .. shown(v)
    end
    table.sort(parts)
    return "{ " .. table.concat(parts, ", ") .. " }"
end

local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a == b
    end
    for k, v in pairs(a) do
        if not same(v, b[k]) then
            return false
        end
    end
    for k in pairs(b) do
        if a[k] == nil then
            return false
        end
    end
    return true
end

function M.equal(got, expected, what)
    if not same(got, expected) then
        error(string.format("%s: expected %s, got %s", what or "value", shown(expected), shown(got)), 2)
    end
end

-- nil and a message that holds `text`, as a failing function returns.
function M.fails(text, got, message)
    if got ~= nil then
        error("expected nil and '" .. text .. "', got " .. shown(got), 2)
    end
    if type(message) ~= "string" or not string.find(message, text, 1, true) then
        error("expected a message with '" .. text .. "', got " .. shown(message), 2)
    end
end

-- Names of an iterator over resources.
function M.names(iterator)
    local list = {}
    for r in iterator do
        list[#list + 1] = r.name
    end
    return list
end

return M
