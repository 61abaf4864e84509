"""The base of all exceptions of the library."""

from __future__ import annotations

import re
from typing import ClassVar


class Error(Exception):
    """Something failed. Its text says what, on what, why, and what to do.

    Each kind has a class of its own, which also derives from the built-in exception that one would catch, such as
    ``FileNotFoundError``. The cause, if there is one, is ``__cause__``.
    """

    # Where users find it, for tracebacks and pickles.
    __module__ = "xvirt"

    #: The name of the kind, which never changes, such as ``not_found``.
    kind: ClassVar[str] = ""
    #: What failed and on what, without the reason and the remedy.
    message: str = ""
    #: What to do about it, if that is known.
    remedy: str | None = None


# What the library's texts name, as Python has it. Other items have the same name after a dot.
_OTHER_NAMES = {
    "Boot::kernel": "BootKernel", "VmConfig::huge_pages": "MemoryBacking.huge_pages",
    "VmConfig::memory_file": "MemoryBacking.file", "VmConfig::shared_memory": "MemoryBacking.shared",
}
_ITEM = re.compile(r"\b(Boot|BootFile|Disk|DiskSource|Nic|NicBackendConfig|Repository|Vm|VmConfig)::(\w+)")


def in_python(text: str) -> str:
    """A text of the library with the names that Python has for what it mentions."""

    def named(found: re.Match[str]) -> str:
        kind, name = found.groups()
        return _OTHER_NAMES.get(found[0], f"{kind}{name}" if name[0].isupper() else f"{kind}.{name}")

    return _ITEM.sub(named, text.replace("the enum variant ", ""))


def exception(kind: str, text: str, message: str, remedy: str | None, errno: int | None) -> Error:
    """The exception for an error of the library."""
    from ._generated.errors import BY_KIND

    error = BY_KIND.get(kind, Error)(in_python(text))
    error.message = in_python(message)
    error.remedy = None if remedy is None else in_python(remedy)
    if errno is not None and isinstance(error, OSError):
        error.errno = errno
    return error
