//! What a console passes on to the process that resumes its VM.

use serde::{Deserialize, Serialize};

use super::shared::INPUT_LIMIT;

/// How much of the newest output is passed on: several hundred lines.
pub(super) const OUTPUT_LIMIT: usize = 64 << 10;

/// Positions in the output stay below this, so that they never wrap.
const LAST_POSITION: u64 = 1 << 62;

/// The newest output of a console, and its input that the guest has not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub(crate) struct ConsoleContents {
    /// The position of the first byte of `output`, counted from the guest's first byte.
    pub(super) start: u64,
    #[serde(with = "serde_bytes")]
    pub(super) output: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(super) input: Vec<u8>,
}

/// Contents as a file has them.
#[derive(Deserialize)]
struct Unchecked {
    start: u64,
    #[serde(with = "serde_bytes")]
    output: Vec<u8>,
    #[serde(with = "serde_bytes")]
    input: Vec<u8>,
}

impl ConsoleContents {
    /// The output alone, for a copy of the guest: the input was meant for the guest itself.
    pub(crate) fn for_copy(self) -> Self {
        Self { input: Vec::new(), ..self }
    }
}

impl TryFrom<Unchecked> for ConsoleContents {
    type Error = String;

    fn try_from(Unchecked { start, output, input }: Unchecked) -> Result<Self, String> {
        for (what, length, limit) in [("output", output.len(), OUTPUT_LIMIT), ("input", input.len(), INPUT_LIMIT)] {
            if length > limit {
                return Err(format!("a console has {length} bytes of {what}, and {limit} is the limit"));
            }
        }
        if start > LAST_POSITION {
            return Err(format!("the output of a console begins at byte {start}"));
        }
        Ok(Self { start, output, input })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Console, ConsolePort};

    #[test]
    fn another_console_goes_on_with_the_newest_output_and_unread_input() {
        let [before, after] = [(); 2].map(|()| Console::powered_off().unwrap());
        before.power_on();
        let text: Vec<_> = (0..OUTPUT_LIMIT + 100).map(|i| i as u8).collect();
        before.output(&text);
        before.write_all(b"read and unread").unwrap();
        before.read_input(&mut [0; 9]);
        let (mut reader, mut at_end) = (after.reader(), after.reader_at_end());
        after.go_on_from(before.contents());
        assert_eq!(after.contents(), before.contents());

        let mut output = vec![0; OUTPUT_LIMIT + 1];
        assert_eq!(reader.try_read(&mut output), Some(OUTPUT_LIMIT));
        assert!(output[..OUTPUT_LIMIT] == text[100..]);
        assert_eq!(reader.lost(), 100);
        assert_eq!(at_end.try_read(&mut output), Some(OUTPUT_LIMIT), "this output is new to it");
        after.output(b"more");
        assert_eq!((reader.try_read(&mut output), &output[..4]), (Some(4), &b"more"[..]));

        assert!(after.input_event().read().is_ok());
        after.write_all(b" and new").unwrap();
        let mut input = [0; 20];
        assert_eq!((after.read_input(&mut input), &input[..14]), (14, &b"unread and new"[..]));
    }

    fn read(start: u64, output: usize, input: usize) -> Result<ConsoleContents, String> {
        let contents = ConsoleContents { start, output: vec![b'o'; output], input: vec![b'i'; input] };
        let bytes = rmp_serde::to_vec_named(&contents).unwrap();
        let read: Result<ConsoleContents, _> = rmp_serde::from_slice(&bytes);
        read.inspect(|read| assert_eq!(*read, contents)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_no_console_can_have_held_is_refused() {
        assert!(read(LAST_POSITION, OUTPUT_LIMIT, INPUT_LIMIT).is_ok());
        let long = "a console has 65537 bytes of output, and 65536 is the limit";
        assert_eq!(read(0, OUTPUT_LIMIT + 1, 0).unwrap_err(), long);
        let long = "a console has 65537 bytes of input, and 65536 is the limit";
        assert_eq!(read(0, 0, INPUT_LIMIT + 1).unwrap_err(), long);
        let wrapping = "the output of a console begins at byte 18446744073709551615";
        assert_eq!(read(u64::MAX, 1, 0).unwrap_err(), wrapping);
    }
}
