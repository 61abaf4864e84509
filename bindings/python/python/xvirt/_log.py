"""The library's log in Python's `logging`: the logger `xvirt` and those below it."""

from __future__ import annotations

from . import _xvirt


# `logging` is imported when needed, because it takes milliseconds.
def _handle(level: int, name: str, text: str) -> None:
    import logging

    # The crates of the library are one logger for users.
    below = name.replace("xvirt_core", "xvirt").replace("xvirt_xva", "xvirt.xva")
    logger = logging.getLogger(below)
    if logger.isEnabledFor(level):
        logger.handle(logger.makeRecord(below, level, "(xvirt)", 0, text, (), None))


def log_level(level: int) -> None:
    """Sets the least severe level of what the library logs at all, such as ``logging.DEBUG``; at first ``logging.INFO``."""
    import logging

    _xvirt.set_log_level(min(max(level, 0), 255))
    logging.getLogger("xvirt").setLevel(level)


_xvirt.forward_log(_handle)
