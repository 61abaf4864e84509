"""A small guest kernel to try VMs with. It needs no disk, and runs on every KVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _xvirt

if TYPE_CHECKING:
    from ._generated.data import Mode


def kernel() -> bytes:
    """The kernel: an ELF image to boot with `BootKernel`."""
    return bytes(_xvirt.demo_kernel())


def modes() -> tuple[str, ...]:
    """What the guest can do: the names of the members of `xvirt.Mode`, which describes them, in lower case and without
    underscores.
    """
    from ._generated.data import Mode

    return tuple(mode.value.lower() for mode in Mode)


def command_line(*modes: Mode | str, **options: int | str) -> str:
    """The command line that makes the guest do these things in its own order, and then halt.

    Modes are members of `xvirt.Mode`, which describes them, or their names as `modes()` lists them, such as ``"hello"``,
    ``"echo"``, ``"counter"`` and ``"poweroff"``. Options are numbers or text for them, such as ``pages=64`` for
    ``"counter"`` and ``rounds=3`` for ``"blkload"``.

    Raises:
    `ValueError` if there is no such mode.
    """
    known = _modes()
    words = [mode.lower() for mode in modes]
    for word in words:
        if word not in known:
            raise ValueError(f"the demo guest has no mode {word!r}; it has {', '.join(known)}")
    return " ".join([f"mode={','.join(words)}", *(f"{name}={value}" for name, value in options.items())])


# `command_line` has an argument of this name.
_modes = modes
