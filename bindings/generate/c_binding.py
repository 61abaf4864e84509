"""Writes the generated files of the C binding."""

import os
from pathlib import Path
import re
import subprocess

import rustdoc
from c_data import Data
from c_functions import Functions
from c_numbers import Numbers
from c_status import status
from c_surface import REFERENCES
from c_types import C

CRATE = Path("bindings/c")


def files(api):
    """The generated files of the C binding."""
    numbers = pinned()
    c = C(api)
    data = Data(api, c, numbers)
    result = {CRATE / "src/data.rs": data.text()}
    functions = Functions(api, c, data)
    result[CRATE / "src/functions.rs"] = functions.text()
    result[CRATE / "src/lists.rs"] = functions.list_structs()
    result[CRATE / "src/status.rs"] = status(api, data, numbers)
    result = {path: referring(text, functions.names, data.prose.functions) for path, text in result.items()}
    result = {path: formatted(text) for path, text in result.items()}
    result[CRATE / "abi.json"] = numbers.text()
    if missing := data.missing + functions.uncovered():
        raise SystemExit("C has not, and bindings/generate/c_surface.py does not say why: " + "; ".join(missing))
    return result


def pinned():
    """What `abi.json` has."""
    path = rustdoc.ROOT / CRATE / "abi.json"
    return Numbers(path.read_text(encoding="utf-8") if path.exists() else None)


def referring(text, generated, prefixes):
    """The text with references to functions that exist, and to members instead of others."""
    sources = (rustdoc.ROOT / CRATE / "src").glob("*.rs")
    known = set(generated) | {name for source in sources for name in re.findall(r"fn (xvirt_\w+)", source.read_text(encoding="utf-8"))}

    def reference(found):
        name = REFERENCES.get(found[1], found[1])
        if name in known:
            return f"{name}()"
        # Such as `xvirt_nic_mac`, which is the member `mac`.
        owners = [each for each in prefixes if name.startswith(each)]
        return f"`{name.removeprefix(max(owners, key=len, default='xvirt_'))}`"

    return re.sub(r"\b(xvirt_\w+)\(\)(?! \{)", reference, text)


def formatted(text):
    """Rust code as rustfmt writes it."""
    return subprocess.run(["rustfmt", "--edition", "2024", "--config-path", str(rustdoc.ROOT)], input=text, check=True,
                          capture_output=True, text=True).stdout


def header(only_check):
    """Writes the header, or compares it. The text of `abi.json` with the functions and structs in it."""
    writes = {} if only_check else {"XVIRT_WRITE_HEADER": "1"}
    # With the profile of builds, so that what it builds serves the library too.
    subprocess.run(["cargo", "test", "--quiet", "--locked", "--profile", "dev", "--package", "xvirt-c", "--test", "header"],
                   check=True, cwd=rustdoc.ROOT, env=os.environ | writes)
    numbers = pinned()
    numbers.pin((rustdoc.ROOT / CRATE / "include/xvirt.h").read_text(encoding="utf-8"))
    return {CRATE / "abi.json": numbers.text()}
