//! Splits input into events without holding more than one of them: one a line, the elements
//! of an array, or values spread over several lines.

use std::io::{BufRead, BufReader, Read};

use serde::de::IgnoredAny;

use crate::cli::Failure;
use crate::control::Nesting;

const BUFFER_BYTES: usize = 64 * 1024;

/// One event as it was written, in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    pub bytes: Vec<u8>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// How the input holds its events; its first line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    /// A wrong line spoils only itself.
    Lines,
    /// Told apart by their brackets.
    Values,
}

/// The events of some input.
#[derive(Debug)]
pub struct Items<R> {
    reader: BufReader<R>,
    form: Form,
    /// The first line, which was read to tell the form.
    first: Vec<u8>,
    first_taken: usize,
    /// The line of the next byte.
    line: usize,
    in_array: bool,
    bytes_max: usize,
}

impl<R: Read> Items<R> {
    /// An event of more than `bytes_max` bytes is an error.
    pub fn new(reader: R, bytes_max: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            form: Form::Unknown,
            first: Vec::new(),
            first_taken: 0,
            line: 1,
            in_array: false,
            bytes_max,
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// When the input cannot be read, or an event is too large or never ends.
    pub fn next_item(&mut self) -> Result<Option<Item>, Failure> {
        match self.form {
            Form::Unknown => self.first_item(),
            Form::Lines => self.next_line(),
            Form::Values => self.next_value(),
        }
    }

    /// Whether a further event is here already, so that asking for it will not wait.
    pub fn has_buffered_item(&self) -> bool {
        let end = if self.form == Form::Lines { b'\n' } else { b'}' };
        self.reader.buffer().contains(&end) || self.first[self.first_taken..].contains(&end)
    }

    fn first_item(&mut self) -> Result<Option<Item>, Failure> {
        let mut first = Vec::new();
        while first.trim_ascii().is_empty() {
            self.line += usize::from(!first.is_empty());
            first.clear();
            if self.read_line(&mut first)? == 0 {
                return Ok(None);
            }
        }
        let one_object = first.trim_ascii_start().first() == Some(&b'{')
            && serde_json::from_slice::<IgnoredAny>(&first).is_ok();
        if one_object {
            self.form = Form::Lines;
            self.line += 1;
            return Ok(Some(Item { bytes: first, line: self.line - 1 }));
        }
        self.form = Form::Values;
        self.first = first;
        self.next_value()
    }

    fn next_line(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            let mut bytes = Vec::new();
            if self.read_line(&mut bytes)? == 0 {
                return Ok(None);
            }
            let line = self.line;
            self.line += 1;
            if bytes.len() > self.bytes_max {
                return Err(self.too_large(line));
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Item { bytes, line }));
            }
        }
    }

    /// Reads to the end of the line, or one byte more than an event may have.
    fn read_line(&mut self, bytes: &mut Vec<u8>) -> Result<usize, Failure> {
        let limit = self.bytes_max as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', bytes).map_err(unreadable)
    }

    fn next_value(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            match self.peek()? {
                None if self.in_array => {
                    return Err(Failure::new("the input ends inside its array: a `]` is missing"));
                }
                None => return Ok(None),
                Some(b'[') if !self.in_array => self.in_array = true,
                Some(b']') if self.in_array => self.in_array = false,
                Some(b',') if self.in_array => {}
                Some(byte) if byte.is_ascii_whitespace() => {}
                Some(_) => return self.take_value().map(Some),
            }
            self.advance();
        }
    }

    fn take_value(&mut self) -> Result<Item, Failure> {
        let line = self.line;
        let mut bytes = Vec::new();
        let mut nesting = Nesting::default();
        while let Some(byte) = self.peek()? {
            if !nesting.is_open() && matches!(byte, b',' | b']' | b'\n') {
                return Ok(Item { bytes, line });
            }
            self.advance();
            // Between tokens a line break is a space; inside a string there is none.
            bytes.push(if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
            if bytes.len() > self.bytes_max {
                return Err(self.too_large(line));
            }
            if nesting.closes(byte) {
                return Ok(Item { bytes, line });
            }
        }
        if nesting.is_open() {
            return Err(Failure::new(format!("the event that begins in line {line} never ends")));
        }
        Ok(Item { bytes, line })
    }

    fn peek(&mut self) -> Result<Option<u8>, Failure> {
        if let Some(byte) = self.first.get(self.first_taken) {
            return Ok(Some(*byte));
        }
        Ok(self.reader.fill_buf().map_err(unreadable)?.first().copied())
    }

    fn advance(&mut self) {
        let byte = match self.first.get(self.first_taken) {
            Some(byte) => {
                self.first_taken += 1;
                Some(*byte)
            }
            None => {
                let byte = self.reader.buffer().first().copied();
                self.reader.consume(usize::from(byte.is_some()));
                byte
            }
        };
        self.line += usize::from(byte == Some(b'\n'));
    }

    fn too_large(&self, line: usize) -> Failure {
        let bytes_max = self.bytes_max;
        Failure::new(format!(
            "the event that begins in line {line} has more than {bytes_max} bytes"
        ))
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::new(format!("cannot read the events: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Vec<(usize, String)>, Failure> {
        let mut items = Items::new(text.as_bytes(), 100);
        let mut found = Vec::new();
        while let Some(item) = items.next_item()? {
            let text = String::from_utf8(item.bytes).expect("as it was");
            found.push((item.line, text.trim().to_owned()));
        }
        Ok(found)
    }

    #[track_caller]
    fn splits(text: &str, expected: &[(usize, &str)]) {
        let found = split(text).expect("readable");
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn events_one_a_line_with_blank_lines_between() {
        splits(
            "\n{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\":3}",
            &[(2, "{\"a\":1}"), (4, "{\"b\":2}"), (5, "{\"c\":3}")],
        );
    }

    #[test]
    fn a_wrong_line_spoils_only_itself() {
        splits(
            "{\"a\":1}\n{\"b\":\n{\"c\":3}\n",
            &[(1, "{\"a\":1}"), (2, "{\"b\":"), (3, "{\"c\":3}")],
        );
    }

    #[test]
    fn the_elements_of_an_array_on_one_line_or_many() {
        splits("[{\"a\":[1,\"]\"]},{\"b\":2}]", &[(1, "{\"a\":[1,\"]\"]}"), (1, "{\"b\":2}")]);
        splits("[\n {\"a\":\n  1},\n {\"b\":2}\n]\n", &[(2, "{\"a\":   1}"), (4, "{\"b\":2}")]);
        splits("[]", &[]);
        splits("[1, {\"a\":1}]", &[(1, "1"), (1, "{\"a\":1}")]);
    }

    #[test]
    fn one_event_spread_over_lines_with_brackets_in_strings() {
        splits("{\n \"a\": \"}\\\"{\"\n}\n", &[(1, "{  \"a\": \"}\\\"{\" }")]);
        splits("{\"a\":1}{\"b\":2}", &[(1, "{\"a\":1}"), (1, "{\"b\":2}")]);
    }

    #[test]
    fn what_never_ends_or_is_too_large_is_an_error() {
        for text in ["{\"a\":", "[{\"a\":1}", "{\"a\": \"b"] {
            split(text).expect_err(text);
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
        split(&long).expect_err("too large");
        split(&format!("{{}}\n{long}\n")).expect_err("too large as a line");
        split(&format!("[{long}]")).expect_err("too large as an element");
        assert!(split("").expect("empty").is_empty());
        assert!(split(" \n\n ").expect("blank").is_empty());
    }

    #[test]
    fn a_slow_producer_is_not_waited_for() {
        let mut items = Items::new(&b"{\"a\":1}\n{\"b\":2}\n{\"c\""[..], 100);
        items.next_item().expect("readable");
        assert!(items.has_buffered_item());
        items.next_item().expect("readable");
        assert!(!items.has_buffered_item());
    }
}
