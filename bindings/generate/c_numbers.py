"""The numbers of constants and the order of fields, which stay what they are: `abi.json` is only appended to."""

import json


class Numbers:
    def __init__(self, text):
        self.table = json.loads(text) if text else {"constants": {}, "fields": {}}
        self.used = {"constants": set(), "fields": set()}

    def constants(self, name, constants):
        """The numbers of an enum's constants, from 1 on: 0 means that there is none, or the default."""
        known = self._extended("constants", name, constants)
        return {constant: number for number, constant in enumerate(known, 1) if constant in constants}

    def fields(self, name, fields):
        """The fields of a struct in the order that they have had."""
        known = self._extended("fields", name, fields)
        if gone := [field for field in known if field not in fields]:
            raise SystemExit(f"{name} had the fields {', '.join(gone)}: a struct of the C API loses none. If that is meant, "
                             "delete them in bindings/c/abi.json and count up the version in the soname.")
        return known

    def _extended(self, what, name, values):
        self.used[what].add(name)
        known = self.table[what].setdefault(name, [])
        known.extend(value for value in values if value not in known)
        return known

    def text(self):
        table = {what: {name: entries[name] for name in sorted(entries)} for what, entries in self.table.items()}
        return json.dumps(table, indent=1) + "\n"
