-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Descriptions (instances of Resource) to resources in a store.

local idset = require "RDL.idset"
local limits = require "RDL.limits"
local resource = require "RDL.Resource"
local uri = require "RDL.uri"

local fail, ids_of = resource.fail, resource.ids

local M = {}

local function twice(store, parent, name)
    fail("%s has two resources named '%s'", store:path_of(parent), name)
end

-- Call f(name) for each resource that descriptions stand for.
local function each_name(descriptions, f)
    for _, d in ipairs(descriptions) do
        local ids, width = ids_of(d)
        if ids then
            for i = 1, #ids do
                f(d.basename .. idset.padded(ids[i], width))
            end
        else
            f(d.basename)
        end
    end
end

-- The names of descriptions that come under one parent must differ.
local function check_new(store, parent, descriptions)
    local stems, clash = {}, false
    for _, d in ipairs(descriptions) do
        local stem = idset.stem(d.basename)
        clash = clash or stems[stem]
        stems[stem] = true
    end
    if clash then
        local seen = {}
        each_name(descriptions, function(name)
            if seen[name] then
                twice(store, parent, name)
            end
            seen[name] = true
        end)
    end
end

-- So must those that join other children, whose index tells their names.
local function check_joining(store, parent, descriptions, index)
    each_name(descriptions, function(name)
        if index[name] then
            twice(store, parent, name)
        end
        index[name] = true
    end)
end

-- Put descriptions under a parent, or a single one as a root (parent 0). Returns the
-- number of the first new resource.
local function place(store, descriptions, parent)
    -- A description, and so its list of children, may be put in many places.
    local checked, kinds = {}, {}
    local append, children_of, used = store.append, store.children, store.used

    local function put(list, parent, depth)
        if depth > limits.depth then
            fail("more than %d levels; does a Resource hold itself?", limits.depth)
        end
        for i = 1, #list do
            local d = list[i]
            if not checked[d] then
                resource.check(d)
                checked[d] = true
                local _, width = ids_of(d)
                kinds[d] = store:intern(d.type, d.basename, width, d.size, d.tags, d.properties)
            end
        end
        local into, index
        if parent ~= 0 then
            into = children_of[parent]
            if into then
                index = store:index(parent)
                check_joining(store, parent, list, index)
            else
                if not checked[list] then
                    check_new(store, parent, list)
                    checked[list] = true
                end
                into = {}
                children_of[parent] = into
            end
        end
        local n = into and #into or 0
        local joined = n
        for i = 1, #list do
            local d = list[i]
            local kind, ids, below, allocated = kinds[d], ids_of(d), d.children, d.allocated
            for j = 1, ids and #ids or 1 do
                local v = append(store, kind, ids and ids[j] or false, parent)
                if allocated > 0 then
                    used[v] = allocated
                end
                if into then
                    n = n + 1
                    into[n] = v
                    if index then
                        index[store:name_of(v)] = v
                    end
                end
                if #below > 0 then
                    put(below, v, depth + 1)
                end
            end
        end
        if into then
            store:sort_children(parent, joined)
        end
    end

    local depth, v = 1, parent
    while v ~= 0 do
        depth = depth + 1
        v = store.parent[v]
    end
    local first = store.count + 1
    put(descriptions, parent, depth)
    return first
end

-- Hierarchy "name" { Resource } makes a tree; Hierarchy "name:/path" { Resource, … } adds
-- to one. `descriptions` is a list of instances of Resource.
function M.hierarchy(store, text, descriptions)
    local name, path = uri.parse(text)
    if not name then
        fail("Hierarchy: %s", path)
    end
    if #path > 0 then
        local v, err = store:at(text)
        if not v then
            fail("Hierarchy: %s", err)
        end
        place(store, descriptions, v)
        return
    end
    if store.root[name] then
        fail("Hierarchy '%s' is there already", name)
    end
    local ids = ids_of(descriptions[1])
    if #descriptions ~= 1 or (ids and #ids ~= 1) then
        fail("Hierarchy '%s': expected a single Resource at the root, got %d", name,
            #descriptions == 1 and #ids or #descriptions)
    end
    store.root[name] = place(store, descriptions, 0)
    store.roots[#store.roots + 1] = name
end

return M
