-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- The class an RDL file describes resources with. A Resource is a description:
-- each place it is put in a hierarchy makes a resource of its own.

local class = require "RDL.class"
local idset = require "RDL.idset"

local find, format = string.find, string.format
local type, pairs, tonumber = type, pairs, tonumber

local is_resource = class.is_instance

local M = {}

M.is_resource = is_resource

-- Ids of each description, an ascending list, or nil; and their zero-padded width. They are
-- kept out of the file's reach: the list of one text is shared by many.
local ids_of = setmetatable({}, { __mode = "k" })
local width_of = setmetatable({}, { __mode = "k" })

function M.ids(r)
    return ids_of[r], width_of[r] or 0
end

local FIELDS = {
    [1] = true, [2] = true, type = true, name = true, basename = true, id = true, ids = true,
    size = true, count = true, allocated = true, properties = true, tags = true, children = true,
}

local function fail(...)
    error(format(...), 0)
end

M.fail = fail

local function check_name(what, value)
    if type(value) ~= "string" or #value > 255 or not find(value, "^[%w_.%-]+$") then
        fail("%s: expected a name of letters, digits, '_', '.', '-', got %s", what,
            type(value) == "string" and "'" .. idset.shown(value) .. "'" or type(value))
    end
end

local function check_amount(what, value, least)
    -- Below 2^53 every whole number is exact in Lua 5.1.
    if type(value) ~= "number" or value < least or value > 9007199254740991 or value % 1 ~= 0 then
        fail("%s: expected a whole number of at least %d, got %s", what, least,
            type(value) == "number" and tostring(value) or type(value))
    end
end

local function check_scalar(what, key, value)
    if type(key) ~= "string" or key == "" then
        fail("%s: expected names as keys, got a %s", what, type(key))
    end
    local t = type(value)
    if t ~= "string" and t ~= "boolean"
        and (t ~= "number" or value ~= value or value == math.huge or value == -math.huge) then
        fail("%s.%s: expected a string, a finite number or a boolean, got %s", what, idset.shown(key),
            t == "number" and tostring(value) or t)
    end
end

-- { "a", b = 3 } to { a = true, b = 3 }.
local function flags(what, list)
    if type(list) ~= "table" then
        fail("%s: expected a table, got a %s", what, type(list))
    end
    local result = {}
    for key, value in pairs(list) do
        if type(key) == "number" then
            key, value = value, true
        end
        check_scalar(what, key, value)
        result[key] = value
    end
    return result
end

M.flags = flags

-- Check one description, which its subclass may have changed since it was made.
function M.check(r)
    if not is_resource(r) then
        fail("children: expected a Resource, got a %s", type(r))
    end
    check_name("type", r.type)
    local what = r.type
    check_name(what .. ".name", r.basename)
    check_amount(what .. ".size", r.size, 1)
    check_amount(what .. ".allocated", r.allocated, 0)
    if r.allocated > r.size then
        fail("%s.allocated: %d is more than the size, %d", what, r.allocated, r.size)
    end
    for _, field in ipairs { "tags", "properties" } do
        if type(r[field]) ~= "table" then
            fail("%s.%s: expected a table, got a %s", what, field, type(r[field]))
        end
        for key, value in pairs(r[field]) do
            check_scalar(what .. "." .. field, key, value)
        end
    end
    if type(r.children) ~= "table" then
        fail("%s.children: expected a table, got a %s", what, type(r.children))
    end
end

-- The id of a resource, a number or digits, as {id} and its zero-padded width.
local function one_id(what, id)
    if type(id) == "string" and find(id, "^%d+$") then
        local value, width = idset.number(id)
        if not value then
            fail("%s.id: %s", what, width)
        end
        return { value }, width
    end
    check_amount(what .. ".id", id, 0)
    if id > idset.MAX_ID then
        fail("%s.id: %.0f is above %d", what, id, idset.MAX_ID)
    end
    return { id }, 0
end

-- A new Resource class. Each RDL file has one of its own, so that default tags
-- and changes to the class end with the file.
function M.define()
    local Resource = class.root("Resource")
    local parsed = {}

    -- The same list of ids comes back for each node and socket.
    local function parse(what, text)
        if type(text) ~= "string" then
            fail("%s.ids: expected a list of ids such as \"0-7,16\", got a %s", what, type(text))
        end
        local entry = parsed[text]
        if not entry then
            local ids, width = idset.parse(text)
            if not ids then
                fail("%s.ids: %s", what, width)
            end
            entry = { ids, width }
            parsed[text] = entry
        end
        return entry[1], entry[2]
    end

    function Resource:default_tags(tags)
        self.tags_by_default = flags("default_tags", tags)
        return self
    end

    Resource.tags_by_default = {}

    -- One Resource, or a list of them at any depth of tables, as ListOf returns.
    local function add(self, child, depth)
        if is_resource(child) then
            self.children[#self.children + 1] = child
        elseif type(child) == "table" and depth < 8 then
            for i = 1, #child do
                add(self, child[i], depth + 1)
            end
            for key in pairs(child) do
                if type(key) ~= "number" then
                    fail("%s.children: unexpected key '%s'; expected a list of Resources", self.type, tostring(key))
                end
            end
        else
            fail("%s.children: expected a Resource, got a %s", self.type, type(child))
        end
    end

    function Resource:add_child(child)
        add(self, child, 0)
        return self
    end

    function Resource:initialize(args)
        if type(args) ~= "table" then
            fail("Resource: expected a table such as { \"node\", id = 0 }, got a %s", type(args))
        end
        for key in pairs(args) do
            if not FIELDS[key] then
                fail("Resource: unknown field '%s'", idset.shown(tostring(key)))
            end
        end
        self.type = args.type or args[1]
        if self.type == nil then
            fail("Resource: type missing, expected { \"type\", … }")
        end
        check_name("type", self.type)
        self.basename = args.name or args.basename or args[2] or self.type
        if args.ids ~= nil then
            ids_of[self], width_of[self] = parse(self.type, args.ids)
        elseif args.id ~= nil then
            ids_of[self], width_of[self] = one_id(self.type, args.id)
        end
        self.size = args.size or args.count or 1
        self.allocated = args.allocated or 0
        self.properties = flags(self.type .. ".properties", args.properties or {})
        self.tags = flags(self.type .. ".tags", args.tags or {})
        for tag, value in pairs(self.class.tags_by_default) do
            if self.tags[tag] == nil then
                self.tags[tag] = value
            end
        end
        self.children = {}
        if args.children ~= nil then
            self:add_child(args.children)
        end
        M.check(self)
    end

    -- How many resources one description stands for.
    function Resource:number()
        return ids_of[self] and #ids_of[self] or 1
    end

    function Resource.describe(self)
        local name = tostring(self.basename)
        if ids_of[self] then
            name = name .. idset.format(ids_of[self], width_of[self])
        end
        return name
    end

    return Resource
end

return M
