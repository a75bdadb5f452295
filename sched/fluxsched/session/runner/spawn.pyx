# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Starts a process without a copy of this one: vfork(), then what the child has to do in C, then execve().

fork() copies the page tables of an interpreter, and both sides then pay a fault for each page that they write, which
costs more than all the rest of a short job. The child of vfork() borrows the memory of its parent, whose calling
thread stands still until the child has become its command. So between the two the child may call nothing but system
calls, and may write nothing that the parent still reads, but for `error`.
"""
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport ENOENT, ENOTDIR, errno
from libc.signal cimport SIG_DFL, signal
from posix.resource cimport RLIMIT_NOFILE, rlimit, setrlimit
from posix.signal cimport sigset_t
from posix.types cimport pid_t
from posix.unistd cimport F_OK, _exit, access, dup2, execve, fchdir, setpgid, write

cdef extern from "<signal.h>" nogil:
    int NSIG
    int SIG_SETMASK
    int sigfillset(sigset_t *set)
    int sigemptyset(sigset_t *set)
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)

cdef extern from "<unistd.h>" nogil:
    pid_t vfork()

cdef extern from "<fcntl.h>" nogil:
    int F_SETFD
    int fcntl(int fd, int command, ...)

cdef extern from "<sched.h>" nogil:
    ctypedef struct cpu_set_t:
        pass
    int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *mask)

cdef enum:
    WORDS = 128  # of a set of cpus

cdef struct Child:
    char **paths  # files to try, one after the other; NULL ends these three
    char **argv
    char **env
    pid_t group  # to join; 0 for its own
    int folder  # descriptors
    int streams[3]
    int kept  # stays open under its number; -1 for none
    int joins  # cgroup.procs of a control group; -1 for none
    bint pinned
    unsigned long cpus[WORDS]
    rlimit files
    volatile int error  # out: errno of what failed; the child writes it


cdef void become(Child *child) noexcept nogil:
    """In the child: become the command, or note in `error` why not."""
    cdef int i, first = 0
    cdef sigset_t none
    for i in range(1, NSIG):
        signal(i, SIG_DFL)
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, NULL)
    setpgid(0, child.group)
    if child.joins >= 0 and write(child.joins, b"0", 1) < 0:
        child.error = errno
        return
    if child.pinned:
        # The machine may have taken a core away since the session began: then it runs where it may.
        sched_setaffinity(0, sizeof(child.cpus), <const cpu_set_t *> child.cpus)
    if fchdir(child.folder) < 0 or setrlimit(RLIMIT_NOFILE, &child.files) < 0:
        child.error = errno
        return
    for i in range(3):
        if dup2(child.streams[i], i) < 0:
            child.error = errno
            return
    if child.kept >= 0 and fcntl(child.kept, F_SETFD, 0) < 0:
        child.error = errno
        return
    i = 0
    while child.paths[i] is not NULL:
        # To look first costs a tenth of an execve() that finds nothing.
        if access(child.paths[i], F_OK) < 0 and errno == ENOENT:
            child.error = ENOENT
            i += 1
            continue
        child.error = 0
        execve(child.paths[i], child.argv, child.env)
        child.error = errno
        if first == 0 and errno != ENOENT and errno != ENOTDIR:
            first = errno
        i += 1
    if first:
        child.error = first  # a file that is there says more than those that are not


cdef pid_t launch(Child *child) noexcept nogil:
    """The child's process id; -1 with errno in `error` if there is no child."""
    cdef sigset_t every, before
    cdef pid_t pid
    # A handler of this process must not run in the child.
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    pid = vfork()
    if pid == 0:
        become(child)
        _exit(127)
    if pid < 0:
        child.error = errno
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    return pid


cdef class _Texts:
    """Byte strings as C has them: an array of pointers that ends with NULL, for as long as this lives."""
    cdef char **array
    cdef list texts
    cdef bytearray room

    def __cinit__(self, texts):
        cdef bytes text
        self.texts = list(texts)
        self.room = bytearray((len(self.texts) + 1) * sizeof(char *))
        self.array = <char **> PyByteArray_AS_STRING(self.room)
        for i in range(len(self.texts)):
            text = self.texts[i]
            self.array[i] = PyBytes_AS_STRING(text)
        self.array[len(self.texts)] = NULL


def spawn(paths, argv, env, int group, int folder, streams, cpus, limits, int kept=-1, int joins=-1):
    """Start a process; (its id, 0), or (its id or -1, errno) if it could not become its command.

    `paths` are the files to try and `argv` the words, all bytes without zeros; `env` are the variables as NAME=value.
    `group` is the process group to join, 0 for one of its own; `folder` a descriptor of the working directory;
    `streams` are those of standard input, output and error, all above 2; `cpus` are the numbers of those to run on,
    empty for no change; `limits` is (soft, hard) of RLIMIT_NOFILE; `kept` is a descriptor that stays open in the
    process, which all others above 2 do not, or -1; `joins` is one of cgroup.procs of a control group to be in, or -1.
    A process that could not become its command has ended, and is to be waited for as the others."""
    cdef Child child
    cdef _Texts files = _Texts(paths), words = _Texts(argv), variables = _Texts(env)
    cdef pid_t pid
    cdef int i, cpu, bits = 8 * sizeof(unsigned long)
    child.paths, child.argv, child.env = files.array, words.array, variables.array
    child.group, child.folder, child.kept, child.joins = group, folder, kept, joins
    child.streams[0], child.streams[1], child.streams[2] = streams
    child.files.rlim_cur, child.files.rlim_max = limits
    child.pinned = bool(cpus)
    child.error = ENOENT
    for i in range(WORDS):
        child.cpus[i] = 0
    for cpu in cpus:
        if not 0 <= cpu < WORDS * bits:
            raise ValueError(f"cpu {cpu}: expected a number from 0 to {WORDS * bits - 1}")
        child.cpus[cpu // bits] |= <unsigned long> 1 << (cpu % bits)
    with nogil:
        pid = launch(&child)
    return pid, child.error
