"""Many threads and tasks at once, and calls that are cancelled at random moments.

`XVIRT_CANCELLED_CALLS` says how many are cancelled.
"""

import asyncio
import os
import random
import threading

import xvirt
from xvirt import aio

from conftest import PATIENCE, demo
from resources import held, settled

VMS, THREADS, TASKS = 20, 32, 200
CANCELLED = int(os.environ.get("XVIRT_CANCELLED_CALLS", "50"))


def test_threads_and_tasks_drive_vms_together(host):
    vms = [xvirt.Vm.build(demo("hello", "echo"), host) for _ in range(VMS)]
    failures = []

    def drive(seed):
        chance = random.Random(seed)
        try:
            for _ in range(10):
                act(chance, chance.choice(vms))
        except Exception as failure:
            failures.append(failure)

    def act(chance, vm):
        verb = chance.choice(["start", "pause", "unpause", "hard_reboot", "hard_shutdown", "statistics", "config"])
        try:
            getattr(vm, verb)()
        except (xvirt.InvalidStateError, xvirt.BusyError):
            # Another thread was faster.
            pass

    async def tasks():
        handles = [aio.Vm._of(vm._native) for vm in vms]

        async def drive_one(seed):
            chance = random.Random(seed)
            for _ in range(3):
                vm = chance.choice(handles)
                verb = chance.choice(["start", "pause", "unpause", "hard_reboot", "hard_shutdown"])
                try:
                    await getattr(vm, verb)()
                except (xvirt.InvalidStateError, xvirt.BusyError):
                    pass

        await asyncio.wait_for(asyncio.gather(*(drive_one(seed) for seed in range(TASKS))), PATIENCE * 4)

    threads = [threading.Thread(target=drive, args=[seed], daemon=True) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join(PATIENCE * 4)
        assert not thread.is_alive(), "a thread hangs"
    assert failures == []
    for vm in vms:
        vm.close()


def test_calls_that_are_cancelled_leave_nothing_behind(host):
    chance = random.Random(1)

    async def cancel_some(vm, count):
        for _ in range(count):
            calls = [
                vm.wait_halted(), vm.console.reader_at_end().wait_for("never"),
                vm.agent().wait_ready(), vm.wait_memory_target(), vm.events().next(),
            ]
            chosen = chance.randrange(len(calls))
            for number, call in enumerate(calls):
                if number != chosen:
                    call.close()
            task = asyncio.create_task(calls[chosen])
            await asyncio.sleep(chance.random() / 100)
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE)
            assert task.done(), "a cancelled call hangs"
            if not task.cancelled():
                task.exception()

    async def main(count):
        here = await aio.Host.probe()
        async with await aio.Vm.build(demo("hello", "echo"), here) as vm:
            await vm.start()
            await vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
            await cancel_some(vm, count)
            assert vm.power_state is xvirt.PowerState.RUNNING
            reader = vm.console.reader_at_end()
            await vm.console.write_all(b"ping\n")
            await reader.wait_for("pong", timeout=PATIENCE)

    # The first one starts what the process keeps.
    asyncio.run(main(5))
    before = held()
    asyncio.run(main(CANCELLED))
    assert settled(before), (before, held())
