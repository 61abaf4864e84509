//! JSON-RPC as XenAPI's clients speak it: version 2.0, and 1.0, whose requests have no member `jsonrpc`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::operation::Failure;

/// The error of a request that was understood, and of a verb that failed.
const FAILED: i64 = 1;
const NOT_JSON: i64 = -32_700;
const NO_REQUEST: i64 = -32_600;

/// A request whose parameters have not been read yet.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Cow<'a, str>,
    pub(crate) parameters: Option<&'a RawValue>,
    pub(crate) reply: Reply,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    version: Version,
    id: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A body that is no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
}

/// Reads a request.
pub(crate) fn request(body: &[u8]) -> Result<Request<'_>, Malformed> {
    let malformed = |code, message: String| Malformed { code, message };
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => {
            malformed(NO_REQUEST, format!("this is no request of JSON-RPC: {error}; send one object with a method"))
        }
        _ => malformed(NOT_JSON, format!("this is not JSON: {error}; send one object in UTF-8")),
    })?;
    let version = match envelope.jsonrpc.as_deref() {
        None | Some("1.0") => Version::One,
        Some("2.0") => Version::Two,
        Some(_) => return Err(malformed(NO_REQUEST, "this version of JSON-RPC is unknown; use 2.0".to_owned())),
    };
    if matches!(envelope.id, Value::Array(_) | Value::Object(_) | Value::Bool(_)) {
        return Err(malformed(NO_REQUEST, "the id is neither a number nor a text; use one of them".to_owned()));
    }
    let reply = Reply { version, id: envelope.id };
    Ok(Request { method: envelope.method, parameters: envelope.params, reply })
}

/// Reads the parameters of a request.
///
/// # Errors
/// They are no list, or nested too deep.
pub(crate) fn parameters(verb: &str, parameters: Option<&RawValue>) -> Result<Vec<Value>, Failure> {
    let values = parameters.map_or(Ok(Vec::new()), |raw| serde_json::from_str::<Vec<Value>>(raw.get()));
    values.map_err(|_| {
        Failure::new("INTERNAL_ERROR", [format!("the parameters of {verb} cannot be read")])
            .with_remedy("give them as a list in their order, nested at most 100 levels deep")
    })
}

impl Reply {
    /// The reply to whom it is not known what was asked.
    pub(crate) fn unknown() -> Self {
        Self { version: Version::Two, id: Value::Null }
    }

    /// The answer: the result of the verb, where `null` is that of a verb without one, or its failure.
    pub(crate) fn write(&self, outcome: &Result<Value, Failure>) -> Vec<u8> {
        #[derive(Serialize)]
        struct Succeeded<'a> {
            jsonrpc: &'a str,
            result: &'a Value,
            id: &'a Value,
        }
        #[derive(Serialize)]
        struct SucceededInOne<'a> {
            result: &'a Value,
            error: (),
            id: &'a Value,
        }
        let nothing = Value::String(String::new());
        let id = &self.id;
        match (outcome, self.version) {
            (Ok(value), version) => {
                let result = if value.is_null() { &nothing } else { value };
                match version {
                    Version::Two => to_bytes(&Succeeded { jsonrpc: "2.0", result, id }),
                    Version::One => to_bytes(&SucceededInOne { result, error: (), id }),
                }
            }
            (Err(Failure { code, parameters }), Version::Two) => {
                let error = json!({ "code": FAILED, "message": code, "data": parameters });
                to_bytes(&json!({ "jsonrpc": "2.0", "error": error, "id": id }))
            }
            (Err(Failure { code, parameters }), Version::One) => {
                let error: Vec<&String> = std::iter::once(code).chain(parameters).collect();
                to_bytes(&json!({ "result": null, "error": error, "id": id }))
            }
        }
    }
}

impl Malformed {
    /// The failure of a request that is read for the second time.
    pub(crate) fn failure(self) -> Failure {
        Failure::new("INTERNAL_ERROR", [self.message])
    }

    /// The answer.
    pub(crate) fn write(&self) -> Vec<u8> {
        to_bytes(&json!({ "jsonrpc": "2.0", "error": { "code": self.code, "message": self.message }, "id": null }))
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    // Only maps whose keys are no texts cannot be written, and there are none.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, outcome: Result<Value, Failure>) -> String {
        String::from_utf8(request(body.as_bytes()).unwrap().reply.write(&outcome)).unwrap()
    }

    #[test]
    fn each_version_is_answered_in_its_own_form() {
        let failure = || Failure::new("VM_BAD_POWER_STATE", ["vm", "halted", "running"]);
        let two = r#"{"jsonrpc":"2.0","method":"VM.start","params":["s"],"id":7}"#;
        assert_eq!(answer(two, Ok(json!(["a"]))), r#"{"jsonrpc":"2.0","result":["a"],"id":7}"#);
        assert_eq!(answer(two, Ok(Value::Null)), r#"{"jsonrpc":"2.0","result":"","id":7}"#);
        let answered: Value = serde_json::from_str(&answer(two, Err(failure()))).unwrap();
        let error = json!({ "code": 1, "message": "VM_BAD_POWER_STATE", "data": ["vm", "halted", "running"] });
        assert_eq!(answered, json!({ "jsonrpc": "2.0", "id": 7, "error": error }));

        let one = r#"{"method":"VM.start","params":["s"],"id":"x"}"#;
        assert_eq!(answer(one, Ok(json!(1))), r#"{"result":1,"error":null,"id":"x"}"#);
        let answered: Value = serde_json::from_str(&answer(one, Err(failure()))).unwrap();
        let error = json!(["VM_BAD_POWER_STATE", "vm", "halted", "running"]);
        assert_eq!(answered, json!({ "result": null, "error": error, "id": "x" }));
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_to_send() {
        let deep = "[".repeat(1000);
        for (body, code) in [
            ("", NOT_JSON),
            ("{", NOT_JSON),
            ("\u{0}", NOT_JSON),
            ("[]", NO_REQUEST),
            ("{}", NO_REQUEST),
            (r#"{"method":1}"#, NO_REQUEST),
            (r#"{"method":"a","id":[]}"#, NO_REQUEST),
            (r#"{"method":"a","jsonrpc":"3.0"}"#, NO_REQUEST),
            (deep.as_str(), NO_REQUEST),
        ] {
            let error = request(body.as_bytes()).unwrap_err();
            assert!(error.code == code && error.message.contains(';'), "{body:.20}: {error:?}");
        }
        for wrong in [r#"{"a":1}"#, "1"] {
            let raw = RawValue::from_string(wrong.to_owned()).unwrap();
            assert_eq!(parameters("VM.start", Some(&raw)).unwrap_err().code, "INTERNAL_ERROR", "{wrong}");
        }
    }
}
