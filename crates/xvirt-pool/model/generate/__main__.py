"""Generates the classes of XenAPI in Rust, from the facts of XenAPI and from what xvirt honours of them.

Reads `xenapi.json`, `errors.json` and `honoured.toml` beside this folder, and writes files that are committed.
"""

import argparse
import json
import subprocess
import sys

import classes
import facts
import honoured
from types_of_fields import camel, snake

CRATE = facts.FOLDER.parent
OUTPUT = CRATE / "src/model/generated"
MARK = "// Written by scripts/model.\n"


def main():
    parser = argparse.ArgumentParser(prog="scripts/model", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    parser.add_argument("--import", dest="source", metavar="XENAPI_JSON",
                        help="first make the facts from the data model that XenServer publishes")
    options = parser.parse_args()
    if options.source:
        facts.import_from(options.source)
    wanted = {OUTPUT / name: formatted(MARK + text) for name, text in files().items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    spare = [path for path in OUTPUT.glob("*.rs") if path not in wanted]
    if options.check and stale + spare:
        names = ", ".join(path.name for path in stale + spare)
        sys.exit(f"{names}: what the classes are made of has changed; run scripts/model")
    if not options.check:
        OUTPUT.mkdir(exist_ok=True)
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8")
        for path in spare:
            path.unlink()


def files():
    """The generated files by their names."""
    known, enumerations, errors = facts.load()
    rules = honoured.load()
    unknown = rules.keys() - {one["name"] for one in known}
    assert not unknown, f"honoured.toml: there is no class {', '.join(sorted(unknown))}"
    result = {f"{snake(one['name'])}.rs": classes.text(one, rules.get(one["name"])) for one in known}
    return result | {"enums.rs": enums(enumerations), "errors.rs": error_codes(errors),
                     "mod.rs": module(sorted(one["name"] for one in known), sorted(enumerations))}


def module(names, enumerations):
    twice = {*map(camel, names)} & {*map(camel, enumerations)}
    assert not twice, f"a class and an enumeration have the same name in Rust: {', '.join(twice)}"
    lines = ["//! The classes of XenAPI, one file each, with its enumerations and error codes.", ""]
    lines += [f"mod {name};" for name in sorted([*map(snake, names), "enums", "errors"])]
    lines += ["", *(f"pub use {snake(name)}::{camel(name)};" for name in names)]
    lines += ["pub use enums::*;", "pub use errors::ERROR_CODES;", "", "use super::{Class, ClassTable, Enumeration};", ""]
    lines += ["/// All classes, sorted by name.", f"pub static CLASSES: [&ClassTable; {len(names)}] = ["]
    lines += [f"{camel(name)}::TABLE," for name in names]
    lines += ["];", "", "/// All enumerations, sorted by name.", f"pub static ENUMERATIONS: [&Enumeration; {len(enumerations)}] = ["]
    lines += [f"{camel(name)}::TABLE," for name in enumerations]
    return "\n".join([*lines, "];"])


def enums(enumerations):
    lines = ["//! The enumerations of XenAPI.", "", "use crate::model::enumeration::enumeration;", ""]
    for name, values in sorted(enumerations.items()):
        variants = [camel(value) for value in values]
        assert len(set(variants)) == len(variants), name
        lines += [f"enumeration!({camel(name)} = {json.dumps(name)} {{"]
        lines += [f"    {variant} = {json.dumps(value)}," for variant, value in zip(variants, values)]
        lines += ["});"]
    return "\n".join(lines)


def error_codes(errors):
    lines = ["//! The error codes of XenAPI.", "", "use crate::model::ErrorCode;", "",
             "/// All error codes that are known, sorted.", f"pub static ERROR_CODES: [ErrorCode; {len(errors)}] = ["]
    for code, names in sorted(errors.items()):
        parameters = "None" if names is None else f"Some(&{json.dumps(names)})"
        lines.append(f"ErrorCode {{ code: {json.dumps(code)}, parameters: {parameters} }},")
    return "\n".join([*lines, "];"])


def formatted(text):
    """What rustfmt makes of a file."""
    command = ["rustfmt", "--edition", "2024", "--config-path", str(CRATE.parents[1] / "rustfmt.toml")]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
