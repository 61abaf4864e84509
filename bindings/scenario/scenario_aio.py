"""The scenario in Python with asyncio. README.md describes it."""

import asyncio
import json
import sys
from pathlib import Path

import xvirt
from xvirt import aio

PATIENCE = 120
DISK = 1 << 20


def tell(step, *result):
    print(json.dumps([step, *result]), flush=True)


async def main(folder):
    host = await aio.Host.probe()
    async with await aio.Repository.open(folder / "repository") as repository:
        stored = await create(repository, folder)
        async with await stored.build(host) as vm, vm.events() as events:
            await boot(vm)
            await hot_plug(vm, folder)
            await limits(vm)
            checkpoint = await repository.checkpoint(vm, xvirt.NewSnapshot(name="before"))
            tell("checkpoint", checkpoint.name, checkpoint.has_memory)
            await vm.hard_shutdown()
            kinds = [event_name(await events.next()) for _ in range(4)]
        stored = await revert(repository, checkpoint, host)
        first, second = await clones(repository, stored)
        await archive(repository, first, folder)
        await migrate(second, host, folder)
        tell("events", kinds)


async def create(repository, folder):
    """A VM in the repository."""
    kernel = folder / "kernel"
    kernel.write_bytes(xvirt.demo.kernel())
    async with await repository.stage() as stage:
        disk = stage.disk_path(0, xvirt.ImageFormat.RAW)
        await aio.disk_create(disk, xvirt.ImageFormat.RAW, DISK)
        line = xvirt.demo.command_line("hello", "hotplug", "echo")
        stored = await stage.commit(xvirt.VmConfig(
            name="scenario", memory="64MiB", disks=[xvirt.Disk.raw(disk)],
            boot=xvirt.BootKernel(kernel=kernel, command_line=line),
        ))
    tell("create", stored.name, [vm.name for vm in await repository.vms()])
    return stored


async def boot(vm):
    await vm.start()
    await vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
    tell("boot", vm.power_state, await answers(vm))


async def answers(vm):
    """What the guest answers to `ping`."""
    reader = vm.console.reader_at_end()
    await vm.console.write_all(b"ping\n")
    return (await reader.wait_for("pong", timeout=PATIENCE)).strip()


async def hot_plug(vm, folder):
    extra = folder / "extra"
    await aio.disk_create(extra, xvirt.ImageFormat.RAW, DISK)
    reader = vm.console.reader_at_end()
    position = await vm.plug_disk(xvirt.Disk.raw(extra))
    await reader.wait_for("plugged", timeout=PATIENCE)
    with_it = vm.disk_positions()
    await vm.unplug_disk(position, timeout=PATIENCE)
    tell("hot plug", position, list(with_it), list(vm.disk_positions()))


async def limits(vm):
    await vm.set_disk_limit(0, xvirt.RateLimit(operations_per_second=100, bytes_per_second="1MiB/s"))
    await vm.set_cpu_limit(xvirt.CpuLimit(cap=50))
    limit = await vm.disk_limit(0)
    tell("limits", limit.operations_per_second, limit.bytes_per_second, (await vm.cpu_limit()).cap)


async def revert(repository, checkpoint, host):
    stored = await repository.revert(checkpoint)
    async with await stored.build(host) as vm:
        before = vm.power_state
        await vm.resume()
        tell("revert", before, vm.power_state, await answers(vm))
        await vm.clean_shutdown(timeout=PATIENCE)
        tell("shut down", vm.power_state)
    return await repository.vm("scenario")


async def clones(repository, stored):
    template = await repository.seal(xvirt.Seal(name="base"), stored)
    made = [await repository.instantiate(template, name) for name in ("first", "second")]
    tell("template", template.name, template.version, [disk.size for disk in template.disks], [vm.name for vm in made])
    return made


async def archive(repository, clone, folder):
    path = folder / "first.xva"
    exported = await aio.xva_export_stored(clone, path, xvirt.Export())
    report = await aio.xva_verify(path, xvirt.ReadOptions())
    imported = await aio.xva_import(path, repository, xvirt.Import(name="third"))
    tell("archive", exported.size == path.stat().st_size, [disk.whole for disk in report.disks], imported.vm.name)


async def migrate(clone, host, folder):
    address = folder / "socket"
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, "receive", address, stdout=pipe)
    assert await other.stdout.readline() == b"listening\n"
    async with await clone.build(host) as vm:
        await vm.start()
        await vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        async with await aio.Channel.connect(address) as channel:
            await vm.migrate(channel)
        here = [vm.power_state, vm.halted.cause.to_dict()]
    there, _ = await asyncio.wait_for(other.communicate(), PATIENCE)
    tell("migrate", *here, *json.loads(there))


async def receive(address):
    """The second process."""
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        listening.listen()
        print("listening", flush=True)
        async with aio.Channel.accept(listening) as channel:
            vm = await aio.Vm.receive(channel, await aio.Host.probe(), lambda arriving: arriving.config)
    async with vm:
        answer = await answers(vm)
        await vm.clean_shutdown(timeout=PATIENCE)
        print(json.dumps([answer, vm.power_state]))


def event_name(record):
    return record.event.to_dict() if isinstance(record.event.to_dict(), str) else next(iter(record.event.to_dict()))


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        asyncio.run(receive(Path(sys.argv[2])))
    else:
        asyncio.run(main(Path(sys.argv[1])))
