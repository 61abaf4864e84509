"""The same as `xvirt`, for asyncio: calls that may wait are coroutines.

>>> from xvirt import aio
>>> async def main():
...     host = await aio.Host.probe()
...     async with await aio.Vm.build(config, host) as vm:
...         await vm.start()
...         await vm.wait_halted(timeout=60)

Plain data, such as `xvirt.VmConfig`, and exceptions are those of `xvirt`. A task that is cancelled cancels its call, and
ends when the call has ended. Nothing blocks the event loop.
"""

from __future__ import annotations

# The library's log goes to Python's from here on.
from . import _log as _log
from ._aio import BootMenu as BootMenu
from ._aio import Channel as Channel
from ._aio import Imported as Imported
from ._aio import Tls as Tls
from ._aio_progress import Progress as Progress
from ._generated.aio import *
