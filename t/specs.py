# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jobspecs for the tests: their resources and the rest."""


def core(count=1, **more):
    return {"type": "core", "count": count, **more}


def gpu(count=1, **more):
    return {"type": "gpu", "count": count, **more}


def slot(count, *inner, **more):
    return {"type": "slot", "count": count, "with": list(inner), "label": "task", **more}


def node(count, *inner, **more):
    return {"type": "node", "count": count, **({"with": list(inner)} if inner else {}), **more}


def other(kind, count, *inner, **more):
    return {"type": kind, "count": count, **({"with": list(inner)} if inner else {}), **more}


def make(*resources, count=None, **system):
    return {
        "resources": list(resources) or [slot(1, core())],
        "tasks": [{"command": ["true"], "slot": "task", "count": count or {"per_slot": 1}}],
        "attributes": {"system": {"duration": 0, "cwd": "/tmp", "environment": {"A": "b"}, **system}},
        "version": 1,
    }


def numbers(request):
    return request[:5]
