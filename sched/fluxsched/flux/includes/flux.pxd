# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
# What is used of libflux-core.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "<flux/core.h>" nogil:
    ctypedef struct flux_t:
        pass
    ctypedef struct flux_reactor_t:
        pass
    ctypedef struct flux_watcher_t:
        pass
    ctypedef struct flux_future_t:
        pass
    ctypedef struct flux_msg_t:
        pass
    ctypedef struct flux_msg_handler_t:
        pass
    ctypedef struct flux_kvs_txn_t:
        pass
    ctypedef uint64_t flux_jobid_t

    struct flux_msg_cred:
        uint32_t userid
        uint32_t rolemask

    ctypedef struct flux_error_t:
        char text[160]

    struct flux_match:
        int typemask
        uint32_t matchtag
        const char *topic_glob

    enum:
        FLUX_MSGTYPE_REQUEST
        FLUX_ROLE_OWNER
        FLUX_ROLE_USER
        FLUX_NODEID_ANY
        FLUX_RPC_NORESPONSE
        FLUX_RPC_STREAMING
        FLUX_POLLIN

    ctypedef void (*flux_continuation_f)(flux_future_t *f, void *arg) noexcept
    ctypedef void (*flux_msg_handler_f)(flux_t *h, flux_msg_handler_t *mh, const flux_msg_t *msg, void *arg) noexcept
    ctypedef void (*flux_watcher_f)(flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg) noexcept

    flux_t *flux_open_ex(const char *uri, int flags, flux_error_t *error)
    void flux_close(flux_t *h)
    void *flux_aux_get(flux_t *h, const char *name)
    int flux_pollevents(flux_t *h)
    int flux_get_rank(flux_t *h, uint32_t *rank)
    int flux_log(flux_t *h, int level, const char *fmt, ...)
    int flux_module_set_running(flux_t *h)

    flux_reactor_t *flux_get_reactor(flux_t *h)
    int flux_reactor_run(flux_reactor_t *r, int flags)
    void flux_reactor_stop(flux_reactor_t *r)
    void flux_reactor_stop_error(flux_reactor_t *r)

    flux_watcher_t *flux_prepare_watcher_create(flux_reactor_t *r, flux_watcher_f cb, void *arg)
    flux_watcher_t *flux_check_watcher_create(flux_reactor_t *r, flux_watcher_f cb, void *arg)
    flux_watcher_t *flux_idle_watcher_create(flux_reactor_t *r, flux_watcher_f cb, void *arg)
    flux_watcher_t *flux_timer_watcher_create(
        flux_reactor_t *r, double after, double repeat, flux_watcher_f cb, void *arg)
    void flux_watcher_start(flux_watcher_t *w)
    void flux_watcher_stop(flux_watcher_t *w)
    void flux_watcher_destroy(flux_watcher_t *w)

    flux_match FLUX_MATCH_REQUEST
    flux_msg_handler_t *flux_msg_handler_create(flux_t *h, const flux_match match, flux_msg_handler_f cb, void *arg)
    void flux_msg_handler_start(flux_msg_handler_t *mh)
    void flux_msg_handler_destroy(flux_msg_handler_t *mh)
    void flux_msg_handler_allow_rolemask(flux_msg_handler_t *mh, uint32_t rolemask)

    const flux_msg_t *flux_msg_incref(const flux_msg_t *msg)
    void flux_msg_decref(const flux_msg_t *msg)
    int flux_msg_get_cred(const flux_msg_t *msg, flux_msg_cred *cred)
    int flux_request_decode(const flux_msg_t *msg, const char **topic, const char **s)
    int flux_respond(flux_t *h, const flux_msg_t *request, const char *s)
    int flux_respond_error(flux_t *h, const flux_msg_t *request, int errnum, const char *errstr)

    flux_future_t *flux_rpc(flux_t *h, const char *topic, const char *s, uint32_t nodeid, int flags)
    flux_future_t *flux_rpc_raw(flux_t *h, const char *topic, const void *data, size_t len, uint32_t nodeid, int flags)
    int flux_rpc_get(flux_future_t *f, const char **s)
    flux_future_t *flux_service_register(flux_t *h, const char *name)
    int flux_future_then(flux_future_t *f, double timeout, flux_continuation_f cb, void *arg)
    int flux_future_get(flux_future_t *f, const void **result)
    void flux_future_reset(flux_future_t *f)
    void flux_future_destroy(flux_future_t *f)
    const char *flux_future_error_string(flux_future_t *f)

    flux_kvs_txn_t *flux_kvs_txn_create()
    void flux_kvs_txn_destroy(flux_kvs_txn_t *txn)
    int flux_kvs_txn_put(flux_kvs_txn_t *txn, int flags, const char *key, const char *value)
    int flux_kvs_txn_put_treeobj(flux_kvs_txn_t *txn, int flags, const char *key, const char *treeobj)
    int flux_kvs_txn_unlink(flux_kvs_txn_t *txn, int flags, const char *key)
    flux_future_t *flux_kvs_commit(flux_t *h, const char *ns, int flags, flux_kvs_txn_t *txn)
    flux_future_t *flux_kvs_lookup(flux_t *h, const char *ns, int flags, const char *key)
    int flux_kvs_lookup_get(flux_future_t *f, const char **value)

    int flux_job_kvs_key(char *buf, int bufsz, flux_jobid_t id, const char *key)
    int flux_job_id_encode(flux_jobid_t id, const char *type, char *buf, size_t bufsz)


cdef extern from "<pthread.h>" nogil:
    enum:
        PTHREAD_CANCEL_ENABLE
        PTHREAD_CANCEL_DISABLE
    int pthread_setcancelstate(int state, int *oldstate)
