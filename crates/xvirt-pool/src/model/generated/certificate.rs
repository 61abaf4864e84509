// Written by scripts/model.
//! The class `Certificate`.

use serde::{Deserialize, Serialize};

use super::enums;
use crate::model::{Class, ClassTable, DateTime, Field, Lifecycle, Record, Ref, Roles, Type, record::whole};

/// A certificate that is trusted, or that a host shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Certificate {
    /// The identifier of the object; its reference is made of it.
    pub uuid: String,
    /// The name of its file; empty for that of a host.
    pub name: String,
    /// Whether it is a host's for clients, a host's for members, or one that is trusted.
    pub r#type: enums::CertificateType,
    /// The host that shows it.
    pub host: Ref<super::Host>,
    /// From when it is valid.
    pub not_before: DateTime,
    /// Until when it is valid.
    pub not_after: DateTime,
    /// Its fingerprint by SHA-256, as in fingerprint_sha256, for clients of earlier versions.
    pub fingerprint: String,
    /// Its fingerprint by SHA-256: pairs of hexadecimal digits with colons.
    pub fingerprint_sha256: String,
    /// Its fingerprint by SHA-1, likewise.
    pub fingerprint_sha1: String,
    /// Not honoured: always empty.
    pub purpose: Vec<enums::CertificatePurpose>,
}

impl Default for Certificate {
    fn default() -> Self {
        Self {
            uuid: String::new(),
            name: String::new(),
            r#type: enums::CertificateType::Host,
            host: Ref::NULL,
            not_before: DateTime::EPOCH,
            not_after: DateTime::EPOCH,
            fingerprint: String::new(),
            fingerprint_sha256: String::new(),
            fingerprint_sha1: String::new(),
            purpose: Vec::new(),
        }
    }
}

impl Record for Certificate {}

impl Class for Certificate {
    const TABLE: &'static ClassTable = &ClassTable {
        name: "Certificate",
        lifecycle: Lifecycle::Published,
        reference: &Type::Ref("Certificate"),
        record: &Type::Record("Certificate"),
        whole: Some(whole::<Certificate>),
        read: Roles::READ_ONLY,
        queries: &["get_record", "get_by_uuid", "get_all", "get_all_records"],
        fields: &[
            Field::constant("fingerprint", Type::String).lifecycle(Lifecycle::Deprecated).honoured(),
            Field::constant("fingerprint_sha1", Type::String).lifecycle(Lifecycle::Prototyped).honoured(),
            Field::constant("fingerprint_sha256", Type::String).lifecycle(Lifecycle::Prototyped).honoured(),
            Field::constant("host", Type::Ref("host")).honoured(),
            Field::dynamic("name", Type::String).honoured(),
            Field::constant("not_after", Type::DateTime).honoured(),
            Field::constant("not_before", Type::DateTime).honoured(),
            Field::constant("purpose", Type::Set(&Type::Enum(enums::CertificatePurpose::TABLE)))
                .lifecycle(Lifecycle::Prototyped),
            Field::dynamic("type", Type::Enum(enums::CertificateType::TABLE)).starts_as(r#""host""#).honoured(),
            Field::dynamic("uuid", Type::String).required().honoured(),
        ],
        verbs: &[],
    };
}
