-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Where an RDL file runs: it sees a few pure functions and the words of the language,
-- and is stopped when it uses up what RDL.limits allows.
--
-- A hook counts instructions and looks at memory and processor time. It acts between
-- instructions only, so functions that can work long or allocate much in one call are
-- left out (patterns, coroutines) or bounded (string.rep, table.concat, …). pcall is
-- left out too: nothing in the file can catch the abort.

local limits = require "RDL.limits"

local clock = os.clock
local collectgarbage, error, type = collectgarbage, error, type
local getinfo, gethook, sethook = debug.getinfo, debug.gethook, debug.sethook
local find, format, match, rep = string.find, string.format, string.match, string.rep
local concat, insert, remove, sort = table.concat, table.insert, table.remove, table.sort

local M = {}

-- Instructions between two looks at the budget.
local STEP = 1000

-- What a line counts for: the look at memory takes as long as some instructions.
local LINE = 20

local function fail(...)
    error(format(...), 0)
end

local function bounded_rep(text, n)
    if (type(text) ~= "string" and type(text) ~= "number") or type(n) ~= "number" then
        fail("string.rep: expected a string and a number")
    end
    if #tostring(text) * n > limits.text then
        fail("string.rep: result is longer than %d bytes", limits.text)
    end
    return rep(text, n)
end

local function bounded_concat(list, separator, first, last)
    if type(list) ~= "table" then
        fail("table.concat: expected a table, got a %s", type(list))
    end
    separator, first, last = separator or "", first or 1, last or #list
    local length = 0
    for i = first, last do
        local item = list[i]
        if type(item) ~= "string" and type(item) ~= "number" then
            fail("table.concat: item %s is a %s", tostring(i), type(item))
        end
        length = length + #tostring(item) + #separator
        if length > limits.text then
            fail("table.concat: result is longer than %d bytes", limits.text)
        end
    end
    return concat(list, separator, first, last)
end

local function check_list(name, list)
    if type(list) ~= "table" then
        fail("%s: expected a table, got a %s", name, type(list))
    end
    if #list > limits.resources then
        fail("%s: table is longer than %d", name, limits.resources)
    end
end

-- An insertion or removal inside a list moves all behind it, in one call.
local SHORT = 10000

local function check_position(name, list, at)
    if at ~= nil and (type(at) ~= "number" or at < 1 or at > #list + 1) then
        fail("%s: position is outside the table", name)
    end
    if at ~= nil and #list - at > SHORT then
        fail("%s: more than %d items to move", name, SHORT)
    end
end

local function bounded_insert(list, ...)
    check_list("table.insert", list)
    if select("#", ...) == 1 then
        list[#list + 1] = (...)
        return
    end
    local at, value = ...
    if at == nil then
        fail("table.insert: position is nil")
    end
    check_position("table.insert", list, at)
    insert(list, at, value)
end

local function bounded_remove(list, at)
    check_list("table.remove", list)
    check_position("table.remove", list, at)
    return remove(list, at)
end

local function bounded_sort(list, before)
    check_list("table.sort", list)
    for i = 1, #list do
        if type(list[i]) == "string" and #list[i] > 4096 then
            fail("table.sort: item %d is longer than 4096 bytes", i)
        end
    end
    sort(list, before)
end

local SAFE_STRING = {
    format = format, len = string.len, lower = string.lower, rep = bounded_rep,
    sub = string.sub, upper = string.upper,
}

-- The functions of Lua that an RDL file sees, in tables of its own.
function M.environment()
    local text = {}
    for name, f in pairs(SAFE_STRING) do
        text[name] = f
    end
    return {
        assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs,
        select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
        math = {
            abs = math.abs, ceil = math.ceil, floor = math.floor, fmod = math.fmod,
            huge = math.huge, max = math.max, min = math.min,
        },
        string = text,
        table = {
            concat = bounded_concat, insert = bounded_insert, remove = bounded_remove, sort = bounded_sort,
        },
    }
end

local suspended = false

-- Run a function of this library without the hook: its work is bounded by the number
-- of resources, and it calls nothing that the file defines.
function M.trusted(f, ...)
    suspended = true
    local ok, a, b = pcall(f, ...)
    suspended = false
    if not ok then
        error(a, 0)
    end
    return a, b
end

-- Chunk name of every RDL file. Lua cuts long names short in its messages, so `named` puts
-- the file's own name there, and before those that have none ("not enough memory").
M.SOURCE = "=RDL"

function M.named(message, name)
    return name .. (match(message, "^RDL(:.*)$") or ": " .. message)
end

-- Call `f`, the chunk of an RDL file that messages call `name`. True, or false and a
-- message that begins with name and line.
function M.run(f, name)
    local instructions = 0
    local deadline = clock() + limits.seconds
    local memory = collectgarbage("count") + limits.memory / 1024

    -- Nothing in the file can catch the error, so the hook has done its work once it raised it.
    local function stop(...)
        sethook()
        fail(...)
    end

    local function hook(event)
        if suspended then
            return
        end
        if collectgarbage("count") > memory then
            collectgarbage()
            if collectgarbage("count") > 0.9 * memory then
                stop("stopped: needs more than %.0f MiB of memory", limits.memory / 1048576)
            end
        end
        instructions = instructions + (event == "count" and STEP or LINE)
        if instructions > limits.instructions then
            stop("stopped: still running after %.0f million instructions", limits.instructions / 1e6)
        end
        if event == "count" and clock() > deadline then
            stop("stopped: still running after %d seconds", limits.seconds)
        end
    end

    -- Messages of the file's own chunk already begin with its name and line. To any other
    -- the innermost line of the file that led there is prefixed.
    local function located(message)
        if type(message) ~= "string" then
            message = "error value is a " .. type(message) .. ", expected a string"
        end
        if find(message, "^RDL:%d+: ") then
            return message
        end
        if find(message, "stack overflow", 1, true) then
            message = "stack overflow"
        end
        local level = 2
        local info = getinfo(level, "Sl")
        while info do
            if info.source == M.SOURCE and info.currentline > 0 then
                return format("RDL:%d: %s", info.currentline, message)
            end
            level = level + 1
            info = getinfo(level, "Sl")
        end
        return message
    end

    -- Text reaches its methods through one metatable for all strings.
    local strings = getmetatable("")
    local methods = strings.__index
    local old_hook, old_mask, old_count = gethook()
    strings.__index = SAFE_STRING
    if jit then
        -- Compiled loops of LuaJIT run no hooks.
        jit.off()
    end
    -- The line event comes at each turn of a loop too, which bounds a string that doubles.
    sethook(hook, limits.watch_lines and "l" or "", STEP)
    local ok, message = xpcall(f, located)
    sethook(old_hook, old_mask, old_count)
    if jit then
        jit.on()
    end
    strings.__index = methods
    suspended = false
    return ok, not ok and M.named(message, name) or nil
end

return M
