-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Lists of ids and of names.

local check = require "check"
local idset = require "RDL.idset"
local limits = require "RDL.limits"

local test = {}

function test.parse()
    check.equal({ idset.parse "0-3,7" }, { { 0, 1, 2, 3, 7 }, 0 })
    check.equal({ idset.parse "[5]" }, { { 5 }, 0 })
    check.equal({ idset.parse "9,3-4,4-6,0" }, { { 0, 3, 4, 5, 6, 9 }, 0 })
    check.equal({ idset.parse "2-9,3-4" }, { { 2, 3, 4, 5, 6, 7, 8, 9 }, 0 })
    check.equal({ idset.parse "098-101" }, { { 98, 99, 100, 101 }, 3 })
    check.equal({ idset.parse "00" }, { { 0 }, 2 })
end

function test.parse_errors()
    for _, text in ipairs { "", "a", "1-", "-1", "1--2", "1,,2", ",1", "1,", "1 2", "[1", "0x1", "1-2-3", "1.5" } do
        check.fails("is no list of ids", idset.parse(text))
    end
    check.fails("range 7-3 runs backwards", idset.parse "7-3")
    check.fails("mixes zero-padded widths", idset.parse "01,002")
    check.fails("mixes zero-padded widths", idset.parse "1,002")
    check.fails("above 2147483647", idset.parse "2147483648")
    check.fails("above 2147483647", idset.parse(string.rep("9", 400)))
    check.fails("names more than", idset.parse "0-2147483647")
    check.fails("names more than", idset.parse(string.rep("0-999999,", 5) .. "1"))
end

function test.format()
    check.equal(idset.format { 0, 1, 2, 3, 7, 9, 10 }, "0-3,7,9-10")
    check.equal(idset.format({ 98, 99, 100 }, 3), "098-100")
    check.equal(idset.format {}, "")
end

function test.names()
    check.equal(idset.names "a", { a = true })
    check.equal(idset.names "a[1-2],b,c[03]-ib", { a1 = true, a2 = true, b = true, ["c03-ib"] = true })
    for _, text in ipairs { "", ",a", "a,", "a[1", "a]", "a[1][2]", "a[b]" } do
        check.fails("is no list of", idset.names(text))
    end
    local resources = limits.resources
    limits.resources = 100
    check.fails("names more than", idset.names "a[0-100]")
    check.fails("holds more than", idset.names "a[0-99],b")
    limits.resources = resources
end

return test
