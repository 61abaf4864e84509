"""The Rust file of a class: its record, if there are objects of it, and its table."""

import json
import textwrap

from types_of_fields import camel, parse, rust, snake, table, value, zero

CONSTRUCTORS = {"DynamicRO": "dynamic", "StaticRO": "constant", "RW": "writable"}


def text(given, honoured):
    """The file of a class; `honoured` is None for one without objects."""
    name, lines = given["name"], []
    if honoured:
        given = given | {"fields": given["fields"] + honoured.extra, "verbs": given["verbs"] + honoured.verbs}
        honoured.check(given["fields"])
        lines += record(given, honoured)
        lines += ["", f"impl Record for {camel(name)} {{}}"]
    else:
        lines += [f"/// The class `{name}`, of which xvirt has no objects.", "#[derive(Clone, Copy, Debug, PartialEq, Eq)]",
                  f"pub enum {camel(name)} {{}}"]
    lines += class_table(given, honoured)
    body = "\n".join(lines)
    return f"//! The class `{name}`.\n\n{imports(body, honoured)}\n{body}\n"


def imports(body, honoured):
    model = ["Class", "ClassTable", "Roles", "Type", "Lifecycle"]
    model += [name for name, use in (("DateTime", "DateTime>"), ("DateTime", " DateTime"), ("Field", "Field::"),
                                     ("Record", "impl Record"), ("Ref", "Ref<"), ("Verb", "Verb::")) if use in body]
    lines = ["use std::collections::BTreeMap;", ""] if "BTreeMap<" in body else []
    lines += ["use serde::{Deserialize, Serialize};", ""] if honoured else []
    lines += ["use super::enums;"] if "enums::" in body else []
    model += ["record::whole"] if "Some(whole::" in body else []
    return "\n".join([*lines, f"use crate::model::{{{', '.join(sorted(set(model)))}}};", ""])


def record(given, honoured):
    name = given["name"]
    plain = all(honoured.default(field) == zero(parse(field["type"])) for field in given["fields"])
    derived = f"Clone, Debug, {'Default, ' if plain else ''}PartialEq, Serialize, Deserialize"
    lines = [*documentation(honoured.doc), f"#[derive({derived})]", "#[serde(default)]", "#[non_exhaustive]",
             f"pub struct {camel(name)} {{"]
    defaults = []
    for field in given["fields"]:
        kind, default = parse(field["type"]), honoured.default(field)
        lines += documentation(honoured.doc_of(field, default))
        if snake(field["name"]).removeprefix("r#") != field["name"]:
            lines.append(f"#[serde(rename = {json.dumps(field['name'])})]")
        lines.append(f"pub {snake(field['name'])}: {rust(kind)},")
        defaults.append(f"{snake(field['name'])}: {value(kind, default)},")
    implemented = ["", f"impl Default for {camel(name)} {{", "fn default() -> Self {", "Self {", *defaults, "}", "}", "}"]
    return [*lines, "}", *([] if plain else implemented)]


def documentation(text):
    return [f"/// {line}" for line in textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False)]


def class_table(given, honoured):
    name = given["name"]
    fields = sorted(given["fields"], key=lambda field: field["name"])
    verbs = sorted(given["verbs"], key=lambda verb: verb["name"])
    return ["", f"impl Class for {camel(name)} {{", "const TABLE: &'static ClassTable = &ClassTable {", f"name: {json.dumps(name)},",
            f"lifecycle: {state(given)},", f"reference: &Type::Ref({json.dumps(name)}),",
            f"record: &Type::Record({json.dumps(name)}),",
            f"whole: {f'Some(whole::<{camel(name)}>)' if honoured else 'None'},", f"read: {roles(given.get('read', 'none'))},",
            f"queries: &{json.dumps(given.get('queries', []))},",
            "fields: &[", *(one_field(field, given, honoured) for field in fields), "],",
            "verbs: &[", *map(one_verb, verbs), "],", "};", "}"]


def one_field(field, given, honoured):
    kind = parse(field["type"])
    write = f", {roles(field['write'])}" if field["qualifier"] == "RW" else ""
    result = f"Field::{CONSTRUCTORS[field['qualifier']]}({json.dumps(field['name'])}, {table(kind)}{write})"
    result += "" if "default" in field else ".required()"
    default = honoured.default(field) if honoured else field.get("default", zero(kind))
    if default is not None and default != zero(kind):
        result += f".starts_as({raw(json.dumps(default))})"
    reader = field.get("read", given.get("read", "none"))
    result += f".read_by({roles(reader)})" if reader != "read-only" else ""
    result += f".lifecycle({state(field)})" if "lifecycle" in field else ""
    rule = honoured.rule(field) if honoured else "fixed"
    return result + (f".{rule}()," if rule != "fixed" else ",")


def one_verb(verb):
    parameters = ", ".join(f"({json.dumps(name)}, {table(parse(kind))})" for name, kind in verb["parameters"])
    result = f"Verb::new({json.dumps(verb['name'])}, &[{parameters}], {table(parse(verb['result']))}, {roles(verb['roles'])})"
    result += f".optional({verb['optional']})" if "optional" in verb else ""
    result += "" if verb.get("session", True) else ".without_session()"
    result += f".errors(&{json.dumps(verb['errors'])})" if "errors" in verb else ""
    return result + (f".lifecycle({state(verb)})," if "lifecycle" in verb else ",")


def roles(text):
    lowest, _, certificate = text.partition("+")
    return f"Roles::{lowest.upper().replace('-', '_')}" + (".with_client_cert()" if certificate else "")


def state(given):
    return f"Lifecycle::{given.get('lifecycle', 'published').capitalize()}"


def raw(text):
    """A literal that is easy to read: raw if it has quotes."""
    return f'r#"{text}"#' if '"' in text else f'"{text}"'
