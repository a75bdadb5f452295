-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- What a store answers.

local RDL = require "RDL"
local check = require "check"

local test = {}

local function cluster()
    return assert(RDL.eval [[
        uses "Node"
        Hierarchy "default" { Resource { "cluster", name = "foo", children = {
            ListOf { Node, ids = "0-3", args = { name = "bar", sockets = { "0-1", "2-3" }, memory_per_socket = 100 } },
            Node { name = "big", id = 9, sockets = { "0-7" }, tags = { "gpu", rank = 9 } },
        } } }
        Hierarchy "power" { Resource { "pdu", id = 1, children = { Resource { "outlet", ids = "1-2", tags = { "gpu" } } } } }]])
end

local ALL = { cluster = 1, node = 5, socket = 9, core = 24, memory = 800 }

function test.uris()
    local rdl = cluster()
    for _, uri in ipairs { "default", "default:", "default:/", "default:/foo", "default:/foo/" } do
        check.equal(rdl:resource(uri).name, "foo", uri)
    end
    check.equal(rdl:resource("default:/foo/bar2/socket1/core3").path, "/foo/bar2/socket1/core3")
    check.fails("no hierarchy 'x' (there: default, power)", rdl:resource "x")
    check.fails("no resource 'bar'; the root is 'foo'", rdl:resource "default:/bar")
    check.fails("no resource 'x' in /foo/bar2", rdl:resource "default:/foo/bar2/x/y")
    for _, uri in ipairs { "", "default:x", "default//foo", "default:/a//b", "a:b:c", "default:/a b", "/foo" } do
        check.fails("is no URI", rdl:resource(uri))
    end
    check.fails("a URI is a string", rdl:resource(nil))
end

function test.long_lists_are_searched_by_name()
    local rdl = assert(RDL.eval [[Hierarchy "default" { Resource { "c", children = { Resource { "n", ids = "0-999" } } } }]])
    check.equal(rdl:resource("default:/c/n777").id, 777)
    check.fails("no resource 'n1000'", rdl:resource "default:/c/n1000")
    assert(rdl:resource("default"):unlink "n777")
    check.fails("no resource 'n777'", rdl:resource "default:/c/n777")
end

function test.a_resource_cannot_be_assigned_to()
    local r = cluster():resource "default"
    check.equal(pcall(function() r.size = 5 end), false)
    check.equal(pcall(function() return r.alloc(5) end), false)
    check.equal(r.nothing, nil)
    r.tags.x = 1
    check.equal(r.tags, {})
end

function test.uuids_are_unique_and_lasting()
    local rdl, seen, n = cluster(), {}, 0
    local function walk(r)
        assert(#r.uuid == 36 and r.uuid:match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-8%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", r.uuid)
        assert(not seen[r.uuid], r.uri)
        seen[r.uuid] = true
        n = n + 1
        for child in r:children() do
            walk(child)
        end
    end
    walk(rdl:resource "default")
    walk(rdl:resource "power")
    check.equal(n, 1 + 5 + 9 + 24 + 8 + 3)
    check.equal(rdl:resource("default:/foo").uuid, cluster():resource("default:/foo").uuid)
end

function test.tags()
    local r = cluster():resource "default:/foo/bar1"
    check.equal(r.tags, {})
    assert(r:tag "a")
    assert(r:tag("b", 5))
    assert(r:tag { "c", d = "x" })
    check.equal(r.tags, { a = 1, b = 5, c = 1, d = "x" })
    check.equal(r:get "b", 5)
    check.equal(r:get "none", nil)
    assert(r:tag("b", 6))
    check.equal(r:get "b", 6)
    assert(r:delete_tag "a")
    assert(r:delete_tag "none")
    check.equal(r.tags, { b = 6, c = 1, d = "x" })
    check.fails("tag.x: expected a string", r:tag("x", {}))
    check.fails("tag: expected a table", r:tag(5))
end

function test.tags_are_of_one_resource_alone()
    local rdl = cluster()
    rdl:resource("default:/foo/bar1"):tag "mine"
    check.equal(rdl:resource("default:/foo/bar2").tags, {})
end

function test.aggregate()
    local rdl = cluster()
    check.equal(rdl:aggregate(), ALL)
    check.equal(rdl:aggregate "default", ALL)
    check.equal(rdl:resource("default"):aggregate(), ALL)
    check.equal(rdl:resource("default:/foo/bar0/socket0"):aggregate(), { socket = 1, core = 2, memory = 100 })
    check.equal(rdl:aggregate "default:/foo/big9/socket0/core5", { core = 1 })
    check.fails("no hierarchy 'x'", rdl:aggregate "x")
end

function test.alloc_and_free()
    local rdl = cluster()
    local memory = rdl:resource "default:/foo/bar0/socket0/memory"
    check.equal(memory:alloc(60), 60)
    check.equal({ memory.size, memory.allocated, memory.available }, { 100, 60, 40 })
    check.equal(rdl:aggregate().memory, 740)
    check.fails("memory: 41 asked for, 40 of 100 available", memory:alloc(41))
    check.equal(memory:alloc(40), 40)
    check.fails("memory: 101 to free, 100 allocated", memory:free(101))
    check.equal(memory:free(100), 100)
    check.equal(memory.allocated, 0)
    check.fails("1 to free, 0 allocated", memory:free())
    for _, n in ipairs { 0, -1, 1.5, 0 / 0, 1 / 0, "x" } do
        check.fails("", memory:alloc(n))
        check.fails("", memory:free(n))
    end
    check.equal(memory.available, 100)
end

function test.nothing_below_an_allocated_resource_is_available()
    local rdl = cluster()
    local socket = rdl:resource "default:/foo/bar0/socket0"
    check.equal(socket:alloc(), 1)
    check.equal(rdl:aggregate(), { cluster = 1, node = 5, socket = 8, core = 22, memory = 700 })
    local left = assert(rdl:find { available = true })
    check.fails("no resource 'socket0'", left:resource "default:/foo/bar0/socket0")
    check.equal(left:aggregate(), rdl:aggregate())
    check.equal(socket:free(), 1)
    check.equal(rdl:aggregate(), ALL)
end

function test.find()
    local rdl = cluster()
    local function counts(arg, uri)
        return assert(rdl:find(arg)):aggregate(uri)
    end
    check.equal(counts { type = "memory" }, { cluster = 1, node = 4, socket = 8, memory = 800 })
    check.equal(counts { "core", ids = "1,3" }, { cluster = 1, node = 5, socket = 9, core = 10 })
    check.equal(counts { type = "node", name = "bar[1-2],big9" }, { cluster = 1, node = 3, socket = 5, core = 16, memory = 400 })
    check.equal(counts { basename = "big" }, { cluster = 1, node = 1, socket = 1, core = 8 })
    check.equal(counts { id = 9 }, { cluster = 1, node = 1, socket = 1, core = 8 })
    check.equal(counts { tags = { "gpu" } }, { cluster = 1, node = 1, socket = 1, core = 8 })
    check.equal(counts({ tags = "gpu" }, "power"), { pdu = 1, outlet = 2 })
    check.equal(counts { tags = { "gpu", rank = 9 } }, { cluster = 1, node = 1, socket = 1, core = 8 })
    check.equal(counts { uri = "default:/foo/bar1", type = "core" }, { cluster = 1, node = 1, socket = 2, core = 4 })
    check.equal(counts "default:/foo/bar1/socket0/core1", { cluster = 1, node = 1, socket = 1, core = 1 })
    check.fails("no hierarchy 'default' (there: power)", rdl:find({ type = "pdu" }):resource "default")
end

function test.find_nothing_and_bad_criteria()
    local rdl = cluster()
    check.fails("no resource matches", rdl:find { type = "gpu" })
    check.fails("no resource matches", rdl:find { tags = { rank = 8 } })
    check.fails("unknown criterion 'typ'", rdl:find { typ = "gpu" })
    check.fails("expected a table", rdl:find(5))
    check.fails("is no list of ids", rdl:find { ids = "x" })
    check.fails("is no list of names", rdl:find { name = "[" })
    check.fails("find: tags: expected a table", rdl:find { tags = 5 })
    check.fails("no resource 'x'", rdl:find { uri = "default:/x" })
end

function test.find_does_not_change_its_argument()
    local arg = { type = "core", name = "core[0-1]", ids = "0" }
    assert(cluster():find(arg))
    check.equal(arg, { type = "core", name = "core[0-1]", ids = "0" })
end

function test.copy()
    local rdl = cluster()
    local part = assert(rdl:copy "default:/foo/bar1/socket1")
    check.equal(part:aggregate(), { cluster = 1, node = 1, socket = 1, core = 2, memory = 100 })
    check.equal(part:resource("default:/foo/bar1/socket1").uuid, rdl:resource("default:/foo/bar1/socket1").uuid)
    check.equal(part == rdl, false)
    part = assert(rdl:copy { "default:/foo/bar1", "default:/foo/bar2/socket0/core0", uri = "power:/pdu1/outlet2" })
    check.equal(part:aggregate(), { cluster = 1, node = 2, socket = 3, core = 5, memory = 200 })
    check.equal(part:aggregate "power", { pdu = 1, outlet = 1 })
    rdl:resource("default:/foo/bar1/socket0"):alloc()
    part = assert(rdl:copy { "default:/foo/bar1", available = true })
    check.equal(part:aggregate(), { cluster = 1, node = 1, socket = 1, core = 2, memory = 100 })
    check.fails("nothing there is available", rdl:copy { "default:/foo/bar1/socket0", available = true })
    check.fails("no resource 'x'", rdl:copy "default:/x")
    check.fails("expected a URI", rdl:copy(5))
    check.fails("unknown field 'typ'", rdl:copy { typ = "x" })
end

function test.dup_stands_alone()
    local rdl = cluster()
    local other = rdl:dup()
    assert(other == rdl and rdl:compare(other))
    other:resource("default:/foo/bar0"):tag "x"
    other:resource("default:/foo/bar1"):alloc()
    other:resource("default:/foo"):unlink "bar2"
    check.equal(rdl == other, false)
    assert(rdl == cluster())
end

function test.compare()
    local rdl = cluster()
    check.equal(rdl:compare(5), false)
    for _, change in ipairs {
        function(r) r:resource("default:/foo/bar0"):tag "x" end,
        function(r) r:resource("default:/foo/bar0"):alloc() end,
        function(r) r:resource("default:/foo"):unlink "bar2" end,
    } do
        local other = cluster()
        assert(rdl == other)
        change(other)
        check.equal(rdl == other, false)
        check.equal(other == rdl, false)
    end
    local function two(names)
        return assert(RDL.eval('Hierarchy "d" { Resource { "r", children = { ' .. names .. " } } }"))
    end
    assert(two "Resource { 'a' }, Resource { 'b' }" == two "Resource { 'b' }, Resource { 'a' }")
    assert(two "Resource { 'a' }, Resource { 'b' }" ~= two "Resource { 'b' }, Resource { 'c' }")
    assert(two "Resource { 'a', size = 2 }" ~= two "Resource { 'a', size = 3 }")
    assert(two "Resource { 'a', tags = { x = 1 } }" ~= two "Resource { 'a', tags = { x = '1' } }")
    assert(RDL.eval "Hierarchy 'a' { Resource { 'r' } }" ~= RDL.eval "Hierarchy 'b' { Resource { 'r' } }")
end

function test.unlink()
    local rdl = cluster()
    local socket = rdl:resource "default:/foo/bar0/socket0"
    assert(socket:unlink "core0")
    check.equal(check.names(socket:children()), { "core1", "memory" })
    check.equal(rdl:aggregate().core, 23)
    check.fails("/foo/bar0/socket0 has no child 'core0'", socket:unlink "core0")
    assert(socket:unlink "core1" and socket:unlink "memory")
    check.equal(check.names(socket:children()), {})
end

local function round(rdl)
    local text = rdl:serialize()
    local back, err = RDL.eval(text)
    assert(back, err)
    assert(rdl == back, text)
    check.equal(back:serialize(), text)
    return text
end

function test.serialize()
    local rdl = cluster()
    round(rdl)
    rdl:resource("default:/foo/bar2/socket0/memory"):alloc(30)
    rdl:resource("default:/foo/bar3/socket0/core1"):alloc()
    rdl:resource("default:/foo/bar1"):tag { "flag", no = false, n = -1.25e-3, third = 1 / 3,
        text = "quote\" back\\ line\nreturn\r tab\t bell\7 nul\0 ü ]] --" }
    rdl:resource("default:/foo/bar1/socket0"):unlink "core0"
    round(rdl)
end

function test.serialize_folds_equal_siblings()
    local text = round(assert(RDL.eval [[uses "Node"
        Hierarchy "default" { Resource { "cluster", name = "hype", children = {
            ListOf { Node, ids = "0-1999", args = { name = "hype", sockets = { "0-7", "8-15" } } } } } }]]))
    assert(#text < 1000, text)
end

function test.serialize_zero_padded_ids()
    local rdl = assert(RDL.eval [[Hierarchy "default" { Resource { "c", id = "007", children = {
        Resource { "n", ids = "098-102" }, ListOf { Resource, ids = "08-12", args = { "m" } } } } }]])
    round(rdl)
    rdl:resource("default"):unlink "n098"
    rdl:resource("default"):unlink "n099"
    round(rdl)
end

function test.serialize_splits_what_is_long()
    -- Lua holds a limited number of constants in one function.
    local rdl = assert(RDL.eval [[
        local list = {}
        for i = 1, 3000 do
            list[i] = Resource { "r", name = "n" .. i, size = i + 1 }
        end
        Hierarchy "default" { Resource { "top", children = { Resource { "a", children = list }, Resource { "b" } } } }]])
    local text = round(rdl)
    local last, statements = 1, 0
    for at in text:gmatch "()Hierarchy" do
        assert(at - last < 25000)
        last, statements = at, statements + 1
    end
    assert(statements > 3 and #text - last < 25000)
end

function test.serialize_as_deep_as_allowed()
    local rdl = assert(RDL.eval [[
        local r = Resource { "r" }
        for i = 1, 63 do
            r = Resource { "r", children = { r, Resource { "s", id = i } } }
        end
        Hierarchy "default" { r }]])
    round(rdl)
end

return test
