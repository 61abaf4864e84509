"""What handles do without waiting, which is the same for both kinds of programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from . import _xvirt
from ._generated.data import BootEntry
from ._checks import argument
from ._handle import BaseHandle
from ._migrate import native_listener, native_sockets
from ._quantities import StrPath, dump_path, dump_size
from ._resources import ProgramDisk

if TYPE_CHECKING:
    from socket import socket

_B = TypeVar("_B", bound="BlockBackendShared")
_C = TypeVar("_C", bound="ChannelShared")
_T = TypeVar("_T", bound="TlsShared")


class BlockBackendShared:
    """An open disk image, or a disk that the program implements."""

    __slots__ = ()
    _native: Any

    @classmethod
    def of(cls: type[_B], disk: ProgramDisk, *, read_only: bool = False, block_size: int = 512) -> _B:
        """A disk that the program implements, for `DiskSourceBackend`. `block_size` is the physical block size in bytes, a
        power of two.
        """
        new = object.__new__(cls)
        new._native = _xvirt.program_disk(disk, read_only, argument("block_size", dump_size, block_size))
        return new

    @property
    def capacity(self) -> int:
        """The size of the disk in bytes."""
        return int(self._native.capacity())

    @property
    def read_only(self) -> bool:
        """Whether it cannot be written."""
        return bool(self._native.read_only())

    @property
    def block_size(self) -> int:
        """The size of its blocks in bytes."""
        return int(self._native.block_size())


class ConsoleReaderShared:
    """Reading the output of a console."""

    __slots__ = ()
    _native: Any

    def fileno(self) -> int:
        """A descriptor that is readable while there is output, for ``select`` and event loops. Only poll it."""
        return _xvirt.console_reader_fd(self._native)

    def try_read(self, size: int = 65536) -> bytes | None:
        """The output that is there, at most `size` bytes; None if there is none yet, and b"" at the end."""
        return _xvirt.console_try_read(self._native, size)


class Lines:
    """Divides output into lines, without their ends. Bytes that are not UTF-8 are replaced."""

    def __init__(self) -> None:
        self._pending = b""

    def add(self, chunk: bytes) -> Iterator[str]:
        """The lines that are complete with this output; all of the rest if it is empty, which is the end."""
        *whole, self._pending = (self._pending + chunk).split(b"\n")
        if not chunk and self._pending:
            whole.append(self._pending)
        return (line.removesuffix(b"\r").decode(errors="replace") for line in whole)


class EventReceiverShared:
    """Receiving events."""

    __slots__ = ()
    _native: Any

    def fileno(self) -> int:
        """A descriptor that is readable while there is an event, for ``select`` and event loops. Only poll it."""
        return _xvirt.event_receiver_fd(self._native)


class ChannelShared(BaseHandle):
    """The connections of a migration: the source opens them, and the target accepts them."""

    __slots__ = ()

    @classmethod
    def accept(cls: type[_C], listening: socket) -> _C:
        """Accepts the connections of a source on a socket that listens, such as `socket.create_server` makes."""
        return cls._of(native_listener(listening))

    @classmethod
    def sockets(cls: type[_C], sockets: Iterable[socket]) -> _C:
        """Uses sockets that are connected, in their order."""
        return cls._of(native_sockets(sockets))


class TlsShared:
    """Certificates for migrations over TLS, with which both sides prove who they are."""

    __slots__ = ("_native",)

    def __init__(self, native: _xvirt.Tls) -> None:
        self._native = native

    @classmethod
    def from_files(cls: type[_T], chain: StrPath, key: StrPath, authorities: StrPath) -> _T:
        """Reads PEM files: this host's certificate with those up to its authority, its private key, and the authorities that
        the other side's certificate may be signed by.
        """
        return cls(_xvirt.Tls.from_files(*(
            argument(name, dump_path, value)
            for name, value in (("chain", chain), ("key", key), ("authorities", authorities))
        )))

    @classmethod
    def from_pem(cls: type[_T], chain: bytes, key: bytes, authorities: bytes) -> _T:
        """The same from the text of PEM files."""
        return cls(_xvirt.Tls.from_pem(chain, key, authorities))

    def connect_to(self, name: str, channel: _C) -> _C:
        """Encrypts the connections of `channel` to a target whose certificate must be for `name`."""
        return type(channel)._of(self._native.connect_to(name, channel._native))

    def accept(self, channel: _C) -> _C:
        """Encrypts the connections that `channel` accepts."""
        return type(channel)._of(self._native.accept(channel._native))


class BootMenuShared(BaseHandle):
    """The boot menu of a disk, as its boot loader would show it."""

    __slots__ = ()
    _native: _xvirt.BootMenu

    @property
    def entries(self) -> tuple[BootEntry, ...]:
        """All entries, in their order."""
        return tuple(map(BootEntry._load, self._native.entries()))

    @property
    def default_entry(self) -> BootEntry | None:
        """The entry that boots by itself, if one can."""
        entry = self._native.default_entry()
        return None if entry is None else BootEntry._load(entry)
