//! What the fuzz target calls.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::protocol::{self, EventFrame, Reply};
use crate::{ExitRecord, Settings};

/// Reads bytes as everything that this crate reads. What is accepted can be written and read again.
pub fn read(bytes: &[u8]) {
    if let Ok(request) = protocol::decode_request(bytes) {
        let again = protocol::encode(&request).map(|bytes| protocol::decode_request(&bytes));
        assert_eq!(again, Ok(Ok(request)));
    }
    if let Ok(reply) = protocol::decode::<Reply>(bytes) {
        let again = protocol::encode(&reply).and_then(|bytes| protocol::decode::<Reply>(&bytes));
        assert_eq!(again, Ok(reply));
    }
    let _ = protocol::decode::<EventFrame>(bytes);
    let _ = ExitRecord::parse(bytes);
    let _ = serde_json::from_slice::<Settings>(bytes);
    // Frames, until the first that is none.
    let Ok((mut one, two)) = UnixStream::pair() else { return };
    // More might not fit into the socket.
    let part = bytes.get(..bytes.len().min(64 << 10)).unwrap_or(bytes);
    if one.write_all(part).is_err() {
        return;
    }
    drop(one);
    while let Ok(Some(frame)) = protocol::receive(&two, Duration::from_secs(1)) {
        let _ = protocol::decode_request(&frame.bytes);
    }
}
