"""The public items of the Rust crates, as rustdoc sees them."""

import sys
from pathlib import Path

FORMAT = 57
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/support"))

from rustdoc_json import documentation  # noqa: E402


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
