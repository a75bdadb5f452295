-- SPDX-FileCopyrightText: 2026 The flux-sched authors
-- SPDX-License-Identifier: LGPL-3.0-or-later

-- A UUID made from the URI of a resource: the same URI always gives the same one, and
-- neither time nor randomness enters. Version 8 of RFC 9562, whose 122 free bits are
-- the maker's own.

local byte, floor, format = string.byte, math.floor, string.format

local M = {}

-- Four polynomial hashes modulo primes just below 2^31. Products stay below 2^53, where
-- Lua's numbers are exact.
local PRIMES = { 2147483647, 2147483629, 2147483587, 2147483579 }
local FACTORS = { 4194301, 3999971, 3700001, 3300013 }

function M.of(uri)
    local h = { 1, 2, 3, 4 }
    for i = 1, #uri do
        local c = byte(uri, i)
        for j = 1, 4 do
            h[j] = (h[j] * FACTORS[j] + c + 1) % PRIMES[j]
        end
    end
    -- Once more, so that the last character reaches all digits.
    for j = 1, 4 do
        h[j] = h[j] * FACTORS[j] % PRIMES[j]
    end
    return format("%08x-%04x-8%03x-%x%03x-%04x%08x",
        h[1], floor(h[2] / 65536), h[2] % 4096, 8 + h[3] % 4, floor(h[3] / 4) % 4096,
        floor(h[3] / 16384) % 65536, h[4])
end

return M
