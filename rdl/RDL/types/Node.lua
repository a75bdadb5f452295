-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Node{ name = "hype", id = 201, sockets = { "0-7", "8-15" }, memory_per_socket = 15000,
-- tags = {…} }: a node with its sockets. Its max_bw tag is split evenly over them.

local Socket = uses "Socket"
local Node = Resource:subclass "Node"

-- Lists of sockets that are known to share no core: most nodes repeat one.
local disjoint = {}

local function check_disjoint(sockets)
    local lists = table.concat(sockets, ";")
    if disjoint[lists] then
        return
    end
    local socket_of = {}
    for i = 1, #sockets do
        for _, core in ipairs(ids(sockets[i], "Node.sockets")) do
            if socket_of[core] then
                fail("Node.sockets: core %d is in socket %d and in socket %d", core, socket_of[core], i - 1)
            end
            socket_of[core] = i - 1
        end
    end
    disjoint[lists] = true
end

function Node:initialize(arg)
    if type(arg) ~= "table" then
        fail("Node: expected a table such as { name = \"n\", id = 0, sockets = { \"0-7\" } }, got a %s", type(arg))
    end
    local name = arg.name or arg.basename
    if name == nil then
        fail("Node: name missing")
    end
    local sockets = arg.sockets
    if type(sockets) ~= "table" or #sockets == 0 then
        fail("Node.sockets: expected a list of core ids such as { \"0-7\", \"8-15\" }, got %s",
            type(sockets) == "table" and "an empty one" or "a " .. type(sockets))
    end
    Resource.initialize(self, {
        "node",
        name = name,
        id = arg.id,
        properties = arg.properties,
        tags = arg.tags,
        children = arg.children,
    })
    local tags
    if type(self.tags.max_bw) == "number" then
        tags = { max_bw = self.tags.max_bw / #sockets }
    end
    for i = 1, #sockets do
        self:add_child(Socket { id = i - 1, cpus = sockets[i], memory = arg.memory_per_socket, tags = tags })
    end
    check_disjoint(sockets)
end

return Node
