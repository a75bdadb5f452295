-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What an RDL file cannot see, and what stops it.

local RDL = require "RDL"
local check = require "check"

local limits = RDL.limits

local test = {}

local function fails(message, text)
    check.fails(message, RDL.eval(text))
end

-- Run with some limits changed.
local function with(changes, f)
    local old = {}
    for name, value in pairs(changes) do
        old[name], limits[name] = limits[name], value
    end
    local ok, err = pcall(f)
    for name, value in pairs(old) do
        limits[name] = value
    end
    assert(ok, err)
end

function test.only_what_the_language_needs()
    local seen = {}
    for _, name in ipairs {
        "_G", "collectgarbage", "coroutine", "debug", "dofile", "gcinfo", "getfenv", "getmetatable", "io", "jit", "load",
        "loadfile", "loadstring", "module", "newproxy", "os", "package", "pcall", "print", "python", "rawequal", "rawget",
        "rawset", "require", "setfenv", "setmetatable", "xpcall",
    } do
        fails("absent", "if " .. name .. " == nil then error 'absent' end")
        seen[#seen + 1] = name
    end
    for _, name in ipairs { "byte", "char", "dump", "find", "gfind", "gmatch", "gsub", "match", "reverse" } do
        fails("absent", "if string." .. name .. " == nil and ('x')." .. name .. " == nil then error 'absent' end")
    end
    for _, name in ipairs { "foreach", "foreachi", "getn", "maxn", "setn" } do
        fails("absent", "if table." .. name .. " == nil then error 'absent' end")
    end
end

function test.the_caller_keeps_its_strings_hook_and_globals()
    local function hook() end
    debug.sethook(hook, "", 1000000)
    assert(RDL.eval "x = 1 string.mine = 2")
    check.equal((RDL.eval "error 'x'"), nil)
    assert(debug.gethook() == hook)
    debug.sethook()
    check.equal(("x"):gsub("x", "y"), "y")
    check.equal(x, nil)
    check.equal(string.mine, nil)
    check.equal((RDL.eval "if string.mine then error 'kept' end") ~= nil, true)
end

function test.compiled_lua_is_refused()
    check.fails("compiled Lua, expected text", RDL.eval(string.dump(function() end)))
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(string.dump(function() end))
    file:close()
    check.fails(path .. ": compiled Lua", RDL.evalf(path))
    os.remove(path)
end

function test.text_too_long()
    with({ source = 10 }, function()
        fails("longer than 10 bytes", "x = 1 y = 2 z = 3")
        check.fails("expected RDL text, got a number", RDL.eval(5))
    end)
end

function test.endless_loops()
    with({ instructions = 1e6 }, function()
        fails("<string>:2: stopped: still running after 1 million instructions", "x = 1\nwhile true do end")
        fails("stopped: still running", "repeat until false")
        fails("stopped: still running", "local function f() return f() end f()")
        fails("stopped: still running", "for i = 1, 1e15 do local x = ('a'):rep(10) end")
        fails("stopped: still running", "table.sort({ 1, 2, 3 }, function() while true do end end)")
        fails("<string>:3: stopped: still running", [[Foo = Resource:subclass "Foo"
            function Foo:initialize()
                while true do end
            end
            Foo {}]])
    end)
    assert(RDL.eval "for i = 1, 1e6 do end")
end

function test.processor_time()
    with({ seconds = 0 }, function()
        fails("stopped: still running after 0 seconds", "for i = 1, 1e8 do end")
    end)
end

function test.recursion_without_end()
    fails("<string>:1: stack overflow", "local function f() return 1 + f() end f()")
    fails("more than 64 levels; does a Resource hold itself?",
        "local a = Resource { 'a' } a:add_child(a) Hierarchy 'default' { a }")
    fails("more than 64 levels", [[Hierarchy 'default' { Resource { 'r' } }
        local path = 'default:/r'
        for i = 1, 100 do Hierarchy(path) { Resource { 'r' } } path = path .. '/r' end]])
end

function test.runaway_allocation()
    with({ memory = 20 * 1024 * 1024 }, function()
        fails("stopped: needs more than 20 MiB of memory", "local t = {} while true do t[#t + 1] = {} end")
        fails("memory", "local s = 'x' while true do s = s .. s end")
        fails("memory", "local t = {} for i = 1, 1e9 do t[i] = i end")
    end)
end

function test.long_strings()
    fails("string.rep: result is longer than", "x = ('a'):rep(1e10)")
    fails("string.rep: expected a string and a number", "x = string.rep({}, 1)")
    fails("table.concat: result is longer", "local a = ('a'):rep(1e6) x = table.concat { a, a }")
    fails("table.concat: result is longer", "x = table.concat({ 1, 2, 3 }, ('a'):rep(1e6))")
    fails("table.concat: item 2 is a nil", "x = table.concat({ 1 }, '', 1, 1e9)")
    fails("table.concat: expected a table", "x = table.concat 'x'")
end

function test.long_work_in_one_call()
    fails("table.insert: position is outside the table", "table.insert({}, -1e9, 1)")
    fails("table.insert: position is nil", "table.insert({}, nil, 1)")
    fails("table.insert: expected a table", "table.insert('x', 1)")
    fails("table.insert: more than 10000 items to move",
        "local t = {} for i = 1, 20000 do t[i] = i end table.insert(t, 1, 0)")
    fails("table.remove: more than 10000 items to move",
        "local t = {} for i = 1, 20000 do t[i] = i end table.remove(t, 1)")
    fails("table.sort: item 1 is longer than", "table.sort { ('a'):rep(5000), 'b' }")
    with({ resources = 100 }, function()
        fails("table.sort: table is longer than 100", "local t = {} for i = 1, 200 do t[i] = i end table.sort(t)")
    end)
    fails("too many results to unpack", "unpack({}, 1, 1e8)")
end

function test.too_many_resources()
    with({ resources = 1000 }, function()
        fails("<string>:3: more than 1000 resources", [[local a = Resource { 'a' }
            for i = 1, 40 do a = Resource { 'a', children = { a, Resource { 'b', children = { a } } } } end
            Hierarchy 'default' { a }]])
        fails("names more than 1000 ids", "Resource { 'a', ids = '0-1000' }")
    end)
end

function test.errors_that_are_no_strings()
    fails("<string>:1: error value is a table, expected a string", "error {}")
    fails("<string>:1: error value is a nil", "error()")
end

return test
