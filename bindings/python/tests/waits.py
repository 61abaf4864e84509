"""Calls that wait for what does not happen, each of which a signal has to interrupt. For tests and measurements."""

import asyncio
import contextlib
import socket
import tempfile

import xvirt
from xvirt import aio

from conftest import demo

PATIENCE = 60
SILENCE = xvirt.Migration(silence_limit=PATIENCE)


@contextlib.contextmanager
def waiting_vm(host):
    """A VM whose guest has neither an agent nor anything to say."""
    with tempfile.TemporaryDirectory() as folder:
        vsock = xvirt.Vsock(cid=3, path=f"{folder}/vsock")
        with xvirt.Vm.build(demo("hello", "echo", vsock=vsock), host) as vm:
            vm.start()
            vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
            yield vm


def accept_migration(vm):
    with socket.create_server(("127.0.0.1", 0)) as listening, xvirt.Channel.accept(listening) as channel:
        xvirt.Vm.receive(channel, xvirt.Host.probe(), lambda arriving: arriving.config)


@contextlib.contextmanager
def to_nobody():
    """A channel to a target that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with xvirt.Channel.connect(f"127.0.0.1:{listening.getsockname()[1]}") as channel:
            yield channel


def migrate(vm):
    with to_nobody() as channel:
        vm.migrate(channel, SILENCE)


def next_event(vm):
    with vm.events() as events:
        while True:
            events.next_timeout(timeout=PATIENCE)


def iterate_progress(vm):
    with to_nobody() as channel, xvirt.Progress(vm.migrate, channel, SILENCE) as progress:
        list(progress)


def wait_in_a_loop(vm):
    async def main():
        await aio.Vm._of(vm._native).wait_halted(timeout=PATIENCE)

    asyncio.run(main())


WAITS = {
    "wait_halted": lambda vm: vm.wait_halted(timeout=PATIENCE),
    "console read": lambda vm: vm.console.reader_at_end().read(timeout=PATIENCE),
    "console wait_for": lambda vm: vm.console.reader_at_end().wait_for("never", timeout=PATIENCE),
    "console lines": lambda vm: list(vm.console.reader_at_end()),
    "next event": next_event,
    "agent wait_ready": lambda vm: vm.agent().wait_ready(timeout=PATIENCE),
    "vsock accept": lambda vm: vm.vsock_listen(2000).accept(),
    "receive": accept_migration,
    "migrate": migrate,
    "progress": iterate_progress,
    "asyncio": wait_in_a_loop,
}
