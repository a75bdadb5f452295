# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's key-value store, as commands see it.

Values are bytes: text that is no UTF-8 is kept as it came.  Keys are text in UTF-8.
"""

from __future__ import annotations

import errno

from fluxsched.session.broker.database import Operation
from fluxsched.session.broker.rpc import Bool, ListOf, Text, Tuple, rpc
from fluxsched.session.broker.server import Request
from fluxsched.session.broker.store import KEY_MAX, Store, normalize
from fluxsched.session.errors import RequestError

_KEY = Text(KEY_MAX + 1)  # one more, so that the refusal names the key
_VALUE = Text(64 << 20, raw=True)
_MANY = 1 << 20


class KVS:
    """Handles the requests of `flux kvs`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _key(self, text: str, root: bool = False) -> str:
        if root and not text.strip("."):
            return ""
        try:
            return normalize(text)
        except ValueError as error:
            raise RequestError(errno.EINVAL, str(error)) from None

    @rpc("kvs.get", key=_KEY)
    def get(self, request: Request, key: str) -> None:
        """Read a value.  Answers {"value": text}."""
        key = self._key(key)
        value = self.store.kvs_text(key)
        if value is None:
            if self.store.kvs_below(key):
                raise RequestError(errno.EISDIR, f"{key}: Is a directory")
            raise RequestError(errno.ENOENT, f"{key}: No such file or directory")
        request.respond({"value": value})

    @rpc("kvs.put", pairs=ListOf(Tuple(_KEY, _VALUE), _MANY))
    def put(self, request: Request, pairs: list) -> None:
        """Write values, all or none."""
        operations: list[Operation] = []
        for key, value in pairs:
            operations += self.store.ops_kvs(self._key(key), value)
        self._write(request, operations)

    @rpc("kvs.list", key=_KEY)
    def list_keys(self, request: Request, key: str) -> None:
        """List all keys below a directory.  Answers {"entries": [[key, text], ...]}."""
        key = self._key(key, root=True)
        entries = self.store.kvs_below(key)
        if not entries and key:
            if self.store.kvs_text(key) is not None:
                raise RequestError(errno.ENOTDIR, f"{key}: Not a directory")
            raise RequestError(errno.ENOENT, f"{key}: No such file or directory")
        request.respond({"entries": entries})

    @rpc("kvs.unlink", keys=ListOf(_KEY, _MANY), recursive=Bool(False), force=Bool(False))
    def unlink(self, request: Request, keys: list, recursive: bool, force: bool) -> None:
        """Remove keys, all or none; directories only with `recursive`."""
        operations: list[Operation] = []
        for text in keys:
            key = self._key(text)
            if self.store.kvs_below(key):
                if not recursive:
                    raise RequestError(errno.ENOTEMPTY, f"cannot unlink '{key}': Directory not empty")
            elif self.store.kvs_text(key) is None and not force:
                raise RequestError(errno.ENOENT, f"cannot unlink '{key}': No such file or directory")
            operations += self.store.ops_kvs(key, None)
        self._write(request, operations)

    def _write(self, request: Request, operations: list) -> None:
        def written(error: OSError | None) -> None:
            if error is not None:
                request.error(error.errno or errno.EIO, error.strerror)
            else:
                request.respond()

        self.store.request(operations, written)
