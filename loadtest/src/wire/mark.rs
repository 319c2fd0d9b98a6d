//! A load event's mark as one text, to be found in any message that holds the event: verbatim,
//! within another object, as a string with its quotes escaped, or several in one message.

use memchr::memmem;

use crate::wire::message::Mark;

/// Under which a `system_event`'s metadata hold it.
pub const KEY: &str = "load_mark";
/// Between key and text: quotes, perhaps escaped, a colon, perhaps spaces.
const BETWEEN_BYTES_MAX: usize = 16;
/// Four numbers of 20 digits, and what is between them.
const TEXT_BYTES_MAX: usize = 83;

/// The text.
pub fn write(mark: &Mark) -> String {
    let Mark { run, index, due_ns, sent_ns } = mark;
    format!("{run}.{index}.{due_ns}.{sent_ns}")
}

/// The marks in a message, in order.
pub fn find_all(message: &[u8]) -> impl Iterator<Item = Mark> {
    memmem::find_iter(message, KEY).filter_map(|at| read(&message[at + KEY.len()..]))
}

/// Whether `text` is in a message.
pub fn is_in(message: &[u8], text: &str) -> bool {
    memmem::find(message, text.as_bytes()).is_some()
}

/// Reads the mark behind its key.
fn read(rest: &[u8]) -> Option<Mark> {
    let start = rest.iter().take(BETWEEN_BYTES_MAX).position(u8::is_ascii_digit)?;
    let text = &rest[start..];
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let length = text.iter().take(TEXT_BYTES_MAX).take_while(|byte| is_part(byte)).count();
    let mut numbers = std::str::from_utf8(&text[..length]).ok()?.split('.').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (run, index, due_ns, sent_ns) = (number()?, number()?, number()?, number()?);
    Some(Mark { run, index: u32::try_from(index).ok()?, due_ns, sent_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_however_the_event_is_wrapped() {
        let mark = Mark { run: u64::MAX, index: u32::MAX, due_ns: u64::MAX, sent_ns: u64::MAX };
        let event = format!(r#"{{"metadata":{{"{KEY}":"{}"}},"message":"m"}}"#, write(&mark));
        let quoted = event.replace('"', r#"\""#);
        for message in [
            event.clone(),
            event.replace("\":", "\" : "),
            format!(r#"{{"push":{{"data":{event}}}}}"#),
            format!(r#"{{"push":"{quoted}"}}"#),
            format!("MSG load 1 9\r\n{event}\r\n"),
        ] {
            assert_eq!(find_all(message.as_bytes()).collect::<Vec<_>>(), [mark], "{message}");
        }
        let twice = format!("{event}\n{event}");
        assert_eq!(find_all(twice.as_bytes()).count(), 2);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for message in [
            "",
            "load_mark",
            r#"{"load_mark":"1.2.3"}"#,
            r#"{"load_mark":"1.2.3."}"#,
            r#"{"load_mark":"1.4294967296.3.4"}"#,
            r#"{"load_mark":"99999999999999999999.2.3.4"}"#,
            r#"{"load_mark":null,"text":"far away","number":"1.2.3.4"}"#,
        ] {
            assert_eq!(find_all(message.as_bytes()).count(), 0, "{message}");
        }
    }
}
