"""What this process holds of the system."""

import ctypes
import gc
import os
import threading
import time

from conftest import PATIENCE


def held():
    """Its descriptors and threads."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def settled(before):
    """Whether it comes to hold no more than before: threads end a moment after what they did."""
    deadline = time.monotonic() + PATIENCE
    while held() > before and time.monotonic() < deadline:
        # Event loops refer to themselves.
        gc.collect()
        threading.Event().wait(0.01)
    return held() <= before


def resident():
    """The resident memory in KiB, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
