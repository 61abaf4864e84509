"""Sizes, rates, durations and moments, as people write them and as the library takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias, Union, cast

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
    from pathlib import Path
    from uuid import UUID

#: A number of bytes, or text such as ``"1GiB"``.
Size: TypeAlias = Union[int, str]
#: A number of bytes per second, or text such as ``"200Mbit/s"`` or ``"10MiB/s"``.
Rate: TypeAlias = Union[int, str]
#: A number of seconds, or a ``timedelta``.
Seconds: TypeAlias = Union[float, timedelta]
#: A path.
StrPath: TypeAlias = Union[str, "os.PathLike[str]"]

_UNITS = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
    "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)(b|bit|byte|bytes)?\s*(/s)?\s*", re.IGNORECASE)


def size(value: Size) -> int:
    """A number of bytes."""
    if isinstance(value, str):
        return _parsed(value, "a size such as '1GiB'", rate=False)
    return _count(value, "a size")


def rate(value: Rate) -> int:
    """A number of bytes per second."""
    if isinstance(value, str):
        return _parsed(value, "a rate such as '200Mbit/s'", rate=True)
    return _count(value, "a rate")


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not {what}: give a number of bytes, or text")
    if value < 0:
        raise ValueError(f"{value} is not {what}: it is negative")
    return value


def _parsed(text: str, what: str, *, rate: bool) -> int:
    found = _QUANTITY.fullmatch(text)
    unit = found.group(2).lower() if found else ""
    if found is None or unit not in _UNITS or (found.group(4) is not None) != rate:
        raise ValueError(f"{text!r} is not {what}")
    bits = (found.group(3) or "").lower() == "bit"
    if bits and not rate:
        raise ValueError(f"{text!r} is not {what}")
    return int(float(found.group(1)) * _UNITS[unit] / (8 if bits else 1))


def seconds(value: Seconds) -> float:
    """A duration in seconds."""
    given = cast(object, value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"{value!r} is not a duration: give seconds, or a timedelta")
    if not given >= 0:
        raise ValueError(f"{value} is not a duration: it is negative")
    return float(given)


def limit_of(value: Seconds | None) -> float | None:
    """A limit in seconds; None is no limit."""
    return None if value is None else seconds(value)


def dump_duration(value: Seconds) -> dict[str, int]:
    """A duration as the library's data contains it."""
    nanoseconds = round(seconds(value) * 1e9)
    return {"secs": nanoseconds // 10**9, "nanos": nanoseconds % 10**9}


def load_duration(wire: Mapping[str, int]) -> float:
    """Seconds from the library's data."""
    return wire["secs"] + wire["nanos"] / 1e9


def load_moment(wire: Mapping[str, int]) -> datetime:
    """A moment, in UTC, from the library's data."""
    whole = datetime.fromtimestamp(wire["secs_since_epoch"], timezone.utc)
    return whole + timedelta(microseconds=wire["nanos_since_epoch"] // 1000)


def dump_moment(value: datetime) -> dict[str, int]:
    """A moment as the library's data contains it. A time without a zone is local, as elsewhere in Python."""
    since = value.astimezone(timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    microseconds = since // timedelta(microseconds=1)
    return {"secs_since_epoch": microseconds // 10**6, "nanos_since_epoch": microseconds % 10**6 * 1000}


def load_path(wire: str) -> Path:
    """A path."""
    # Imported when needed, because it takes milliseconds.
    from pathlib import Path

    return Path(wire)


def load_uuid(wire: str) -> UUID:
    """A unique identifier."""
    from uuid import UUID

    return UUID(wire)


def load_address(wire: str) -> IPv4Address | IPv6Address:
    """An IP address."""
    from ipaddress import ip_address

    return ip_address(wire)


def load_interface(wire: str) -> IPv4Interface | IPv6Interface:
    """An IP address with the length of its prefix."""
    from ipaddress import ip_interface

    return ip_interface(wire)


def dump_text(value: object) -> str:
    """An address, UUID or path as text."""
    return os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else str(value)


def dump_bytes(value: object) -> bytes:
    """Bytes from anything that has them."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes, not {type(value).__name__}")
    return bytes(cast("bytes", value))
