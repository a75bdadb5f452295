# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A task that speaks PMI-1 by itself, as an MPI library would; or that misbehaves, as its first argument says."""

import ctypes
import os
import socket
import sys
import time

RANK = SIZE = SOCK = FILE = None  # of a task that is served


def tell(text):
    SOCK.sendall(text.encode())


def ask(line):
    """The answer to a request, as a dict."""
    tell(line + "\n")
    text = FILE.readline()
    head, _, value = text.rstrip("\n").partition(" value=")
    found = dict(word.split("=", 1) for word in head.split())
    return {**found, "value": value}


def begin():
    answer = ask("cmd=init pmi_version=1 pmi_subversion=1")
    assert answer["cmd"] == "response_to_init" and answer["rc"] == "0", answer


def exchange():
    """Each puts a card and reads all others' after the barrier; twice, as two programs of one task may."""
    for turn in range(2):
        begin()
        maxes = ask("cmd=get_maxes")
        assert (maxes["kvsname_max"], maxes["keylen_max"], maxes["vallen_max"]) == ("64", "64", "1024"), maxes
        assert ask("cmd=get_appnum")["appnum"] == "0"
        assert ask("cmd=get_universe_size")["size"] == str(SIZE)
        name = ask("cmd=get_my_kvsname")["kvsname"]
        assert ask(f"cmd=put kvsname={name} key=card-{turn}-{RANK} value=a b=c {RANK}")["rc"] == "0"
        assert ask("cmd=barrier_in")["cmd"] == "barrier_out"
        cards = [ask(f"cmd=get kvsname={name} key=card-{turn}-{i}")["value"] for i in range(SIZE)]
        assert cards == [f"a b=c {i}" for i in range(SIZE)], cards
        assert ask(f"cmd=get kvsname={name} key=none")["rc"] == "4"
        mapping = ask(f"cmd=get kvsname={name} key=PMI_process_mapping")["value"]
        assert ask("cmd=finalize")["cmd"] == "finalize_ack"
    print(RANK, SIZE, name, mapping, flush=True)


def misbehave(what):
    begin()
    if RANK == 1:
        if what == "junk":
            tell("\x00\x01\xff nonsense\n")
        elif what == "megabyte":
            tell("cmd=put kvsname=x key=k value=" + "v" * (1 << 20) + "\n")
        elif what == "half":
            tell("cmd=ini")
            sys.exit(0)
        elif what == "absent":
            sys.exit(0)
        elif what == "abort":
            tell("cmd=abort exitcode=42 error_msg=no more\n")
        time.sleep(600)
    ask("cmd=barrier_in")
    time.sleep(600)


def library():
    """The same by the library that FLUX_PMI_LIBRARY_PATH names."""
    lib = ctypes.CDLL(os.environ["FLUX_PMI_LIBRARY_PATH"])

    def number(function, *arguments):
        out = ctypes.c_int(-7)
        assert getattr(lib, function)(*arguments, ctypes.byref(out)) == 0, function
        return out.value

    assert lib.PMI_Get_rank(ctypes.byref(ctypes.c_int())) == 1  # not initialized
    assert number("PMI_Initialized") == 0
    assert number("PMI_Init") == 0  # not spawned
    assert number("PMI_Initialized") == 1
    assert lib.PMI_Init(None) == 1  # twice
    rank, size = number("PMI_Get_rank"), number("PMI_Get_size")
    if len(sys.argv) > 2 and rank == 1:
        lib.PMI_Abort(9, b"two\n lines")
    maxes = [number(f"PMI_KVS_Get_{name}_length_max") for name in ("name", "key", "value")]
    assert maxes == [64, 64, 1024], maxes
    name, value = ctypes.create_string_buffer(64), ctypes.create_string_buffer(1024)
    assert lib.PMI_KVS_Get_my_name(name, 64) == 0
    assert lib.PMI_KVS_Get_my_name(name, 2) == 8
    assert lib.PMI_KVS_Put(name, b"k%d" % rank, b"first") == 0
    assert lib.PMI_KVS_Put(name, b"k%d" % rank, b"v w=%d" % rank) == 0
    assert lib.PMI_KVS_Put(name, b"k k", b"v") == 3
    assert lib.PMI_KVS_Commit(name) == 0
    assert lib.PMI_Barrier() == 0
    for i in range(size):
        assert lib.PMI_KVS_Get(name, b"k%d" % i, value, 1024) == 0
        assert value.value == b"v w=%d" % i, value.value
    assert lib.PMI_KVS_Get(name, b"none", value, 1024) == 4
    assert lib.PMI_KVS_Get(name, b"k0", value, 3) == 8
    ranks = (ctypes.c_int * number("PMI_Get_clique_size"))()
    assert lib.PMI_Get_clique_ranks(ranks, len(ranks)) == 0
    assert lib.PMI_Get_clique_ranks(ranks, len(ranks) - 1) == 13
    print(rank, size, number("PMI_Get_universe_size"), number("PMI_Get_appnum"), list(ranks), flush=True)
    assert lib.PMI_Publish_name(b"s", b"p") == -1
    assert lib.PMI_Finalize() == 0
    assert number("PMI_Initialized") == 0


if __name__ == "__main__":
    if sys.argv[1] == "library":
        library()
        sys.exit(0)
    RANK, SIZE = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
    SOCK = socket.socket(fileno=int(os.environ["PMI_FD"]))
    FILE = SOCK.makefile("r")
    if sys.argv[1] == "exchange":
        exchange()
    else:
        misbehave(sys.argv[1])
