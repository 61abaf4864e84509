"""What the bindings cover, read from the public API of the Rust crates: plain data, handles and functions."""

from dataclasses import dataclass, field
import json
import re

PRIMITIVES = {"bool", "u8", "u16", "u32", "u64", "usize", "i32", "i64", "f64", "str"}
# Names of types that mean the same to other languages.
SAME = {"String": "str", "PathBuf": "Path", "Cow": "str", "BTreeMap": "Map", "Ipv4Addr": "IpAddr"}


@dataclass(frozen=True)
class Type:
    """A type: its name, and those of its parts."""

    name: str
    args: tuple = ()

    def __str__(self):
        return self.name + (f"<{', '.join(map(str, self.args))}>" if self.args else "")


UNIT = Type("unit")


@dataclass
class Field:
    """A field of a record, or of a variant that has data. A positional field of a variant is called `value`."""

    name: str
    type: Type
    docs: str
    # May be left out: the Rust type has a default.
    default: bool = False
    # Not part of the data, such as an open file: `skip`.
    resource: bool = False


@dataclass
class Variant:
    """One variant of an enum."""

    name: str
    wire: str
    docs: str
    # unit, tuple or struct
    kind: str
    fields: list = field(default_factory=list)
    resource: bool = False


@dataclass
class Record:
    """A struct of plain data."""

    name: str
    module: str
    docs: str
    fields: list
    # Users can create one.
    input: bool
    # The library can write it as data.
    output: bool = True
    methods: list = field(default_factory=list)
    traits: set = field(default_factory=set)


@dataclass
class Enum:
    """An enum; `is_plain` if no variant has data."""

    name: str
    module: str
    docs: str
    variants: list
    input: bool
    output: bool = True
    # The name of the field that tells the variants apart, if they are not tagged from outside.
    tag: str | None = None
    methods: list = field(default_factory=list)
    traits: set = field(default_factory=set)

    @property
    def is_plain(self):
        return self.tag is None and all(variant.kind == "unit" for variant in self.variants)


@dataclass
class Parameter:
    """A parameter; `by_reference` if the Rust function borrows it."""

    name: str
    type: Type
    by_reference: bool = False


@dataclass
class Function:
    """A function, or a method of a handle or of plain data."""

    name: str
    docs: str
    # none, ref, mut or own
    receiver: str
    params: list
    output: Type
    fallible: bool
    # The output is borrowed from the receiver.
    borrowed: bool = False


@dataclass
class Handle:
    """A struct that stands for something outside of the program's data, such as a VM."""

    name: str
    module: str
    docs: str
    methods: list
    traits: set = field(default_factory=set)


@dataclass
class Api:
    """All of it. `functions` are by module."""

    records: dict = field(default_factory=dict)
    enums: dict = field(default_factory=dict)
    handles: dict = field(default_factory=dict)
    functions: list = field(default_factory=list)

    def data(self, name):
        return self.records.get(name) or self.enums.get(name)


def read(crates):
    """The model of the public API of the first crate, and of what it exports of the others."""
    api = Api()
    core, *others = crates
    items = list(core.public())
    SAME.update({name: exported for name, (_, exported) in core.foreign.items() if name != exported})
    for path, name, item in items:
        _add(api, core, path[0], name, item)
    for crate in others:
        for _, name, item in crate.public():
            # Only what the first crate exports. Its own functions wrap those of the others.
            if name in core.foreign and not {"function", "trait"} & item["inner"].keys():
                path, exported = core.foreign[name]
                _add(api, crate, path[0], exported, item)
    return api


def _add(api, crate, module, name, item):
    kind = next(iter(item["inner"]))
    if kind in ("struct", "enum") and (api.data(name) or name in api.handles or name == "Error"):
        return
    if kind == "enum":
        api.enums[name] = _enum(crate, module, name, item)
    elif kind == "struct":
        fields, methods, traits = _fields(crate, item), _methods(crate, item), _traits(crate, item)
        if fields is not None:
            api.records[name] = Record(name, module, item["docs"] or "", fields, "Deserialize" in traits,
                                       "Serialize" in traits, methods, traits)
        else:
            api.handles[name] = Handle(name, module, item["docs"] or "", methods, traits)
    elif kind == "function":
        api.functions.append((module, _function(crate, item)))


def _impls(crate, item):
    for number in item["inner"][next(iter(item["inner"]))]["impls"]:
        found = crate.item(number)
        if found:
            yield found["inner"]["impl"]


def _traits(crate, item):
    return {impl["trait"]["path"].split("::")[-1] for impl in _impls(crate, item) if impl["trait"]}


def _methods(crate, item):
    methods = []
    for impl in _impls(crate, item):
        if impl["trait"] is None:
            for number in impl["items"]:
                found = crate.item(number)
                if found and found["visibility"] == "public" and "function" in found["inner"]:
                    methods.append(_function(crate, found))
    return methods


def _serde(item, what):
    """The argument of a serde attribute, True if it has none, None if it is absent."""
    for attribute in item["attrs"]:
        text = attribute.get("other", "") if isinstance(attribute, dict) else ""
        if text.startswith("#[serde("):
            if found := re.search(rf'\b{what}\b(?:\s*=\s*"([^"]*)")?', text):
                return found.group(1) or True
    return None


def _is_resource(item):
    return any(_serde(item, what) for what in ("skip", "skip_deserializing"))


def _fields(crate, item):
    """The fields of a struct; None if it has private ones only."""
    kind = item["inner"]["struct"]["kind"]
    if not isinstance(kind, dict) or "plain" not in kind:
        return None
    whole_default = bool(_serde(item, "default")) or "Default" in _traits(crate, item)
    fields = [_field(crate.item(number), whole_default) for number in kind["plain"]["fields"]]
    return fields or None


def _field(item, default=False, name=None):
    kind = type_of(item["inner"]["struct_field"])
    default = default or bool(_serde(item, "default")) or kind.name == "Option"
    return Field(name or item["name"], kind, item["docs"] or "", default, _is_resource(item))


def _enum(crate, module, name, item):
    style = _serde(item, "rename_all") or "PascalCase"
    variants = []
    for number in item["inner"]["enum"]["variants"]:
        variant = crate.item(number)
        kind = variant["inner"]["variant"]["kind"]
        fields = []
        if isinstance(kind, dict) and "tuple" in kind:
            items = [crate.item(f) for f in kind["tuple"] if f is not None]
            fields = [_field(f, name="value") for f in items]
            kind = "tuple"
        elif isinstance(kind, dict):
            fields = [_field(crate.item(f)) for f in kind["struct"]["fields"]]
            kind = "struct"
        else:
            kind = "unit"
        wire = _serde(variant, "rename") or spelled(variant["name"], style)
        variants.append(Variant(variant["name"], wire, variant["docs"] or "", kind, fields, _is_resource(variant)))
    tag = _serde(item, "tag")
    traits = _traits(crate, item)
    return Enum(name, module, item["docs"] or "", variants, "Deserialize" in traits, "Serialize" in traits, tag,
                _methods(crate, item), traits)


def spelled(name, style):
    words = re.findall(r"[A-Z][a-z0-9]*", name)
    if style == "snake_case":
        return "_".join(words).lower()
    if style == "kebab-case":
        return "-".join(words).lower()
    return name.lower() if style == "lowercase" else name


def snake(name):
    return spelled(name, "snake_case")


def _function(crate, item):
    signature = item["inner"]["function"]["sig"]
    bounds = {parameter["name"]: parameter["kind"]["type"]["bounds"]
              for parameter in item["inner"]["function"]["generics"]["params"] if "type" in parameter["kind"]}
    receiver, params = "none", []
    for name, kind in signature["inputs"]:
        if name == "self":
            receiver = "own" if "generic" in kind else "mut" if kind["borrowed_ref"]["is_mutable"] else "ref"
        else:
            params.append(Parameter(name.lstrip("_"), type_of(kind, bounds), "borrowed_ref" in kind))
    output = type_of(signature["output"], bounds)
    fallible = output.name == "Result"
    borrowed = "borrowed_ref" in json.dumps(signature["output"]) if signature["output"] else False
    return Function(item["name"], item["docs"] or "", receiver, params, output.args[0] if fallible else output, fallible,
                    borrowed)


def type_of(node, bounds=None):
    """The type of a node in rustdoc's JSON, reduced to what it means to other languages."""
    if node is None:
        return UNIT
    kind, value = next(iter(node.items()))
    if kind == "primitive":
        return Type(value)
    if kind == "generic":
        if bounds and value in bounds and value != "Self":
            return _trait_object(bounds[value], bounds)
        return Type(value)
    if kind == "borrowed_ref":
        inner = type_of(value["type"], bounds)
        return Type("Fill") if inner == Type("Bytes") and value["is_mutable"] else inner
    if kind in ("slice", "array"):
        inner = type_of(value if kind == "slice" else value["type"], bounds)
        return Type("Bytes") if inner == Type("u8") else Type("Vec", (inner,))
    if kind == "tuple":
        return Type("Tuple", tuple(type_of(part, bounds) for part in value)) if value else UNIT
    if kind == "impl_trait":
        return _trait_object(value, bounds)
    if kind == "dyn_trait":
        return _named(value["traits"][0]["trait"], bounds)
    if kind == "resolved_path":
        return _named(value, bounds)
    return Type(kind)


def _trait_object(bound_list, bounds):
    trait = bound_list[0]["trait_bound"]["trait"]
    name = trait["path"].split("::")[-1]
    return type_of_args(trait, bounds)[0] if name in ("Into", "AsRef") else _named(trait, bounds)


def type_of_args(value, bounds):
    args = value.get("args") or {}
    if "parenthesized" in args:
        return [type_of(part, bounds) for part in args["parenthesized"]["inputs"]]
    if "angle_bracketed" in args:
        return [type_of(part["type"], bounds) for part in args["angle_bracketed"]["args"] if "type" in part]
    return []


def _named(value, bounds):
    name = value["path"].split("::")[-1]
    args = tuple(type_of_args(value, bounds))
    name = SAME.get(name, name)
    if name in ("Arc", "Box", "Into", "AsRef"):
        return args[0]
    if name == "Vec" and args[0] == Type("u8"):
        return Type("Bytes")
    if name == "str":
        return Type("str")
    return Type(name, args)
