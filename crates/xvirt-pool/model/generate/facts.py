"""The facts of XenAPI that the model is made of: names, types, qualifiers, defaults, roles and errors, without descriptions.

`import_from` makes the file of facts from `xenapi.json`, in which XenServer publishes its data model.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[1]
FACTS = FOLDER / "xenapi.json"
ERRORS = FOLDER / "errors.json"

# From the one that may do most to the one that may do least. `client-cert` is beside them.
ROLES = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"]
CERTIFICATE = "client-cert"
QUALIFIERS = {"RO/runtime": "DynamicRO", "RO/constructor": "StaticRO", "RW": "RW"}
QUERIES = ["get_record", "get_by_uuid", "get_by_name_label", "get_all", "get_all_records"]


def load():
    """The classes and enumerations, and the error codes with the names of their parameters."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    return facts["classes"], facts["enumerations"], json.loads(ERRORS.read_text(encoding="utf-8"))


def import_from(path):
    """Makes the file of facts from XenServer's data model."""
    source = json.loads(Path(path).read_text(encoding="utf-8"))
    lines = [json.dumps(one_class(given), ensure_ascii=False, indent=None) for given in source]
    enumerations = {given["name"]: [value["name"] for value in given["values"]] for a in source for given in a["enums"]}
    text = ",\n".join(spread(json.loads(line)) for line in lines)
    enums = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in sorted(enumerations.items()))
    FACTS.write_text(f'{{"classes": [\n{text}\n], "enumerations": {{\n{enums}\n}}}}\n', encoding="utf-8")


def spread(given):
    """The JSON of a class, with one line for each field and verb."""
    head = {name: value for name, value in given.items() if name not in ("fields", "verbs")}
    lists = [json.dumps(name) + ": [" + "".join(f"\n  {json.dumps(one)}," for one in given[name]).rstrip(",") + "]"
             for name in ("fields", "verbs")]
    return json.dumps(head)[:-1] + ",\n " + ",\n ".join(lists) + "}"


def one_class(given):
    fields = {field["name"]: field for field in given["fields"]}
    messages = {message["name"]: message for message in given["messages"]}
    result = {"name": given["name"], **lifecycle(given)}
    implicit = {name for name, message in messages.items() if message["implicit"]}
    queries = [name for name in QUERIES if name in implicit]
    readers = {roles(messages[name]) for name in queries}
    assert len(readers) <= 1, given["name"]
    reader = readers.pop() if readers else "none"
    result |= {"read": reader, "queries": queries} if queries else {}
    result["fields"] = [one_field(field, messages, implicit, reader) for field in given["fields"]]
    accessors = {name for field in fields.values() for name in accessor_names(field)} & implicit
    result["verbs"] = [one_verb(message) for name, message in messages.items() if name not in accessors | set(queries)]
    assert all(name in accessors | {*queries, "create", "destroy"} for name in implicit), given["name"]
    return result


def accessor_names(field):
    """The verbs that a field implies."""
    name, kind = field["name"], field["type"]
    more = [f"add_to_{name}", f"remove_from_{name}"] if kind.endswith(" map") else []
    more += [f"add_{name}", f"remove_{name}"] if kind.endswith(" set") else []
    return [f"get_{name}"] + ([f"set_{name}", *more] if field["qualifier"] == "RW" else [])


def one_field(field, messages, implicit, reader):
    kind = field["type"]
    result = {"name": field["name"], "type": kind, "qualifier": QUALIFIERS[field["qualifier"]]}
    if "default" in field:
        result["default"] = default(field["default"], kind)
    getter = messages.get(f"get_{field['name']}")
    if getter and roles(getter) != reader:
        result["read"] = roles(getter)
    writers = {roles(messages[name]) for name in accessor_names(field)[1:]}
    assert len(writers) <= 1 and implicit >= set(accessor_names(field)[1:]), field["name"]
    return result | ({"write": writers.pop()} if writers else {}) | lifecycle(field)


def one_verb(message):
    parameters = message["params"]
    session = bool(parameters) and parameters[0]["name"] == "session_id"
    rest = parameters[1:] if session else parameters
    optional = [parameter for parameter in rest if not parameter["required"]]
    assert optional == rest[len(rest) - len(optional):], message["name"]
    result = {"name": message["name"], "parameters": [[parameter["name"], parameter["type"]] for parameter in rest]}
    result |= {"optional": len(optional)} if optional else {}
    result |= {} if session else {"session": False}
    errors = [*dict.fromkeys(error["name"] for error in message["errors"])]
    result |= {"result": message["result"][0]} | ({"errors": errors} if errors else {})
    return result | {"roles": roles(message)} | lifecycle(message)


def roles(message):
    """The lowest role that may call it, since every higher one may, and whether a client's certificate is enough."""
    given = set(message["roles"])
    ranked = [role for role in ROLES if role in given]
    assert ranked == ROLES[:len(ranked)], message["name"]
    lowest = ranked[-1] if ranked else "none"
    extra = f"+{CERTIFICATE}" if CERTIFICATE in given and lowest != "read-only" else ""
    assert lowest != "read-only" or CERTIFICATE in given, message["name"]
    return lowest + extra


def lifecycle(given):
    state = given["lifecycle"]["state"].removesuffix("_s").lower()
    return {} if state == "published" else {"lifecycle": state}


def default(text, kind):
    """A default in the notation of the source, as JSON."""
    if kind.endswith(" ref"):
        return "OpaqueRef:NULL" if text == "Null" else text
    if kind.endswith((" set", " map")):
        entries = [entry.strip() for entry in text[1:-1].split(",") if entry.strip()]
        if kind.endswith(" map"):
            return {json.loads(key): json.loads(value) for key, value in (entry.split(" -> ") for entry in entries)}
        return [int(entry) if kind == "int set" else entry for entry in entries]
    if kind == "float":
        return float(text)
    if kind == "string" or kind in ("int", "bool"):
        return json.loads(text)
    return text
