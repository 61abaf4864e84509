"""Boots the demo guest, or a disk image, and shows its console until the guest powers off.

    python quickstart.py                     # the demo guest, which needs no disk
    python quickstart.py debian-12.qcow2     # a disk that boots by itself
"""

import argparse
import sys
import threading

import xvirt


def configuration(disk):
    """A VM that boots the disk, or else the demo guest."""
    if disk is None:
        line = xvirt.demo.command_line("hello", "poweroff")
        boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=line)
        return xvirt.VmConfig(name="first", memory="64MiB", boot=boot)
    return xvirt.VmConfig(name="first", memory="1GiB", cpus=xvirt.CpuConfig(count=2), disks=[xvirt.Disk.open(disk)])


def show(reader):
    """Prints the console until it is closed, when the VM is."""
    for line in reader:
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disk", nargs="?", help="the disk image")
    options = parser.parse_args()
    try:
        host = xvirt.Host.probe()
        host.require_kvm()
        with xvirt.Vm.build(configuration(options.disk), host) as vm:
            console = threading.Thread(target=show, args=[vm.console.reader()])
            console.start()
            vm.start()
            vm.wait_halted()
        console.join()
    except xvirt.Error as error:
        sys.exit(f"quickstart: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
