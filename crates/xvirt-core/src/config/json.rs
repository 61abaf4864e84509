//! Parses a hand-written configuration.

use super::{VmConfig, invalid};
use crate::{Error, ErrorKind, Result};

impl VmConfig {
    /// Parses a hand-written configuration in JSON; unknown fields are errors.
    ///
    /// Plain serde (`Deserialize`) ignores unknown fields, because a record of a newer version may have some.
    ///
    /// ```
    /// use xvirt_core::config::VmConfig;
    ///
    /// # fn main() -> xvirt_core::Result<()> {
    /// let config = VmConfig::from_json(r#"{"name": "web-1", "memory": "1GiB", "labels": {"tenant": "blue"}}"#)?;
    /// assert_eq!(config.labels["tenant"], "blue");
    /// let error = VmConfig::from_json(r#"{"name": "web-1", "memroy": "1GiB"}"#).unwrap_err();
    /// assert!(error.to_string().contains("memroy"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if it is not JSON, lacks a required field, has a field of the wrong
    /// type, or has unknown fields, which the error names. Values are checked by [`check`](Self::check).
    pub fn from_json(text: &str) -> Result<Self> {
        let mut unknown = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(text);
        // A question mark stands for a nameless level, such as the contents of an `Option`.
        let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string().replace("?.", ""));
        let config =
            serde_ignored::deserialize(&mut reader, note).and_then(|config| reader.end().map(|()| config)).map_err(
                |error| Error::new(ErrorKind::InvalidConfig, "this is not a configuration of a VM").because(error),
            )?;
        if !unknown.is_empty() {
            return Err(invalid(
                format!("unknown fields in the configuration of a VM: {}", unknown.join(", ")),
                "correct or remove them",
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused_at_any_depth() {
        for (text, path) in [
            (r#"{"name":"a","memroy":1}"#, "memroy"),
            (r#"{"name":"a","cpus":{"cuont":1}}"#, "cpus.cuont"),
            (r#"{"name":"a","disks":[{"source":{"image":{"path":"d","format":"raw"}},"seril":"x"}]}"#, "disks.0.seril"),
            (r#"{"name":"a","boot":{"disk":{"dsik":0}}}"#, "boot.dsik"),
            (r#"{"name":"a","vsock":{"cid":3,"path":"v","prot":1}}"#, "vsock.prot"),
            (r#"{"name":"a","nics":[{"backend":{"user":{"program":"/bin/sh"}}}]}"#, "nics.0.backend.program"),
            (r#"{"name":"a","nics":[{"backend":{"user":{"host_loop":true}}}]}"#, "nics.0.backend.host_loop"),
            (r#"{"name":"a","nics":[{"backend":"new_tap","limit":{"send":{}}}]}"#, "nics.0.limit.send"),
            (
                r#"{"name":"a","nics":[{"backend":"new_tap","limit":{"receive":{"bytes_per_minute":1}}}]}"#,
                "nics.0.limit.receive.bytes_per_minute",
            ),
        ] {
            let error = VmConfig::from_json(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(
                error.to_string().contains(&format!("unknown fields in the configuration of a VM: {path};")),
                "{error}"
            );
            serde_json::from_str::<VmConfig>(text).unwrap();
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for text in ["", "{", "{}", "[]", r#"{"name":1}"#, r#"{"name":"a"} x"#] {
            assert_eq!(VmConfig::from_json(text).unwrap_err().kind(), ErrorKind::InvalidConfig, "{text}");
        }
    }
}
