"""Moves a running demo guest to another process, and shows how.

    python migrate.py receive 127.0.0.1:7400
    python migrate.py send 127.0.0.1:7400       # in another terminal, or on another host
"""

import argparse
import socket
import sys

import xvirt

PATIENCE = 60


def guest():
    """A guest that counts in its memory, and prints each pass."""
    line = xvirt.demo.command_line("counter", pages=512)
    boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=line)
    return xvirt.VmConfig(name="counting", memory="128MiB", boot=boot)


def display(report):
    """Shows the phase, the round and what was sent, in one line."""
    rate = report.throughput / 1e6
    print(f"\r{report.phase:12} round {report.round:3}  {report.bytes / 1e6:8.1f} MB sent  {rate:7.1f} MB/s ",
          end="", file=sys.stderr, flush=True)


def send(host, address):
    with xvirt.Vm.build(guest(), host) as vm:
        vm.start()
        vm.console.reader().wait_for("pass", timeout=PATIENCE)
        with xvirt.Channel.connect(address) as channel:
            summary = vm.migrate(channel, xvirt.Migration(connections=2), progress=display)
    print(f"\nmoved; its guest stood still for {summary.downtime.total() * 1000:.1f} ms")


def configuration_here(arriving):
    """The configuration of a VM that arrives. It has no disks or networks that would have to be found on this host."""
    return guest().replace(name=arriving.name, uuid=arriving.uuid)


def receive(host, address):
    name, port = address.rsplit(":", 1)
    with socket.create_server((name, int(port))) as listening, xvirt.Channel.accept(listening) as channel:
        print(f"waiting on {address}", flush=True)
        vm = xvirt.Vm.receive(channel, host, configuration_here, progress=display)
    with vm:
        reader = vm.console.reader_at_end()
        reader.wait_for("pass", timeout=PATIENCE)
        print(f"\n{vm.name} runs here, and goes on counting")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["receive", "send"])
    parser.add_argument("address", help="HOST:PORT")
    options = parser.parse_args()
    try:
        host = xvirt.Host.probe()
        host.require_kvm()
        {"receive": receive, "send": send}[options.what](host, options.address)
    except xvirt.Error as error:
        sys.exit(f"\nmigrate: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
