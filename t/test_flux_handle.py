# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The binding of libflux, in this process, against a real instance; and how the broker module was linked."""

import ctypes
import errno
import gc
import json
import subprocess
import time

import orjson
import pytest

from fluxinstance import TOP, Instance, flux_command, need

pytestmark = pytest.mark.flux


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    flux_command()
    with Instance(tmp_path_factory.mktemp("flux"), size=1) as made:
        yield made


@pytest.fixture(scope="module")
def library(build_config):
    flux_command()
    lib = ctypes.CDLL(f"{build_config['flux']['libdir']}/libflux-core.so.2")
    lib.flux_open.restype = ctypes.c_void_p
    lib.flux_open.argtypes = [ctypes.c_char_p, ctypes.c_int]
    lib.flux_close.argtypes = [ctypes.c_void_p]
    return lib


@pytest.fixture
def handle(instance, library):
    """A handle as the module has it; after the test C holds nothing of it."""
    from fluxsched.flux.handle import Handle, live

    pointer = library.flux_open(instance.environment["FLUX_URI"].encode(), 0)
    assert pointer
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    made = Handle(new(pointer, b"flux_t", None))
    yield made
    made.close()
    gc.collect()
    assert set(live().values()) == {0}, live()
    library.flux_close(pointer)


def wait(handle, start, count=1):
    """Run the reactor until `start(callback)`'s callback was called so often; what it was given."""
    found = []

    def callback(*values):
        found.append(values)
        if len(found) == count:
            handle.stop()

    handle.call_later(20.0, lambda: handle.fail(TimeoutError("no answer")))
    start(callback)
    handle.run()
    return found


def test_made_by_the_handle_alone():
    flux_command()
    from fluxsched.flux import handle as module

    for kind in (module.Message, module.Future, module.Timer, module.Handler):
        with pytest.raises(TypeError, match="comes from a handle"):
            kind()
    with pytest.raises(ValueError, match="PyCapsule"):
        module.Handle(None)


def test_rank_and_name(handle):
    assert handle.rank() == 0
    assert handle.name() == "sched"     # not a module: the default


def test_rpc(handle):
    [(text, error)] = wait(handle, lambda done: handle.rpc("attr.get", b'{"name":"size"}', done))
    assert error is None and orjson.loads(text)["value"] == "1"
    assert orjson.loads(handle.rpc_wait("attr.get", b'{"name":"size"}'))["value"] == "1"


def test_rpc_without_answer(handle):
    handle.rpc("job-manager.alloc-query", None, None)


def test_errors_have_errno_and_the_brokers_message(handle):
    [(text, error)] = wait(handle, lambda done: handle.rpc("attr.get", b'{"name":"nothing"}', done))
    assert text is None and error.errno == errno.ENOENT
    with pytest.raises(OSError) as caught:
        handle.rpc_wait("no.such.service", None)
    assert caught.value.errno == errno.ENOSYS and "No service" in str(caught.value)
    payload = orjson.dumps({"id": 1, "severity": 99, "type": "x"})
    with pytest.raises(OSError) as caught:
        handle.rpc_wait("job-manager.raise", payload)
    assert caught.value.errno == errno.EPROTO and "invalid exception severity" in str(caught.value)


def test_streams(handle):
    found = wait(handle, lambda done: handle.rpc("job-manager.sched-hello", b'{"partial-ok":true}', done, True))
    [(text, error)] = found
    assert text is None and error.errno == errno.ENODATA


def test_kvs(handle):
    puts = [("test.a", b'{"x":1}'), ("test.b", b"5"), ("test.c", b'"text"')]
    [(_, error)] = wait(handle, lambda done: handle.kvs_commit(puts, done))
    assert error is None
    [(text, error)] = wait(handle, lambda done: handle.kvs_lookup("test.a", done))
    assert json.loads(text) == {"x": 1}
    [(_, error)] = wait(handle, lambda done: handle.kvs_commit([("test.b", None)], done))
    assert error is None
    [(text, error)] = wait(handle, lambda done: handle.kvs_lookup("test.b", done))
    assert text is None and error.errno == errno.ENOENT
    [(text, error)] = wait(handle, lambda done: handle.kvs_lookup("test", done))
    assert error.errno == errno.EISDIR


def test_a_key_that_is_none(handle):
    with pytest.raises(OSError, match="putting") as caught:
        handle.kvs_commit([("", b"1")], lambda *values: None)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="removing"):
        handle.kvs_commit([("", None)], lambda *values: None)


def test_services(handle, instance):
    handle.service_register("handle-test")
    got = []

    def take(message, text):
        got.append((handle, text))
        if text is None:
            handle.respond_error(message, errno.EOVERFLOW, "too much \udc80")
        else:
            handle.respond(message, orjson.dumps({"seen": orjson.loads(text)}))

    handle.on_request("handle-test.echo", take)
    [(text, error)] = wait(handle, lambda done: handle.rpc("handle-test.echo", b'{"a":1}', done))
    assert orjson.loads(text) == {"seen": {"a": 1}}
    [(text, error)] = wait(handle, lambda done: handle.rpc("handle-test.echo", None, done))
    assert error.errno == errno.EOVERFLOW and error.strerror.startswith("too much")
    with pytest.raises(OSError) as caught:
        handle.service_register("handle-test")
    assert caught.value.errno == errno.EEXIST


def test_an_exception_in_a_callback_stops_the_reactor_and_is_raised(handle):
    def trip(*values):
        raise KeyError("in a callback")

    for start in (
        lambda: handle.rpc("attr.get", b'{"name":"size"}', trip),
        lambda: handle.call_later(0.0, trip),
        lambda: handle.call_soon(trip),
        lambda: handle.kvs_lookup("none", trip),
    ):
        start()
        with pytest.raises(KeyError, match="in a callback"):
            handle.run()


def test_timers(handle):
    order = []
    timer = handle.call_later(0.01, lambda: order.append("cancelled"))
    timer.cancel()
    timer.cancel()
    handle.call_later(-1.0, lambda: order.append("at once"))
    handle.call_later(0.02, lambda: (order.append("later"), handle.stop()))
    handle.run()
    assert order == ["at once", "later"]


def test_soon_is_after_the_messages_that_are_queued(handle):
    order = []
    count = 20

    def take(message, text):
        if not order:
            handle.call_soon(lambda: (order.append("soon"), handle.stop()))
        order.append("message")

    handle.service_register("handle-soon")
    handle.on_request("handle-soon.one", take)
    for _ in range(count):
        handle.rpc("handle-soon.one", b"{}", None)
    handle.rpc_wait("attr.get", b'{"name":"size"}')     # by now all have come back to us, and wait
    handle.run()
    assert order == ["message"] * count + ["soon"]


def test_requests_in_order_hold_up_no_others(handle):
    order = []

    def slow(message, text):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        order.append(orjson.loads(text))

    handle.service_register("handle-order")
    handle.on_request("handle-order.slow", slow, ordered=True)
    handle.on_request("handle-order.other", lambda message, text: order.append("other"))
    handle.on_request("handle-order.last", lambda message, text: handle.stop(), ordered=True)
    for number in range(10):
        handle.rpc("handle-order.slow", str(number).encode(), None)
    for topic in ("other", "last"):
        handle.rpc(f"handle-order.{topic}", b"{}", None)
    handle.rpc_wait("attr.get", b'{"name":"size"}')     # by now all have come back to us, and wait
    handle.call_soon(lambda: order.append("soon"))
    handle.run()
    assert [each for each in order if isinstance(each, int)] == list(range(10))
    # what waits is done a piece at a time
    assert order.index("other") < 5 and order.index("soon") < order.index(9)


def test_what_is_still_awaited_is_dropped_at_close(handle):
    handle.rpc("job-manager.events-journal", b'{"full":false}', lambda *values: None, True)
    handle.call_later(100.0, lambda: None)
    handle.call_soon(lambda: None)
    handle.on_request("never.asked", lambda *values: None)
    handle.service_register("handle-left")
    handle.on_request("handle-left.over", lambda *values: None, ordered=True)
    handle.rpc("handle-left.over", b"{}", None)
    handle.rpc_wait("attr.get", b'{"name":"size"}')


def test_job_ids(handle):
    from fluxsched.flux.jobid import job_key, job_name

    assert job_key(0, "R") == "job.0000.0000.0000.0000.R"
    assert job_name(0)[1:] == "1" or job_name(0) == "f1"
    with pytest.raises(OverflowError):
        job_key(-1, "R")
    with pytest.raises(OSError, match="flux_job_kvs_key"):
        job_key(1, "x" * 200)


def test_how_sched_so_is_linked():
    flux_command()
    readelf, nm = need("readelf"), need("nm")
    path = str(TOP / "sched" / "sched.so")
    dynamic = subprocess.run([readelf, "-d", path], capture_output=True, text=True, check=True).stdout
    assert "NODELETE" in dynamic and "libpython" in dynamic and "libflux-core" in dynamic
    symbols = subprocess.run([nm, "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["mod_main"]
