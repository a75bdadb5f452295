# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a host has to bring, and what it gets for nothing."""

import errno

import pytest

from fluxsched.service.host import Host

CALLS = {
    "now": (),
    "log": (7, "text"),
    "respond": (None, None),
    "respond_error": (None, 1, "text"),
    "request": ("topic", None, None),
    "read_r": (1, None),
    "read": ("key", None),
    "commit": ({}, None),
    "call_soon": (None,),
    "call_later": (1.0, None),
    "config": (),
    "fatal": (None,),
}


@pytest.mark.parametrize("name", CALLS)
def test_to_be_overridden(name):
    with pytest.raises(NotImplementedError):
        getattr(Host(), name)(*CALLS[name])


def test_for_nothing():
    class Small(Host):
        def fatal(self, error):
            self.error = error

    host = Small()
    error = OSError(errno.ECANCELED, "taken away")
    host.finish(error)
    assert host.error is error
    assert host.job_name(42) == "42"
