//! Exchanges bytes with a peer that sends them back.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

/// Bytes that differ from their neighbours, and from those of another seed.
pub fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 7).wrapping_add(seed) as u8).collect()
}

/// Sends `data`, shuts down sending, and must receive all of it followed by end of file.
pub fn round_trip(stream: UnixStream, data: &[u8]) {
    let mut reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            (&stream).write_all(data).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    });
}
