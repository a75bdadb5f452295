// SPDX-FileCopyrightText: 2026 The flux-sched authors
// SPDX-License-Identifier: LGPL-3.0-or-later

/* sched.so: the broker module.  Plain C, since it is called before there is an
 * interpreter; all it does is to start one, once in a process, and to call
 * fluxsched.flux.module.run (handle, arguments).
 *
 * The module may be removed and loaded again in one broker.  The interpreter
 * stays (the object is linked with -z nodelete, so that it is never unmapped);
 * each load enters it from a new thread with a thread state of its own.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <flux/core.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FLUXSCHED_PYTHON, the interpreter whose packages are used, and FLUXSCHED_LIB,
 * the folder that holds the package fluxsched, come from the build. */

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;

/* Extension modules are not linked to libpython and look its symbols up in the
 * global scope, which the broker's own dlopen may not have put them in.
 */
static void make_symbols_global (void)
{
    Dl_info info;

    if (dladdr ((void *)(uintptr_t)Py_InitializeFromConfig, &info) && info.dli_fname)
        (void)dlopen (info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

/* Start the interpreter, and leave it with no thread holding the GIL.
 */
static int start_python (flux_t *h)
{
    PyConfig config;
    PyStatus status;

    make_symbols_global ();
    /* Isolated: the broker's PYTHONPATH is for flux's Python, not for ours,
     * and an entry ./sched in it would hide the standard library's sched. */
    PyConfig_InitIsolatedConfig (&config);
    config.install_signal_handlers = 0;
    config.site_import = 1;
    status = PyConfig_SetBytesString (&config, &config.program_name, FLUXSCHED_PYTHON);
    if (!PyStatus_Exception (status))
        status = PyConfig_SetBytesString (&config, &config.executable, FLUXSCHED_PYTHON);
    if (!PyStatus_Exception (status))
        status = Py_InitializeFromConfig (&config);
    PyConfig_Clear (&config);
    if (PyStatus_Exception (status)) {
        flux_log (h, LOG_ERR, "Python could not be started: %s", status.err_msg ? status.err_msg : "unknown reason");
        errno = ENOSYS;
        return -1;
    }
    PyEval_SaveThread ();
    return 0;
}

/* Put the folder of our package first on sys.path, once.
 */
static int add_path (void)
{
    PyObject *path = PySys_GetObject ("path"); // borrowed
    PyObject *entry = PyUnicode_DecodeFSDefault (FLUXSCHED_LIB);
    int found, rc = -1;

    if (path && entry) {
        found = PySequence_Contains (path, entry);
        if (found >= 0)
            rc = found ? 0 : PyList_Insert (path, 0, entry);
    }
    Py_XDECREF (entry);
    return rc;
}

/* The pending exception: log it, and return an errno for it.
 */
static int report (flux_t *h)
{
    PyObject *type, *value, *trace, *text = NULL, *number = NULL;
    const char *s = NULL;
    long errnum = EINVAL;

    PyErr_Fetch (&type, &value, &trace);
    PyErr_NormalizeException (&type, &value, &trace);
    if (value) {
        text = PyObject_Str (value);
        if (PyObject_IsInstance (value, PyExc_OSError) == 1
            && (number = PyObject_GetAttrString (value, "errno"))
            && PyLong_Check (number))
            errnum = PyLong_AsLong (number);
    }
    if (text)
        s = PyUnicode_AsUTF8 (text);
    flux_log (h, LOG_ERR, "%s", s && *s ? s : "unknown error");
    PyErr_Clear ();
    Py_XDECREF (number);
    Py_XDECREF (text);
    Py_XDECREF (type);
    Py_XDECREF (value);
    Py_XDECREF (trace);
    return errnum > 0 ? (int)errnum : EINVAL;
}

static PyObject *argument_list (int argc, char **argv)
{
    PyObject *list = PyList_New (0);

    for (int i = 0; list && i < argc; i++) {
        PyObject *s = PyUnicode_DecodeFSDefault (argv[i]);
        if (!s || PyList_Append (list, s) < 0)
            Py_CLEAR (list);
        Py_XDECREF (s);
    }
    return list;
}

static int run (flux_t *h, int argc, char **argv)
{
    PyObject *module = NULL, *capsule = NULL, *list = NULL, *result = NULL;
    int errnum = 0;

    if (add_path () == 0
        && (module = PyImport_ImportModule ("fluxsched.flux.module"))
        && (capsule = PyCapsule_New (h, "flux_t", NULL))
        && (list = argument_list (argc, argv)))
        result = PyObject_CallMethod (module, "run", "OO", capsule, list);
    if (!result)
        errnum = report (h);
    Py_XDECREF (result);
    Py_XDECREF (list);
    Py_XDECREF (capsule);
    Py_XDECREF (module);
    PyGC_Collect ();
    return errnum;
}

int mod_main (flux_t *h, int argc, char **argv)
{
    PyGILState_STATE state;
    int errnum = 0;
    int cancel;

    /* The broker may cancel this thread, but not while it holds the GIL;
     * the handle allows it while the reactor runs. */
    pthread_setcancelstate (PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock (&start_lock);
    if (!Py_IsInitialized () && start_python (h) < 0)
        errnum = errno;
    pthread_mutex_unlock (&start_lock);
    if (errnum == 0) {
        state = PyGILState_Ensure ();
        errnum = run (h, argc, argv);
        PyGILState_Release (state);
    }
    pthread_setcancelstate (cancel, NULL);
    if (errnum != 0) {
        errno = errnum;
        return -1;
    }
    return 0;
}
