//! Tokens of `event.from`: a cursor as text. As clients of XenAPI expect, a later one is greater as text.

use crate::operation::Failure;
use crate::store::{Cursor, Revision};

/// How many digits a number has: that of the greatest one.
const DIGITS: usize = 20;

/// The text of a cursor.
pub(crate) fn text(cursor: Cursor) -> String {
    format!("{:0DIGITS$},{:0DIGITS$}", cursor.epoch, cursor.revision.number())
}

/// The cursor of a token; none for an empty one, with which a client begins.
///
/// # Errors
/// `EVENT_FROM_TOKEN_PARSE_FAILURE`.
pub(crate) fn parse(token: &str) -> Result<Option<Cursor>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = |text: &str| {
        let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u64>().ok() } else { None }
    };
    let parsed = token.split_once(',').and_then(|(epoch, revision)| {
        Some(Cursor { epoch: number(epoch)?, revision: Revision::new(number(revision)?) })
    });
    match parsed {
        Some(cursor) => Ok(Some(cursor)),
        None => Err(Failure::new("EVENT_FROM_TOKEN_PARSE_FAILURE", [token])
            .with_remedy("give the token of the last answer, or an empty one to begin")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_in_the_order_of_time_as_texts() {
        let cursor = |epoch, revision| Cursor { epoch, revision: Revision::new(revision) };
        let in_order = [cursor(1, 9), cursor(1, 10), cursor(2, 0), cursor(10, 1), cursor(u64::MAX, u64::MAX)];
        for (earlier, later) in in_order.iter().zip(&in_order[1..]) {
            assert!(text(*earlier) < text(*later), "{earlier:?} {later:?}");
        }
        for cursor in in_order {
            assert_eq!(parse(&text(cursor)).unwrap(), Some(cursor));
        }
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn what_is_no_token_is_refused_with_it() {
        let good = text(Cursor { epoch: 1, revision: Revision::new(2) });
        let signed = good.replacen('0', "+", 1);
        for bad in ["x", "1,2", ",", &signed, &good[1..], &format!("{good},1"), &"9".repeat(41)] {
            let failure = parse(bad).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.parameters[0].as_str()),
                ("EVENT_FROM_TOKEN_PARSE_FAILURE", bad)
            );
        }
    }
}
