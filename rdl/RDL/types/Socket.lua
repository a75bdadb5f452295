-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Socket{ id = 0, cpus = "0-7", memory = 15000, tags = {…} }: a socket with its cores,
-- and its memory in MB as one pool. Its max_bw tag is split evenly over the cores.

local Socket = Resource:subclass "Socket"

function Socket:initialize(arg)
    if type(arg) ~= "table" then
        fail("Socket: expected a table such as { id = 0, cpus = \"0-7\" }, got a %s", type(arg))
    end
    if arg.id == nil then
        fail("Socket: id missing")
    end
    local cpus = arg.cpus
    if type(cpus) == "number" then
        cpus = tostring(cpus)
    end
    if type(cpus) ~= "string" then
        fail("Socket.cpus: expected a list of core ids such as \"0-7\", got a %s", type(cpus))
    end
    Resource.initialize(self, {
        "socket",
        name = arg.name,
        id = arg.id,
        properties = arg.properties or { cpus = cpus },
        tags = arg.tags,
        children = arg.children,
    })
    local cores = Resource { "core", ids = cpus }
    local bandwidth = self.tags.max_bw
    if type(bandwidth) == "number" then
        cores.tags.max_bw = bandwidth / cores:number()
    end
    self:add_child(cores)
    if arg.memory ~= nil then
        self:add_child(Resource { "memory", size = arg.memory })
    end
end

return Socket
