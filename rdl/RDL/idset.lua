-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- Sets of ids ("0-7,16") and lists of names ("hype[201-204],login1").

local limits = require "RDL.limits"

local find, format, gmatch = string.find, string.format, string.gmatch
local match, sub = string.match, string.sub
local concat, sort = table.concat, table.sort
local tonumber = tonumber

local M = {}

-- Ids are kept below 2^31, as ranks and core ids are elsewhere in Flux.
M.MAX_ID = 2147483647

local function shown(text)
    if #text > 40 then
        return sub(text, 1, 37) .. "..."
    end
    return text
end

-- Digits of an id to number and zero-padded width (0 if none), or nil and an error.
local function number(digits)
    local width = 0
    if #digits > 1 and sub(digits, 1, 1) == "0" then
        width = #digits
    end
    local id = tonumber(digits)
    if #digits > 20 or id > M.MAX_ID then
        return nil, format("id %s is above %d", shown(digits), M.MAX_ID)
    end
    return id, width
end

M.number = number

function M.padded(id, width)
    if width > 0 then
        return format("%0" .. width .. "d", id)
    end
    return format("%d", id)
end

-- Text such as "0-7,16" or "[001-016]" to its ranges {first, last}, their zero-padded
-- width and the number of ids. nil and an error for anything else.
local function ranges(text)
    local inner = match(text, "^%[(.*)%]$") or text
    if inner == "" or find(inner, "[^0-9,%-]") or find(inner, ",,", 1, true)
        or find(inner, "^,") or find(inner, ",$") then
        return nil, format("'%s' is no list of ids such as \"0-7,16\"", shown(text))
    end
    local list, count = {}, 0
    local width, plain = 0, nil
    for item in gmatch(inner, "[^,]+") do
        local from, to = match(item, "^(%d+)%-(%d+)$")
        from = from or match(item, "^%d+$")
        if not from then
            return nil, format("'%s' is no list of ids such as \"0-7,16\"", shown(text))
        end
        local first, err = number(from)
        if not first then
            return nil, err
        end
        local last = first
        if to then
            last, err = number(to)
            if not last then
                return nil, err
            end
        end
        if last < first then
            return nil, format("range %s-%s runs backwards", from, to)
        end
        for _, digits in ipairs { from, to } do
            local _, padding = number(digits)
            if padding > 0 then
                if width > 0 and width ~= padding then
                    return nil, format("'%s' mixes zero-padded widths", shown(text))
                end
                width = padding
            elseif not plain or #digits < plain then
                plain = #digits
            end
        end
        count = count + last - first + 1
        if count > limits.resources then
            return nil, format("'%s' names more than %d ids", shown(text), limits.resources)
        end
        list[#list + 1] = { first, last }
    end
    if plain and width > plain then
        return nil, format("'%s' mixes zero-padded widths", shown(text))
    end
    return list, width, count
end

-- Ids of a text, in ascending order and each once: a list of numbers and the
-- zero-padded width of the ids (0 if they have no leading zeros); or nil and an error.
function M.parse(text)
    local list, width = ranges(text)
    if not list then
        return nil, width
    end
    sort(list, function(a, b) return a[1] < b[1] end)
    local ids, n, next_id = {}, 0, -1
    for i = 1, #list do
        local first, last = list[i][1], list[i][2]
        if first < next_id then
            first = next_id
        end
        for id = first, last do
            n = n + 1
            ids[n] = id
        end
        if last >= next_id then
            next_id = last + 1
        end
    end
    return ids, width
end

-- The inverse of parse: ascending ids to text.
function M.format(ids, width)
    width = width or 0
    local parts, n, i = {}, #ids, 1
    while i <= n do
        local j = i
        while j < n and ids[j + 1] == ids[j] + 1 do
            j = j + 1
        end
        local text = M.padded(ids[i], width)
        if j > i then
            text = text .. "-" .. M.padded(ids[j], width)
        end
        parts[#parts + 1] = text
        i = j + 1
    end
    return concat(parts, ",")
end

-- Names of a list such as "hype[201-204,300],login1" as a set {name = true};
-- or nil and an error. A name has at most one bracket.
function M.names(text)
    local set, count = {}, 0
    local at = 1
    while at <= #text + 1 do
        local head, stop = match(text, "^([^,%[%]]*)()", at)
        local ids, tail
        if sub(text, stop, stop) == "[" then
            ids, tail, stop = match(text, "^%[([^%]]*)%]([^,%[%]]*)()", stop)
        end
        if not stop or (head == "" and not ids) or (stop <= #text and sub(text, stop, stop) ~= ",") then
            return nil, format("'%s' is no list of names such as \"hype[201-204]\"", shown(text))
        end
        if ids then
            local numbers, width = M.parse(ids)
            if not numbers then
                return nil, width
            end
            for i = 1, #numbers do
                set[head .. M.padded(numbers[i], width) .. tail] = true
            end
            count = count + #numbers
        else
            set[head] = true
            count = count + 1
        end
        if count > limits.resources then
            return nil, format("'%s' holds more than %d names", shown(text), limits.resources)
        end
        at = stop + 1
    end
    return set
end

-- For "foo12" the stem is "foo". Names with different stems are different
-- whatever ids are appended to them.
function M.stem(name)
    local stem = match(name, "^(.-)%d+$")
    return stem or name
end

M.shown = shown

return M
