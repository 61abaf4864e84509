"""What callbacks of calls may do: raise exceptions, and close what the call uses."""

import asyncio
import os

import pytest
import xvirt
from xvirt import aio

from conftest import PATIENCE, demo

COUNTER = ("hello", "counter")


def boom(_):
    raise ZeroDivisionError("the callback failed")


def test_an_exception_of_a_callback_of_asyncio_is_that_of_its_call_alone(host, tmp_path):
    async def main():
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo(*COUNTER), here) as first, await aio.Vm.build(demo(*COUNTER), here) as second:
            await first.start()
            await second.start()
            failing = asyncio.create_task(first.suspend(tmp_path / "first", progress=boom))
            other = asyncio.create_task(second.suspend(tmp_path / "second"))
            await asyncio.wait([failing, other], timeout=PATIENCE)
            assert other.done() and other.exception() is None
            with pytest.raises(ZeroDivisionError, match="the callback failed"):
                await failing

    asyncio.run(main())


class Ends:
    """What the native half gives of calls: the first one's progress and the ends of both, all at once."""

    def __init__(self):
        self.reading, self._writing = os.pipe()
        os.write(self._writing, b".")

    def fileno(self):
        return self.reading

    def drain(self):
        os.read(self.reading, 1)
        os.close(self.reading)
        os.close(self._writing)
        return [(0, "progress", (1, 2)), (0, "result", "first"), (1, "result", "second")]


class Started:
    def __init__(self):
        self.cancelled = False

    def start(self, completions, number):
        pass

    def cancel(self):
        self.cancelled = True


def test_all_calls_end_that_are_told_of_together():
    from xvirt._aio import Calls

    async def main():
        calls = Calls()
        calls._completions = Ends()
        failing, other = Started(), Started()
        tasks = [asyncio.create_task(calls.run(failing, boom)), asyncio.create_task(calls.run(other, None))]
        await asyncio.wait(tasks, timeout=PATIENCE)
        assert tasks[1].done() and tasks[1].result() == "second"
        assert failing.cancelled and not other.cancelled
        with pytest.raises(ZeroDivisionError):
            tasks[0].result()

    asyncio.run(main())


def test_a_callback_has_to_be_a_function(tmp_path):
    with xvirt.Repository.open(tmp_path / "vms") as repository, pytest.raises(TypeError, match="progress: 3 is not"):
        repository.check(progress=3)


def test_an_exception_of_a_callback_on_a_thread_is_that_of_its_call_of_asyncio(tmp_path):
    def change(config):
        raise ZeroDivisionError("no change")

    async def main():
        async with await aio.Repository.open(tmp_path / "vms") as repository, await repository.stage() as stage:
            async with await stage.commit(xvirt.VmConfig(name="a")) as stored:
                with pytest.raises(ZeroDivisionError, match="no change"):
                    await repository.update(stored.uuid, change)

    asyncio.run(main())
