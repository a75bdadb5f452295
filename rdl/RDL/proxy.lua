-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What rdl:resource(uri) returns: a resource in a store, read through its fields and
-- changed through its methods alone.

local flags = require("RDL.Resource").flags
local uuid = require "RDL.uuid"

local M = {}

local methods, fields = {}, {}

-- The store and number of each proxy live here, out of sight of the fields.
local handles = setmetatable({}, { __mode = "k" })

local meta = {}

function M.new(store, v)
    local proxy = setmetatable({}, meta)
    handles[proxy] = { store, v }
    return proxy
end

local function open(proxy)
    local handle = handles[proxy]
    if not handle then
        error("expected a resource (r:method() rather than r.method())", 3)
    end
    return handle[1], handle[2]
end

function meta.__index(proxy, name)
    if methods[name] then
        return methods[name]
    end
    local field = fields[name]
    if field then
        return field(open(proxy))
    end
end

function meta.__newindex(_, name)
    error("a resource's field '" .. tostring(name) .. "' cannot be set", 2)
end

function meta.__tostring(proxy)
    local store, v = open(proxy)
    return store:name_of(v)
end

-- A tag without a value is true in the store, and reads as 1.
local function shown(value)
    if value == true then
        return 1
    end
    return value
end

local function copied(t)
    local result = {}
    for name, value in pairs(t) do
        result[name] = shown(value)
    end
    return result
end

function fields.name(store, v) return store:name_of(v) end
function fields.basename(store, v) return store.kind[v].basename end
function fields.type(store, v) return store.kind[v].type end
function fields.id(store, v) return store.id[v] or nil end
function fields.path(store, v) return store:path_of(v) end
function fields.hierarchy_name(store, v) return store:hierarchy_of(v) end
function fields.uri(store, v) return store:hierarchy_of(v) .. ":" .. store:path_of(v) end
function fields.uuid(store, v) return uuid.of(fields.uri(store, v)) end
function fields.size(store, v) return store.kind[v].size end
function fields.allocated(store, v) return store.used[v] or 0 end
function fields.available(store, v) return store.kind[v].size - (store.used[v] or 0) end
function fields.tags(store, v) return copied(store.kind[v].tags) end
function fields.properties(store, v) return copied(store.kind[v].properties) end

-- Iterator over the children, by id; those without an id come last.
function methods:children()
    local store, v = open(self)
    local list, i = store.children[v] or {}, 0
    return function()
        i = i + 1
        return list[i] and M.new(store, list[i])
    end
end

-- Amounts available by type, of the resource and all below it.
function methods:aggregate()
    local store, v = open(self)
    return store:aggregate_at(v)
end

function methods:get(tag)
    local store, v = open(self)
    return shown(store.kind[v].tags[tag])
end

local function retag(store, v, tags)
    local k = store.kind[v]
    store.kind[v] = store:intern(k.type, k.basename, k.width, k.size, tags, k.properties)
end

-- Set a tag, to true if no value is given; or all of a table { "a", b = 3 }.
function methods:tag(tag, value)
    local store, v = open(self)
    if type(tag) == "string" then
        if value == nil then
            value = true
        end
        tag = { [tag] = value }
    end
    local ok, new = pcall(flags, "tag", tag)
    if not ok then
        return nil, new
    end
    for name, old in pairs(store.kind[v].tags) do
        if new[name] == nil then
            new[name] = old
        end
    end
    retag(store, v, new)
    return true
end

function methods:delete_tag(tag)
    local store, v = open(self)
    local left = {}
    for name, value in pairs(store.kind[v].tags) do
        if name ~= tag then
            left[name] = value
        end
    end
    retag(store, v, left)
    return true
end

local function amount(n)
    n = n or 1
    if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
        return nil, "expected a whole number of at least 1"
    end
    return n
end

-- Allocate n (1) of the resource's size. Returns n; or nil and an error.
function methods:alloc(n)
    local store, v = open(self)
    local err
    n, err = amount(n)
    if not n then
        return nil, "alloc: " .. err
    end
    local used, size = store.used[v] or 0, store.kind[v].size
    if used + n > size then
        return nil, string.format("%s: %.0f asked for, %.0f of %.0f available", store:name_of(v), n, size - used, size)
    end
    store.used[v] = used + n
    return n
end

-- Free n (1) of what is allocated. Returns n; or nil and an error.
function methods:free(n)
    local store, v = open(self)
    local err
    n, err = amount(n)
    if not n then
        return nil, "free: " .. err
    end
    local used = store.used[v] or 0
    if n > used then
        return nil, string.format("%s: %.0f to free, %.0f allocated", store:name_of(v), n, used)
    end
    store.used[v] = n < used and used - n or nil
    return n
end

-- Take the child of that name, and all below it, out of the tree.
function methods:unlink(name)
    local store, v = open(self)
    local child = store:child(v, name)
    if not child then
        return nil, string.format("%s has no child '%s'", store:path_of(v), tostring(name))
    end
    store:unlink(child)
    return true
end

return M
