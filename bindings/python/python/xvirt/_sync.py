"""Handles whose calls block: what the generated classes do not say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _xvirt
from ._checks import argument, dump_record, native
from ._handle import BaseHandle
from ._quantities import Seconds, dump_bytes, dump_uuid, limit_of
from ._generated.errors import GoneError
from ._generated.data import (
    BootEntry, BootFiles, CommandStatus, EntryChoice, EntryChoiceDefault, GuestCommand, Limits, Migration, MigrationSummary,
    Reception, VmConfig,
)
from ._migrate import (
    Accept, Accepter, Address, CommitDecision, MigrationCallback, native_channel, settings_of,
)
from ._migrate import reporter as reporter_of
from ._resources import with_resources
from ._shared import (
    BlockBackendShared, BootMenuShared, ChannelShared, ConsoleReaderShared, EventReceiverShared, Lines, TlsShared,
)
from ._work import begun, run

if TYPE_CHECKING:
    from ._generated.data import EventRecord
    from uuid import UUID

    from ._generated.sync import BlockBackend, Host, StoredVm, Vm

_H = TypeVar("_H", bound="Handle")

__all__ = [
    "BlockBackendMethods", "ConsoleReaderMethods", "EventReceiverMethods", "GuestAgentMethods", "Handle", "Imported",
    "RepositoryMethods", "VmMethods", "run",
]


class Handle(BaseHandle):
    """A handle whose calls block."""

    __slots__ = ()

    def close(self) -> None:
        """Cancels the calls in progress, waits for their end, and releases what the handle stands for.

        In a callback of a call, and in the handler of a signal that interrupts one, it does not wait: the calls fail soon,
        and the last of them releases what the handle stands for.
        """
        run(self._native.dispose())

    def __enter__(self: _H) -> _H:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BlockBackendMethods(BlockBackendShared):
    """An open disk image, or a disk that the program implements."""

    __slots__ = ()

    def read_at(self, offset: int, size: int) -> bytes:
        """Reads `size` bytes from `offset` on."""
        return bytes(run(self._native.read_at(offset, size)))

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes `data` from `offset` on. A VM that has the disk does not expect that."""
        run(self._native.write_at(offset, dump_bytes(data)))

    def flush(self) -> None:
        """Returns when everything written before is on stable storage."""
        run(self._native.flush())


class ConsoleReaderMethods(ConsoleReaderShared):
    """Reading the output of a console."""

    __slots__ = ()

    def read(self, size: int = 65536, *, timeout: Seconds | None = None) -> bytes:
        """Waits for output and returns at most `size` bytes of it; b"" at the end, when the console is closed.

        Raises:
        `TimeoutError` if there was no output in time.
        """
        return bytes(run(_xvirt.console_read(self._native, size, argument("timeout", limit_of, timeout))))

    def lines(self) -> Iterator[str]:
        """The lines of the output, without their ends, until the console is closed.

        Bytes that are not UTF-8 are replaced.
        """
        lines = Lines()
        while chunk := self.read():
            yield from lines.add(chunk)
        yield from lines.add(b"")

    __iter__ = lines


class EventReceiverMethods(EventReceiverShared):
    """Receiving events."""

    __slots__ = ()
    next_timeout: Callable[..., EventRecord]

    def __iter__(self) -> Iterator[EventRecord]:
        """Waits for each next event, until all VMs are gone: the last event of each is `EventDropped`."""
        while True:
            try:
                record = self.next_timeout()
            except GoneError:
                return
            yield record


class GuestAgentMethods:
    """The guest agent."""

    __slots__ = ()
    _native: Any

    def run_streamed(self, command: GuestCommand, output: Callable[[str, bytes], object]) -> CommandStatus:
        """Runs a command and calls `output` with each piece of its output as it comes: `"stdout"` or `"stderr"`, and the
        bytes. If it returns False, the command is killed.
        """
        work = _xvirt.agent_run_streamed(self._native, argument("command", dump_record(GuestCommand), command), output)
        return CommandStatus._load(run(work))


class RepositoryMethods:
    """A repository."""

    __slots__ = ()
    _native: Any

    def update(self, uuid: UUID | str, change: Callable[[VmConfig], VmConfig]) -> StoredVm:
        """Changes the configuration of a VM: `change` gets the present one and returns the new one. It is called again if
        another process changed the VM meanwhile.
        """
        from ._generated.sync import StoredVm

        def changed(wire: Any) -> Any:
            return with_resources(change(VmConfig._load(wire))._wire())

        return StoredVm._of(run(_xvirt.repository_update(self._native, argument("uuid", dump_uuid, uuid), changed)))


class VmMethods:
    """A virtual machine."""

    __slots__ = ()
    _native: Any

    @classmethod
    def build(cls, config: VmConfig, host: Host) -> Vm:
        """A VM of this configuration. It is halted: `start` runs it."""
        from ._generated.sync import Vm

        work = _xvirt.vm_config_build(
            with_resources(argument("config", dump_record(VmConfig), config)), native("host", host, "Host")
        )
        return Vm._of(run(work))

    def check_migration(
        self, channel: Channel, settings: Migration | None = None, *, progress: MigrationCallback | None = None
    ) -> None:
        """Checks whether this VM could migrate to the target of `channel`, without moving anything.

        Raises:
        `MigrationRefusedError` with all reasons against it.
        """
        work = _xvirt.vm_check_migration(self._native, native("channel", channel, "Channel"), settings_of(settings), reporter_of(progress))
        run(begun(work, progress))

    def migrate(
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
        return MigrationSummary._load(run(begun(work, progress)))

    @classmethod
    def receive(
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
        this raises it.
        """
        from ._generated.sync import Vm

        accepter = Accepter(accept)
        work = _xvirt.migrate_receive(
            native("channel", channel, "Channel"), native("host", host, "Host"), (settings or Reception())._wire(),
            accepter, decision, reporter_of(progress)
        )
        with accepter.raising():
            return Vm._of(run(begun(work, progress)))


class Channel(ChannelShared, Handle):
    """The connections of a migration: the source opens them, and the target accepts them."""

    __slots__ = ()

    @classmethod
    def connect(cls, address: Address) -> Channel:
        """Connects to a target: `"host:port"`, or the path of a unix socket."""
        made = native_channel(address)
        return cls._of(run(made) if isinstance(made, _xvirt.Work) else made)


class Tls(TlsShared):
    """Certificates for migrations over TLS, with which both sides prove who they are."""

    __slots__ = ()

    def connect(self, target: str) -> Channel:
        """Connects to a target, `"host:port"`, whose certificate must be for that host."""
        return Channel._of(run(self._native.channel(target)))


class Imported(NamedTuple):
    """What an import made."""

    #: The VM in the repository.
    vm: StoredVm
    #: What of the appliance could not be kept.
    remarks: tuple[str, ...]

    @classmethod
    def _of(cls, native: Any) -> Imported:
        from ._generated.sync import StoredVm

        vm, remarks = native
        return cls(StoredVm._of(vm), tuple(remarks))


class BootMenu(BootMenuShared, Handle):
    """The boot menu of a disk, as its boot loader would show it."""

    __slots__ = ()

    @classmethod
    def read(cls, disk: BlockBackend) -> BootMenu:
        """Reads the menu of a disk, which `disk_open` opens.

        Raises:
        `NotBootableError` if there is none.
        """
        return cls._of(run(_xvirt.BootMenu.read(native("disk", disk, "BlockBackend"))))

    def entry(self, choice: EntryChoice | None = None) -> BootEntry:
        """The entry that a choice means, at first the default.

        Raises:
        `NotBootableError` if there is none; it names those that exist.
        """
        return BootEntry._load(run(self._native.entry((choice or EntryChoiceDefault())._wire())))

    def load(self, choice: EntryChoice | None = None, *, limits: Limits | None = None) -> BootFiles:
        """The kernel, the initrd and the command line of the entry that a choice means, at first the default. `limits` says
        how large they may be.
        """
        wire = None if limits is None else limits._wire()
        return BootFiles._load(run(self._native.load((choice or EntryChoiceDefault())._wire(), wire)))
