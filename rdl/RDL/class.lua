-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Classes with single inheritance: Class:subclass "Name", Class:initialize(arguments),
-- Class{…} makes an instance.

local M = {}

-- A root class named `name`, and a function that tells whether a value is an
-- instance of it or of any class derived from it.
function M.root(name)
    local instances = setmetatable({}, { __mode = "k" })    -- metatables of instances

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

    local function is_instance(value)
        if type(value) ~= "table" then
            return false
        end
        local meta = getmetatable(value)
        return meta ~= nil and instances[meta] == true
    end

    return root, is_instance
end

return M
