#!/bin/sh
# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
#
# Kept for those whose fingers type it: nothing needs to be generated.

echo "Nothing to generate. Now run ./configure, or make."
