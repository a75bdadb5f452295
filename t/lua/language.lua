-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- The words of RDL: uses, Hierarchy, Resource, ListOf, Node, Socket, classes and tags.

local RDL = require "RDL"
local check = require "check"

local test = {}

local function eval(text)
    return assert(RDL.eval(text))
end

local function fails(message, text)
    check.fails(message, RDL.eval(text))
end

function test.single_resource()
    local r = eval [[Hierarchy "default" { Resource { "foo", name = "bar", id = 0, tags = { "t", n = 3 } } }]]
        :resource "default"
    check.equal(r.name, "bar0")
    check.equal(r.basename, "bar")
    check.equal(r.type, "foo")
    check.equal(r.id, 0)
    check.equal(r.uri, "default:/bar0")
    check.equal(r.path, "/bar0")
    check.equal(r.hierarchy_name, "default")
    check.equal(r.size, 1)
    check.equal(r.tags, { t = 1, n = 3 })
    check.equal(tostring(r), "bar0")
end

function test.name_is_type_or_second_item()
    local rdl = eval [[Hierarchy "default" { Resource { "rack", children = {
        Resource { type = "node", id = 3 }, Resource { "chassis", "shelf", id = 1 } } } }]]
    check.equal(rdl:resource("default:/rack/node3").basename, "node")
    check.equal(rdl:resource("default:/rack/shelf1").type, "chassis")
    check.equal(rdl:resource("default").id, nil)
end

function test.node_sockets_cores_memory()
    local rdl = eval [[uses "Node"
        Hierarchy "default" { Node { name = "n", id = 7, sockets = { "0-3", "4-7" }, memory_per_socket = 512 } }]]
    check.equal(rdl:aggregate(), { node = 1, socket = 2, core = 8, memory = 1024 })
    local socket = rdl:resource "default:/n7/socket1"
    check.equal(socket.properties, { cpus = "4-7" })
    check.equal(check.names(socket:children()), { "core4", "core5", "core6", "core7", "memory" })
    check.equal(rdl:resource("default:/n7/socket1/memory").size, 512)
end

function test.socket_alone()
    local rdl = eval [[uses "Socket"
        Hierarchy "default" { Resource { "node", name = "foo", id = 0, children = {
            Socket { id = 0, cpus = "0-3" }, Socket { id = 1, cpus = "4-7", memory = 10 } } } }]]
    check.equal(rdl:aggregate "default", { node = 1, socket = 2, core = 8, memory = 10 })
end

function test.list_of_a_class_and_by_name()
    for _, class in ipairs { "Node", 'type = "Node"', '"Node"' } do
        local rdl = eval([[uses "Node"
            Hierarchy "default" { Resource { "cluster", name = "c", children = {
                ListOf { ]] .. class .. [[, ids = "1-3,9", args = { name = "n", sockets = { "0" } } } } } }]])
        check.equal(check.names(rdl:resource("default"):children()), { "n1", "n2", "n3", "n9" })
    end
end

function test.list_of_more_than_the_stack_holds()
    local rdl = eval [[Hierarchy "default" { Resource { "c", children = {
        ListOf { Resource, ids = "0-19999", args = { "node" } }, Resource { "last" } } } }]]
    check.equal(rdl:aggregate(), { c = 1, node = 20000, last = 1 })
end

function test.zero_padded_ids_stay_in_names()
    local rdl = eval [[Hierarchy "default" { Resource { "c", children = {
        ListOf { Resource, ids = "008-011", args = { "node", name = "n" } }, Resource { "x", id = "01" } } } }]]
    check.equal(check.names(rdl:resource("default"):children()), { "x01", "n008", "n009", "n010", "n011" })
    check.equal(rdl:resource("default:/c/n008").id, 8)
end

function test.ids_stand_for_many()
    local rdl = eval [[Hierarchy "default" { Resource { "node", children = {
        Resource { "gpu", ids = "0-3", children = { Resource { "memory", size = 80 } } } } } }]]
    check.equal(rdl:aggregate(), { node = 1, gpu = 4, memory = 320 })
end

function test.children_by_id_those_without_last()
    local rdl = eval [[Hierarchy "default" { Resource { "r", children = {
        Resource { "z" }, Resource { "b", id = 10 }, Resource { "b", id = 9 }, Resource { "a" }, Resource { "b", id = 0 } } } }]]
    check.equal(check.names(rdl:resource("default"):children()), { "b0", "b9", "b10", "z", "a" })
end

function test.subclass_with_initialize()
    local rdl = eval [[
        Foo = Resource:subclass 'Foo'
        function Foo:initialize(arg)
            Resource.initialize(self, { "foo", name = arg.name or arg[1], id = arg.id })
        end
        Hierarchy "default" { Foo { "bar", id = 0 } }]]
    check.equal(rdl:resource("default").name, "bar0")
    check.equal(rdl:resource("default").type, "foo")
end

function test.subclass_of_node_may_change_what_it_inherits()
    local rdl = eval [[
        uses "Node"
        BigNode = Node:subclass "BigNode"
        function BigNode:initialize(arg)
            Node.initialize(self, arg)
            self.tags.big = true
            self:add_child(Resource { "gpu", ids = "0-1" })
        end
        Hierarchy "default" { BigNode { name = "n", id = 1, sockets = { "0" } } }]]
    check.equal(rdl:aggregate(), { node = 1, socket = 1, core = 1, gpu = 2 })
    check.equal(rdl:resource("default").tags, { big = 1 })
end

function test.default_tags()
    local rdl = eval [[Resource:default_tags { "tag1", n = 2 }
        Hierarchy "default" { Resource { "foo", tags = { n = 5 } } }]]
    check.equal(rdl:resource("default").tags, { tag1 = 1, n = 5 })
end

function test.default_tags_end_with_the_eval()
    eval [[Resource:default_tags { "tag1" }]]
    check.equal(eval([[Hierarchy "default" { Resource { "foo" } }]]):resource("default").tags, {})
end

local function node_tags(lines)
    local rdl = eval('uses "Node"\n' .. lines .. [[
        Hierarchy "default" { Resource { "foo", children = { Node { name = "n", id = 1, sockets = { "0" } } } } }]])
    return rdl:resource("default:/foo/n1").tags, rdl:resource("default:/foo").tags
end

function test.default_tags_of_a_subclass()
    local node, foo = node_tags 'Node:default_tags { "test" }'
    check.equal(node, { test = 1 })
    check.equal(foo, {})
end

function test.default_tags_are_inherited()
    local node, foo = node_tags 'Resource:default_tags { "test" }'
    check.equal(node, { test = 1 })
    check.equal(foo, { test = 1 })
end

function test.default_tags_overridden()
    local node = node_tags 'Resource:default_tags { "test" } Node:default_tags { "test2" }'
    check.equal(node, { test2 = 1 })
end

function test.default_tags_cleared_by_an_empty_list()
    local node, foo = node_tags 'Resource:default_tags { "test" } Node:default_tags {}'
    check.equal(node, {})
    check.equal(foo, { test = 1 })
end

function test.default_tags_on_the_uses_line()
    check.equal((node_tags 'uses "Node" :default_tags { "set-a-tag" }'), { ["set-a-tag"] = 1 })
end

function test.max_bw_is_split()
    local rdl = eval [[uses "Node"
        Hierarchy "default" { Node { name = "n", id = 0, sockets = { "0-3", "4-5" }, tags = { max_bw = 144 } } }]]
    check.equal(rdl:resource("default:/n0/socket0").tags, { max_bw = 72 })
    check.equal(rdl:resource("default:/n0/socket0/core0").tags, { max_bw = 18 })
    check.equal(rdl:resource("default:/n0/socket1/core5").tags, { max_bw = 36 })
end

function test.max_bw_by_default_is_split_too()
    local rdl = eval [[uses "Node" :default_tags { max_bw = 8 }
        Hierarchy "default" { Node { name = "n", id = 0, sockets = { "0-3" } } }]]
    check.equal(rdl:resource("default:/n0/socket0/core2").tags, { max_bw = 2 })
end

function test.several_hierarchies()
    local rdl = eval [[local node = Resource { "node", id = 1 }
        Hierarchy "default" { Resource { "cluster", children = { node } } }
        Hierarchy "power" { Resource { "pdu", id = 0, children = { node } } }]]
    check.equal(rdl:resource("power:/pdu0/node1").uri, "power:/pdu0/node1")
    check.equal(rdl:aggregate "power", { pdu = 1, node = 1 })
    check.equal(rdl:resource("power:/pdu0/node1").hierarchy_name, "power")
end

function test.hierarchy_below_a_resource()
    local rdl = eval [[uses "Node"
        Hierarchy "default" { Resource { "foo", children = { Node { name = "bar", id = 0, sockets = { "0-1" } } } } }
        Hierarchy "default:/foo" { Node { name = "bar", id = 1, sockets = { "0-1" } } }
        Hierarchy "default:/foo/bar0" { Resource { "gpu", id = 0 }, Resource { "gpu", id = 1 } }]]
    check.equal(rdl:aggregate "default", { foo = 1, node = 2, socket = 2, core = 4, gpu = 2 })
    assert(rdl:resource "default:/foo/bar0/gpu1")
end

function test.pools()
    local rdl = eval [[Hierarchy "default" { Resource { "foo", children = {
        Resource { "memory", size = 1024 }, Resource { "power", count = 300, allocated = 100 } } } }]]
    check.equal(rdl:aggregate(), { foo = 1, memory = 1024, power = 200 })
end

function test.loops_and_tables_of_lua()
    local rdl = eval [[local list = {}
        for i = 3, 1, -1 do table.insert(list, Resource { "r" .. i }) end
        table.sort(list, function(a, b) return a.type < b.type end)
        table.remove(list, 1)
        Hierarchy(string.format("%s", ("DEFAULT"):lower())) { Resource { "top", children = list } }]]
    check.equal(check.names(rdl:resource("default"):children()), { "r2", "r3" })
end

function test.errors_name_file_and_line()
    check.fails("conf/x.lua:3: foo.size", RDL.eval("\n\nResource { 'foo', size = -1 }", "conf/x.lua"))
    check.fails("conf/x.lua:2: unexpected symbol", RDL.eval("\nx = = 1", "conf/x.lua"))
    check.fails("conf/x.lua:1: mine", RDL.eval("error 'mine'", "conf/x.lua"))
    local long = "conf/" .. string.rep("x", 200) .. ".lua"
    check.fails(long .. ":1: attempt to call", RDL.eval("nothing()", long))
end

function test.evalf()
    check.fails("/nonexistent/x.lua: No such file", RDL.evalf "/nonexistent/x.lua")
    check.fails("/: Is a directory", RDL.evalf "/")
    check.fails("expected the path", RDL.evalf(nil))
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write "#!/usr/bin/env rdl\nHierarchy 'default' { Resource { 'a' } }\nerror 'end'\n"
    file:close()
    check.fails(path .. ":3: end", RDL.evalf(path))
    os.remove(path)
end

function test.empty_file_is_an_empty_store()
    check.fails("no hierarchy 'default' (there: none: a file describes resources with Hierarchy", eval(""):resource "default")
end

function test.bad_resources()
    fails("expected a table", "Resource 'x'")
    fails("type missing", "Resource {}")
    fails("unknown field 'sise'", "Resource { 'a', sise = 1 }")
    fails("type: expected a name", "Resource { 'a b' }")
    fails("type: expected a name", "Resource { '" .. string.rep("a", 256) .. "' }")
    fails("a.name: expected a name", "Resource { 'a', name = 'x/y' }")
    fails("a.name: expected a name", "Resource { 'a', name = 5 }")
    fails("a.id: expected a whole number of at least 0", "Resource { 'a', id = -1 }")
    fails("a.id: expected a whole number", "Resource { 'a', id = 'x' }")
    fails("above 2147483647", "Resource { 'a', id = 2147483648 }")
    fails("above 2147483647", "Resource { 'a', id = '99999999999' }")
    fails("a.ids: expected a list of ids", "Resource { 'a', ids = {} }")
    fails("a.ids: 'x' is no list", "Resource { 'a', ids = 'x' }")
    fails("a.size: expected a whole number of at least 1, got 0", "Resource { 'a', size = 0 }")
    fails("a.size: expected a whole number of at least 1, got string", "Resource { 'a', size = '1' }")
    fails("a.size: expected a whole number of at least 1, got inf", "Resource { 'a', size = math.huge }")
    fails("a.size: expected a whole number of at least 1, got 1.5", "Resource { 'a', size = 1.5 }")
    fails("a.size: expected a whole number", "Resource { 'a', size = 0/0 }")
    fails("a.allocated: 3 is more than the size, 2", "Resource { 'a', size = 2, allocated = 3 }")
    fails("a.tags: expected a table", "Resource { 'a', tags = 'x' }")
    fails("a.tags.x: expected a string, a finite number or a boolean, got table", "Resource { 'a', tags = { x = {} } }")
    fails("a.tags.x: expected a string, a finite number", "Resource { 'a', tags = { x = 1/0 } }")
    fails("a.tags: expected names as keys", "Resource { 'a', tags = { {} } }")
    fails("a.properties: expected a table", "Resource { 'a', properties = 5 }")
    fails("a.children: expected a Resource, got a number", "Resource { 'a', children = { 5 } }")
    fails("a.children: unexpected key 'x'", "Resource { 'a', children = { x = Resource { 'b' } } }")
    fails("default_tags: expected a table", "Resource:default_tags 'x'")
    fails("subclass expects a name", "Resource:subclass()")
end

function test.changed_descriptions_are_checked_again()
    fails("a.tags: expected a table", "x = Resource { 'a' } x.tags = 5 Hierarchy 'd' { x }")
    fails("a.tags.y: expected", "x = Resource { 'a' } x.tags.y = {} Hierarchy 'd' { x }")
    fails("children: expected a Resource", "x = Resource { 'a' } x.children = { 5 } Hierarchy 'd' { x }")
    fails("a.children: expected a table", "x = Resource { 'a' } x.children = 5 Hierarchy 'd' { x }")
    fails("type: expected a name", "function Resource:initialize() end Hierarchy 'd' { Resource { 'a' } }")
end

function test.bad_lists()
    fails("ListOf: expected a table", "ListOf 'x'")
    fails("ListOf: no type 'Nope' here", "ListOf { 'Nope', ids = '1' }")
    fails("ListOf: expected a type such as Node", "ListOf { ids = '1' }")
    fails("ListOf.ids: expected a list of ids", "ListOf { Resource }")
    fails("ListOf.args: expected a table", "ListOf { Resource, ids = '1', args = 5 }")
    fails("id 99999999999 is above", "ListOf { Resource, ids = '0-99999999999', args = { 'a' } }")
    fails("names more than 4000000 ids", "ListOf { Resource, ids = '0-99999999', args = { 'a' } }")
end

function test.bad_nodes_and_sockets()
    local function node(fields)
        return "uses 'Node' Node { " .. fields .. " }"
    end
    fails("Node: expected a table", "uses 'Node' Node 'x'")
    fails("Node: name missing", node "sockets = { '0' }")
    fails("Node.sockets: expected a list of core ids", node "name = 'n', sockets = '0-7'")
    fails("got an empty one", node "name = 'n', sockets = {}")
    fails("core 3 is in socket 0 and in socket 1", node "name = 'n', sockets = { '0-3', '3-4' }")
    fails("core.ids: 'x' is no list", node "name = 'n', sockets = { 'x' }")
    fails("memory.size", node "name = 'n', sockets = { '0' }, memory_per_socket = -5")
    fails("Socket: expected a table", "uses 'Socket' Socket 'x'")
    fails("Socket: id missing", "uses 'Socket' Socket { cpus = '0' }")
    fails("Socket.cpus: expected a list of core ids", "uses 'Socket' Socket { id = 0 }")
end

function test.bad_uses()
    fails("expected the name of a type", "uses '../Node'")
    fails("expected the name of a type", "uses(5)")
    fails("no type 'Nope'", "uses 'Nope'")
end

function test.bad_hierarchies()
    fails("Hierarchy: no Resource in it", "Hierarchy 'd' {}")
    fails("Hierarchy: expected a Resource, got a number", "Hierarchy 'd' (5)")
    fails("expected a single Resource at the root, got 2", "Hierarchy 'd' { Resource { 'a' }, Resource { 'b' } }")
    fails("expected a single Resource at the root, got 3", "Hierarchy 'd' { Resource { 'a', ids = '1-3' } }")
    fails("Hierarchy 'd' is there already", "Hierarchy 'd' { Resource { 'a' } } Hierarchy 'd' { Resource { 'a' } }")
    fails("no hierarchy 'x'", "Hierarchy 'x:/a' { Resource { 'a' } }")
    fails("no resource 'x' in /a", "Hierarchy 'd' { Resource { 'a' } } Hierarchy 'd:/a/x' { Resource { 'b' } }")
    fails("'a b' is no URI", "Hierarchy 'a b' { Resource { 'a' } }")
    fails("a URI is a string", "Hierarchy(5) { Resource { 'a' } }")
end

function test.names_of_siblings_differ()
    fails("/a has two resources named 'b'",
        "Hierarchy 'd' { Resource { 'a', children = { Resource { 'b' }, Resource { 'b' } } } }")
    fails("/a has two resources named 'b12'",
        "Hierarchy 'd' { Resource { 'a', children = { Resource { 'b1', id = 2 }, Resource { 'b', id = 12 } } } }")
    fails("/a has two resources named 'b0'", [[
        Hierarchy 'd' { Resource { 'a', children = { Resource { 'b', ids = '0-3' } } } }
        Hierarchy 'd:/a' { Resource { 'b', id = 0 } }]])
end

return test
