# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later

PYTHON = build/venv/bin/python

all: build

build:
	@flock build/lock $(PYTHON) setup.py -q build_tree

.PHONY: all build
