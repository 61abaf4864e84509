"""A pool of sandboxes: VMs of one template, each of which runs one command and is forgotten.

    python sandboxes.py vms/ debian-12 --size 4 'uname -a' 'cat /etc/hostname'

The template's guest needs the QEMU guest agent. The pool keeps sandboxes that have booted, so a command starts at once.
With --hot, one VM boots, and the sandboxes go on from its memory, which takes milliseconds.
"""

import argparse
import os
import queue
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import xvirt

PATIENCE = 120
# Kernels without a driver for the generation ID draw the same random numbers in all copies of a running system, until
# their generator starts again from other ones (RNDRESEEDCRNG of random(4)).
RESEED = """open my $generator, '+<', '/dev/urandom' or die $!; local $/; syswrite $generator, <STDIN>;
ioctl $generator, 0x5207, 0 or die $!"""


class Sandbox:
    """A VM of the template that has booted."""

    def __init__(self, repository, template, host):
        self.repository = repository
        self.stored = repository.instantiate(template, f"sandbox-{uuid.uuid4()}")
        self.vm = self.stored.build(host)
        is_copy = self.stored.is_suspended
        if is_copy:
            self.vm.resume()
        else:
            self.vm.start()
        self.agent = self.vm.agent()
        self.agent.wait_ready(timeout=PATIENCE)
        if is_copy:
            self.reseed()

    def reseed(self):
        command = xvirt.GuestCommand(program="perl", args=["-e", RESEED], input=os.urandom(32), timeout=PATIENCE)
        output = self.agent.run(command)
        if not output.status.is_success():
            print(f"{self.stored.name} may draw the same random numbers as others: install perl in it", file=sys.stderr)

    def run(self, script):
        """What a command prints, and how it ended."""
        return self.agent.run(xvirt.GuestCommand(program="/bin/sh", args=["-c", script], timeout=PATIENCE))

    def close(self):
        """Forgets the VM and its disks."""
        self.vm.close()
        self.repository.remove_vm(self.stored.uuid)
        self.stored.close()


def booted(repository, template, host):
    """A template with the memory of a VM of `template` that has booted."""
    first = Sandbox(repository, template, host)
    try:
        return repository.seal_hot(xvirt.Seal(name=f"{template.name}-booted"), first.vm)
    finally:
        first.close()


class Pool:
    """Keeps `size` sandboxes ready."""

    def __init__(self, repository, template, host, size):
        self.make = lambda: Sandbox(repository, template, host)
        self.ready = queue.Queue()
        self.makers = ThreadPoolExecutor(size)
        for _ in range(size):
            self.makers.submit(self.add)

    def add(self):
        try:
            self.ready.put(self.make())
        except xvirt.Error as error:
            self.ready.put(error)

    def run(self, script):
        """Runs a command in a sandbox of its own."""
        sandbox = self.ready.get()
        if isinstance(sandbox, xvirt.Error):
            raise sandbox
        self.makers.submit(self.add)
        try:
            return sandbox.run(script)
        finally:
            sandbox.close()

    def close(self):
        self.makers.shutdown()
        while not self.ready.empty():
            sandbox = self.ready.get()
            if isinstance(sandbox, Sandbox):
                sandbox.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="the folder of the repository")
    parser.add_argument("template", help="the name of the template")
    parser.add_argument("command", nargs="+", help="a shell command")
    parser.add_argument("--size", type=int, default=2, help="how many sandboxes are kept ready (default 2)")
    parser.add_argument("--hot", action="store_true", help="sandboxes go on from the memory of one that has booted")
    options = parser.parse_args()
    try:
        host = xvirt.Host.probe()
        host.require_kvm()
        with xvirt.Repository.open(options.repository) as repository:
            template = repository.template(options.template)
            if options.hot:
                template = booted(repository, template, host)
            pool = Pool(repository, template, host, options.size)
            try:
                for command in options.command:
                    output = pool.run(command)
                    sys.stdout.write(output.stdout_lossy())
                    print(f"{command}: {type(output.status).__name__} {output.status.value}")
            finally:
                pool.close()
    except xvirt.Error as error:
        sys.exit(f"sandboxes: {error}")


if __name__ == "__main__":
    main()
