"""XenAPI's types and names in Rust."""

import json
import re

PRIMITIVES = {"string": ("String", "String"), "int": ("Int", "i64"), "float": ("Float", "f64"), "bool": ("Bool", "bool"),
              "datetime": ("DateTime", "DateTime"), "void": ("Void", None), "<class> record": ("AnyRecord", "serde_json::Value"),
              "an event batch": ("EventBatch", None)}
# Where XenAPI's name says too little.
NAMES = {"cls": "MessageClass", "origin": "RepositoryOrigin"}
KEYWORDS = {"type", "ref"}


def parse(text):
    """A type as a tuple: its kind, and what it is made of."""
    if text in PRIMITIVES:
        return (text,)
    if text.startswith("enum ") and " " not in text[5:]:
        return ("enum", text[5:])
    rest, _, last = text.rpartition(" ")
    if last == "map":
        return ("map", *map(parse, halves(rest[1:-1])))
    if last in ("set", "option"):
        return (last, parse(rest))
    assert last in ("ref", "record") and " " not in rest, text
    return (last, rest)


def halves(text):
    """The two sides of the outermost arrow."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if not depth and text.startswith(" -> ", index):
            return text[:index], text[index + 4:]
    raise ValueError(text)


def table(kind):
    """A type as an expression of `Type`."""
    match kind:
        case (primitive,):
            return f"Type::{PRIMITIVES[primitive][0]}"
        case ("enum", name):
            return f"Type::Enum(enums::{camel(name)}::TABLE)"
        case ("ref" | "record" as word, name):
            return f"Type::{word.capitalize()}({json.dumps(name)})"
        case (word, *parts):
            return f"Type::{word.capitalize()}({', '.join('&' + table(part) for part in parts)})"


def rust(kind):
    """The Rust type of a field."""
    match kind:
        case (primitive,):
            return PRIMITIVES[primitive][1]
        case ("enum", name):
            return f"enums::{camel(name)}"
        case ("ref", name):
            return f"Ref<super::{camel(name)}>"
        case ("set", element):
            return f"Vec<{rust(element)}>"
        case ("map", key, value):
            return f"BTreeMap<{rust(key)}, {rust(value)}>"
    raise ValueError(f"no field has the type {kind}")


def zero(kind):
    """The default of a type as JSON, which `Type::zero` has too; an enumeration has none."""
    if kind[0] in ("enum", "option"):
        return None
    return {"string": "", "int": 0, "float": 0.0, "bool": False, "datetime": "19700101T00:00:00Z", "ref": "OpaqueRef:NULL",
            "set": [], "map": {}, "<class> record": {}}[kind[0]]


def value(kind, given):
    """The JSON of a default as an expression of the field's Rust type."""
    match kind:
        case ("string",):
            return f"{json.dumps(given)}.to_owned()" if given else "String::new()"
        case ("int",) | ("float",) | ("bool",):
            return json.dumps(given)
        case ("datetime",) if given == zero(kind):
            return "DateTime::EPOCH"
        case ("ref", _) if given == zero(kind):
            return "Ref::NULL"
        case ("ref", _):
            number = given.removeprefix("OpaqueRef:").replace("-", "")
            return f"Ref::new(uuid::Uuid::from_u128(0x{'_'.join(re.findall('.{4}', number))}))"
        case ("enum", name):
            return f"enums::{camel(name)}::{camel(given)}"
        case ("set", element):
            return f"vec![{', '.join(value(element, one) for one in given)}]" if given else "Vec::new()"
        case ("map", *kinds):
            entries = (f"({value(kinds[0], key)}, {value(kinds[1], one)})" for key, one in given.items())
            return f"BTreeMap::from([{', '.join(entries)}])" if given else "BTreeMap::new()"
        case ("<class> record",):
            return "serde_json::json!({})"
    raise ValueError(f"a default of the type {kind}")


def camel(name):
    """The name of a Rust type or variant."""
    if name in NAMES:
        return NAMES[name]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").split("_")
    return "".join(word.capitalize() for word in words)


def snake(name):
    """The name of a Rust field or module."""
    name = name.lower()
    return f"r#{name}" if name in KEYWORDS else name
