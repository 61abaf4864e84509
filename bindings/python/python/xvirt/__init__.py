"""Virtual machines over KVM, in this process.

>>> import xvirt
>>> host = xvirt.Host.probe()
>>> host.require_kvm()
>>> boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line("hello", "poweroff"))
>>> with xvirt.Vm.build(xvirt.VmConfig(name="first", memory="64MiB", boot=boot), host) as vm:
...     vm.start()
...     print(vm.console.reader().wait_for("demo: hello", timeout=60))
...     vm.wait_halted(timeout=60)

`xvirt.aio` has the same for asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from . import aio as aio
    from . import demo as demo
    from ._errors import Error as Error
    from ._generated.data import *
    from ._generated.errors import *
    from ._generated.sync import *
    from ._log import log_level as log_level
    from ._migrate import ArrivingVm as ArrivingVm
    from ._migrate import CommitDecision as CommitDecision
    from ._progress import Progress as Progress
    from ._quantities import Rate as Rate
    from ._quantities import Seconds as Seconds
    from ._quantities import Size as Size
    from ._quantities import StrPath as StrPath
    from ._resources import ImageDescriptor as ImageDescriptor
    from ._resources import ProgramDisk as ProgramDisk
    from ._sync import BootMenu as BootMenu
    from ._sync import Channel as Channel
    from ._sync import Imported as Imported
    from ._sync import Tls as Tls
    from ._xvirt import __version__ as __version__
else:
    # Loading all classes takes many times longer than starting, so they are loaded when one is asked for.
    _BY_HAND = {
        "ArrivingVm": "_migrate", "BootMenu": "_sync", "Channel": "_sync", "CommitDecision": "_migrate", "Error": "_errors",
        "ImageDescriptor": "_resources", "Imported": "_sync", "ProgramDisk": "_resources", "Progress": "_progress",
        "Rate": "_quantities", "Seconds": "_quantities",
        "Size": "_quantities", "StrPath": "_quantities", "Tls": "_sync", "__version__": "_xvirt", "log_level": "_log",
    }

    _MODULES = ("aio", "demo")

    def _all() -> dict[str, object]:
        # The library's log goes to Python's from here on.
        from . import _log as _log
        from ._generated import data, errors, sync

        return {name: getattr(module, name) for module in (data, errors, sync) for name in module.__all__}

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name in _BY_HAND:
            value = getattr(import_module(f".{_BY_HAND[name]}", __name__), name)
        elif name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        else:
            found = _all()
            if name not in found:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
            globals().update(found)
            return found[name]
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_BY_HAND, *_MODULES, *_all()})
