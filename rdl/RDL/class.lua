-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Classes with single inheritance: Class:subclass "Name", Class:initialize(arguments),
-- Class{…} makes an instance.

local M = {}

local instances = setmetatable({}, { __mode = "k" })    -- metatables of instances

-- Whether a value is an instance of any class made here.
function M.is_instance(value)
    return type(value) == "table" and instances[getmetatable(value) or false] == true
end

-- A class derived from none.
function M.root(name)
    local function derive(name, super)
        local class = { class_name = name, super = super }
        class.class = class
        local instance = {
            __index = class,
            __tostring = function(self) return class.describe(self) end,
        }
        instances[instance] = true
        return setmetatable(class, {
            __index = super,
            __tostring = function() return "class " .. name end,
            __call = function(_, ...)
                local self = setmetatable({}, instance)
                self:initialize(...)
                return self
            end,
        })
    end

    local root = derive(name, nil)

    function root:subclass(name)
        if type(name) ~= "string" then
            error("subclass expects a name", 0)
        end
        return derive(name, self)
    end

    function root.describe()
        return name
    end

    return root
end

return M
