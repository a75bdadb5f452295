# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Memory in an R object, and the tree that an engine gets of it."""

import pytest

from fluxsched.formats import config, r
from fluxsched.service import memory as pools
from fluxsched.session.broker import ranks


def test_memory_in_r():
    R = ranks.build(["a", "b"], range(2), [0], 500)
    assert R["scheduling"] == {"memory": [["0-1", 500]]}
    assert pools.memory_of(R) == {0: 500, 1: 500}
    tree = pools.hierarchy(R)
    assert tree.type == ["cluster"] + ["node", "core", "core", "gpu", "memory"] * 2
    assert tree.parent == [-1, 0, 1, 1, 1, 1, 0, 6, 6, 6, 6]
    assert [tree.size[i] for i, kind in enumerate(tree.type) if kind == "memory"] == [500, 500]
    assert tree.name[1:4] == ["a", "core0", "core1"]
    assert pools.hierarchy(ranks.build(["a"], range(2))) is None
    R["scheduling"]["memory"] = [["1", 7]]
    assert pools.hierarchy(R).type.count("memory") == 1


@pytest.mark.parametrize("rows", [1, [1], [["0"]], [["0", 0]], [["0", True]], [["0", 2**31]], [["0", 1.5]]])
def test_memory_in_r_is_checked(rows):
    with pytest.raises(r.RError, match=r"scheduling.memory: expected a list of \[ranks, MB\], got"):
        pools.memory_of({"scheduling": {"memory": rows}})


def test_ranks_of_memory_are_checked():
    with pytest.raises(r.RError, match="scheduling.memory: 'x' is not an idset"):
        pools.memory_of({"scheduling": {"memory": [["x", 1]]}})


def test_memory_of_the_configuration():
    entries = [{"hosts": "n[1-3]", "cores": "0-3", "memory": "1GB"}, {"hosts": "n2", "memory": "4G"}, {"hosts": "n3"}]
    R = config.resources({"config": entries}, 10)
    assert pools.memory_of(R) == {0: 1000, 1: 4294, 2: 1000}
    for value, said in (("4", "memory: expected a size such as 4G or 512M, got '4'"),
                        (4, "memory: expected a size such as 4G or 512M, got 4")):  # fmt: skip
        with pytest.raises(config.ConfigError) as error:
            config.resources({"config": [{"hosts": "a", "cores": "0", "memory": value}]}, 10)
        assert str(error.value) == f"resource.config[0]: {said}"
