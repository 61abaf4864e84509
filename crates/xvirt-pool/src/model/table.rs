//! The tables that describe classes.

use serde_json::Value;

use super::value_error::{ValueError, ValueErrorKind, shown};
use super::value_type::{Misfit, Type};

/// A class: its fields, and its verbs.
#[derive(Debug)]
pub struct ClassTable {
    /// Its name in XenAPI's spelling.
    pub name: &'static str,
    /// The state of the class in XenAPI.
    pub lifecycle: Lifecycle,
    /// The type of references to its objects.
    pub reference: &'static Type,
    /// The type of its records.
    pub record: &'static Type,
    /// Makes a record whole: reads it as [`Record::from_value`](super::Record::from_value) does, and adds the fields
    /// that it lacks. `None` for a class of which xvirt has no objects.
    pub whole: Option<fn(Value) -> Result<Value, ValueError>>,
    /// Who may read whole records.
    pub read: Roles,
    /// The verbs that find objects and read whole records, of those that many classes have.
    pub queries: &'static [&'static str],
    /// Its fields, sorted by name.
    pub fields: &'static [Field],
    /// Its verbs beside [queries](Self::queries) and those of its fields, sorted by name.
    pub verbs: &'static [Verb],
}

/// A field of a class.
#[derive(Debug)]
pub struct Field {
    /// Its name in XenAPI's spelling.
    pub name: &'static str,
    /// Its type.
    pub value_type: Type,
    /// Who sets it.
    pub qualifier: Qualifier,
    /// Whether a caller of `create` must give it.
    pub required: bool,
    /// Its default as JSON, if that is not the zero, empty or null value of its type.
    default: Option<&'static str>,
    /// Its state in XenAPI.
    pub lifecycle: Lifecycle,
    /// Who may read it.
    pub read: Roles,
    /// Who may set it by `set_` and the name of the field.
    pub write: Roles,
    /// What xvirt does with it.
    pub rule: FieldRule,
}

/// Who sets a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// Only the host service sets it.
    DynamicRo,
    /// It is set when the object is created, and changed by verbs of its own at most.
    StaticRo,
    /// Clients set it.
    Rw,
}

/// What xvirt does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldRule {
    /// It says how things are, or has the effect that its documentation says.
    Honoured,
    /// It is kept as clients set it, without an effect.
    Kept,
    /// It always has its default. A setter is refused if it would change that.
    Fixed,
}

/// The state of a class, a field or a verb in XenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Clients use it.
    Published,
    /// It may change.
    Prototyped,
    /// Clients should use something else.
    Deprecated,
    /// It has no effect; a verb answers `MESSAGE_REMOVED`.
    Removed,
}

/// A verb of a class that its fields do not imply.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// The names and types of its parameters after the session.
    pub parameters: &'static [(&'static str, Type)],
    /// How many of the last parameters may be left out.
    pub optional: usize,
    /// Whether its first parameter is a session. Only a login has none.
    pub session: bool,
    /// The type of its result.
    pub result: Type,
    /// The codes of the errors that XenAPI names for it; any verb has others too.
    pub errors: &'static [&'static str],
    /// Who may call it.
    pub roles: Roles,
    /// Its state in XenAPI.
    pub lifecycle: Lifecycle,
}

/// An error of XenAPI.
#[derive(Debug)]
pub struct ErrorCode {
    /// The code.
    pub code: &'static str,
    /// The names of its parameters, if they are known.
    pub parameters: Option<&'static [&'static str]>,
}

/// A role that users can have. Each may do what the ones before it may, except [`ClientCert`](Self::ClientCert).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum RoleName {
    /// Not a role of a user: who shows a certificate of a client and has no password.
    ClientCert,
    ReadOnly,
    VmOperator,
    VmAdmin,
    VmPowerAdmin,
    PoolOperator,
    PoolAdmin,
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Roles(u8);

impl ClassTable {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().and_then(|index| self.fields.get(index))
    }

    /// The verb of this name that its fields do not imply.
    pub fn verb(&self, name: &str) -> Option<&'static Verb> {
        self.verbs.binary_search_by(|verb| verb.name.cmp(name)).ok().and_then(|index| self.verbs.get(index))
    }

    /// The value of a field in the form in which records have it, from one that a client wrote.
    ///
    /// # Errors
    /// The value is not one of the field's type.
    pub fn conform(&self, field: &'static Field, value: Value) -> Result<Value, ValueError> {
        field.value_type.conform(value).map_err(|Misfit { kind, given, remedy }| ValueError {
            kind,
            class: self.name,
            field: field.name,
            expected: format!("of the type `{}`", field.value_type),
            given,
            remedy,
        })
    }

    /// The value of a field that a client sets, in the form in which records have it.
    ///
    /// # Errors
    /// The value is not one of the field's type, or xvirt does not honour the field and it would change.
    pub fn conform_set(&self, field: &'static Field, value: Value) -> Result<Value, ValueError> {
        let value = self.conform(field, value)?;
        if field.rule == FieldRule::Fixed && value != field.default() {
            return Err(ValueError {
                kind: ValueErrorKind::NotSupported,
                class: self.name,
                field: field.name,
                expected: format!("always {}", field.default()),
                given: shown(&value),
                remedy: "leave it as it is: xvirt does not honour this field".to_owned(),
            });
        }
        Ok(value)
    }
}

impl Field {
    pub(super) const fn dynamic(name: &'static str, value_type: Type) -> Self {
        Self {
            name,
            value_type,
            qualifier: Qualifier::DynamicRo,
            required: false,
            default: None,
            lifecycle: Lifecycle::Published,
            read: Roles::READ_ONLY,
            write: Roles::NONE,
            rule: FieldRule::Fixed,
        }
    }

    pub(super) const fn constant(name: &'static str, value_type: Type) -> Self {
        Self { qualifier: Qualifier::StaticRo, ..Self::dynamic(name, value_type) }
    }

    pub(super) const fn writable(name: &'static str, value_type: Type, write: Roles) -> Self {
        Self { qualifier: Qualifier::Rw, write, ..Self::dynamic(name, value_type) }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn starts_as(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }

    pub(super) const fn lifecycle(self, lifecycle: Lifecycle) -> Self {
        Self { lifecycle, ..self }
    }

    pub(super) const fn read_by(self, read: Roles) -> Self {
        Self { read, ..self }
    }

    pub(super) const fn honoured(self) -> Self {
        Self { rule: FieldRule::Honoured, ..self }
    }

    pub(super) const fn kept(self) -> Self {
        Self { rule: FieldRule::Kept, ..self }
    }

    /// The value that it has in a record of which only other fields were set.
    pub fn default(&self) -> Value {
        let json = self.default.and_then(|json| serde_json::from_str(json).ok());
        json.unwrap_or_else(|| self.value_type.zero())
    }
}

impl Verb {
    pub(super) const fn new(
        name: &'static str,
        parameters: &'static [(&'static str, Type)],
        result: Type,
        roles: Roles,
    ) -> Self {
        let lifecycle = Lifecycle::Published;
        Self { name, parameters, optional: 0, session: true, result, errors: &[], roles, lifecycle }
    }

    pub(super) const fn optional(self, optional: usize) -> Self {
        Self { optional, ..self }
    }

    pub(super) const fn without_session(self) -> Self {
        Self { session: false, ..self }
    }

    pub(super) const fn errors(self, errors: &'static [&'static str]) -> Self {
        Self { errors, ..self }
    }

    pub(super) const fn lifecycle(self, lifecycle: Lifecycle) -> Self {
        Self { lifecycle, ..self }
    }

    /// Whether it only answers that it was removed.
    pub fn is_removed(&self) -> bool {
        self.lifecycle == Lifecycle::Removed
    }
}

impl RoleName {
    /// All roles, from the one that may do least.
    pub const ALL: [Self; 7] = [
        Self::ClientCert,
        Self::ReadOnly,
        Self::VmOperator,
        Self::VmAdmin,
        Self::VmPowerAdmin,
        Self::PoolOperator,
        Self::PoolAdmin,
    ];

    /// The role of this name, if it is one that users can have.
    pub fn of_user(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role != Self::ClientCert && role.as_str() == name)
    }

    /// XenAPI's spelling, such as `pool-admin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCert => "client-cert",
            Self::ReadOnly => "read-only",
            Self::VmOperator => "vm-operator",
            Self::VmAdmin => "vm-admin",
            Self::VmPowerAdmin => "vm-power-admin",
            Self::PoolOperator => "pool-operator",
            Self::PoolAdmin => "pool-admin",
        }
    }
}

impl Roles {
    const EVERY: u8 = (1 << RoleName::ALL.len()) - 1;
    /// Nobody.
    pub const NONE: Self = Self(0);
    /// Everybody.
    pub const READ_ONLY: Self = Self::from(RoleName::ReadOnly).with_client_cert();
    /// From operators of VMs on.
    pub const VM_OPERATOR: Self = Self::from(RoleName::VmOperator);
    /// From administrators of VMs on.
    pub const VM_ADMIN: Self = Self::from(RoleName::VmAdmin);
    /// From administrators of VMs and their power on.
    pub const VM_POWER_ADMIN: Self = Self::from(RoleName::VmPowerAdmin);
    /// From operators of the pool on.
    pub const POOL_OPERATOR: Self = Self::from(RoleName::PoolOperator);
    /// Administrators of the pool.
    pub const POOL_ADMIN: Self = Self::from(RoleName::PoolAdmin);

    const fn from(lowest: RoleName) -> Self {
        Self((u8::MAX << lowest as u8) & Self::EVERY)
    }

    /// These, and who shows a certificate of a client.
    pub const fn with_client_cert(self) -> Self {
        Self(self.0 | 1 << RoleName::ClientCert as u8)
    }

    /// Whether this role is one of them.
    pub const fn contains(self, role: RoleName) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// The roles, from the one that may do least.
    pub fn iter(self) -> impl Iterator<Item = RoleName> {
        RoleName::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl std::fmt::Debug for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(RoleName::as_str)).finish()
    }
}
