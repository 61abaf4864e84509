"""Generates what the bindings share with the Rust API: classes, exceptions, native calls, and the table of all of it.

Reads the public API of the Rust crates from rustdoc, and writes files that are committed.
"""

import argparse
import sys
from pathlib import Path

import c_binding
import model
import parity
import python_errors
import rustdoc
from native import Native
from python_data import Data
from python_handles import Handles
from python_types import Python

PYTHON = Path("bindings/python")
TABLE = Path("docs/api.md")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bindings", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    options = parser.parse_args()
    api = model.read(rustdoc.load())
    stale = [path for path, text in files(api).items() if update(rustdoc.ROOT / path, text, options.check)]
    stale += [path for path, text in c_binding.header(options.check).items() if update(rustdoc.ROOT / path, text, options.check)]
    table, missing = parity.text(api)
    if missing:
        sys.exit("\n".join(["these have no counterpart, and no reason in bindings/generate/parity.py:", *missing]))
    if update(rustdoc.ROOT / TABLE, table, options.check):
        stale.append(TABLE)
    if options.check and stale:
        sys.exit(f"{', '.join(map(str, stale))}: the Rust API has changed; run scripts/bindings")


def files(api):
    """The generated files."""
    python = Python(api)
    data = Data(api, python)
    package = PYTHON / "python/xvirt/_generated"
    result = {package / "data.py": data.text(), package / "errors.py": python_errors.text(api)}
    native = Native(api, data)
    result[PYTHON / "src/generated.rs"] = c_binding.formatted(native.text())
    result[PYTHON / "python/xvirt/_xvirt.pyi"] = native.stubs()
    for name, asynchronous in (("sync", False), ("aio", True)):
        result[package / f"{name}.py"] = Handles(api, python, native, asynchronous).text()
    return result | c_binding.files(api)


def update(path, text, only_check):
    """Writes a file; whether it was another one."""
    old = path.read_text(encoding="utf-8") if path.exists() else None
    if old == text:
        return False
    if not only_check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return True


if __name__ == "__main__":
    main()
