"""A small service for asyncio: VMs by a line protocol on a unix socket.

    python service.py /tmp/vms.sock
    printf 'start web\nlist\nstop web\n' | nc -NU /tmp/vms.sock

Each client gets an answer line per command: `start NAME`, `stop NAME`, `list`. The VMs run the demo guest.
"""

import argparse
import asyncio
import contextlib
import sys

import xvirt
from xvirt import aio

PATIENCE = 60


class Service:
    """The VMs, by their names."""

    def __init__(self, host):
        self.host = host
        self.vms = {}

    async def start(self, name):
        if name in self.vms:
            return f"error: {name} exists"
        line = xvirt.demo.command_line("hello", "echo")
        boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=line)
        vm = await aio.Vm.build(xvirt.VmConfig(name=name, memory="64MiB", boot=boot), self.host)
        self.vms[name] = vm
        await vm.start()
        await vm.console.reader().wait_for("demo: hello", timeout=PATIENCE)
        return f"{name} is {vm.power_state}"

    async def stop(self, name):
        vm = self.vms.pop(name, None)
        if vm is None:
            return f"error: there is no {name}"
        await vm.close()
        return f"{name} is gone"

    async def list(self):
        return " ".join(f"{name}={vm.power_state}" for name, vm in sorted(self.vms.items())) or "none"

    async def serve(self, reader, writer):
        """Answers one client."""
        commands = {"start": self.start, "stop": self.stop, "list": self.list}
        async for line in reader:
            name, *arguments = line.decode(errors="replace").split() or [""]
            try:
                answer = await commands[name](*arguments)
            except (KeyError, TypeError):
                answer = "error: commands are start NAME, stop NAME, list"
            except xvirt.Error as error:
                answer = f"error: {error}"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()

    async def close(self):
        await asyncio.gather(*(vm.close() for vm in self.vms.values()))


async def run(path):
    host = await aio.Host.probe()
    await host.require_kvm()
    service = Service(host)
    server = await asyncio.start_unix_server(service.serve, path)
    print(f"listening on {path}", flush=True)
    try:
        async with server:
            await server.serve_forever()
    finally:
        await service.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("socket", help="the path of the unix socket")
    options = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(options.socket))
    except xvirt.Error as error:
        sys.exit(f"service: {error}")


if __name__ == "__main__":
    main()
