"""A small guest kernel to try VMs with. It needs no disk, and runs on every KVM."""

from __future__ import annotations

from . import _xvirt


def kernel() -> bytes:
    """The kernel: an ELF image to boot with `BootKernel`."""
    return bytes(_xvirt.demo_kernel())


def command_line(*modes: str, **options: int | str) -> str:
    """The command line that makes the guest do these things in its own order, and then halt.

    Modes are those of the Rust library's `demo::Mode` in lower case, such as ``hello``, ``echo``, ``counter`` and
    ``poweroff``; options are numbers for them, such as ``pages=64``.
    """
    return " ".join([f"mode={','.join(modes)}", *(f"{name}={value}" for name, value in options.items())])
