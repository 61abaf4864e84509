"""Handles for asyncio: what the generated classes do not say.

A call runs on a thread of its own, and its event loop waits for the descriptor that says that it has ended. A call whose
task is cancelled is cancelled as well, and the task ends when the call has.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from . import _xvirt
from ._checks import argument, dump_record, native
from ._handle import BaseHandle
from ._generated.errors import GoneError
from ._generated.data import (
    BootEntry, BootFiles, CommandStatus, EntryChoice, EntryChoiceDefault, GuestCommand, Limits, Migration, MigrationSummary,
    Reception, VmConfig,
)
from ._migrate import (
    Accept, Accepter, Address, CommitDecision, MigrationCallback, native_channel, settings_of,
)
from ._migrate import reporter as reporter_of
from ._quantities import dump_bytes, dump_uuid
from ._resources import HasFileno, with_resources
from ._shared import (
    BlockBackendShared, BootMenuShared, ChannelShared, ConsoleReaderShared, EventReceiverShared, Lines, TlsShared,
)
from ._work import reporter

if TYPE_CHECKING:
    from ._generated.data import EventRecord
    from uuid import UUID

    from ._generated.aio import BlockBackend, Host, StoredVm, Vm
    from ._work import ProgressCallback

_H = TypeVar("_H", bound="Handle")

__all__ = [
    "BlockBackendMethods", "ConsoleReaderMethods", "EventReceiverMethods", "GuestAgentMethods", "Handle", "Imported",
    "RepositoryMethods", "VmMethods", "start",
]


async def start(work: _xvirt.Work, progress: ProgressCallback | None = None) -> Any:
    """Runs a call on a thread of its own, and waits for its end."""
    return await Calls.of(asyncio.get_running_loop()).run(work, progress)


class Call:
    """A call in progress."""

    __slots__ = ("_failure", "_future", "_reporter", "_work")

    def __init__(
        self, work: _xvirt.Work, future: asyncio.Future[Any], reporter: Callable[[int, int | None], object] | None
    ) -> None:
        self._work = work
        self._future = future
        self._reporter = reporter
        self._failure: BaseException | None = None

    def report(self, count: int, total: int | None) -> None:
        """Tells the callback how far it is. An exception of it cancels the call."""
        if self._reporter is None or self._failure is not None or self._future.cancelled():
            return
        try:
            self._reporter(count, total)
        except BaseException as failure:
            # Other calls must get their ends all the same. A future does not take a StopIteration.
            self._failure = RuntimeError("progress has raised StopIteration") if isinstance(failure, StopIteration) else failure
            self._work.cancel()

    def end(self, error: BaseException | None, value: Any) -> None:
        """Gives the call's task its exception or its value."""
        if self._future.cancelled():
            return
        if (failure := self._failure or error) is not None:
            self._future.set_exception(failure)
        else:
            self._future.set_result(value)


class Calls:
    """The calls of one event loop."""

    _by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Calls] = WeakKeyDictionary()

    # It does not refer to its loop, which would keep both forever.
    def __init__(self) -> None:
        self._completions = _xvirt.Completions()
        self._numbers = itertools.count()
        self._waiting: dict[int, Call] = {}

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Calls:
        """Those of a loop."""
        calls = cls._by_loop.get(loop)
        if calls is None:
            calls = cls._by_loop[loop] = cls()
        return calls

    async def run(self, work: _xvirt.Work, progress: ProgressCallback | None) -> Any:
        """Starts a call and waits for its end."""
        loop = asyncio.get_running_loop()
        number, future = next(self._numbers), loop.create_future()
        if not self._waiting:
            # Only while there are calls, so that a loop without any holds nothing.
            loop.add_reader(self._completions.fileno(), self._drain)
        self._waiting[number] = Call(work, future, None if progress is None else reporter(progress))
        try:
            work.start(self._completions, number)
        except BaseException:
            self._forget(number)
            raise
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            work.cancel()
            await ended(future)
            raise

    def _drain(self) -> None:
        for number, what, value in self._completions.drain():
            call = self._waiting[number]
            if what == "progress":
                call.report(*value)
            else:
                self._forget(number)
                call.end(value if what == "error" else None, value)

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        if not self._waiting:
            asyncio.get_running_loop().remove_reader(self._completions.fileno())


async def ended(future: asyncio.Future[Any]) -> None:
    """Waits for the end of a cancelled call, however often the task is cancelled meanwhile."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        # It is the cancelled call's own.
        future.exception()


#: The waits for the descriptors of handles, which end when the handle is closed.
_waits: WeakKeyDictionary[Any, set[asyncio.Future[None]]] = WeakKeyDictionary()


async def readable(handle: HasFileno) -> None:
    """Waits until the descriptor of a handle is readable, or the handle is closed."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    # A loop has one reader for each descriptor, and several tasks may wait for this one.
    descriptor = os.dup(handle.fileno())
    waits = _waits.setdefault(handle, set())
    waits.add(future)
    loop.add_reader(descriptor, wake, future)
    try:
        await future
    finally:
        waits.discard(future)
        loop.remove_reader(descriptor)
        os.close(descriptor)


def wake(future: asyncio.Future[None]) -> None:
    """Ends a wait."""
    if not future.done():
        future.set_result(None)


class Handle(BaseHandle):
    """A handle for asyncio."""

    __slots__ = ()

    async def close(self) -> None:
        """Cancels the calls in progress, waits for their end, and releases what the handle stands for."""
        try:
            await start(self._native.dispose())
        finally:
            for future in tuple(_waits.get(self, ())):
                future.get_loop().call_soon_threadsafe(wake, future)

    async def __aenter__(self: _H) -> _H:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class BlockBackendMethods(BlockBackendShared):
    """An open disk image, or a disk that the program implements."""

    __slots__ = ()

    async def read_at(self, offset: int, size: int) -> bytes:
        """Reads `size` bytes from `offset` on."""
        return bytes(await start(self._native.read_at(offset, size)))

    async def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes `data` from `offset` on. A VM that has the disk does not expect that."""
        await start(self._native.write_at(offset, dump_bytes(data)))

    async def flush(self) -> None:
        """Returns when everything written before is on stable storage."""
        await start(self._native.flush())


class ConsoleReaderMethods(ConsoleReaderShared):
    """Reading the output of a console."""

    __slots__ = ()

    async def read(self, size: int = 65536) -> bytes:
        """Waits for output and returns at most `size` bytes of it; b"" at the end, when the console is closed."""
        while (chunk := self.try_read(size)) is None:
            await readable(self)
        return chunk

    async def lines(self) -> AsyncIterator[str]:
        """The lines of the output, without their ends, until the console is closed.

        Bytes that are not UTF-8 are replaced.
        """
        lines = Lines()
        while chunk := await self.read():
            for line in lines.add(chunk):
                yield line
        for line in lines.add(b""):
            yield line

    __aiter__ = lines


class EventReceiverMethods(EventReceiverShared):
    """Receiving events."""

    __slots__ = ()
    try_next: Callable[[], EventRecord | None]

    async def next(self) -> EventRecord:
        """Waits for the next event."""
        while (record := self.try_next()) is None:
            await readable(self)
        return record

    def __aiter__(self) -> AsyncIterator[EventRecord]:
        """Waits for each next event, until all VMs are gone: the last event of each is `EventDropped`."""
        return self._events()

    async def _events(self) -> AsyncIterator[EventRecord]:
        while True:
            try:
                record = await self.next()
            except GoneError:
                return
            yield record


class GuestAgentMethods:
    """The guest agent."""

    __slots__ = ()
    _native: Any

    async def run_streamed(self, command: GuestCommand, output: Callable[[str, bytes], object]) -> CommandStatus:
        """Runs a command and calls `output` with each piece of its output as it comes: `"stdout"` or `"stderr"`, and the
        bytes. If it returns False, the command is killed. It is called on the thread of the call.
        """
        work = _xvirt.agent_run_streamed(self._native, argument("command", dump_record(GuestCommand), command), output)
        return CommandStatus._load(await start(work))


class RepositoryMethods:
    """A repository."""

    __slots__ = ()
    _native: Any

    async def update(self, uuid: UUID | str, change: Callable[[VmConfig], VmConfig]) -> StoredVm:
        """Changes the configuration of a VM: `change` gets the present one and returns the new one. It is called again if
        another process changed the VM meanwhile. It is called on the thread of the call.
        """
        from ._generated.aio import StoredVm

        def changed(wire: Any) -> Any:
            return with_resources(change(VmConfig._load(wire))._wire())

        return StoredVm._of(await start(_xvirt.repository_update(self._native, argument("uuid", dump_uuid, uuid), changed)))


class VmMethods:
    """A virtual machine."""

    __slots__ = ()
    _native: Any

    @classmethod
    async def build(cls, config: VmConfig, host: Host) -> Vm:
        """A VM of this configuration. It is halted: `start` runs it."""
        from ._generated.aio import Vm

        work = _xvirt.vm_config_build(
            with_resources(argument("config", dump_record(VmConfig), config)), native("host", host, "Host")
        )
        return Vm._of(await start(work))

    async def check_migration(
        self, channel: Channel, settings: Migration | None = None, *, progress: MigrationCallback | None = None
    ) -> None:
        """Checks whether this VM could migrate to the target of `channel`, without moving anything.

        Raises:
        `MigrationRefusedError` with all reasons against it.
        """
        work = _xvirt.vm_check_migration(self._native, native("channel", channel, "Channel"), settings_of(settings), reporter_of(progress))
        await start(work)

    async def migrate(
        self,
        channel: Channel,
        settings: Migration | None = None,
        *,
        decision: CommitDecision | None = None,
        progress: MigrationCallback | None = None,
    ) -> MigrationSummary:
        """Moves this VM, which runs, to the target of `channel`, while its guest goes on.

        `progress` is called with each new phase and about ten times per second, and may return new settings. `decision` is
        a record of which host runs the VM; without one, both sides decide alone.

        Raises:
        `MigrationRefusedError` if the target cannot take it, with all reasons; `IndeterminateError` if it may run there:
        then `resolve_migration` says where it ran. After any other error it runs here, as before.
        """
        work = _xvirt.vm_migrate(
            self._native, native("channel", channel, "Channel"), settings_of(settings), decision, reporter_of(progress)
        )
        return MigrationSummary._load(await start(work))

    @classmethod
    async def receive(
        cls,
        channel: Channel,
        host: Host,
        accept: Accept,
        settings: Reception | None = None,
        *,
        decision: CommitDecision | None = None,
        progress: MigrationCallback | None = None,
    ) -> Vm:
        """Receives a VM that a source sends over `channel`, and returns it when it runs here.

        `accept` is called with the VM that arrives, and returns its configuration on this host, with the disks and networks
        that are there, or a list of reasons against it. If it raises an exception, the source is refused with its text, and
        this raises it. It is called on the thread of the call.
        """
        from ._generated.aio import Vm

        accepter = Accepter(accept)
        work = _xvirt.migrate_receive(
            native("channel", channel, "Channel"), native("host", host, "Host"), (settings or Reception())._wire(),
            accepter, decision, reporter_of(progress)
        )
        with accepter.raising():
            return Vm._of(await start(work))


class Channel(ChannelShared, Handle):
    """The connections of a migration: the source opens them, and the target accepts them."""

    __slots__ = ()

    @classmethod
    async def connect(cls, address: Address) -> Channel:
        """Connects to a target: `"host:port"`, or the path of a unix socket."""
        made = native_channel(address)
        return cls._of(await start(made) if isinstance(made, _xvirt.Work) else made)


class Tls(TlsShared):
    """Certificates for migrations over TLS, with which both sides prove who they are."""

    __slots__ = ()

    async def connect(self, target: str) -> Channel:
        """Connects to a target, `"host:port"`, whose certificate must be for that host."""
        return Channel._of(await start(self._native.channel(target)))


class Imported(NamedTuple):
    """What an import made."""

    #: The VM in the repository.
    vm: StoredVm
    #: What of the appliance could not be kept.
    remarks: tuple[str, ...]

    @classmethod
    def _of(cls, native: Any) -> Imported:
        from ._generated.aio import StoredVm

        vm, remarks = native
        return cls(StoredVm._of(vm), tuple(remarks))


class BootMenu(BootMenuShared, Handle):
    """The boot menu of a disk, as its boot loader would show it."""

    __slots__ = ()

    @classmethod
    async def read(cls, disk: BlockBackend) -> BootMenu:
        """Reads the menu of a disk, which `disk_open` opens.

        Raises:
        `NotBootableError` if there is none.
        """
        return cls._of(await start(_xvirt.BootMenu.read(native("disk", disk, "BlockBackend"))))

    async def entry(self, choice: EntryChoice | None = None) -> BootEntry:
        """The entry that a choice means, at first the default.

        Raises:
        `NotBootableError` if there is none; it names those that exist.
        """
        return BootEntry._load(await start(self._native.entry((choice or EntryChoiceDefault())._wire())))

    async def load(self, choice: EntryChoice | None = None, *, limits: Limits | None = None) -> BootFiles:
        """The kernel, the initrd and the command line of the entry that a choice means, at first the default. `limits` says
        how large they may be.
        """
        wire = None if limits is None else limits._wire()
        return BootFiles._load(await start(self._native.load((choice or EntryChoiceDefault())._wire(), wire)))
