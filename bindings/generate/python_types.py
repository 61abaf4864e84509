"""How the types of the API appear in Python."""

from model import snake
from surface import COERCED, OPAQUE, TEXT, UNIONS

INTEGERS = {"u8", "u16", "u32", "u64", "usize", "i32", "i64"}
# By the type: the type that attributes have, what constructors and calls accept, how it is loaded and dumped.
SIMPLE = {
    "unit": ("None", "None", None, None),
    "bool": ("bool", "bool", None, None),
    "f64": ("float", "float", None, None),
    "str": ("str", "str", None, None),
    "Bytes": ("bytes", "bytes | bytearray | memoryview", None, "dump_bytes"),
    "Path": ("Path", "StrPath", "load_path", "dump_text"),
    "Duration": ("float", "Seconds", "load_duration", "dump_duration"),
    "SystemTime": ("datetime", "datetime", "load_moment", "dump_moment"),
    "ByteSize": ("int", "Size", None, "size"),
    "Uuid": ("UUID", "UUID | str", "load_uuid", "dump_text"),
    "IpAddr": ("IPv4Address | IPv6Address", "IPv4Address | IPv6Address | str", "load_address", "dump_text"),
    "InterfaceAddress": ("IPv4Interface | IPv6Interface", "IPv4Interface | IPv6Interface | str", "load_interface",
                         "dump_text"),
    "Descriptor": ("HasFileno | int", "HasFileno | int", None, None),
    "BorrowedFd": ("int", "int", None, None),
    "UnixStream": ("socket", "socket", None, None),
    "OwnedFd": ("int", "int", None, None),
    "Error": ("Error", "Error", None, None),
}
SIMPLE |= {name: ("int", "int", None, None) for name in INTEGERS}
SIMPLE |= {name: ("str", "str", None, None) for name in TEXT}
RATES = {"bytes_per_second", "bandwidth"}


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
        if kind.name == "ByteSize" and name in RATES:
            return "Rate"
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
                return f"each({dump})" if (dump := self.dump(inner, name)) else None
        if kind.name == "ByteSize" and name in RATES:
            return "rate"
        if kind.name in COERCED:
            return f"dump_{snake(kind.name)}"
        return SIMPLE[kind.name][3] if kind.name in SIMPLE else None

