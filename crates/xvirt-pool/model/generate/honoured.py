"""What xvirt does with the fields of XenAPI, from `honoured.toml`."""

import json
import tomllib

import facts
import types_of_fields as types

KEPT = "Kept as clients set it; xvirt does not use it."


class Honoured:
    """The documentation, rules and defaults of one class of which there are objects."""

    def __init__(self, name, given, common):
        self.name, self.doc = name, given["doc"]
        self.fields = common["fields"] | given.get("fields", {})
        self.kept = {*common["kept"], *given.get("kept", [])} - {*given.get("fields", {})}
        self.kept -= {*given.get("fixed", [])}
        self.defaults = given.get("defaults", {})
        self.extra, self.verbs = given.get("extra", []), given.get("verbs", [])
        self.named = {*given.get("fields", {}), *given.get("kept", []), *given.get("fixed", []), *self.defaults}
        self.fixed = {*given.get("fixed", [])}

    def check(self, fields):
        """Fails if it names what the class does not have."""
        unknown = self.named - {field["name"] for field in fields}
        assert not unknown, f"honoured.toml: {self.name} has no {', '.join(sorted(unknown))}"

    def rule(self, field):
        name = field["name"]
        if name in self.fixed:
            return "fixed"
        return "kept" if name in self.kept else "honoured" if name in self.fields else "fixed"

    def doc_of(self, field, default):
        rule = self.rule(field)
        if rule == "honoured":
            return self.fields[field["name"]]
        return KEPT if rule == "kept" else f"Not honoured: always {shown(default)}."

    def default(self, field):
        """The default of a field as JSON."""
        kind = types.parse(field["type"])
        result = self.defaults.get(field["name"], field.get("default", types.zero(kind)))
        assert result is not None, f"honoured.toml: {self.name}.{field['name']} needs a default"
        return result


def shown(default):
    if default in ("", [], {}):
        return "empty"
    if default == "OpaqueRef:NULL":
        return "the null reference"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def load():
    """What is honoured, by class."""
    given = tomllib.loads((facts.FOLDER / "honoured.toml").read_text(encoding="utf-8"))
    common = given.pop("common")
    return {name: Honoured(name, one, common) for name, one in given.items()}
