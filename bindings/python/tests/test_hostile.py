"""Random arguments to every method: an error each time, and never a crash or hang. `XVIRT_HOSTILE_CALLS` says how many."""

import datetime
import inspect
import os
import pathlib
import random
import uuid

import xvirt

from conftest import demo
from resources import held, settled

CALLS = int(os.environ.get("XVIRT_HOSTILE_CALLS", "5000"))
#: What may end the test itself, or wait for input that never comes.
LEFT_OUT = {"log_level", "demo"}

VALUES = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**70), 0.0, -1.0, float("nan"), float("inf"), 1e300, "", "a", "\0", "é" * 300,
    "../../etc/passwd", "1GiB", "10Mbit/s", b"", b"\xff" * 10, bytearray(3), memoryview(b"abc"), [], [1], [None], {}, {"a": 1},
    {"name": "x"}, (), set(), object(), pathlib.Path("/nonexistent/file"), uuid.UUID(int=0), datetime.timedelta(days=-1),
    datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), lambda *_: None, int, Exception(), xvirt.PowerState.HALTED,
    xvirt.EventStarted(), xvirt.RateLimit(),
]


def entries(vm, repository):
    """All callables of the package, and the methods of objects that exist."""
    for name in dir(xvirt):
        item = getattr(xvirt, name)
        if name.startswith("_") or name in LEFT_OUT or not callable(item):
            continue
        yield name, item
        if inspect.isclass(item):
            for method in sorted(vars(item)):
                if not method.startswith("_") and callable(getattr(item, method, None)):
                    yield f"{name}.{method}", getattr(item, method)
    for what in (vm, repository, vm.console, vm.console.reader(), vm.events(), vm.agent().with_timeout(timeout=0.01)):
        for method in sorted(dir(what)):
            # Closing is tested elsewhere; everything else has to survive anything.
            if not method.startswith("_") and method not in ("close", "shut_down") and callable(getattr(what, method, None)):
                yield f"{type(what).__name__}.{method}", getattr(what, method)


def arguments(chance, call):
    """Random arguments, often as many as the call takes, and with its names."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional, keywords = [], {}
    for parameter in parameters:
        if chance.random() < 0.1:
            continue
        value = chance.choice(VALUES)
        # A wait without a limit would wait.
        if parameter.name in ("timeout", "limit"):
            value = chance.choice([0, 0.001, -1, "x", float("nan")])
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = value
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(value)
    return positional, keywords


def test_random_arguments_give_errors(host, tmp_path):
    seed = int(os.environ.get("XVIRT_HOSTILE_SEED", random.randrange(2**32)))
    print(f"XVIRT_HOSTILE_SEED={seed}")
    chance = random.Random(seed)
    os.chdir(tmp_path)
    # The first calls start what the process keeps.
    call_some(chance, host, tmp_path / "first", 1000)
    before = held()
    call_some(chance, host, tmp_path / "vms", CALLS)
    assert settled(before), (before, held())


def call_some(chance, host, folder, count):
    with xvirt.Vm.build(demo("hello", "echo"), host) as vm, xvirt.Repository.open(folder) as repository:
        calls = list(entries(vm, repository))
        assert len(calls) > 300
        for _ in range(count):
            _, call = chance.choice(calls)
            positional, keywords = arguments(chance, call)
            # A wait without a limit would wait.
            if not inspect.isclass(call) and "timeout" in inspect.signature(call).parameters:
                keywords.setdefault("timeout", 0)
            try:
                call(*positional, **keywords)
            except (xvirt.Error, TypeError, ValueError, OverflowError, AttributeError, OSError, KeyError):
                pass
