-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- URI of a resource: the hierarchy's name, then the path from its root,
-- "default:/hype/hype201/socket0". The name alone means the root.

local M = {}

-- The hierarchy's name and a list of the names on the path (empty for the
-- root); or nil and an error.
function M.parse(text)
    if type(text) ~= "string" then
        return nil, "a URI is a string such as \"default:/cluster/node0\", not a " .. type(text)
    end
    local name, path = string.match(text, "^([%w_.%-]+):?(.*)$")
    if not name or (path ~= "" and not string.find(text, ":/", #name + 1, true))
        or string.find(path, "//", 1, true) or string.find(path, "[%s:]") then
        return nil, string.format("'%s' is no URI such as \"default:/cluster/node0\"", text)
    end
    local names = {}
    for part in string.gmatch(path, "[^/]+") do
        names[#names + 1] = part
    end
    return name, names
end

return M
