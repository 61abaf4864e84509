"""What a target answers to a VM that arrives."""

import asyncio
import socket
import threading

import pytest
import xvirt
from xvirt import aio

from conftest import PATIENCE
from waits import waiting_vm


def full(arriving):
    raise xvirt.MigrationRefusedError("full today")


def broken(arriving):
    raise ZeroDivisionError("no room")


def nothing(arriving):
    return None


def a_dictionary(arriving):
    return {"name": "a"}


ANSWERS = [
    (full, xvirt.MigrationRefusedError, "full today"),
    (broken, ZeroDivisionError, "ZeroDivisionError: no room"),
    (nothing, TypeError, "accept has to return a VmConfig"),
    (a_dictionary, TypeError, "accept has to return a VmConfig"),
]


@pytest.fixture(scope="module")
def vm(host):
    with waiting_vm(host) as found:
        yield found


def refused(vm, receive):
    """The exceptions of the source and of the target."""
    raised = []

    def target(listening):
        with pytest.raises(Exception) as caught:
            receive(listening)
        raised.append(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=target, args=(listening,))
        thread.start()
        with xvirt.Channel.connect(f"127.0.0.1:{listening.getsockname()[1]}") as channel:
            with pytest.raises(xvirt.MigrationRefusedError) as caught:
                vm.migrate(channel)
        thread.join(PATIENCE)
    return caught.value, raised[0]


@pytest.mark.parametrize(("accept", "kind", "reason"), ANSWERS)
def test_an_exception_refuses_the_vm_and_is_raised(vm, accept, kind, reason):
    def receive(listening):
        with xvirt.Channel.accept(listening) as channel:
            xvirt.Vm.receive(channel, xvirt.Host.probe(), accept)

    source, target = refused(vm, receive)
    assert reason in str(source) and type(target) is kind
    assert vm.power_state is xvirt.PowerState.RUNNING


def test_an_exception_refuses_the_vm_of_asyncio_as_well(vm):
    async def main(listening):
        async with aio.Channel.accept(listening) as channel:
            await aio.Vm.receive(channel, await aio.Host.probe(), broken)

    source, target = refused(vm, lambda listening: asyncio.run(main(listening)))
    assert "no room" in str(source) and type(target) is ZeroDivisionError
