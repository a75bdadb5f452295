-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What else a store answers: resource, aggregate, serialize, flat.

local export = require "RDL.export"
local proxy = require "RDL.proxy"
local serialize = require "RDL.serialize"
local store = require "RDL.store"
require "RDL.find"

local Store = store.Store

-- The resource at a URI ("default" is the root of that hierarchy); or nil and an error.
function Store:resource(uri)
    local v, err = self:at(uri)
    if not v then
        return nil, err
    end
    return proxy.new(self, v)
end

function Store:aggregate_at(top)
    local result = {}
    local kinds, used, children = self.kind, self.used, self.children
    local function add(v)
        local kind = kinds[v]
        local left = kind.size - (used[v] or 0)
        -- Nothing below a resource that is all allocated is available.
        if left > 0 then
            result[kind.type] = (result[kind.type] or 0) + left
            local list = children[v]
            if list then
                for i = 1, #list do
                    add(list[i])
                end
            end
        end
    end
    add(top)
    return result
end

-- Amounts available by type under a URI (the whole "default" hierarchy if none is given);
-- or nil and an error.
function Store:aggregate(uri)
    local v, err = self:at(uri or "default")
    if not v then
        return nil, err
    end
    return self:aggregate_at(v)
end

-- RDL text that RDL.eval reads back equal.
function Store:serialize()
    return serialize(self)
end

-- One hierarchy as flat lists: see RDL.export.
function Store:flat(uri)
    return export.flat(self, uri)
end
