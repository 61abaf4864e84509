"""The numbers of constants and the order of fields, which stay what they are: `abi.json` is only appended to."""

import json

import c_abi


class Numbers:
    def __init__(self, text):
        self.table = {"constants": {}, "fields": {}, "functions": {}, "structs": {}} | json.loads(text or "{}")
        self.used = {"constants": set(), "fields": set()}

    def constants(self, name, constants):
        """The numbers of an enum's constants, from 1 on: 0 means that there is none, or the default."""
        known = self._extended("constants", name, constants)
        return {constant: number for number, constant in enumerate(known, 1) if constant in constants}

    def fields(self, name, fields):
        """The fields of a struct in the order that they have had. Between them may be padding, such as `padding_3[7]`."""
        known = self.table["fields"].get(name, [])
        gap = c_abi.padding(self.table["structs"].get(name, ["size_t struct_size"]))
        if gap and gap not in known and any(field not in known for field in fields):
            known.append(gap)
        known = self._extended("fields", name, fields)
        if gone := [field for field in known if field not in fields and "[" not in field]:
            raise SystemExit(f"{name} had the fields {', '.join(gone)}: a struct of the C API loses none. If that is meant, "
                             "delete them in bindings/c/abi.json and count up the version in the soname.")
        return known

    def _extended(self, what, name, values):
        self.used[what].add(name)
        known = self.table[what].setdefault(name, [])
        known.extend(value for value in values if value not in known)
        return known

    def padding(self, name):
        """The padding between the fields of a struct: names and sizes."""
        return [field.removesuffix("]").split("[") for field in self.table["fields"].get(name, []) if "[" in field]

    def pin(self, header):
        """Takes over the functions and structs of a header, which programs that were compiled before must be able to use."""
        new = c_abi.described(header)
        if problems := list(c_abi.broken(self.table, new)):
            raise SystemExit("\n".join(["programs that were compiled with earlier headers would break:", *problems, "If that is "
                             "meant, delete what was in bindings/c/abi.json, and count up the version in the soname."]))
        self.table |= new

    def text(self):
        table = {what: {name: entries[name] for name in sorted(entries)} for what, entries in self.table.items()}
        return json.dumps(table, indent=1) + "\n"
