"""VMs in programs of asyncio."""

import asyncio

import pytest
import xvirt
from xvirt import aio

from conftest import PATIENCE, demo


def test_a_guest_runs_and_powers_off(host):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "poweroff"), here) as vm:
            events = vm.events()
            await vm.start()
            assert "demo: hello" in await vm.console.reader().wait_for("demo: hello", timeout=PATIENCE)
            await vm.wait_halted(timeout=PATIENCE)
            assert vm.power_state is xvirt.PowerState.HALTED
        assert vm.closed
        return [type(record.event).__name__ async for record in events]

    assert asyncio.run(main()) == ["EventStarted", "EventGuestShutdown", "EventDropped"]


def test_a_cancelled_task_cancels_its_call(host):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "echo"), here) as vm:
            await vm.start()
            task = asyncio.create_task(vm.wait_halted())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)
            assert vm.power_state is xvirt.PowerState.RUNNING

    asyncio.run(main())


def test_the_loop_goes_on_while_calls_wait(host):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "echo"), here) as vm:
            await vm.start()
            waits = [asyncio.create_task(vm.wait_halted(timeout=PATIENCE)) for _ in range(200)]
            for _ in range(100):
                await asyncio.sleep(0)
            await vm.hard_shutdown()
            await asyncio.gather(*waits)

    asyncio.run(main())


def test_tasks_wait_for_the_same_receiver(host):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "echo"), here) as vm:
            events = vm.events()
            tasks = [asyncio.create_task(events.next()) for _ in range(2)]
            await asyncio.sleep(0)
            await vm.start()
            await vm.pause()
            return sorted(type(record.event).__name__ for record in await asyncio.gather(*tasks))

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == ["EventPaused", "EventStarted"]


def test_closing_a_reader_ends_the_waits_of_other_tasks(host):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "echo"), here) as vm:
            reader = vm.console.reader_at_end()
            task = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            await reader.close()
            with pytest.raises(xvirt.InvalidStateError, match="was closed"):
                await task

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
