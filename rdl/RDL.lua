-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- RDL: resources described in Lua.
--
--     local RDL = require "RDL"
--     local rdl, err = RDL.evalf "conf/hype.lua"
--     print(rdl:resource("default:/hype/hype201").name)
--
-- RDL.eval(text) and RDL.evalf(file) return a store, or nil and a message that begins with
-- file and line. RDL.limits holds what a file may use up.

local build = require "RDL.build"
local idset = require "RDL.idset"
local limits = require "RDL.limits"
local list_of = require "RDL.ListOf"
local resource = require "RDL.Resource"
local sandbox = require "RDL.sandbox"
local store = require "RDL.store"
require "RDL.methods"

local fail = resource.fail

-- The file of a type: RDL/types/NAME.lua along LUA_PATH.
local function find_type(name)
    for template in string.gmatch(package.path, "[^;]+") do
        local path = string.gsub(template, "%?", (string.gsub("RDL/types/" .. name, "%%", "%%%%")))
        local file = io.open(path, "r")
        if file then
            file:close()
            return path
        end
    end
end

-- Ids of a text such as "0-7", for types.
local function ids(text, what)
    local list, err = idset.parse(tostring(text))
    if not list then
        fail("%s: %s", what, err)
    end
    return list
end

-- The environment of one RDL file, whose hierarchies go to `rdl`.
local function language(rdl)
    local env = sandbox.environment()
    local Resource = resource.define()
    local types = {}
    env.Resource = Resource
    env.ListOf = list_of.define(env)

    function env.uses(name)
        if type(name) ~= "string" or not string.find(name, "^[%a_][%w_]*$") then
            fail("uses: expected the name of a type such as \"Node\"")
        end
        if name == "Resource" then
            return Resource
        end
        local found = types[name]
        if found == nil then
            local path = find_type(name)
            if not path then
                fail("uses: no type '%s' (RDL/types/%s.lua along LUA_PATH)", name, name)
            end
            local chunk, err = loadfile(path)
            if not chunk then
                fail("uses: %s", err)
            end
            setfenv(chunk, setmetatable({ fail = fail, ids = ids }, { __index = env }))
            found = chunk()
            if type(found) ~= "table" or type(found.subclass) ~= "function" then
                fail("uses: %s returns no type", path)
            end
            types[name] = found
        end
        env[name] = found
        return found
    end

    -- One Resource, or those in a table of tables, as ListOf returns.
    local function collect(value, into, depth)
        if resource.is_resource(value) then
            into[#into + 1] = value
        elseif type(value) == "table" and depth < 8 then
            for i = 1, #value do
                collect(value[i], into, depth + 1)
            end
        else
            fail("Hierarchy: expected a Resource, got a %s", type(value))
        end
        return into
    end

    function env.Hierarchy(name)
        return function(value)
            local descriptions = collect(value, {}, 0)
            if #descriptions == 0 then
                fail("Hierarchy: no Resource in it")
            end
            sandbox.trusted(build.hierarchy, rdl, name, descriptions)
        end
    end

    return env
end

local function evaluate(text, name)
    if type(text) ~= "string" then
        return nil, "expected RDL text, got a " .. type(text)
    end
    if #text > limits.source then
        return nil, string.format("%s: longer than %d bytes", name, limits.source)
    end
    if string.byte(text, 1) == 27 then
        return nil, name .. ": compiled Lua, expected text"
    end
    -- A first line for the shell stays a line, so that later ones keep their numbers.
    text = string.gsub(text, "^#[^\n]*", "")
    local chunk, err = loadstring(text, sandbox.SOURCE)
    if not chunk then
        return nil, sandbox.named(err, name)
    end
    local rdl = store.new()
    setfenv(chunk, language(rdl))
    local ok, message = sandbox.run(chunk, name)
    if not ok then
        return nil, message
    end
    return rdl
end

local M = { limits = limits }

-- Read RDL text. `name` stands for the file in messages.
function M.eval(text, name)
    return evaluate(text, name or "<string>")
end

-- Read an RDL file.
function M.evalf(path)
    if type(path) ~= "string" then
        return nil, "expected the path of an RDL file, got a " .. type(path)
    end
    local file, err = io.open(path, "rb")
    if not file then
        return nil, err
    end
    local text
    text, err = file:read(limits.source + 1)
    file:close()
    if not text and err then
        return nil, path .. ": " .. err
    end
    return evaluate(text or "", path)
end

return M
