# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Idset strings (RFC 22), host lists (RFC 29) and durations (RFC 23)."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.formats import duration, hostlist, idset
from fluxsched.formats.quote import quote

# ---- idset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("[]", []),
        ("0", [0]),
        ("1,2,3,5,6,42", [1, 2, 3, 5, 6, 42]),
        ("1-3,5-6,42", [1, 2, 3, 5, 6, 42]),
        ("[1-3,5-6,42]", [1, 2, 3, 5, 6, 42]),
        ("0-1,2-3", [0, 1, 2, 3]),
        ("2147483647", [2147483647]),
    ],
)
def test_idset(text, expected):
    assert idset.ids(text) == expected


def test_idset_ranges_are_the_fewest():
    assert idset.ranges("0-1,2,3-4,6") == [(0, 4), (6, 6)]


@pytest.mark.parametrize(
    "text",
    [
        "01", "1-02", "3-1", "1-1", "1,1", "2,1", "1-3,2", "1,", ",1", "1,,2", "-1", "1-", "1-2-3", "a", " 1", "1 ",
        "1\n", "[1", "1]", "[[1]]", "1[2]", "1_0", "\u0661", "1.0", "+1", "9" * 5000,
    ],
)  # fmt: skip
def test_idset_refuses(text):
    with pytest.raises(idset.IdsetError, match="is not an idset"):
        idset.ids(text)


@pytest.mark.parametrize("value", [None, 1, True, ["1"], {"a": 1}, b"1"])
def test_idset_takes_strings_only(value):
    with pytest.raises(idset.IdsetError, match="expected an idset string"):
        idset.ids(value)


def test_idset_limits():
    with pytest.raises(idset.IdsetError, match="id 2147483648, the largest allowed is 2147483647"):
        idset.ranges("0-2147483648")
    with pytest.raises(idset.IdsetError, match="id 8, the largest allowed is 7"):
        idset.ids("0-8", max_id=7)
    # This must not be tried in memory.
    with pytest.raises(idset.IdsetError, match="2147483648 ids, the most allowed is 1048576"):
        idset.ids("0-2147483647")
    assert idset.count(idset.ranges("0-2147483647")) == 2**31


@given(st.sets(st.integers(0, 300)))
def test_idset_round_trip(numbers):
    text = idset.encode(sorted(numbers))
    assert set(idset.ids(text)) == numbers
    assert text == idset.encode_ranges(idset.ranges(text))
    # Fewest ranges: one per id without a predecessor.
    assert len([part for part in text.split(",") if part]) == len([n for n in numbers if n - 1 not in numbers])


@given(st.text(alphabet="0123456789,-[]", max_size=12))
def test_idset_reads_or_refuses(text):
    try:
        numbers = idset.ids(text)
    except idset.IdsetError:
        return
    assert numbers == sorted(set(numbers))


# ---- hostlist


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # RFC 29's own vectors
        ("", []),
        ("foox,fooy,fooz", ["foox", "fooy", "fooz"]),
        ("[1-3,5-6]", ["1", "2", "3", "5", "6"]),
        ("foo[1-5]", ["foo1", "foo2", "foo3", "foo4", "foo5"]),
        ("foo[0-4]-eth2", ["foo0-eth2", "foo1-eth2", "foo2-eth2", "foo3-eth2", "foo4-eth2"]),
        ("foo1,foo1,foo1", ["foo1", "foo1", "foo1"]),
        ("[00-02]", ["00", "01", "02"]),
        ("[00-2]", ["00", "01", "02"]),
        ("foo[1,1,2,1]", ["foo1", "foo1", "foo2", "foo1"]),
        # and more
        ("h[3,1],x,h[2-2]", ["h3", "h1", "x", "h2"]),
        ("h[098-101]", ["h098", "h099", "h100", "h101"]),
        ("h[0-1]", ["h0", "h1"]),
        ("h[00]", ["h00"]),
        ("h[005,4]", ["h005", "h4"]),
        ("a,,b,", ["a", "b"]),
        ("@x,a*b,%c,a!b", ["@x", "a*b", "%c", "a!b"]),
        ("h1-2", ["h1-2"]),
    ],
)
def test_hostlist(text, expected):
    assert hostlist.decode(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "h[1-2", "h1-2]", "h[]", "h[1,]", "h[,1]", "h[-1]", "h[3-1]", "h[1-2-3]", "h[a]", "h[1-2]x[3-4]", "h[[1]]",
        "a b", "a\t", "a\n", "h\u00e9", "h[\u0661]", "h[1 ]", "h[" + "9" * 19 + "]", "\ud800",
    ],
)  # fmt: skip
def test_hostlist_refuses(text):
    with pytest.raises(hostlist.HostlistError, match="is not a host list"):
        hostlist.decode(text)


@pytest.mark.parametrize("value", [None, 1, ["a"], {}])
def test_hostlist_takes_strings_only(value):
    with pytest.raises(hostlist.HostlistError, match="expected a host list string"):
        hostlist.decode(value)


@pytest.mark.parametrize("text", ["h[0-999999999999999999]", "h[0-1048576]", "h[0-1048574],a,b", "a,b,c,d"])
def test_hostlist_limit(text):
    with pytest.raises(hostlist.HostlistError, match="too many hosts"):
        hostlist.decode(text, max_hosts=3 if text == "a,b,c,d" else hostlist.MAX_HOSTS)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (["node0", "node1", "node2", "node3", "x", "x"], "node[0-3],x,x"),
        (["h9", "h10"], "h[9-10]"),
        (["h08", "h09", "h10", "h100"], "h[08-10,100]"),
        (["h1", "h1", "h2", "h1"], "h[1,1-2,1]"),
        (["h3", "h2", "h1"], "h[3,2,1]"),
        # Never two widths in one bracket: RFC 29 and flux-core would differ on them.
        (["h005", "h4"], "h005,h4"),
        (["h9", "h010"], "h9,h010"),
        (["h99", "h100"], "h[99-100]"),
        (["h099", "h100", "h1000"], "h[099-100,1000]"),
        (["h0", "h00", "h1"], "h0,h00,h1"),
        (["9", "10", "z1a", "z2a"], "[9-10],z1a,z2a"),
        (["m12345678", "m12345679"], "m12345678,m12345679"),
        (["h9999999", "h10000000"], "h9999999,h10000000"),
    ],
)
def test_hostlist_encode(hosts, expected):
    assert hostlist.encode(hosts) == expected
    assert hostlist.decode(expected) == hosts


def test_hostlist_bounds_a_bracket():
    hosts = [f"h{2 * i}" for i in range(20001)]
    text = hostlist.encode(hosts)
    assert text.count("[") == 2
    assert max(len(inner.split(",")) for inner in re.findall(r"\[(.*?)\]", text)) == 10000
    assert hostlist.decode(text) == hosts


@pytest.mark.parametrize("host", ["", "a b", "a,b", "a[1]", "a]", "h\u00e9", "a\n"])
def test_hostlist_encode_refuses(host):
    with pytest.raises(hostlist.HostlistError, match="cannot be the name of a host"):
        hostlist.encode(["a1", host])


def rfc_decode(text):
    """RFC 29 to the letter, one bracket at most per expression: zeros as in the first id of the bracket."""
    hosts = []
    for expression in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[]*)(?:\[(.*)\](.*))?", expression)
        if match[2] is None:
            hosts.append(match[1])
            continue
        first = re.split("[,-]", match[2])[0]
        width = len(first) if first.startswith("0") else 0
        for element in match[2].split(","):
            low, _, high = element.partition("-")
            for number in range(int(low), int(high or low) + 1):
                hosts.append(match[1] + str(number).zfill(width) + match[3])
    return hosts


names = st.one_of(
    st.builds(
        "{}{}".format,
        st.sampled_from(["a", "b-", ""]),
        st.one_of(st.integers(0, 12), st.integers(95, 102), st.sampled_from(["00", "01", "099", "007"])),
    ),
    st.text(alphabet="a1-.", min_size=1, max_size=4),
)


@given(st.lists(names, max_size=30))
def test_hostlist_round_trip(hosts):
    text = hostlist.encode(hosts)
    assert hostlist.decode(text) == hosts
    assert rfc_decode(text) == hosts


@given(st.text(alphabet="ab019,-[]", max_size=14))
def test_hostlist_reads_or_refuses(text):
    try:
        hosts = hostlist.decode(text, max_hosts=1000)
    except hostlist.HostlistError:
        return
    assert hostlist.decode(hostlist.encode(hosts)) == hosts


# ---- duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2ms", 0.002), ("0.1s", 0.1), ("30", 30), ("1.2h", 4320), ("5m", 300), ("0s", 0), ("5d", 432000),
        ("inf", math.inf), ("INF", math.inf), ("infinity", math.inf), ("+30s", 30), ("1e3", 1000), ("1e-3s", 0.001),
        (".5m", 30), ("5.h", 18000), ("0x10", 16), ("0x1d", 29), ("0x1.8p1m", 180), (30, 30), (1.5, 1.5), (0, 0),
        (math.inf, math.inf),
    ],
)  # fmt: skip
def test_duration(text, seconds):
    assert duration.parse(text) == pytest.approx(seconds)
    assert type(duration.parse(text)) is float


@pytest.mark.parametrize(
    "value",
    [
        "", "s", "-1", "-1s", "1x", "1S", "1 s", " 1", "1s ", "infs", "inf s", "nan", "-inf", "1e", "1..2", "1e999",
        "0x1p9999", "1e308d", "1_0", "\u0661", "1" * 101, -1, -0.5, math.nan, True, None, [], {}, 10**400,
    ],
)  # fmt: skip
def test_duration_refuses(value):
    with pytest.raises(duration.DurationError, match="expected a duration such as"):
        duration.parse(value)


# ---- quote


def test_quote_never_fails_nor_floods():
    deep = []
    for _ in range(100000):
        deep = [deep]
    some = (deep, {"a": deep}, 10**5000, "x" * 10**6, "\ud800", "\n", None, True, False, 1.5, math.nan, b"x", object())
    for value in some:
        text = quote(value)
        assert 0 < len(text) < 90
        assert text.isprintable()
        assert text.isascii()
    assert quote("a'b") == '"a\'b"'
    assert quote(False) == "false"
    assert quote(2**200) == "an integer of 201 bits"
    while deep:  # taken apart by hand, as freeing it in one go would nest as deep
        deep = deep.pop()
