#!/bin/sh
# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
#
# What configure misses, as packages of this machine's distribution.
#
#   packages.sh line THING...      print the command that installs them
#   packages.sh install THING...   install them, after saying so: only as root, in a container or a CI job
#
# THING is compiler, python, headers, venv (headers:3.13 and venv:3.13: those of that Python), lua or pkg-config.
# The exit code is 1 where neither apt-get nor dnf is there, or where nothing may be, or was, installed.

if command -v apt-get >/dev/null 2>&1; then
    manager=apt-get
elif command -v dnf >/dev/null 2>&1; then
    manager=dnf
else
    exit 1
fi

package() {
    version=3
    case $1 in
    *:*) version=${1#*:} ;;
    esac
    case $manager,${1%%:*} in
    apt-get,compiler) echo gcc libc6-dev ;;
    dnf,compiler) echo gcc ;;
    *,python) echo python3 ;;
    apt-get,headers) echo "python$version-dev" ;;
    dnf,headers) echo "python$version-devel" ;;
    apt-get,venv) echo "python$version-venv" ;;
    dnf,venv) echo "python$version" ;;
    apt-get,lua) echo lua5.1 ;;
    dnf,lua) echo compat-lua ;;
    apt-get,pkg-config) echo pkg-config ;;
    dnf,pkg-config) echo pkgconf-pkg-config ;;
    *)
        echo "packages.sh: no packages are known for $1" >&2
        return 1
        ;;
    esac
}

is_root() {
    [ "$(id -u 2>/dev/null)" = 0 ]
}

in_container() {
    [ -n "${CI:-}${container:-}${KUBERNETES_SERVICE_HOST:-}" ] && return 0
    [ -e /.dockerenv ] || [ -e /run/.containerenv ] || [ -e /run/systemd/container ]
}

# A fresh container knows no packages before it has asked.
has_lists() {
    [ "$manager" = dnf ] && return 0
    for list in /var/lib/apt/lists/*_Packages*; do
        [ -e "$list" ] && return 0
    done
    return 1
}

action=$1
shift
names=
for thing; do
    found=$(package "$thing") || exit 1
    case "$names " in
    *" $found "*) ;;
    *) names="$names $found" ;;
    esac
done

case $action in
line)
    sudo=
    is_root || ! command -v sudo >/dev/null 2>&1 || sudo="sudo "
    has_lists || printf '%sapt-get update && ' "$sudo"
    echo "$sudo$manager install$names"
    ;;
install)
    is_root && in_container || exit 1
    echo "As root in a container or CI job: installing with $manager:$names"
    if [ "$manager" = apt-get ]; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update </dev/null
        # shellcheck disable=SC2086
        apt-get -qq install --no-install-recommends $names </dev/null >/dev/null
    else
        # shellcheck disable=SC2086
        dnf -q -y install $names </dev/null
    fi
    ;;
esac
