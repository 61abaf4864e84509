"""Checks of what records and calls are given, so that errors name it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, cast

from ._errors import Error
from ._quantities import dump_path
from ._resources import with_resources
from ._shown import shown

if TYPE_CHECKING:
    from ._data import StrEnum

_T = TypeVar("_T")


def argument(name: str, convert: Callable[[Any], _T], value: Any) -> _T:
    """A value as the library takes it. Errors say that it is that of this argument or field."""
    try:
        return convert(value)
    except Error:
        raise
    except TypeError as failure:
        raise TypeError(f"{name}: {failure}") from None
    except ValueError as failure:
        raise ValueError(f"{name}: {failure}") from None


def expected(what: str, value: object) -> TypeError:
    """The error for a value of another type."""
    return TypeError(f"expected {what}, not {shown(value)}")


def with_article(name: str) -> str:
    """The name of a class in a sentence."""
    return f"an {name}" if name[0] in "AEIO" else f"a {name}"


def dump_str(value: object) -> str:
    """Text."""
    if not isinstance(value, str):
        raise expected("text", value)
    return str(value)


def dump_bool(value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise expected("True or False", value)
    return value


def dump_int(least: int, most: int) -> Callable[[object], int]:
    """What checks a whole number."""

    def checked(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, SupportsIndex):
            raise expected("a whole number", value)
        count = value.__index__()
        if not least <= count <= most:
            raise ValueError(f"expected {least} to {most}, not {shown(count)}")
        return count

    return checked


def dump_float(value: object) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise expected("a number", value)
    return float(value)


def dump_member(kind: type[StrEnum]) -> Callable[[object], str]:
    """What checks a member of an enum, or its text."""

    def checked(value: object) -> str:
        if not isinstance(value, str):
            raise expected(with_article(kind.__name__), value)
        if value not in kind._value2member_map_:
            names = ", ".join(repr(str(each)) for each in kind)
            raise ValueError(f"expected {with_article(kind.__name__)}, which is one of {names}, not {shown(value)}")
        return str(value)

    return checked


def dump_record(kind: type[Any]) -> Callable[[Any], Any]:
    """What dumps a record of this class, or a dictionary of its fields."""

    def dumped(value: Any) -> Any:
        if isinstance(value, kind):
            return value._wire()
        # A dictionary is checked by the library; text is a variant without data.
        if isinstance(value, Mapping) or isinstance(value, str) and hasattr(kind, "_variants"):
            return cast(object, value)
        raise expected(with_article(kind.__name__), value)

    return dumped


def dump_each(dump_one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What dumps a list."""

    def dumped(values: object) -> list[Any]:
        if isinstance(values, (str, bytes, Mapping, type)) or not isinstance(values, Iterable):
            raise expected("a list", cast(object, values))
        return [dump_one(value) for value in cast("Iterable[Any]", values)]

    return dumped


def dump_entries(dump_key: Callable[[Any], Any], dump_value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What dumps a dictionary."""

    def dumped(values: object) -> dict[Any, Any]:
        if not isinstance(values, Mapping):
            raise expected("a dictionary", values)
        return {dump_key(key): dump_value(value) for key, value in cast("Mapping[Any, Any]", values).items()}

    return dumped


def dump_file(method: str) -> Callable[[Any], Any]:
    """What checks a path, or an open file that has this method."""

    def checked(value: Any) -> Any:
        if isinstance(value, (str, bytes, os.PathLike)):
            return dump_path(cast(object, value))
        if not callable(getattr(value, method, None)):
            raise expected(f"a path, or an open file with the method {method}", value)
        return value

    return checked


def native(name: str, value: Any, *kinds: str) -> Any:
    """A handle or configuration as the native half takes it, which is of one of these classes."""
    if not any(base.__name__ in kinds for base in type(value).__mro__):
        raise TypeError(f"{name}: expected {' or '.join(map(with_article, kinds))}, not {shown(value)}")
    handle = getattr(value, "_native", None)
    return with_resources(value._wire()) if handle is None else handle
