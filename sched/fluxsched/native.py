# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Modules of the standard library as they are in C, without what Python code puts around them.

A command lives for some milliseconds. The modules ``signal`` and ``socket`` make enumerations of their constants,
``json`` has regular expressions, ``collections`` makes classes: to import them takes longer than all that a command
does. What these modules offer in C is enough for the path of a command from its start to its end. `deque`, `signal`
and `socket` are as the modules of these names have them, with plain numbers; `json_encoder` and `json_scanner` are
what ``json`` is made of, `format_parser` is what `string.Formatter` cuts formats with.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections import deque
    from collections.abc import Iterator
    from json.encoder import encode_basestring_ascii
    from typing import Any, Callable, Optional

    #: Parts of a format: literal text, and the field behind it, its format and its conversion, or None.
    format_parser: Callable[[str], Iterator[tuple[str, Optional[str], Optional[str], Optional[str]]]]
    json_encoder: Callable[..., Any]
    json_scanner: Callable[..., Any]
else:
    import _signal as signal
    import _socket as socket
    from _collections import deque
    from _json import encode_basestring_ascii
    from _json import make_encoder as json_encoder
    from _json import make_scanner as json_scanner
    from _string import formatter_parser as format_parser

__all__ = ["deque", "encode_basestring_ascii", "format_parser", "json_encoder", "json_scanner", "signal", "socket"]
