//! The interface of the fuzzers in `fuzz/`, in plain types. Only cargo-fuzz builds it.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::model::Class as _;
use crate::operation::query::Query;
use crate::store::{ManualClock, Pair, SimulatedStore, Store};
use crate::xenapi::method::method;
use crate::xenapi::rpc::Notation;

/// Adds the checksum of a snapshot, which no fuzzer would find.
pub fn seal(snapshot: &[u8]) -> Vec<u8> {
    [snapshot, &Sha256::digest(snapshot)].concat()
}

/// The pairs of a store that is restored from a snapshot, and a snapshot of it.
pub fn restore(mut snapshot: &[u8]) -> Result<(Vec<Pair>, Vec<u8>)> {
    let store = SimulatedStore::restore(&mut snapshot, 0, 0, Arc::new(ManualClock::default()))?;
    let mut again = Vec::new();
    store.snapshot(&mut again)?;
    Ok((store.range("/", None, usize::MAX, None)?.pairs, again))
}

/// The answer to a body of JSON-RPC by a service that returns the parameters of every verb.
pub fn json_rpc(body: &[u8]) -> Vec<u8> {
    answer(Notation::Json, body)
}

/// The answer to a body of XML-RPC by such a service.
pub fn xml_rpc(body: &[u8]) -> Vec<u8> {
    answer(Notation::Xml, body)
}

fn answer(notation: Notation, body: &[u8]) -> Vec<u8> {
    let head = match notation.head(body) {
        Ok(head) => head,
        Err(refusal) => return refusal,
    };
    let method = method(&head.method);
    let outcome = notation.parameters(body, &method).map(|(_session, values)| Value::Array(values));
    head.reply.write(&outcome, &method.verb)
}

/// Whether a client can read this as XML, to its end.
pub fn is_xml(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The value of a parameter in the query of a path.
pub fn query(query: &str, name: &str) -> Option<String> {
    crate::xenapi::query::parameter(query, name)
}

/// Which of two VMs an expression means, or what is wrong with it.
pub fn meant(expression: &str) -> Result<[bool; 2], String> {
    let query = Query::parse(crate::model::Vm::TABLE, expression)?;
    let record = |name: &str, vcpus: i64| serde_json::json!({ "name_label": name, "VCPUs_max": vcpus, "tags": ["a", "it's"], "other_config": { "k": "v" } });
    Ok([query.matches("OpaqueRef:1", &record("web", 4)), query.matches("OpaqueRef:2", &record("", 1))])
}
