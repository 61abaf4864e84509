"""Disks that a program implements."""

import errno
import sys
import threading

import pytest
import xvirt

from conftest import PATIENCE, demo

SIZE = 4 << 20


class Memory:
    """A disk in memory that counts what is asked of it."""

    def __init__(self, size=SIZE):
        self.bytes = bytearray(size)
        self.flushes = 0
        self.threads = set()
        self.failure = None

    def length(self):
        return len(self.bytes)

    def read_at(self, offset, size):
        self.threads.add(threading.current_thread())
        if self.failure is not None:
            raise self.failure
        return memoryview(self.bytes)[offset : offset + size]

    def write_at(self, offset, data):
        self.bytes[offset : offset + len(data)] = data

    def flush(self):
        self.flushes += 1


def run(host, *disks, **options):
    """What the guest prints that writes and reads its disks."""
    boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line("blk", "poweroff", **options))
    config = demo(boot=boot, disks=[xvirt.Disk(source=xvirt.DiskSourceBackend(disk)) for disk in disks])
    with xvirt.Vm.build(config, host) as vm:
        vm.start()
        vm.wait_halted(timeout=PATIENCE)
        return vm.console.reader().read(1 << 20, timeout=PATIENCE).decode()


def test_a_guest_reads_and_writes_it(host):
    memory = Memory()
    with xvirt.BlockBackend.of(memory) as disk:
        assert (disk.capacity, disk.read_only, disk.block_size) == (SIZE, False, 512)
        said = run(host, disk)
    assert "blk 0: ok" in said and "demo: done" in said, said
    assert memory.flushes and any(memory.bytes)
    assert threading.main_thread() not in memory.threads


def test_exceptions_are_errors_of_the_disk(host):
    memory = Memory()
    memory.failure = OSError(errno.EIO, "the medium is broken")
    with xvirt.BlockBackend.of(memory) as disk:
        with pytest.raises(OSError) as caught:
            disk.read_at(0, 512)
        assert caught.value.errno == errno.EIO
        said = run(host, disk)
    assert "blk 0: failed" in said and "demo: failed" in said, said


def test_mistakes_are_reported(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    memory = Memory()
    memory.read_at = lambda offset, size: bytes(size - 1)
    with xvirt.BlockBackend.of(memory) as disk:
        with pytest.raises(xvirt.Error, match="returned 511 bytes"):
            disk.read_at(0, 512)
        memory.read_at = lambda offset, size: size
        with pytest.raises(xvirt.Error):
            disk.read_at(0, 512)
    assert [each.exc_type for each in reported] == [ValueError, TypeError]


def test_it_is_used_as_any_image():
    memory = Memory()
    with xvirt.BlockBackend.of(memory) as disk:
        disk.write_at(512, b"x" * 512)
        disk.flush()
        assert disk.read_at(0, 1024) == bytes(512) + b"x" * 512
        for offset, size in ((SIZE, 1), (2**64 - 1, 2), (0, SIZE + 1)):
            with pytest.raises(xvirt.InvalidConfigError, match="exceed"):
                disk.read_at(offset, size)
    with pytest.raises(xvirt.InvalidStateError, match="was closed"):
        disk.read_at(0, 512)
    with xvirt.BlockBackend.of(memory, read_only=True) as disk, pytest.raises(OSError) as caught:
        disk.write_at(0, bytes(512))
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("size, options, what", [
    (0, {}, "length"), (1000, {}, "length"), (512, {"block_size": 100}, "block_size"), (512, {"block_size": 1000}, "block_size"),
])
def test_impossible_disks_are_refused(size, options, what):
    with pytest.raises(xvirt.InvalidConfigError, match=what):
        xvirt.BlockBackend.of(Memory(size), **options)


def test_a_disk_has_the_methods_that_it_needs():
    class OnlyRead:
        length = Memory.length
        read_at = Memory.read_at
        bytes = bytearray(512)

    xvirt.BlockBackend.of(OnlyRead(), read_only=True).close()
    with pytest.raises(xvirt.InvalidConfigError, match="write_at"):
        xvirt.BlockBackend.of(OnlyRead())
