#!/bin/bash -p
# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
#
# The flux of this tree: the real one with the paths of what was built here, or, where configure found no flux-core
# (or FLUX_SCHED_EMBEDDED=1 asks for it), the embedded session. bash, as dash drops environment variables whose names
# it cannot have; -p, so that bash takes its functions and BASH_ENV for plain text and passes them on as they are.

here=$0
while [ -L "$here" ]; do
    goal=$(readlink "$here")
    case $goal in
    /*) here=$goal ;;
    *) here=${here%/*}/$goal ;;
    esac
done
case $here in
*/*) top=$(cd "${here%/*}" && pwd) || exit 1 ;;
*) top=$(pwd) ;;
esac

python=$top/build/venv/bin/python
if [ ! -x "$python" ] || [ ! -e "$top/sched/sched.plugin1.so" ]; then
    echo "flux: nothing is built in $top yet: run make there" >&2
    exit 1
fi

FLUX=
# shellcheck source=/dev/null
. "$top/build/config.sh" || exit 1

export LUA_PATH="$top/rdl/?.lua;${LUA_PATH:-;}"

if [ -z "$FLUX" ] || [ "${FLUX_SCHED_EMBEDDED:-0}" = 1 ]; then
    export FLUX_MODULE_PATH="$top/sched${FLUX_MODULE_PATH:+:$FLUX_MODULE_PATH}"
    # The virtual environment knows the package; PYTHONPATH is the user's, and for what runs in the session.
    # Ctrl-C ends it quietly as soon as Python lets it.
    exec "$python" -IS "$top/sched/fluxsched/session/entry.py" "$@"
fi

# The real flux puts its own folders behind these.
export FLUX_MODULE_PATH_PREPEND="$top/sched${FLUX_MODULE_PATH_PREPEND:+:$FLUX_MODULE_PATH_PREPEND}"
export FLUX_EXEC_PATH_PREPEND="$top/sched/cmd${FLUX_EXEC_PATH_PREPEND:+:$FLUX_EXEC_PATH_PREPEND}"
if [ "${1:-}" = start ] || [ "${1:-}" = broker ]; then
    # The place of the scheduler is left free for "flux module load sched".
    export FLUX_SCHED_MODULE="${FLUX_SCHED_MODULE:-none}"
    export FLUX_MODPROBE_PATH_APPEND="$top/sched/modprobe${FLUX_MODPROBE_PATH_APPEND:+:$FLUX_MODPROBE_PATH_APPEND}"
fi
exec "$FLUX" "$@"
