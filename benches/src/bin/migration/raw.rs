//! A raw socket that sends memory from one process to another, also encrypted by rustls.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use xvirt_benches::Result;
use xvirt_core::config::ByteSize;

use crate::tls::{Stream, client, server};
use crate::xvirt::{TLS, listen, start_target};
use xvirt_benches::memory::{PAGE, map, touch_free};

/// How much is written and read with one call.
pub(crate) const PIECE: usize = 1 << 20;

/// The time to send so many bytes, which are written as the guest writes its pages.
pub(crate) fn send(size: ByteSize, tls: Option<&Path>) -> Result<Duration> {
    let bytes = size.bytes() as usize;
    let (_target, address) = start_target(&["receive-bytes", &bytes.to_string()], TLS, tls)?;
    let mut memory = map(bytes)?;
    for (number, page) in memory.chunks_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&number.to_le_bytes());
        page[8] = 1;
    }
    touch_free(size)?;
    let stream = TcpStream::connect(address)?;
    let mut stream = plain_or(stream, tls, client)?;
    let began = Instant::now();
    for piece in memory.chunks(PIECE) {
        stream.write_all(piece)?;
    }
    // The other process answers once it has all.
    stream.read_exact(&mut [0])?;
    Ok(began.elapsed())
}

/// The other process.
pub(crate) fn receive_bytes(count: usize, tls: Option<&Path>) -> Result<()> {
    let stream = listen()?.accept()?.0;
    let mut stream = plain_or(stream, tls, server)?;
    let mut memory = map(count)?;
    for piece in memory.chunks_mut(PIECE) {
        stream.read_exact(piece)?;
    }
    stream.write_all(&[1])?;
    Ok(stream.flush()?)
}

type Encrypt = fn(TcpStream, &Path) -> Result<Box<dyn Stream>>;

fn plain_or(stream: TcpStream, tls: Option<&Path>, encrypt: Encrypt) -> Result<Box<dyn Stream>> {
    match tls {
        Some(folder) => encrypt(stream, folder),
        None => Ok(Box::new(stream)),
    }
}
