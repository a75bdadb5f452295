-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- hype: 154 nodes of two sockets with eight cores and 15000 MB each.

uses "Node"

Hierarchy "default" {
    Resource {
        "cluster", name = "hype",
        children = {
            ListOf {
                Node, ids = "201-354",
                args = { name = "hype", sockets = { "0-7", "8-15" }, memory_per_socket = 15000 },
            },
        },
    },
}
