"""What migrations need in both kinds of programs: arguments, and the VM that arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union, cast

from . import _xvirt
from ._checks import argument, expected
from ._errors import Error
from ._generated.data import Decision, Migration, MigrationReport, VmConfig
from ._quantities import dump_path, load_uuid
from ._resources import with_resources
from ._shown import shown

if TYPE_CHECKING:
    from socket import socket

#: Where a migration goes: ``"host:port"``, or the path of a unix socket.
Address: TypeAlias = Union[str, "os.PathLike[str]"]
#: Is called with how a migration goes, and may return new settings. An exception of it cancels the migration.
MigrationCallback: TypeAlias = Callable[[MigrationReport], Union[Migration, None]]
#: Is called with a VM that arrives. It returns the VM's configuration on this host, or reasons against it.
#: An exception of it refuses the VM as well.
Accept: TypeAlias = Callable[["ArrivingVm"], Union[VmConfig, Iterable[str]]]


class CommitDecision(Protocol):
    """A record of which host runs which VM, which decides whether a migrated VM runs at its target.

    The methods are called on the thread of the migration, and must not wait longer than the other side's limit for
    silence. Both sides have to use the same kind of decision.
    """

    def commit(self) -> Decision:
        """Source: makes the target the owner. Called once, when the target is prepared."""
        ...

    def withdraw(self) -> Decision:
        """Source: prevents that `commit` is applied later. `Decision.APPLIED` if it already is."""
        ...

    def read(self) -> Decision:
        """Target: reads whether it is the owner. `Decision.REFUSED` only if it never will be."""
        ...


class ArrivingVm:
    """A VM that arrives by a migration."""

    __slots__ = ("config", "is_local_hand_over", "is_only_checked", "name", "uuid")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        #: Its unique identifier.
        self.uuid = load_uuid(fields["uuid"])
        #: Its name.
        self.name: str = fields["name"]
        config = fields["config"]
        #: Its configuration at the source; None if it contains open files.
        self.config = None if config is None else VmConfig._load(config)
        #: Whether the source only asks, and will not send it now.
        self.is_only_checked: bool = fields["is_only_checked"]
        #: Whether its memory comes as an open file, without a copy.
        self.is_local_hand_over: bool = fields["is_local_hand_over"]


def native_channel(address: Address) -> _xvirt.Work | _xvirt.Channel:
    """What makes the channel to an address."""
    text = argument("address", dump_path, address)
    if isinstance(address, os.PathLike) or text.startswith(("/", "./", "../")):
        return _xvirt.Channel.connect_unix(text)
    return _xvirt.Channel.connect_tcp(text)


def native_listener(listening: socket) -> _xvirt.Channel:
    """The channel of a socket that listens."""
    return _xvirt.Channel.listener(listening, is_unix(listening))


def native_sockets(sockets: Iterable[socket]) -> _xvirt.Channel:
    """The channel of connected sockets."""
    connected = list(sockets)
    return _xvirt.Channel.sockets(connected, any(map(is_unix, connected)))


def is_unix(each: socket) -> bool:
    """Whether it is a unix socket."""
    # Imported when needed, because it takes milliseconds.
    from socket import AF_UNIX

    return each.family == AF_UNIX


def reporter(progress: MigrationCallback | None) -> Callable[[Any], Any] | None:
    """What the native half calls with reports."""
    if progress is None:
        return None

    def report(wire: Any) -> Any:
        settings = progress(MigrationReport._load(wire))
        return None if settings is None else settings._wire()

    return report


class Accepter:
    """What the native half calls with a VM that arrives.

    An exception of the program's function refuses the VM, so that the source learns the reason, and is raised afterwards.
    """

    def __init__(self, accept: Accept) -> None:
        if not callable(accept):
            raise expected("accept: a function", accept)
        self._accept = accept
        self._failure: Exception | None = None

    def __call__(self, fields: Any) -> Any:
        self._failure = None
        try:
            return self._answer(fields)
        except Error as failure:
            self._failure = failure
            return [str(failure)]
        except Exception as failure:
            self._failure = failure
            return [f"its program failed: {type(failure).__name__}: {failure}"]

    def _answer(self, fields: Any) -> Any:
        accepted = cast(object, self._accept(ArrivingVm(fields)))
        if isinstance(accepted, VmConfig):
            return with_resources(accepted._wire())
        if isinstance(accepted, (str, bytes, Mapping)) or not isinstance(accepted, Iterable):
            answer = shown(cast(object, accepted))
            raise TypeError(f"accept has to return a VmConfig, or a list of reasons against the VM, not {answer}")
        return [str(each) for each in cast("Iterable[object]", accepted)]

    @contextmanager
    def raising(self) -> Generator[None, None, None]:
        """Raises the exception of the program's function instead of the refusal that it made."""
        try:
            yield
        except Error:
            if self._failure is not None:
                raise self._failure from None
            raise


def settings_of(settings: Migration | None) -> Any:
    """Settings as the native half takes them."""
    return (settings or Migration())._wire()
