"""The progress of a call as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_P = TypeVar("_P", bound="Progress[Any]")


class Progress(Generic[_T]):
    """Starts a call that takes `progress`, and iterates over how far it is, until it ends.

    >>> async with aio.Progress(aio.xva_export_stored, vm, path, xvirt.Export()) as progress:
    ...     async for done in progress:
    ...         print(done.bytes, done.total)
    ...     exported = await progress.result()

    The arguments are those of the call. The iterator gives what the call's `progress` is called with: `Done`, or
    `MigrationReport`. It is only useful in an ``async with``: leaving that before the end of the call cancels it, and waits
    for its end.
    """

    def __init__(self, call: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any, **keywords: Any) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._call = partial(call, *arguments, progress=self._report, **keywords)
        self._task: asyncio.Task[_T] | None = None

    async def __aenter__(self: _P) -> _P:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._call())
        # The end of the iteration.
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = self._running()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            # `result` raises it, for those who ask.
            task.exception()

    def _report(self, done: Any) -> None:
        # Reports of migrations come from the threads of their calls.
        self._loop.call_soon_threadsafe(self._queue.put_nowait, done)

    def _running(self) -> asyncio.Task[_T]:
        if self._task is None:
            raise RuntimeError("the call has not been started; use this in an async with")
        return self._task

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (done := await self._queue.get()) is not None:
            yield done
        # Further iterations end as well.
        self._queue.put_nowait(None)

    async def result(self) -> _T:
        """Waits for the end of the call, and returns what it returns or raises what it raises."""
        return await asyncio.shield(self._running())
