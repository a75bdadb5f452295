-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- One hierarchy as flat lists, for a program that embeds Lua: it converts a few long
-- strings rather than touching each resource.

local concat, format = table.concat, string.format

local M = {}

-- From the resource at `uri`, with its ancestors but without their other children, in
-- preorder: a list of kinds, and as text separated by commas the kind's position in that
-- list (from 0), the id (-1 for none) and the parent's position (-1 for the root) of each
-- resource. nil and an error if there is no such resource.
function M.flat(store, uri)
    local top, err = store:at(uri)
    if not top then
        return nil, err
    end
    local kinds, number = {}, {}
    local kind_of, id_of, parent_of = {}, {}, {}
    -- Numbers are made text once, for most come often.
    local id_text = {}
    local n = 0
    local kind, id, children = store.kind, store.id, store.children

    local function add(v, parent)
        local k = kind[v]
        local at = number[k]
        if not at then
            at = format("%d", #kinds)
            kinds[#kinds + 1] = k
            number[k] = at
        end
        n = n + 1
        local i = id[v] or -1
        local text = id_text[i]
        if not text then
            text = format("%d", i)
            id_text[i] = text
        end
        kind_of[n], id_of[n], parent_of[n] = at, text, parent
        return n - 1
    end

    local function walk(v, parent)
        local position = add(v, parent)
        local list = children[v]
        if list then
            position = format("%d", position)
            for i = 1, #list do
                walk(list[i], position)
            end
        end
    end

    local above, v = {}, store.parent[top]
    while v ~= 0 do
        table.insert(above, 1, v)
        v = store.parent[v]
    end
    local position = "-1"
    for _, ancestor in ipairs(above) do
        position = format("%d", add(ancestor, position))
    end
    walk(top, position)
    return {
        kinds = kinds, kind = concat(kind_of, ","), id = concat(id_of, ","), parent = concat(parent_of, ","),
    }
end

return M
