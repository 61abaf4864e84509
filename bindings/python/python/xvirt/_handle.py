"""What all handles have in common."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from ._errors import Error

_H = TypeVar("_H", bound="BaseHandle")


class BaseHandle:
    """Something outside of the program's data, such as a VM, until it is closed."""

    __slots__ = ("__weakref__", "_native")
    _native: Any

    def __init__(self) -> None:
        raise TypeError(f"a {type(self).__name__} is not made by calling its class; help({type(self).__name__}) says how")

    @classmethod
    def _of(cls: type[_H], native: Any) -> _H:
        new = object.__new__(cls)
        new._native = native
        return new

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._native.is_closed())

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it stands for something in this process")

    def __repr__(self) -> str:
        if self.closed:
            return f"<xvirt.{type(self).__name__} (closed)>"
        return f"<xvirt.{type(self).__name__}{self._described()}>"

    def _described(self) -> str:
        """Its name, if it has one that can be had at once."""
        try:
            name = getattr(self, "name", None)
        except Error:
            # It was closed meanwhile, or belongs to the process that forked this one.
            return ""
        return f" {name!r}" if isinstance(name, str) else ""
