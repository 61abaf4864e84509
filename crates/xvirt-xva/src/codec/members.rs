//! Decompresses gzip members, one after another.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::zeroes::is_zero;

/// A stream of gzip members. Zeroes may follow the last one, as where a copy was padded to whole blocks: the program
/// `gzip` accepts them as well.
pub(super) struct Members<R> {
    /// `None` only after a failure or at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            let Some(mut input) = self.member.take().map(GzDecoder::into_inner) else { break };
            if !only_zeroes(&mut input)? {
                self.member = Some(GzDecoder::new(input));
            }
        }
        Ok(0)
    }
}

/// Whether nothing but zeroes follows. If the first byte is none, nothing is consumed.
fn only_zeroes(input: &mut impl BufRead) -> io::Result<bool> {
    let mut any = false;
    loop {
        let bytes = input.fill_buf()?;
        match (bytes.is_empty(), is_zero(bytes)) {
            (true, _) => return Ok(true),
            (false, false) if any || bytes.first() == Some(&0) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "zeroes and then other data follow a member"));
            }
            (false, false) => return Ok(false),
            (false, true) => any = true,
        }
        let count = bytes.len();
        input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn content(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // Small pieces, so that a run of zeroes takes several.
        Members::new(io::BufReader::with_capacity(7, stream)).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn members_and_then_zeroes_are_a_stream() {
        let members = [member(b"abc"), member(b""), member(b"def")].concat();
        for zeroes in [0, 1, 700] {
            assert_eq!(content(&[&members[..], &vec![0; zeroes]].concat()).unwrap(), b"abcdef", "{zeroes}");
        }
        for rest in [&b"x"[..], b"\0x", &[&[0; 20], &members[..]].concat(), &members[..members.len() - 1]] {
            assert!(content(&[&members, rest].concat()).is_err(), "{rest:?}");
        }
        assert!(content(b"").is_err() && content(&[0; 20]).is_err());
    }
}
