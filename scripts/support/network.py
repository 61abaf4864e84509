"""A virtual network of test hosts: an Ethernet switch with one part in each host's script.

Every member has two datagram sockets in the network's folder: QEMU's, where frames for the host arrive, and the
script's own, where QEMU sends frames from the host. The script forwards each frame to the QEMUs of all other members.
(QEMU's own multicast network also returns every frame to its sender, which confuses a bridge inside the host.)
"""

import fcntl
import os
import pathlib
import re
import socket
import struct
import tempfile
import threading
import zlib

import packages

PREFIX = "10.78.0"
LARGEST_FRAME = 65536 + 4096


def folder_of(network):
    base = os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/xvirt-{os.geteuid()}"
    return pathlib.Path(base) / "xvirt-networks" / network


class Alone:
    """A host without a network."""

    address = ""

    def __init__(self, name):
        self.name = name or "host-1"

    def hosts_file(self):
        return f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n::1 localhost ip6-localhost\n"

    def qemu_options(self):
        return []

    def close(self):
        pass


class Member(threading.Thread):
    """A host on a network, and the thread that forwards its frames to the others."""

    def __init__(self, network, name):
        super().__init__(daemon=True)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", network):
            raise packages.Problem(f"--network {network}: use letters, digits, dot, dash and underscore, 32 at most")
        self.folder = folder_of(network)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.network = network
        self.number = self.claim(name)
        self.name = name or f"host-{self.number}"
        self.address = f"{PREFIX}.{self.number}/24"
        self.inlet = self.folder / f"{self.number}.qemu"
        self.outlet = self.folder / f"{self.number}.script"
        for path in (self.inlet, self.outlet):
            path.unlink(missing_ok=True)
        self.frames = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.frames.bind(str(self.outlet))
        self.start()

    def claim(self, name):
        """Reserve the number at the end of the name, or the first free one, until this process ends."""
        if name is None:
            wanted = range(1, 255)
        else:
            digits = re.search(r"\d{1,3}$", name)
            if not digits or not 1 <= int(digits.group()) <= 254:
                raise packages.Problem(f"--name {name}: on a network a name ends in its number, 1 to 254, as host-1 does")
            wanted = [int(digits.group())]
        for number in wanted:
            self.lock = open(self.folder / f"{number}.lock", "w", encoding="ascii")
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number
            except BlockingIOError:
                self.lock.close()
        raise packages.Problem(f"number {wanted[0]} of network {self.network} is taken by a running test host; "
                               "choose another --name or wait until it ends")

    def hosts_file(self):
        known = "".join(f"{PREFIX}.{number} host-{number}\n" for number in range(1, 10))
        return f"127.0.0.1 localhost\n{PREFIX}.{self.number} {self.name}\n{known}::1 localhost ip6-localhost\n"

    def qemu_options(self):
        tag = zlib.crc32(self.network.encode()) & 0xFFFF
        mac = f"52:54:00:{tag >> 8:02x}:{tag & 255:02x}:{self.number:02x}"
        return ["-netdev", f"dgram,id=lan,local.type=unix,local.path={self.inlet},"
                           f"remote.type=unix,remote.path={self.outlet}",
                "-device", f"virtio-net-pci,netdev=lan,mac={mac},romfile="]

    def run(self):
        # A full socket blocks the sender, which slows the host down as a full link would; a host that is stopped for
        # longer loses the frame, as on any network.
        self.frames.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 100_000))
        while True:
            try:
                frame = self.frames.recv(LARGEST_FRAME)
                others = [name for name in os.listdir(self.folder) if name.endswith(".qemu") and name != self.inlet.name]
            except OSError:
                return
            for other in others:
                try:
                    self.frames.sendto(frame, str(self.folder / other))
                except OSError:
                    continue

    def close(self):
        self.frames.close()
        for path in (self.inlet, self.outlet):
            path.unlink(missing_ok=True)
