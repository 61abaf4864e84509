"""Sizes, rates, durations and moments, as people write them and as the library takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias, Union, cast

from ._shown import shown

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
#: The largest size and rate: they have 64 bits.
_MOST = 2**64 - 1
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)(b|bit|byte|bytes)?\s*(/s)?\s*", re.IGNORECASE)


def dump_size(value: Size) -> int:
    """A number of bytes."""
    return _quantity(value, "a size such as '1GiB'", rate=False)


def dump_rate(value: Rate) -> int:
    """A number of bytes per second."""
    return _quantity(value, "a rate such as '200Mbit/s'", rate=True)


def _quantity(value: object, what: str, *, rate: bool) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{shown(value)} is not {what}: give a number of bytes, or text")
    count = _parsed(value, what, rate=rate) if isinstance(value, str) else value
    if count < 0:
        raise ValueError(f"{value} is not {what}: it is negative")
    if count > _MOST:
        raise ValueError(f"{shown(value)} is too large: the most is {_MOST} bytes")
    return count


def _parsed(text: str, what: str, *, rate: bool) -> int:
    found = _QUANTITY.fullmatch(text)
    unit = found.group(2).lower() if found else ""
    bits = found is not None and (found.group(3) or "").lower() == "bit"
    if found is None or unit not in _UNITS or (found.group(4) is not None) != rate or bits and not rate:
        raise ValueError(f"{shown(text)} is not {what}")
    whole, _, fraction = found.group(1).partition(".")
    return int(whole + fraction) * _UNITS[unit] // int(10 ** len(fraction)) // (8 if bits else 1)


def seconds(value: Seconds) -> float:
    """A duration in seconds."""
    given = cast(object, value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"{shown(value)} is not a duration: give seconds, or a timedelta")
    if given != given:
        raise ValueError("nan is not a duration: give a number of seconds")
    if given < 0:
        raise ValueError(f"{value} is not a duration: it is negative")
    return float(given)


def limit_of(value: Seconds | None) -> float | None:
    """A limit in seconds; None is no limit."""
    return None if value is None else seconds(value)


def dump_duration(value: Seconds) -> dict[str, int]:
    """A duration as the library's data contains it."""
    given = seconds(value)
    if given > _MOST:
        raise ValueError(f"{value} is not a duration here: it is too long")
    nanoseconds = round(given * 1e9)
    return {"secs": nanoseconds // 10**9, "nanos": nanoseconds % 10**9}


def load_duration(wire: Mapping[str, int]) -> float:
    """Seconds from the library's data."""
    return wire["secs"] + wire["nanos"] / 1e9


def load_moment(wire: Mapping[str, int]) -> datetime:
    """A moment, in UTC, from the library's data."""
    whole = datetime.fromtimestamp(wire["secs_since_epoch"], timezone.utc)
    return whole + timedelta(microseconds=wire["nanos_since_epoch"] // 1000)


def require_moment(value: object) -> None:
    """Fails if a value is no moment."""
    if not isinstance(value, datetime):
        raise TypeError(f"{shown(value)} is not a moment: give a datetime")


def dump_moment(value: datetime) -> dict[str, int]:
    """A moment as the library's data contains it. A time without a zone is local, as elsewhere in Python."""
    require_moment(value)
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


def dump_timestamp(value: datetime) -> float:
    """A moment as the seconds since 1970."""
    require_moment(value)
    return value.timestamp()


def dump_path(value: object) -> str:
    """A path as text. Bytes are decoded as Python does for names of files."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{shown(value)} is not a path: give text, or a Path")
    path = os.fsdecode(cast("os.PathLike[str]", value))
    if "\0" in path:
        raise ValueError(f"{shown(path)} is not a path: it contains a NUL character")
    return path


def dump_uuid(value: object) -> str:
    """A unique identifier as text."""
    text = str(value)
    if not _UUID.fullmatch(text):
        wanted = f"{shown(value)} is not a UUID such as '6e3bd8a0-6f6a-4f3c-9d6f-0a1b2c3d4e5f'"
        raise ValueError(wanted) if isinstance(value, str) else TypeError(wanted)
    return text


def dump_address(value: object) -> str:
    """An IP address as text."""
    return str(value)


def dump_bytes(value: object) -> bytes:
    """Bytes from anything that has them."""
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{shown(value)} is not bytes")
    return bytes(cast("bytes", value))
