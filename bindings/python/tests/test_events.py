"""Iterating over events."""

import asyncio

import xvirt
from xvirt import aio

from conftest import demo

LAST = ["EventStarted", "EventHardShutdown", "EventDropped"]


def names(records):
    return [type(record.event).__name__ for record in records]


def test_the_iteration_ends_when_the_vm_is_closed(host):
    with xvirt.Vm.build(demo("hello", "echo"), host) as vm:
        events = vm.events()
        vm.start()
    assert names(events)[::len(LAST) - 1] == [LAST[0], LAST[-1]]


def test_the_iteration_of_asyncio_ends_when_the_vm_is_closed():
    async def main():
        async with await aio.Vm.build(demo("hello", "echo"), await aio.Host.probe()) as vm:
            events = vm.events()
            found = asyncio.create_task(collected(events))
            await vm.start()
        return names(await found)

    async def collected(events):
        return [record async for record in events]

    found = asyncio.run(main())
    assert (found[0], found[-1]) == ("EventStarted", "EventDropped")
