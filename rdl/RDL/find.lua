-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Parts of a store, as new stores: find, copy, dup.

local idset = require "RDL.idset"
local resource = require "RDL.Resource"
local store = require "RDL.store"

local Store = store.Store

-- A new store with what `wanted(v)` accepts, all below that, and its ancestors. With
-- `available`, no resource that is all allocated.
local function extract(self, wanted, available)
    local new = store.new()
    local kinds, used, children = self.kind, self.used, self.children
    local keep = {}

    local function mark(v)
        if available and used[v] == kinds[v].size then
            return false
        end
        if wanted(v) then
            keep[v] = "all"
            return true
        end
        local any = false
        local list = children[v]
        if list then
            for i = 1, #list do
                any = mark(list[i]) or any
            end
        end
        keep[v] = any and "some" or nil
        return any
    end

    local function copy(v, parent, all)
        if available and used[v] == kinds[v].size then
            return nil
        end
        all = all or keep[v] == "all"
        if not all and not keep[v] then
            return nil
        end
        local kind = kinds[v]
        new.kinds[kind.key] = kind
        local w = new:append(kind, self.id[v], parent)
        new.used[w] = used[v]
        local list = children[v]
        if list then
            local into = {}
            for i = 1, #list do
                into[#into + 1] = copy(list[i], w, all)
            end
            new.children[w] = #into > 0 and into or nil
        end
        return w
    end

    for _, name in ipairs(self.roots) do
        local root = self.root[name]
        if mark(root) then
            new.root[name] = copy(root, 0, false)
            new.roots[#new.roots + 1] = name
        end
    end
    return new
end

local CRITERIA = {
    [1] = true, type = true, name = true, basename = true, id = true, ids = true, tags = true,
    available = true, uri = true,
}

-- v and all below it, as a set.
local function below(self, v, set)
    set[v] = true
    for _, child in ipairs(self.children[v] or {}) do
        below(self, child, set)
    end
    return set
end

-- A function that tells whether a kind has this type, basename and tags (nil: any). What
-- it says is kept, for there are few kinds.
local function kind_filter(kind_type, basename, tags)
    local known = {}
    local function fits(kind)
        if (kind_type ~= nil and kind.type ~= kind_type) or (basename ~= nil and kind.basename ~= basename) then
            return false
        end
        for tag, value in pairs(tags) do
            if kind.tags[tag] ~= value then
                return false
            end
        end
        return true
    end
    return function(kind)
        if known[kind] == nil then
            known[kind] = fits(kind)
        end
        return known[kind]
    end
end

-- A new store with the resources that meet all criteria given, what is below them, and
-- their ancestors; or nil and an error, also if none does.
--   type (or the first item), basename: a string; name: a list such as "hype[201-204]";
--   id: a number; ids: a list such as "0-7"; tags: { "a", b = 3 }, all of them;
--   available = true: only what is not all allocated; uri: only at and below it.
function Store:find(arg)
    if type(arg) == "string" then
        arg = { uri = arg }
    elseif type(arg) ~= "table" then
        return nil, "find: expected a table such as { type = \"node\" }, got a " .. type(arg)
    end
    for key in pairs(arg) do
        if not CRITERIA[key] then
            return nil, "find: unknown criterion '" .. tostring(key) .. "'"
        end
    end
    local tags, names, ids, inside, err = {}, nil, nil, nil, nil
    if arg.tags ~= nil then
        local ok
        ok, tags = pcall(resource.flags, "find: tags", type(arg.tags) == "string" and { arg.tags } or arg.tags)
        if not ok then
            return nil, tags
        end
    end
    if arg.name ~= nil then
        names, err = idset.names(tostring(arg.name))
        if not names then
            return nil, "find: " .. err
        end
    end
    if arg.ids ~= nil or arg.id ~= nil then
        local list
        list, err = idset.parse(tostring(arg.ids or arg.id))
        if not list then
            return nil, "find: " .. err
        end
        ids = {}
        for i = 1, #list do
            ids[list[i]] = true
        end
    end
    if arg.uri ~= nil then
        local v
        v, err = self:at(arg.uri)
        if not v then
            return nil, "find: " .. err
        end
        inside = below(self, v, {})
    end
    local fits = kind_filter(arg.type or arg[1], arg.basename, tags)
    local new = extract(self, function(v)
        return fits(self.kind[v]) and (not inside or inside[v]) and (not ids or ids[self.id[v]])
            and (not names or names[self:name_of(v)])
    end, arg.available)
    if #new.roots == 0 then
        return nil, "find: no resource matches"
    end
    return new
end

-- A new store with the resources at the URIs given, what is below them, and their ancestors;
-- or nil and an error. A string, or { uri, …, available = true } to leave out what is all
-- allocated.
function Store:copy(arg)
    if type(arg) == "string" then
        arg = { arg }
    elseif type(arg) ~= "table" then
        return nil, "copy: expected a URI or a table of them, got a " .. type(arg)
    end
    local wanted = {}
    for key, value in pairs(arg) do
        if type(key) == "number" or key == "uri" then
            local v, err = self:at(value)
            if not v then
                return nil, "copy: " .. err
            end
            wanted[v] = true
        elseif key ~= "available" then
            return nil, "copy: unknown field '" .. tostring(key) .. "'"
        end
    end
    local new = extract(self, function(v) return wanted[v] end, arg.available)
    if #new.roots == 0 then
        return nil, "copy: nothing there is available"
    end
    return new
end

function Store:dup()
    return extract(self, function() return true end)
end
