"""The base of all exceptions of the library."""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """Something failed. Its text says what, on what, why, and what to do.

    Each kind has a class of its own, which also derives from the built-in exception that one would catch, such as
    ``FileNotFoundError``. The cause, if there is one, is ``__cause__``.
    """

    #: The name of the kind, which never changes, such as ``not_found``.
    kind: ClassVar[str] = ""
    #: What failed and on what, without the reason and the remedy.
    message: str = ""
    #: What to do about it, if that is known.
    remedy: str | None = None


def exception(kind: str, text: str, message: str, remedy: str | None, errno: int | None) -> Error:
    """The exception for an error of the library."""
    from ._generated.errors import BY_KIND

    error = BY_KIND.get(kind, Error)(text)
    error.message, error.remedy = message, remedy
    if errno is not None and isinstance(error, OSError):
        error.errno = errno
    return error
