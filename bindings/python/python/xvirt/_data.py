"""Plain data: records, enums with and without data, and how they go to the library and come from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

from . import _xvirt
from ._checks import argument
from ._resources import Resource, put_back, taken_out
from ._shown import shown

_R = TypeVar("_R", bound="Record")
_V = TypeVar("_V", bound="Variant")
_E = TypeVar("_E", bound="StrEnum")
_O = TypeVar("_O", bound="Opaque")
_K = TypeVar("_K")
_T = TypeVar("_T")


# Imported when needed, because it takes milliseconds.
def json_text(data: Any) -> str:
    """Data as JSON."""
    import json

    return json.dumps(data)


def json_data(text: str | bytes) -> Any:
    """The data in JSON."""
    import json

    return json.loads(text)


class StrEnum(str, Enum):
    """An enum whose members are strings, as ``enum.StrEnum`` of Python 3.11."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def _load(cls: type[_E], wire: Any) -> _E:
        # Many times faster than the call of the class.
        member = cls._value2member_map_.get(wire)
        return cls(wire) if member is None else cast(_E, member)


class Record:
    """An immutable record of plain data, much like a frozen dataclass.

    Records are equal if their fields are. ``replace`` makes a changed copy; ``to_dict`` and ``to_json`` give what
    ``from_dict`` and ``from_json`` read, which is also what the Rust and C libraries read and write.
    """

    __slots__ = ()
    _loads: ClassVar[Mapping[str, Callable[[Any], Any] | None]] = {}
    _dumps: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    # The name of the type in the library, if users can create one.
    _input: ClassVar[str | None] = None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; use replace({name}=…)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def _init(self, given: Mapping[str, Any]) -> None:
        """Sets the fields that are given, and the others to their defaults."""
        self._set(self._checked(self._dump({name: value for name, value in given.items() if value is not None})))

    @classmethod
    def _checked(cls, wire: Any) -> Any:
        """The data after the library has checked its types and filled in the defaults."""
        if cls._input is None:
            return wire
        plain, resources = taken_out(wire)
        checked = _xvirt.normalize(cls._input, plain)
        for path, resource in resources:
            put_back(checked, path, resource)
        return checked

    def _set(self, wire: Mapping[str, Any]) -> None:
        for name, load in self._loads.items():
            value = wire.get(name)
            object.__setattr__(self, name, value if load is None else load(value))

    @classmethod
    def _load(cls: type[_R], wire: Any) -> _R:
        new = object.__new__(cls)
        new._set(wire)
        return new

    @classmethod
    def _dump(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: argument(cls._where(name), cls._dumps.get(name, dump), value) for name, value in fields.items()}

    @classmethod
    def _where(cls, name: str) -> str:
        """A field in the text of an error."""
        return cls.__name__ if name == "value" else f"{cls.__name__}.{name}"

    def _wire(self) -> Any:
        return self._dump({name: getattr(self, name) for name in self._loads})

    def replace(self: _R, **changes: Any) -> _R:
        """A copy with some fields changed."""
        if unknown := changes.keys() - self._loads.keys():
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)[0]!r}")
        return type(self)(**({name: getattr(self, name) for name in self._loads} | changes))

    def to_dict(self) -> dict[str, Any]:
        """The record as a dictionary of plain values, which ``json`` can write."""
        return cast("dict[str, Any]", self._plain())

    def _plain(self) -> Any:
        plain, resources = taken_out(self._wire())
        if resources:
            raise TypeError(f"{type(self).__name__} contains {resources[0][1]!r}, which cannot be written to a file")
        return plain

    def to_json(self) -> str:
        """The record as JSON."""
        return json_text(self.to_dict())

    @classmethod
    def from_dict(cls: type[_R], fields: Mapping[str, Any]) -> _R:
        """The record from such a dictionary; unknown and missing fields are errors."""
        return cls._load(fields if cls._input is None else _xvirt.normalize(cls._input, fields))

    @classmethod
    def from_json(cls: type[_R], text: str | bytes) -> _R:
        """The record from JSON."""
        return cls.from_dict(json_data(text))

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._loads)

    def __hash__(self) -> int:
        return hash((type(self), *(hashable(getattr(self, name)) for name in self._loads)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={listed(getattr(self, name))}" for name in self._loads)
        return f"{type(self).__name__}({fields})"

    def __copy__(self: _R) -> _R:
        return self

    def __deepcopy__(self: _R, memo: object) -> _R:
        # It cannot be changed, and an open file in it stays the same one.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), *taken_out(self._wire()))


class Variant(Record):
    """One variant of an enum with data. Its class says which one it is; ``match`` tells them apart."""

    __slots__ = ()
    _variant: ClassVar[str] = ""
    # How the data lies: "unit", "tuple" or "struct".
    _kind: ClassVar[str] = "unit"
    # The field that names the variant, if the data is beside it instead of inside of it.
    _tag: ClassVar[str | None] = None
    # The data that stands for a variant which is none, such as an open file.
    _placeholder: ClassVar[Any] = None
    _variants: ClassVar[dict[str, type[Variant]]] = {}

    def __init_subclass__(cls) -> None:
        if cls._variant:
            cls._variants[cls._variant] = cls

    def _init(self, given: Mapping[str, Any]) -> None:
        fields = self._dump({name: value for name, value in given.items() if value is not None})
        if self._placeholder is None:
            fields = self._inside(self._checked(self._outside(fields)))
        self._set(fields)

    def _wire(self) -> Any:
        fields = super()._wire()
        if self._placeholder is not None:
            return Resource(self._variant, fields["value"], self._placeholder)
        return self._outside(fields)

    @classmethod
    def _outside(cls, fields: dict[str, Any]) -> Any:
        """The data of the enum from that of this variant."""
        if cls._tag is not None:
            return {cls._tag: cls._variant, **fields}
        if cls._kind == "unit":
            return cls._variant
        return {cls._variant: fields["value"] if cls._kind == "tuple" else fields}

    @classmethod
    def _inside(cls, wire: Any) -> Any:
        """The data of this variant from that of the enum."""
        if cls._kind == "unit":
            return {}
        if cls._tag is not None:
            return wire
        return {"value": wire[cls._variant]} if cls._kind == "tuple" else wire[cls._variant]

    @classmethod
    def _load(cls: type[_V], wire: Any) -> _V:
        if isinstance(wire, Resource):
            name = wire.kind
        else:
            name = wire if isinstance(wire, str) else wire[cls._tag] if cls._tag is not None else next(iter(wire))
        variant = cls._variants[name]
        new = object.__new__(variant)
        new._set({"value": wire.value} if isinstance(wire, Resource) else variant._inside(wire))
        return cast(_V, new)

    def to_dict(self) -> Any:
        """The variant as plain values: its name, or a dictionary from its name to its data."""
        return self._plain()


class Opaque:
    """Data that only the library reads. It can be stored as JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    @classmethod
    def _load(cls: type[_O], wire: Any) -> _O:
        return cls(wire)

    def _wire(self) -> Any:
        return self._value

    def to_json(self) -> str:
        """The data as JSON."""
        return json_text(self._value)

    @classmethod
    def from_json(cls: type[_O], text: str | bytes) -> _O:
        """The data from JSON. It is checked where it is used."""
        return cls(json_data(text))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._value == cast(Opaque, other)._value

    def __hash__(self) -> int:
        return hash((type(self), self.to_json()))


def dump(value: Any) -> Any:
    """A value as the library takes it."""
    if isinstance(value, (Record, Opaque)):
        return value._wire()
    if value is None or isinstance(value, (bool, int, float, bytes, Resource)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        return {key: dump(entry) for key, entry in entries.items()}
    if isinstance(value, Iterable):
        values = cast("Iterable[Any]", value)
        return [dump(entry) for entry in values]
    return str(value)


def restored(kind: type[Record], plain: Any, resources: list[tuple[tuple[Any, ...], Resource]]) -> Record:
    """A record that was pickled."""
    for path, value in resources:
        if not path:
            return kind._load(value)
        put_back(plain, path, value)
    return kind._load(plain)


def listed(value: object) -> str:
    """The value of a field in the text of its record. Only bytes are shortened."""
    return shown(value) if isinstance(value, bytes) else repr(value)


def load_resource(wire: Any) -> Any:
    """The value of a field that is no data."""
    return wire.value if isinstance(wire, Resource) else wire


def hashable(value: Any) -> Any:
    """A mapping as something that has a hash."""
    if not isinstance(value, Mapping):
        return value
    entries = cast("Mapping[Any, Any]", value)
    return frozenset(entries.items())


def optional(load: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    """Loads what may be absent."""
    return lambda wire: None if wire is None else load(wire)


def as_it_is(value: Any) -> Any:
    """Loads or dumps what needs no change."""
    return value


def sequence(load: Callable[[Any], _T]) -> Callable[[Any], tuple[_T, ...]]:
    """Loads a list as a tuple."""
    return lambda wire: () if wire is None else tuple(map(load, wire))


def mapping(key: Callable[[Any], _K], load: Callable[[Any], _T]) -> Callable[[Any], Mapping[_K, _T]]:
    """Loads a dictionary as a read-only one."""

    def loaded(wire: Mapping[Any, Any] | None) -> Mapping[_K, _T]:
        return MappingProxyType({key(k): load(v) for k, v in (wire or {}).items()})

    return loaded
