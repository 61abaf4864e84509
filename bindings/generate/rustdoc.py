"""The public items of the Rust crates, as rustdoc sees them.

The JSON of rustdoc is written by stable Rust only when it acts as a nightly version.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

FORMAT = 57
ROOT = Path(__file__).resolve().parents[2]


class Crate:
    """The items of one crate by their ids."""

    def __init__(self, name, document):
        self.name = name
        if document["format_version"] != FORMAT:
            raise SystemExit(f"rustdoc wrote format {document['format_version']} of its JSON, not {FORMAT}: use the "
                             "Rust version that scripts/test names")
        self.index = document["index"]
        self.paths = document["paths"]
        self.root = self.index[str(document["root"])]
        # Items of other crates that this one exports: where, and by which name. Known after `public`.
        self.foreign = {}

    def item(self, number):
        return self.index.get(str(number))

    def public(self):
        """Each public item once, with the path of the module in which users find it: (path, name, item)."""
        seen = set()
        yield from self._walk(self.root, (), seen)

    def _walk(self, module, path, seen):
        for number in module["inner"]["module"]["items"]:
            item = self.item(number)
            if item is None or item["visibility"] != "public":
                continue
            name = item["name"]
            if use := item["inner"].get("use"):
                name, item = use["name"], self.item(use["id"])
                if item is None:
                    self.foreign[use["source"].split("::")[-1]] = (path, name)
                    continue
            if "module" in item["inner"]:
                inside = path if use else (*path, name)
                yield from self._walk(item, inside, seen)
            elif item["id"] not in seen:
                seen.add(item["id"])
                yield path, name, item


def load():
    """The crates that the bindings cover."""
    return [Crate(name, documentation(name)) for name in ("xvirt-core", "xvirt-xva")]


def documentation(crate):
    """The output of rustdoc for the public items of a crate."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    with tempfile.TemporaryDirectory() as folder:
        # Only rustdoc should act as a nightly version: what is built must stay the same as for others.
        rustdoc = Path(folder, "rustdoc")
        rustdoc.write_text('#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n', encoding="utf-8")
        rustdoc.chmod(0o755)
        subprocess.run(
            ["cargo", "rustdoc", "--quiet", "--locked", "--package", crate, "--lib", "--all-features", "--",
             "-Z", "unstable-options", "--output-format", "json"],
            check=True, cwd=ROOT, env=os.environ | {"RUSTDOC": str(rustdoc)},
        )
    return json.loads((target / "doc" / f"{crate.replace('-', '_')}.json").read_text(encoding="utf-8"))
