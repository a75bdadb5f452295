# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Text from outside: control characters, and how deep JSON may be."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxsched.formats import jsontext
from fluxsched.formats.quote import printable


@given(st.text())
def test_printable_has_no_control_characters(text):
    shown = printable(text)
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in shown)
    assert printable(shown) == shown
    if not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs", "Cf") for c in text):
        assert shown == text


def test_printable():
    assert printable("größe \N{GRINNING FACE} ƒ1") == "größe \N{GRINNING FACE} ƒ1"
    assert printable("a\x1b[31mb\nc\td\x7f\x9b\u202e\udcff") == "a\\x1b[31mb\\nc\\td\\x7f\\x9b\\u202e\\udcff"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize("kind", ["[]", "{}"])
def test_depth(kind):
    opening, closing = ("[", "]") if kind == "[]" else ('{"a":', "}")
    good = opening * (jsontext.MAX_DEPTH - 1) + kind + closing * (jsontext.MAX_DEPTH - 1)
    assert json.dumps(jsontext.loads(good)).replace(" ", "") == good
    for depth in (jsontext.MAX_DEPTH, 2000, 200000):
        with pytest.raises(ValueError, match=f"nested more than {jsontext.MAX_DEPTH} levels deep"):
            jsontext.loads(opening * depth + kind + closing * depth)
    with pytest.raises(ValueError):
        jsontext.loads("[" * 200000)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "{", "", b"\xff"])
def test_what_is_no_json(text):
    with pytest.raises(ValueError):
        jsontext.loads(text)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(VALUES)
def test_json_is_read_as_it_is(value):
    assert jsontext.loads(json.dumps(value)) == value
