"""How the types of the API appear in C: the Rust types of the fields and parameters that C sees."""

from model import Type, snake
from surface import OPAQUE, TEXT

INTEGERS = {"u8", "u16", "u32", "u64", "usize", "i32", "i64"}
TEXTS = {"str", "Path", "Uuid", "IpAddr", "InterfaceAddress"} | TEXT
# Numbers of nanoseconds.
TIMES = {"Duration", "SystemTime"}
DESCRIPTORS = {"Descriptor", "OwnedFd", "UnixStream", "BorrowedFd"}
# Rust's types by the names in the model.
RUST = {
    "str": "String", "Path": "std::path::PathBuf", "Duration": "std::time::Duration", "SystemTime": "std::time::SystemTime",
    "Uuid": "core::config::Uuid", "IpAddr": "std::net::IpAddr", "ByteSize": "core::config::ByteSize",
    "MacAddress": "core::net::MacAddress", "InterfaceAddress": "core::seed::InterfaceAddress",
    "Descriptor": "core::config::Descriptor",
}

class C:
    """The C side of types of one API. `builders` are handles that only collect options, which C passes as structs."""

    def __init__(self, api):
        self.api = api
        self.builders = {name for name, handle in api.handles.items() if name not in OPAQUE and is_builder(handle)}

    def is_record(self, name):
        """Whether it is a struct in C, passed by pointer."""
        enum = self.api.enums.get(name)
        return name in self.api.records or name in self.builders or bool(enum and not enum.is_plain)

    def is_enum(self, name):
        enum = self.api.enums.get(name)
        return bool(enum and enum.is_plain)

    def is_handle(self, name):
        return name in OPAQUE or name == "BlockBackend" or (name in self.api.handles and name not in self.builders
                                                            and name not in RUST)

    def element(self, kind):
        """The Rust type of a value in a struct or list that C sees; None if there is none."""
        name = kind.name
        if name == "bool":
            return "MaybeUninit<bool>"
        if name in INTEGERS or name == "f64":
            return name
        if name in TEXTS:
            return "*const c_char"
        if name in TIMES or name == "ByteSize":
            return "u64"
        if name in DESCRIPTORS:
            return "c_int"
        if self.is_enum(name):
            return f"MaybeUninit<Xvirt{name}>"
        if self.is_record(name) or self.is_handle(name):
            return f"*const Xvirt{name}"
        if kind == Type("Vec", (Type("str"),)):
            return "*const XvirtStringList"
        if name == "Option" and (self.element(kind.args[0]) or "").startswith(("*", "MaybeUninit<Xvirt")):
            return self.element(kind.args[0])
        return None

    def is_number(self, kind):
        """Whether C cannot tell a missing one by itself."""
        return kind.name in INTEGERS | TIMES | DESCRIPTORS | {"bool", "f64", "ByteSize"}

    def rust(self, kind):
        """The Rust type of a parameter."""
        if kind.name == "IpAddr":
            # Of one family, or of any.
            return "_"
        if kind.name in INTEGERS or kind.name in ("bool", "f64"):
            return kind.name
        if kind.name in RUST:
            return RUST[kind.name]
        if kind.name in ("Vec", "Option"):
            return f"{kind.name}<{self.rust(kind.args[0])}>"
        return self.path(kind.name)

    def path(self, name):
        if name == "BlockBackend":
            return "std::sync::Arc<dyn core::disk::BlockBackend>"
        item = self.api.handles.get(name) or self.api.data(name)
        return f"core::{item.module}::{name}"


def is_builder(handle):
    """Whether each method sets an option."""
    return bool(handle.methods) and handle.name not in ("Sockets", "Tls", "MacAddress", "CommandLine") and all(
        method.receiver in ("own", "none") and method.output.name in ("Self", handle.name) and not method.fallible
        for method in handle.methods) or handle.name == "ImageDescriptor"


def singular(name):
    if name.endswith("sses"):
        return name[:-2]
    if name.endswith("ries"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") else name


def with_unit(name, kind):
    """The name of a number with its unit."""
    return f"{name}_ns" if kind.name in TIMES else name


def constant(*words):
    return "_".join(["XVIRT", *(snake(word) if word[:1].isupper() else word for word in words)]).upper()
