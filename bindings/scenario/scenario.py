"""The scenario in Python. README.md describes it."""

import json
import subprocess
import sys
from pathlib import Path

import xvirt

PATIENCE = 120
DISK = 1 << 20


def tell(step, *result):
    print(json.dumps([step, *result]), flush=True)


def main(folder):
    host = xvirt.Host.probe()
    with xvirt.Repository.open(folder / "repository") as repository:
        stored = create(repository, folder)
        with stored.build(host) as vm, vm.events() as events:
            boot(vm)
            hot_plug(vm, folder)
            limits(vm)
            checkpoint = repository.checkpoint(vm, xvirt.NewSnapshot(name="before"))
            tell("checkpoint", checkpoint.name, checkpoint.has_memory)
            vm.hard_shutdown()
            kinds = [event_name(events.next_timeout(timeout=PATIENCE)) for _ in range(4)]
        stored = revert(repository, checkpoint, host)
        first, second = clones(repository, stored)
        archive(repository, first, folder)
        migrate(second, host, folder)
        tell("events", kinds)


def create(repository, folder):
    """A VM in the repository."""
    kernel = folder / "kernel"
    kernel.write_bytes(xvirt.demo.kernel())
    with repository.stage() as stage:
        disk = stage.disk_path(0, xvirt.ImageFormat.RAW)
        xvirt.disk_create(disk, xvirt.ImageFormat.RAW, DISK)
        line = xvirt.demo.command_line("hello", "hotplug", "echo")
        stored = stage.commit(xvirt.VmConfig(
            name="scenario", memory="64MiB", disks=[xvirt.Disk.raw(disk)],
            boot=xvirt.BootKernel(kernel=kernel, command_line=line),
        ))
    tell("create", stored.name, [vm.name for vm in repository.vms()])
    return stored


def boot(vm):
    vm.start()
    vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
    tell("boot", vm.power_state, answers(vm))


def answers(vm):
    """What the guest answers to `ping`."""
    reader = vm.console.reader_at_end()
    vm.console.write_all(b"ping\n")
    return reader.wait_for("pong", timeout=PATIENCE).strip()


def hot_plug(vm, folder):
    extra = folder / "extra"
    xvirt.disk_create(extra, xvirt.ImageFormat.RAW, DISK)
    reader = vm.console.reader_at_end()
    position = vm.plug_disk(xvirt.Disk.raw(extra))
    reader.wait_for("plugged", timeout=PATIENCE)
    with_it = vm.disk_positions()
    vm.unplug_disk(position, timeout=PATIENCE)
    tell("hot plug", position, list(with_it), list(vm.disk_positions()))


def limits(vm):
    vm.set_disk_limit(0, xvirt.RateLimit(operations_per_second=100, bytes_per_second="1MiB/s"))
    vm.set_cpu_limit(xvirt.CpuLimit(cap=50))
    limit = vm.disk_limit(0)
    tell("limits", limit.operations_per_second, limit.bytes_per_second, vm.cpu_limit().cap)


def revert(repository, checkpoint, host):
    stored = repository.revert(checkpoint)
    with stored.build(host) as vm:
        before = vm.power_state
        vm.resume()
        tell("revert", before, vm.power_state, answers(vm))
        vm.clean_shutdown(timeout=PATIENCE)
        tell("shut down", vm.power_state)
    return repository.vm("scenario")


def clones(repository, stored):
    template = repository.seal(xvirt.Seal(name="base"), stored)
    made = [repository.instantiate(template, name) for name in ("first", "second")]
    tell("template", template.name, template.version, [disk.size for disk in template.disks], [vm.name for vm in made])
    return made


def archive(repository, clone, folder):
    path = folder / "first.xva"
    exported = xvirt.xva_export_stored(clone, path, xvirt.Export())
    report = xvirt.xva_verify(path, xvirt.ReadOptions())
    imported = xvirt.xva_import(path, repository, xvirt.Import(name="third"))
    tell("archive", exported.size == path.stat().st_size, [disk.whole for disk in report.disks], imported.vm.name)


def migrate(clone, host, folder):
    address = folder / "socket"
    other = subprocess.Popen([sys.executable, __file__, "receive", address], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "listening\n"
    with clone.build(host) as vm:
        vm.start()
        vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        with xvirt.Channel.connect(address) as channel:
            vm.migrate(channel)
        here = [vm.power_state, vm.halted.cause.to_dict()]
    there, _ = other.communicate(timeout=PATIENCE)
    tell("migrate", *here, *json.loads(there))


def receive(address):
    """The second process."""
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        listening.listen()
        print("listening", flush=True)
        with xvirt.Channel.accept(listening) as channel:
            vm = xvirt.Vm.receive(channel, xvirt.Host.probe(), lambda arriving: arriving.config)
    with vm:
        answer = answers(vm)
        vm.clean_shutdown(timeout=PATIENCE)
        print(json.dumps([answer, vm.power_state]))


def event_name(record):
    return record.event.to_dict() if isinstance(record.event.to_dict(), str) else next(iter(record.event.to_dict()))


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
