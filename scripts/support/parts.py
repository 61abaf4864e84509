"""The parts of a virtual machine: QEMU, a file sharing daemon, a kernel with its modules, busybox."""

import dataclasses
import lzma
import os
import pathlib
import re
import shutil

import packages

QEMU = "qemu-system-x86_64"
QEMU_PACKAGES = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios", "ipxe-qemu"]


@dataclasses.dataclass
class Qemu:
    """A QEMU: the start of its command line, and its environment."""

    command: list
    environment: dict
    virtiofsd: pathlib.Path


@dataclasses.dataclass
class Kernel:
    """A kernel image and the folder of its modules (with modules.dep)."""

    version: str
    image: pathlib.Path
    modules: pathlib.Path


def release():
    """The system release, part of cache keys: packages of one Debian release do not work on another."""
    fields = packages.os_release()
    return fields.get("ID", "linux") + fields.get("VERSION_ID", "")


def first(folder, *patterns):
    """The first file below `folder` that matches a pattern, or None."""
    return next((found for pattern in patterns for found in sorted(folder.glob(pattern))), None)


def qemu():
    """QEMU and virtiofsd: the system's own where both are installed, else a private copy."""
    installed, daemon = shutil.which(QEMU), installed_virtiofsd()
    if installed and daemon:
        return Qemu([installed], dict(os.environ), daemon)
    packages.require_debian(f"install {QEMU} (7.2 or newer) and virtiofsd with this system's package manager")
    folder = packages.cached(f"qemu-{release()}", QEMU_PACKAGES, build_qemu)
    libraries = [folder / "usr/lib/x86_64-linux-gnu", folder / "lib/x86_64-linux-gnu"]
    environment = dict(os.environ, QEMU_MODULE_DIR=str(libraries[0] / "qemu"),
                       LD_LIBRARY_PATH=":".join(map(str, libraries)))
    firmware = [option for name in ("qemu", "seabios") for option in ("-L", str(folder / "usr/share" / name))]
    return Qemu([str(folder / "usr/bin" / QEMU), *firmware], environment, find_virtiofsd(folder))


def installed_virtiofsd():
    return find_virtiofsd(pathlib.Path("/"))


def find_virtiofsd(root):
    # Debian 12 ships the C daemon with QEMU, Debian 13 the Rust one in its own package.
    return first(root, "usr/libexec/virtiofsd", "usr/lib/qemu/virtiofsd")


def build_qemu(folder):
    packages.say("fetching QEMU into the private cache (once)")
    _, depends = packages.require_known("qemu-system-x86")
    packages.unpack([name for name in QEMU_PACKAGES if packages.known(name)], folder)
    libraries = [name for name in depends if name not in QEMU_PACKAGES]
    if not find_virtiofsd(folder):
        packages.unpack(["virtiofsd"], folder)
        libraries += packages.require_known("virtiofsd")[1]
    packages.unpack_missing(libraries, folder)


def kernel():
    """Debian's kernel for virtual machines: small, quick to start, with kvm-amd among its modules."""
    packages.require_debian("put a kernel with kvm-amd and virtiofs and its modules in place by hand")
    folder = packages.cached(f"kernel-{release()}", "linux-image-cloud-amd64", build_kernel)
    image = first(folder, "boot/vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(version, image, folder / "lib/modules" / version)


def build_kernel(folder):
    packages.say("fetching Debian's cloud kernel into the private cache (once)")
    _, depends = packages.require_known("linux-image-cloud-amd64")
    image = next(name for name in depends if name.startswith("linux-image-"))
    packages.unpack([image], folder)
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")
    modules = next((folder / "lib/modules").iterdir())
    for packed in modules.rglob("*.ko.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    # modules.dep is normally written when the package is installed; busybox's depmod writes it as well.
    packages.run([str(busybox()), "depmod", "-b", str(folder), modules.name], "listing what the modules depend on")


def busybox():
    """A static busybox: the only program available before the machine's own folders are in place."""
    packages.require_debian("install a statically linked busybox")
    folder = packages.cached(f"busybox-{release()}", "busybox-static", build_busybox)
    return first(folder, "usr/bin/busybox", "bin/busybox")


def build_busybox(folder):
    packages.require_known("busybox-static")
    packages.unpack(["busybox-static"], folder)


def with_dependencies(modules, names):
    """Files of the named modules in the order they have to be loaded; names built into the kernel are skipped."""
    depends = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    by_name = {re.sub(r"\.ko$", "", pathlib.Path(path).name).replace("_", "-"): path for path in depends}
    order = []

    def add(path):
        for need in depends[path]:
            add(need)
        if path not in order:
            order.append(path)

    for name in names:
        path = by_name.get(name.replace("_", "-"))
        if path:
            add(path)
    return [modules / path for path in order]
