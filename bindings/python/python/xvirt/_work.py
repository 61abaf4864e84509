"""Calls of the native half, and the arguments that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ._errors import exception

if TYPE_CHECKING:
    from socket import socket

    from . import _xvirt
    from ._generated.data import Done

#: Is called now and then with how far a call is. An exception of it cancels the call.
ProgressCallback: TypeAlias = Callable[["Done"], object]


def run(work: _xvirt.Work, progress: ProgressCallback | None = None) -> Any:
    """Runs a call on this thread. Signals such as Ctrl-C interrupt it."""
    return begun(work, progress).run(None if progress is None else reporter(progress))


def begun(work: _xvirt.Work, progress: object) -> _xvirt.Work:
    """A call, after its callback got to know it if that can cancel it."""
    if isinstance(progress, Reports):
        progress.begin(work)
    return work


class Reports:
    """A callback of a call that another thread can cancel."""

    def __init__(self, report: Callable[[Any], object]) -> None:
        self._report = report
        self._work: _xvirt.Work | None = None
        self._cancelled = False

    def begin(self, work: _xvirt.Work) -> None:
        """Knows the call from now on."""
        self._work = work
        if self._cancelled:
            work.cancel()

    def __call__(self, done: Any) -> None:
        if self._cancelled:
            # Not every call is known, but all end at an exception.
            raise exception("cancelled", "the call was cancelled", "the call was cancelled", None, None)
        self._report(done)

    def cancel(self) -> None:
        """Cancels the call, now or when it begins."""
        self._cancelled = True
        if self._work is not None:
            self._work.cancel()


def reporter(progress: ProgressCallback) -> Callable[[int, int | None], object]:
    """What the native half calls with the progress of a call."""
    from ._generated.data import Done

    if not callable(progress):
        raise TypeError(f"progress: {progress!r} is not a function that can be called with how far the call is")
    return lambda count, total: progress(Done(bytes=count, total=total))


def socket_of(descriptor: int) -> socket:
    """A socket of Python that owns this descriptor."""
    # Imported when needed, because it takes milliseconds.
    from socket import socket

    return socket(fileno=descriptor)
