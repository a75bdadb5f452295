-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- cts-1: 3840 nodes behind a parallel file system. A scalable unit is nine edge switches, of 18 nodes
-- but for the last, which has 16: its two other ports, and so two ids, are not compute nodes.
-- max_bw is in MB/s.

uses "Node"

local UNITS = 24
local SWITCHES = 9      -- of a unit
local PORTS = 18        -- of a switch

local switches = {}
local first = 1
for unit = 1, UNITS do
    for i = 1, SWITCHES do
        local nodes = i < SWITCHES and PORTS or PORTS - 2
        switches[#switches + 1] = Resource {
            "switch", name = "edge_switch", id = #switches + 1, tags = { max_bw = 72000 },
            children = {
                ListOf {
                    Node, ids = first .. "-" .. first + nodes - 1,
                    args = { name = "cts-1", sockets = { "0-7", "8-15" }, tags = { max_bw = 4000 } },
                },
            },
        }
        first = first + PORTS
    end
end

Hierarchy "default" {
    Resource {
        "filesystem", name = "pfs", tags = { max_bw = 90000 },
        children = {
            Resource {
                "gateway", name = "gateway_node_pool", tags = { max_bw = 90000 },
                children = {
                    Resource {
                        "core_switch", name = "core_switch_pool", tags = { max_bw = 144000 },
                        children = switches,
                    },
                },
            },
        },
    },
}
