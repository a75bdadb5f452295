# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The session's key-value store, as commands see it."""

import errno

from fluxsched.session.broker.store import normalize
from fluxsched.session.errors import RequestError


class KVS:
    def __init__(self, store, topics):
        self.store = store
        topics.update(
            {"kvs.get": self.get, "kvs.put": self.put, "kvs.list": self.list, "kvs.unlink": self.unlink}
        )

    def _key(self, text, root=False):
        if root and not text.strip("."):
            return ""
        try:
            return normalize(text)
        except ValueError as error:
            raise RequestError(errno.EINVAL, str(error)) from None

    def get(self, request):
        """kvs.get {"key"} -> {"value": text}"""
        key = self._key(request.get("key", str))
        value = self.store.kvs_text(key)
        if value is None:
            if self.store.kvs_below(key):
                raise RequestError(errno.EISDIR, f"{key}: Is a directory")
            raise RequestError(errno.ENOENT, f"{key}: No such file or directory")
        request.respond({"value": value})

    def put(self, request):
        """kvs.put {"pairs": [[key, text], ...]}, all or none."""
        operations = []
        for pair in request.get("pairs", list):
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise RequestError(errno.EPROTO, "kvs.put: pairs: expected a list of [key, value]")
            operations += self.store.ops_kvs(self._key(pair[0]), pair[1])
        self._write(request, operations)

    def list(self, request):
        """kvs.list {"key"} -> {"entries": [[key, text], ...]}: all keys below the directory."""
        key = self._key(request.get("key", str), root=True)
        entries = self.store.kvs_below(key)
        if not entries and key:
            if self.store.kvs_text(key) is not None:
                raise RequestError(errno.ENOTDIR, f"{key}: Not a directory")
            raise RequestError(errno.ENOENT, f"{key}: No such file or directory")
        request.respond({"entries": entries})

    def unlink(self, request):
        """kvs.unlink {"keys", "recursive", "force"}"""
        recursive = request.get("recursive", bool, False)
        operations = []
        for text in request.get("keys", list):
            key = self._key(str(text))
            if self.store.kvs_below(key):
                if not recursive:
                    raise RequestError(errno.ENOTEMPTY, f"cannot unlink '{key}': Directory not empty")
            elif self.store.kvs_text(key) is None and not request.get("force", bool, False):
                raise RequestError(errno.ENOENT, f"cannot unlink '{key}': No such file or directory")
            operations += self.store.ops_kvs(key, None)
        self._write(request, operations)

    def _write(self, request, operations):
        def written(error):
            if error is not None:
                request.error(error.errno, error.strerror)
            else:
                request.respond()

        self.store.request(operations, written)
