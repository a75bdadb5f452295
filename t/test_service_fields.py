# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Types and ranges of the fields of requests: what passes, and how it is said what was expected."""

import pytest

from fluxsched.service import fields


@pytest.mark.parametrize(
    ("field", "expected", "good", "bad"),
    [
        (fields.Int(0, 9), "an integer from 0 to 9", [0, 9], [-1, 10, 0.0, False, None, "0"]),
        (fields.Number(-1, 2.5), "a number from -1 to 2.5", [-1, 0.5, 2.5], [-1.1, 3, float("nan"), True, "1"]),
        (fields.Bool(), "true or false", [True, False], [0, 1, None]),
        (fields.Text(3), "text of at most 3 characters, without NUL, in UTF-8", ["äöü"], ["abcd", "\0", "\udcff", 1]),
        (fields.Text(3, raw=True), "text of at most 3 characters, without NUL", ["\udcff"], ["\ud800", "\0", None]),
        (fields.Text(words=("a", "b")), "one of 'a', 'b'", ["a", "b"], ["", "c", 1]),
        (fields.Octets(2), "text of at most 2 characters up to U+00FF", ["", "\0\xff"], ["\u0100", "abc", b"a", None]),
        (fields.Object(), "an object", [{}, {"a": 1}], [[], None, "x"]),
        (
            fields.ListOf(fields.Bool(), 2), "a list of at most 2 items, each true or false",
            [[], [True, False]], [[1], [True] * 3, {}, None],
        ),
        (
            fields.Tuple(fields.Int(0, 1), fields.Object()), "a list of an integer from 0 to 1, an object",
            [[0, {}]], [[], [0], [2, {}], [0, {}, 0], {}],
        ),
        (fields.Nullable(fields.Bool()), "true or false, or null", [None, True], [0, "x"]),
    ],
)  # fmt: skip
def test_what_a_field_takes(field, expected, good, bad):
    assert field.expected == expected
    assert [value for value in good if not field.check(value)] == []
    assert [value for value in bad if field.check(value)] == []


def test_a_field_is_required_unless_it_has_a_default():
    assert fields.Int(0, 1).required
    assert not fields.Int(0, 1, default=1).required
    assert fields.Int(0, 1, default=1).default == 1
    nullable = fields.Nullable(fields.Int(0, 1))
    assert not nullable.required and nullable.default is None
    assert fields.Number(0, 1, refusal="too odd").refusal == "too odd"
    assert fields.JOBID.check(2**64 - 1) and not fields.JOBID.check(2**64)
