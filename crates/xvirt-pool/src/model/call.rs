//! The verbs of a class, with those that it has because of its fields.

use super::table::{ClassTable, Field, Lifecycle, Qualifier, Roles, Verb};
use super::value_type::Type;

/// The name and the type of a parameter.
pub type Parameter = (&'static str, Type);

/// A verb of a class, as clients call it: `VM.get_name_label` is `VM`'s `Get` of the field `name_label`.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// `get_` and the name of the field.
    Get(&'static Field),
    /// `set_` and the name of the field.
    Set(&'static Field),
    /// `add_`: adds a value to a set, if it is not in it.
    Add(&'static Field),
    /// `remove_`: removes a value from a set, if it is in it.
    Remove(&'static Field),
    /// `add_to_`: adds an entry to a map, which must not have its key.
    AddTo(&'static Field),
    /// `remove_from_`: removes an entry from a map, if it has it.
    RemoveFrom(&'static Field),
    /// `get_record`.
    GetRecord,
    /// `get_by_uuid`.
    GetByUuid,
    /// `get_by_name_label`.
    GetByNameLabel,
    /// `get_all`.
    GetAll,
    /// `get_all_records`.
    GetAllRecords,
    /// `get_all_where`, which every class with `get_all` has.
    GetAllWhere,
    /// `get_all_records_where`, likewise.
    GetAllRecordsWhere,
    /// A verb of the class itself.
    Own(&'static Verb),
}

use Call::*;

type OfField = fn(&'static Field) -> Call;

/// The verbs of fields by their prefixes.
const ACCESSORS: [(&str, OfField); 6] = [
    ("get_", Get),
    ("set_", Set),
    ("add_to_", AddTo),
    ("remove_from_", RemoveFrom),
    ("add_", Add),
    ("remove_", Remove),
];

/// The verbs that find objects, and the query of a class that allows each.
const QUERIES: [(&str, Call, &str); 7] = [
    ("get_record", GetRecord, "get_record"),
    ("get_by_uuid", GetByUuid, "get_by_uuid"),
    ("get_by_name_label", GetByNameLabel, "get_by_name_label"),
    ("get_all", GetAll, "get_all"),
    ("get_all_records", GetAllRecords, "get_all_records"),
    ("get_all_where", GetAllWhere, "get_all"),
    ("get_all_records_where", GetAllRecordsWhere, "get_all_records"),
];

impl ClassTable {
    /// The verb of this name, without the name of the class.
    pub fn call(&self, name: &str) -> Option<Call> {
        if let Some(verb) = self.verb(name) {
            return Some(Own(verb));
        }
        let mut queries = QUERIES.iter().filter(|(.., allowed)| self.queries.contains(allowed));
        if let Some((_, call, _)) = queries.find(|(query, ..)| *query == name) {
            return Some(*call);
        }
        let of_field = |(prefix, call): &(&str, OfField)| Some(call(self.field(name.strip_prefix(prefix)?)?));
        ACCESSORS.iter().filter_map(of_field).find(|call| self.has(call))
    }

    /// All verbs with their names.
    pub fn calls(&self) -> Vec<(String, Call)> {
        let own = self.verbs.iter().map(|verb| (verb.name.to_owned(), Own(verb)));
        let queries = QUERIES.iter().filter(|(.., allowed)| self.queries.contains(allowed));
        let queries = queries.map(|(name, call, _)| ((*name).to_owned(), *call));
        let of_fields = self.fields.iter().flat_map(|field| {
            ACCESSORS.iter().map(move |(prefix, call)| (format!("{prefix}{}", field.name), call(field)))
        });
        own.chain(queries).chain(of_fields.filter(|(_, call)| self.has(call))).collect()
    }

    /// Whether a verb of a field exists.
    fn has(&self, call: &Call) -> bool {
        // Records of classes without queries are parts of results, and no verb is theirs.
        if self.queries.is_empty() {
            return false;
        }
        let (field, fits) = match call {
            Get(_) => return true,
            Set(field) => (field, true),
            Add(field) | Remove(field) => (field, matches!(field.value_type, Type::Set(_))),
            AddTo(field) | RemoveFrom(field) => (field, matches!(field.value_type, Type::Map(..))),
            _ => return false,
        };
        fits && field.qualifier == Qualifier::Rw
    }
}

impl Call {
    /// Its parameters after the session.
    pub fn parameters(self, class: &ClassTable) -> Vec<Parameter> {
        let object = ("self", *class.reference);
        match (self, self.element()) {
            (Own(verb), _) => verb.parameters.to_vec(),
            (GetAll | GetAllRecords, _) => Vec::new(),
            (GetAllWhere | GetAllRecordsWhere, _) => vec![("expr", Type::String)],
            (GetByUuid, _) => vec![("uuid", Type::String)],
            (GetByNameLabel, _) => vec![("label", Type::String)],
            (Set(field), _) => vec![object, ("value", field.value_type)],
            (AddTo(_), Some((key, value))) => vec![object, ("key", *key), ("value", *value)],
            (RemoveFrom(_), Some((key, _))) => vec![object, ("key", *key)],
            (Add(_) | Remove(_), Some((_, value))) => vec![object, ("value", *value)],
            (Get(_) | GetRecord | AddTo(_) | RemoveFrom(_) | Add(_) | Remove(_), _) => vec![object],
        }
    }

    /// The types of key and value of the map, or of the set twice, that it changes.
    fn element(self) -> Option<(&'static Type, &'static Type)> {
        match self {
            Add(field) | Remove(field) | AddTo(field) | RemoveFrom(field) => match field.value_type {
                Type::Set(value) => Some((value, value)),
                Type::Map(key, value) => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many of its last parameters may be left out.
    pub fn optional(self) -> usize {
        if let Own(verb) = self { verb.optional } else { 0 }
    }

    /// The type of its result.
    pub fn result(self, class: &ClassTable) -> Type {
        match self {
            Own(verb) => verb.result,
            Get(field) => field.value_type,
            Set(_) | Add(_) | Remove(_) | AddTo(_) | RemoveFrom(_) => Type::Void,
            GetRecord => *class.record,
            GetByUuid => *class.reference,
            GetByNameLabel | GetAll | GetAllWhere => Type::Set(class.reference),
            GetAllRecords | GetAllRecordsWhere => Type::Map(class.reference, class.record),
        }
    }

    /// Who may call it.
    pub fn roles(self, class: &ClassTable) -> Roles {
        match self {
            Own(verb) => verb.roles,
            Get(field) => field.read,
            Set(field) | Add(field) | Remove(field) | AddTo(field) | RemoveFrom(field) => field.write,
            _ => class.read,
        }
    }

    /// Its state in XenAPI.
    pub fn lifecycle(self, class: &ClassTable) -> Lifecycle {
        match self {
            Own(verb) => verb.lifecycle,
            Get(field) | Set(field) | Add(field) | Remove(field) | AddTo(field) | RemoveFrom(field) => field.lifecycle,
            _ => class.lifecycle,
        }
    }
}
