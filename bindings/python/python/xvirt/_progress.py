"""The progress of a call as an iterator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._work import Reports

_T = TypeVar("_T")
_P = TypeVar("_P", bound="Progress[Any]")


class Progress(Generic[_T]):
    """Runs a call that takes `progress` on a thread of its own, and iterates over how far it is, until it ends.

    >>> with xvirt.Progress(xvirt.xva_export_stored, vm, path, xvirt.Export()) as progress:
    ...     for done in progress:
    ...         print(done.bytes, done.total)
    ...     exported = progress.result()

    The arguments are those of the call. The iterator gives what the call's `progress` is called with: `Done`, or
    `MigrationReport`. It is only useful in a ``with``: leaving that before the end of the call cancels it, and waits for its
    end.
    """

    def __init__(self, call: Callable[..., _T], *arguments: Any, **keywords: Any) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._outcome: Future[_T] = Future()
        self._reports = Reports(self._queue.put)
        self._call = partial(call, *arguments, progress=self._reports, **keywords)
        self._thread = threading.Thread(target=self._run, name="xvirt-progress")

    def _run(self) -> None:
        try:
            self._outcome.set_result(self._call())
        except BaseException as failure:
            self._outcome.set_exception(failure)
        finally:
            # The end of the iteration.
            self._queue.put(None)

    def __enter__(self: _P) -> _P:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reports.cancel()
        self._thread.join()

    def _require_started(self) -> None:
        # Otherwise it would wait for ever.
        if self._thread.ident is None:
            raise RuntimeError("the call has not been started; use this in a with")

    def __iter__(self) -> Iterator[Any]:
        self._require_started()
        while (done := self._queue.get()) is not None:
            yield done
        # Further iterations end as well.
        self._queue.put(None)

    def result(self) -> _T:
        """Waits for the end of the call, and returns what it returns or raises what it raises."""
        self._require_started()
        return self._outcome.result()
