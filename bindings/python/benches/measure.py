"""Measures the Python package, for `benches/src/bin/python`, which does the same in Rust. Prints JSON."""

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

import xvirt

PATIENCE = 60
ATTEMPTS = 7
PIECE = 65536


class Attribute:
    """A property of Python that returns what it has."""

    __slots__ = ("_value",)

    def __init__(self):
        self._value = 1

    @property
    def value(self):
        return self._value


def each(calls, step):
    """The least nanoseconds that one of many calls takes, with the loop around it."""
    best = float("inf")
    for _ in range(ATTEMPTS):
        start = time.perf_counter_ns()
        step(calls)
        best = min(best, (time.perf_counter_ns() - start) / calls)
    return best


def nothing(calls):
    for _ in itertools.repeat(None, calls):
        pass


def reading(what):
    def step(calls):
        for _ in itertools.repeat(None, calls):
            what.value  # noqa: B018

    return step


def power_state(vm):
    def step(calls):
        for _ in itertools.repeat(None, calls):
            vm.power_state  # noqa: B018

    return step


def method(call):
    def step(calls):
        for _ in itertools.repeat(None, calls):
            call()

    return step


def calls(host, count):
    """What calls cost: reading the power state, and beside it the loop, a property of Python and a call of the native half."""
    with xvirt.Vm.build(config("cost", 64), host) as vm:
        return {
            "loop": each(count, nothing),
            "property": each(count, reading(Attribute())),
            "native": each(count, method(vm._native.is_closed)),
            "power_state": each(count, power_state(vm)),
        }


def config(name, mebibytes):
    boot = xvirt.BootKernel(kernel=xvirt.demo.kernel(), command_line=xvirt.demo.command_line("echo"))
    return xvirt.VmConfig(name=name, memory=mebibytes << 20, boot=boot)


def console(host, lines, length, rereads):
    """Bytes per second of a guest that answers lines, and of output that was kept."""
    with xvirt.Vm.build(config("console", 128), host) as vm:
        vm.start()
        vm.console.reader().wait_for("echo: ready", timeout=PATIENCE)
        console, line = vm.virtio_console, b"x" * length + b"\n"
        expected = lines * (len(line) + len("echo: "))
        reader = console.reader_at_end()
        writer = threading.Thread(target=console.write_all_timeout, args=(line * lines,))
        start = time.perf_counter()
        writer.start()
        total = 0
        while total < expected:
            total += len(reader.read(PIECE, timeout=PATIENCE))
        live = total / (time.perf_counter() - start)
        writer.join()
        kept = 0.0
        for _ in range(ATTEMPTS):
            start, total = time.perf_counter(), 0
            for _ in range(rereads):
                reader = console.reader()
                while chunk := reader.try_read(PIECE):
                    total += len(chunk)
            kept = max(kept, total / (time.perf_counter() - start))
        return {"live": live, "kept": kept}


def starts(program, rounds):
    """The median milliseconds that a program adds to the start of the interpreter."""

    def run(text):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", text], check=True)
        return (time.perf_counter() - start) * 1000

    return statistics.median(run(program) for _ in range(rounds)) - statistics.median(run("pass") for _ in range(rounds))


def interrupts(host, rounds):
    """Milliseconds from SIGINT to `KeyboardInterrupt`, the worst for each kind of waiting call."""
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests"))
    from waits import WAITS, waiting_vm

    worst = {}
    with waiting_vm(host) as vm:
        for name, wait in WAITS.items():
            worst[name] = max(interrupted(lambda: wait(vm)) for _ in range(rounds))
    return worst


def interrupted(wait):
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.05, interrupt)
    timer.start()
    try:
        wait()
    except KeyboardInterrupt:
        return (time.perf_counter() - sent[0]) * 1000
    finally:
        timer.join()
    raise RuntimeError("the call ended before it was interrupted")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--length", type=int, default=190)
    parser.add_argument("--rereads", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    host = xvirt.Host.probe()
    host.require_kvm()
    print(json.dumps({
        "python": sys.version.split()[0],
        "calls": calls(host, options.calls),
        "console": console(host, options.lines, options.length, options.rereads),
        "import": {
            "import xvirt": starts("import xvirt", options.rounds),
            "import xvirt; xvirt.Vm": starts("import xvirt; xvirt.Vm", options.rounds),
        },
        "interrupts": interrupts(host, options.rounds),
    }))


if __name__ == "__main__":
    main()
