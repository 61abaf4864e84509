//! A source that records its requests, fails on demand and can block one reader.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};

use xvirt_core::disk::BlockBackend;
use xvirt_core::disk::GuestSlice;

use super::BLOCK;

#[derive(Debug)]
pub struct Source {
    bytes: Vec<u8>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reads: Vec<u64>,
    bad: Option<u64>,
    hold_next: bool,
    holding: bool,
}

impl Source {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The blocks that were read, in order.
    pub fn reads(&self) -> Vec<u64> {
        self.state.lock().unwrap().reads.clone()
    }

    /// Reads of this block fail from now on.
    pub fn set_bad(&self, block: Option<u64>) {
        self.state.lock().unwrap().bad = block;
    }

    pub fn hold_next(&self) {
        self.state.lock().unwrap().hold_next = true;
    }

    pub fn wait_until_held(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.holding).unwrap());
    }

    pub fn let_go(&self) {
        self.state.lock().unwrap().holding = false;
        self.changed.notify_all();
    }
}

impl BlockBackend for Source {
    fn capacity(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.reads.push(offset / BLOCK);
        if std::mem::take(&mut state.hold_next) {
            state.holding = true;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |state| state.holding).unwrap();
        }
        if state.bad == Some(offset / BLOCK) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut at = offset as usize;
        for buffer in buffers {
            buffer.copy_from(&self.bytes[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EROFS))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EROFS))
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EROFS))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let sector = |at: u64| &self.bytes[at as usize..][..512];
        let start = (offset / 512 * 512..self.capacity()).step_by(512).find(|at| sector(*at).iter().any(|b| *b != 0));
        Ok(start.map(|start| start.max(offset)..start + 512))
    }
}
