-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- cab: 1232 nodes of two sockets with eight cores each.

uses "Node"

Hierarchy "default" {
    Resource {
        "cluster", name = "cab",
        children = {
            ListOf { Node, ids = "1-1232", args = { name = "cab", sockets = { "0-7", "8-15" } } },
        },
    },
}
