"""How the types of the API appear in Python."""

from model import snake
from surface import COERCED, OPAQUE, TEXT, UNIONS

def integer(name):
    """What checks an integer of this type of Rust."""
    bits = BITS[name]
    least, most = (0, bits) if name.startswith("u") else (f"-2**{bits - 1}", bits - 1)
    return f"dump_int({least}, 2**{most} - 1)"


BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "usize": 64, "i32": 32, "i64": 64}
INTEGERS = set(BITS)
# By the type: the type that attributes have, what constructors and calls accept, how it is loaded and dumped.
SIMPLE = {
    "unit": ("None", "None", None, None),
    "bool": ("bool", "bool", None, "dump_bool"),
    "f64": ("float", "float", None, "dump_float"),
    "str": ("str", "str", None, "dump_str"),
    "Bytes": ("bytes", "bytes | bytearray | memoryview", None, "dump_bytes"),
    "Path": ("Path", "StrPath", "load_path", "dump_path"),
    "Duration": ("float", "Seconds", "load_duration", "dump_duration"),
    "SystemTime": ("datetime", "datetime", "load_moment", "dump_moment"),
    "ByteSize": ("int", "Size", None, "dump_size"),
    "Uuid": ("UUID", "UUID | str", "load_uuid", "dump_uuid"),
    "IpAddr": ("IPv4Address | IPv6Address", "IPv4Address | IPv6Address | str", "load_address", "dump_address"),
    "InterfaceAddress": ("IPv4Interface | IPv6Interface", "IPv4Interface | IPv6Interface | str", "load_interface",
                         "dump_address"),
    "Descriptor": ("HasFileno | int", "HasFileno | int", None, None),
    "BorrowedFd": ("int", "int", None, None),
    "UnixStream": ("socket", "socket", None, None),
    "OwnedFd": ("int", "int", None, None),
    "Error": ("Error", "Error", None, None),
}

SIMPLE |= {name: ("int", "int", None, integer(name)) for name in INTEGERS}
SIMPLE |= {name: ("str", "str", None, "dump_str") for name in TEXT}
RATES = {"bytes_per_second", "bandwidth"}
# Numbers with these names are numbers of bytes.
SIZES = {"size", "capacity", "block_size", "output_limit", "max_window", "limit", "kernel", "initrd"}


class Python:
    """The Python side of types of one API."""

    def __init__(self, api):
        self.api = api

    def covered(self, kind):
        """Whether Python has this type."""
        if kind.name in ("Option", "Vec", "Map"):
            return all(map(self.covered, kind.args))
        return (kind.name in SIMPLE or kind.name in OPAQUE or kind.name in UNIONS or self.api.data(kind.name) is not None
                or kind.name in self.api.handles)

    def attribute(self, kind):
        """The type of an attribute or result."""
        match kind.name, kind.args:
            case "Option", (inner,):
                return f"{self.attribute(inner)} | None"
            case "Vec", (inner,):
                return f"tuple[{self.attribute(inner)}, ...]"
            case "Map", (key, inner):
                return f"Mapping[{self.attribute(key)}, {self.attribute(inner)}]"
        return SIMPLE[kind.name][0] if kind.name in SIMPLE else kind.name

    def argument(self, kind, name=""):
        """The type of what a constructor or call accepts."""
        match kind.name, kind.args:
            case "Option", (inner,):
                return f"{self.argument(inner, name)} | None"
            case "Vec", (inner,):
                return f"Iterable[{self.argument(inner)}]"
            case "Map", (key, inner):
                return f"Mapping[{self.argument(key)}, {self.argument(inner)}]"
        if is_size(kind, name):
            return "Rate" if name in RATES else "Size"
        if kind.name in COERCED:
            return f"{kind.name} | StrPath | bytes | HasFileno"
        if kind.name in UNIONS:
            return " | ".join(UNIONS[kind.name])
        enum = self.api.enums.get(kind.name)
        if enum and enum.is_plain:
            return f"{kind.name} | str"
        return SIMPLE[kind.name][1] if kind.name in SIMPLE else kind.name

    def load(self, kind):
        """The expression for what loads it; None if it comes as it is."""
        match kind.name, kind.args:
            case "Option", (inner,):
                return f"optional({load})" if (load := self.load(inner)) else None
            case "Vec", (inner,):
                return f"sequence({self.load(inner) or 'as_it_is'})"
            case "Map", (key, inner):
                return f"mapping({'int' if key.name in INTEGERS else 'str'}, {self.load(inner) or 'as_it_is'})"
        if kind.name in SIMPLE:
            return SIMPLE[kind.name][2]
        return f"{kind.name}._load"

    def dump(self, kind, name=""):
        """The expression for what dumps it into data; None for what `dump` does anyway."""
        match kind.name, kind.args:
            case "Option", (inner,):
                return f"optional({dump})" if (dump := self.dump(inner, name)) else None
            case "Vec", (inner,):
                return f"dump_each({dump})" if (dump := self.dump(inner, name)) else None
            case "Map", (key, inner):
                return f"dump_entries({self.dump(key) or 'dump'}, {self.dump(inner) or 'dump'})"
        if is_size(kind, name):
            return "dump_rate" if name in RATES else "dump_size"
        if kind.name in COERCED:
            return f"dump_{snake(kind.name)}"
        if kind.name in SIMPLE:
            return SIMPLE[kind.name][3]
        enum = self.api.enums.get(kind.name)
        if enum and enum.is_plain:
            return f"dump_member({kind.name})"
        return f"dump_record({kind.name})" if kind.name in OPAQUE or self.api.data(kind.name) else None


def is_size(kind, name):
    """Whether it is a number of bytes, which may be text."""
    return kind.name == "ByteSize" or kind.name in ("u64", "usize") and name in SIZES
