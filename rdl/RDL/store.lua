-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- A store of resources: one tree for each hierarchy.
--
-- A resource is a number v, and its fields are kept in arrays indexed by v. What equal
-- resources share (type, name without id, size, tags, properties) is one table, their
-- kind, which is never changed: a new tag moves the resource to another kind.

local idset = require "RDL.idset"
local limits = require "RDL.limits"
local uri = require "RDL.uri"

local format, sort, concat = string.format, table.sort, table.concat
local pairs, type, tostring = pairs, type, tostring

local Store = {}
Store.__index = Store

local M = {}

function M.new()
    return setmetatable({
        count = 0,          -- resources ever put here, also those unlinked since
        kind = {},          -- v -> kind
        id = {},            -- v -> number, or false
        parent = {},        -- v -> v, or 0 for a root
        children = {},      -- v -> list of v ordered by id; nil for a leaf
        used = {},          -- v -> amount allocated; nil for none
        kinds = {},         -- key -> kind
        roots = {},         -- names of hierarchies, in the order they came
        root = {},          -- name of hierarchy -> v
        by_name = {},       -- v -> {name -> child}, made when a long list is searched
    }, Store)
end

function M.is_store(value)
    return getmetatable(value) == Store
end

local function scalars_key(t)
    if next(t) == nil then
        return ""
    end
    local parts = {}
    for name, value in pairs(t) do
        if type(value) == "number" then
            -- Zero has two signs and is one value.
            value = format("%.17g", value == 0 and 0 or value)
        end
        parts[#parts + 1] = format("%q=%s%q", name, type(t[name]), tostring(value))
    end
    sort(parts)
    return concat(parts, ",")
end

local function copied(t)
    local result = {}
    for name, value in pairs(t) do
        result[name] = value
    end
    return result
end

-- The kind with these fields; tags and properties are copied.
function Store:intern(kind_type, basename, width, size, tags, properties)
    local content = format("%s\n%s\n%.0f\n%s\n%s", kind_type, basename, size,
        scalars_key(tags), scalars_key(properties))
    local key = format("%d\n%s", width, content)
    local kind = self.kinds[key]
    if not kind then
        kind = {
            key = key, content = content, type = kind_type, basename = basename, width = width, size = size,
            tags = copied(tags), properties = copied(properties),
        }
        self.kinds[key] = kind
    end
    return kind
end

-- Append a resource and return its number. The caller links it to its parent.
function Store:append(kind, id, parent)
    local v = self.count + 1
    if v > limits.resources then
        error(format("more than %d resources", limits.resources), 0)
    end
    self.count = v
    self.kind[v] = kind
    self.id[v] = id
    self.parent[v] = parent
    return v
end

function Store:name_of(v)
    local kind, id = self.kind[v], self.id[v]
    if id then
        return kind.basename .. idset.padded(id, kind.width)
    end
    return kind.basename
end

function Store:path_of(v)
    local names = {}
    while v ~= 0 do
        table.insert(names, 1, self:name_of(v))
        v = self.parent[v]
    end
    return "/" .. concat(names, "/")
end

function Store:hierarchy_of(v)
    while self.parent[v] ~= 0 do
        v = self.parent[v]
    end
    for name, root in pairs(self.root) do
        if root == v then
            return name
        end
    end
end

-- The children of v by name.
function Store:index(v)
    local index = self.by_name[v]
    if not index then
        index = {}
        for _, child in ipairs(self.children[v]) do
            index[self:name_of(child)] = child
        end
        self.by_name[v] = index
    end
    return index
end

function Store:child(v, name)
    local list = self.children[v]
    if not list then
        return nil
    end
    if self.by_name[v] or #list > 16 then
        return self:index(v)[name]
    end
    for i = 1, #list do
        if self:name_of(list[i]) == name then
            return list[i]
        end
    end
end

-- The resource at a URI; or nil and an error.
function Store:at(text)
    local name, path = uri.parse(text)
    if not name then
        return nil, path
    end
    local v = self.root[name]
    if not v then
        local there = #self.roots > 0 and concat(self.roots, ", ")
            or 'none: a file describes resources with Hierarchy "default" { Resource { ... } }'
        return nil, format("%s: no hierarchy '%s' (there: %s)", text, name, there)
    end
    if #path > 0 and path[1] ~= self:name_of(v) then
        return nil, format("%s: no resource '%s'; the root is '%s'", text, path[1], self:name_of(v))
    end
    for i = 2, #path do
        local child = self:child(v, path[i])
        if not child then
            return nil, format("%s: no resource '%s' in %s", text, path[i], self:path_of(v))
        end
        v = child
    end
    return v
end

-- Order of children: by id, those without one last, else as they came. The first
-- `sorted` are in order.
function Store:sort_children(v, sorted)
    local list, id = self.children[v], self.id
    local last = sorted > 0 and id[list[sorted]] or sorted > 0 and math.huge or -1
    for i = sorted + 1, #list do
        local this = id[list[i]] or math.huge
        if this < last then
            sort(list, function(a, b)
                local ia, ib = id[a] or math.huge, id[b] or math.huge
                if ia ~= ib then
                    return ia < ib
                end
                return a < b
            end)
            return
        end
        last = this
    end
end

-- Take a resource and all below it out of its tree.
function Store:unlink(v)
    local parent = self.parent[v]
    local list, left = self.children[parent], {}
    for i = 1, #list do
        if list[i] ~= v then
            left[#left + 1] = list[i]
        end
    end
    self.children[parent] = #left > 0 and left or nil
    self.by_name[parent] = nil
end

function Store:same(other)
    if #self.roots ~= #other.roots then
        return false
    end
    local function equal(a, b)
        if self.kind[a].content ~= other.kind[b].content or self:name_of(a) ~= other:name_of(b)
            or self.used[a] ~= other.used[b] then
            return false
        end
        local left, right = self.children[a] or {}, other.children[b] or {}
        if #left ~= #right then
            return false
        end
        for i = 1, #left do
            local x, y = left[i], right[i]
            if self.id[x] ~= other.id[y] or self.kind[x].basename ~= other.kind[y].basename then
                -- Those without an id may come in another order.
                y = other:child(b, self:name_of(x))
            end
            if not y or not equal(x, y) then
                return false
            end
        end
        return true
    end
    for _, name in ipairs(self.roots) do
        if not other.root[name] or not equal(self.root[name], other.root[name]) then
            return false
        end
    end
    return true
end

function Store:compare(other)
    return M.is_store(other) and self:same(other)
end

Store.__eq = Store.compare

M.Store = Store
return M
