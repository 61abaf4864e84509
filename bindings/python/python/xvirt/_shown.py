"""Values in texts for people, such as those of errors."""

from __future__ import annotations

from typing import cast

_LONGEST = 64


def shown(value: object) -> str:
    """A value as `repr` writes it, or what it is and how long if that would be too long to read."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = cast("bytes", value)
        return repr(data) if len(data) <= _LONGEST else f"<{len(data)} bytes>"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"<an integer of {value.bit_length()} bits>"
    text = repr(value)
    return text if len(text) <= 4 * _LONGEST else f"{text[: 4 * _LONGEST]}…"
