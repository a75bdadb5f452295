-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- ListOf{ Type, ids = "201-354", args = {…} }: one Type{…} for each id, as a list
-- that stands wherever a Resource may.

local idset = require "RDL.idset"
local fail = require("RDL.Resource").fail

local M = {}

-- The function, which finds a type given by its name in the environment `env`.
function M.define(env)
    return function(arg)
        if type(arg) ~= "table" then
            fail("ListOf: expected a table such as { Node, ids = \"0-9\", args = {…} }, got a %s", type(arg))
        end
        local class = arg.type or arg[1]
        if type(class) == "string" then
            local found = env[class]
            if found == nil then
                fail("ListOf: no type '%s' here; is its 'uses' line missing?", idset.shown(class))
            end
            class = found
        end
        if type(class) ~= "table" or type(class.subclass) ~= "function" then
            fail("ListOf: expected a type such as Node, got a %s", type(class))
        end
        local text = arg.ids or arg.hostids
        if type(text) == "number" then
            text = tostring(text)
        end
        if type(text) ~= "string" then
            fail("ListOf.ids: expected a list of ids such as \"201-354\", got a %s", type(text))
        end
        local ids, width = idset.parse(text)
        if not ids then
            fail("ListOf.ids: %s", width)
        end
        if arg.args ~= nil and type(arg.args) ~= "table" then
            fail("ListOf.args: expected a table, got a %s", type(arg.args))
        end
        local list = {}
        for i = 1, #ids do
            -- Each call has arguments of its own, for initialize may change them.
            local args = {}
            for key, value in pairs(arg.args or {}) do
                args[key] = value
            end
            args.id = width > 0 and idset.padded(ids[i], width) or ids[i]
            list[i] = class(args)
        end
        return list
    end
end

return M
