"""What configurations contain that is no data: open files, images in memory, disks that a program serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

from ._shown import shown

_ABSENT = object()


class HasFileno(Protocol):
    """An open file, socket or other object with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


class ProgramDisk(Protocol):
    """A disk that the program implements. `BlockBackend.of` makes a disk for VMs of it.

    The methods are called on threads of the VM's device, possibly several at once. They take Python's global lock, so a
    program that holds it for long slows the guest's disk. An exception is an I/O error to the guest; that of an `OSError`
    tells the library its number, and any other one is also reported by `sys.unraisablehook`. They must not call methods of
    the VM that has the disk.

    Two more methods are called if they are there: ``discard(offset, size)``, after which a range may read as anything that
    was in it or as zeroes, and ``write_zeroes(offset, size, unmap)``; without it, zeroes are written with `write_at`.
    """

    def length(self) -> int:
        """The size of the disk in bytes, a multiple of 512. Called once."""
        ...

    def read_at(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        """Exactly `size` bytes from `offset` on."""
        ...

    def write_at(self, offset: int, data: bytes) -> object:
        """Writes all of `data` from `offset` on. Not needed for read-only disks."""
        ...

    def flush(self) -> object:
        """Returns when everything written before is on stable storage. Not needed for read-only disks."""
        ...


class ImageDescriptor(NamedTuple):
    """An open file that contains a disk image, and the format of the image: ``raw`` or ``qcow2``."""

    file: HasFileno | int
    format: str


class Resource:
    """A value that only this process can use, what it is, and the data that stands in its place meanwhile."""

    __slots__ = ("kind", "placeholder", "value")

    def __init__(self, kind: str, value: object, placeholder: object = _ABSENT) -> None:
        self.kind = kind
        self.value = value
        self.placeholder = placeholder

    def __repr__(self) -> str:
        return shown(self.value)

    def __reduce__(self) -> tuple[Any, ...]:
        if not isinstance(self.value, bytes):
            raise TypeError(f"{self!r} cannot be pickled: it stands for something in this process")
        return type(self), (self.kind, self.value, self.placeholder)


def resource(kind: str) -> Callable[[Any], Any]:
    """What makes a resource of the value of a field that may be absent."""
    return lambda value: _ABSENT if value is None else Resource(kind, value)


def taken_out(wire: Any, path: tuple[Any, ...] = ()) -> tuple[Any, list[tuple[tuple[Any, ...], Resource]]]:
    """The data without its resources, and these with their places."""
    if isinstance(wire, Resource):
        return wire.placeholder, [(path, wire)]
    found: list[tuple[tuple[Any, ...], Resource]] = []
    if isinstance(wire, dict):
        fields: dict[str, Any] = {}
        entries = cast("dict[str, Any]", wire)
        for key, value in entries.items():
            part, inside = taken_out(value, (*path, key))
            if part is not _ABSENT:
                fields[key] = part
            found += inside
        return fields, found
    if isinstance(wire, list):
        parts: list[Any] = []
        values = cast("list[Any]", wire)
        for index, value in enumerate(values):
            part, inside = taken_out(value, (*path, index))
            parts.append(part)
            found += inside
        return parts, found
    return wire, found


def with_resources(wire: Any) -> tuple[Any, list[tuple[tuple[Any, ...], str, Any]]]:
    """Data for the library, with the resources that belong into it."""
    plain, found = taken_out(wire)
    return plain, [(path, each.kind, each.value) for path, each in found]


def put_back(wire: Any, path: tuple[Any, ...], value: Resource) -> None:
    """Puts a resource into data from which it was taken out."""
    for step in path[:-1]:
        wire = wire[step]
    wire[path[-1]] = value
