//! One file, as text and as code only.

/// A file of the repository.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// For Rust files: the text with comments and literals blanked, every
    /// character and line in its place. Empty for others.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folder of `src/` that the file is in, or of a file in `src/` itself
    /// its name without `.rs`.
    pub fn folder(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let name = inner.split('/').next()?;
        Some(name.strip_suffix(".rs").unwrap_or(name))
    }

    /// The code without what is compiled for tests only.
    pub fn shipped_code(&self) -> String {
        let names = self.path.strip_prefix("src/").unwrap_or(&self.path).split('/');
        let is_test =
            |name: &str| matches!(name, "tests" | "tests.rs") || name.ends_with("_tests.rs");
        if names.into_iter().any(is_test) {
            return String::new();
        }
        without_test_modules(&self.code)
    }

    /// `path:line: message` for the place at byte `offset` of the code.
    pub fn at(&self, offset: usize, message: &str) -> String {
        let before = self.code.get(..offset).unwrap_or(&self.code);
        format!("{}:{}: {message}", self.path, before.matches('\n').count() + 1)
    }
}

/// Where `word` stands in `code` as a whole word.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(offset, _)| offset).filter(move |offset| {
        let before = code[..*offset].chars().next_back();
        let after = code[offset + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// The offset behind the bracket that closes the one at `open`.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Blanks each `#[cfg(test)]` or `#[cfg(all(test…` item that has a body.
fn without_test_modules(code: &str) -> String {
    let mut rest = code.to_owned();
    let starts: Vec<_> = ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .flat_map(|attribute| code.match_indices(attribute).map(|(offset, _)| offset))
        .collect();
    for start in starts {
        let Some(brace) = code[start..].find(['{', ';']).map(|offset| start + offset) else {
            continue;
        };
        let end = if code.as_bytes()[brace] == b'{' { closing(code, brace) } else { brace + 1 };
        rest.replace_range(start..end, &blanks(&code[start..end]));
    }
    rest
}

fn blanks(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// `text` with comments, strings and characters replaced by blanks, byte for
/// byte, lines kept.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = literal_length(rest, after_name);
        if length > 0 {
            code.push_str(&blanks(&rest[..length]));
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How long the comment or literal is that `text` begins with; 0 for neither.
fn literal_length(text: &str, after_name: bool) -> usize {
    let bytes = text.as_bytes();
    match bytes {
        [b'/', b'/', ..] => text.find('\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => block_comment_length(text),
        [b'"', ..] => string_length(text),
        [b'\'', ..] => character_length(text),
        [b'r', b'"' | b'#', ..] if !after_name => raw_string_length(text, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_name => raw_string_length(text, 2),
        _ => 0,
    }
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (offset, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character, not a lifetime: `'` then an escape, or one character and `'`.
fn character_length(text: &str) -> usize {
    let mut inner = text[1..].chars();
    match inner.next() {
        Some('\\') => text[3..].find('\'').map_or(0, |end| 3 + end + 1),
        Some(c) if inner.next() == Some('\'') => 1 + c.len_utf8() + 1,
        _ => 0,
    }
}

/// A raw string whose `#`s and quote come after `prefix` bytes; 0 for a raw name.
fn raw_string_length(text: &str, prefix: usize) -> usize {
    let hashes = text[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let start = prefix + hashes;
    if !text[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start + 1..].find(&end).map_or(text.len(), |found| start + 1 + found + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_keep_their_numbers() {
        let text =
            "a // x {\n/* y /* { */\n} */ b \"{\\\"\" r#\"\"{\"# '{' '\\'' 'static br\"{\" r#c";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "'static", "r#c"]);
        assert_eq!(code.matches('\n').count(), 2);
    }

    #[test]
    fn test_modules_are_not_shipped() {
        let source = Source::new("src/io/x.rs", "a\n#[cfg(test)]\nmod tests { b { } }\nc");
        assert_eq!(source.shipped_code().split_whitespace().collect::<Vec<_>>(), ["a", "c"]);
        let gated = Source::new("src/io/x.rs", "#[cfg(test)]\nmod tests;\nc");
        assert_eq!(gated.shipped_code().trim(), "c");
        assert_eq!(Source::new("src/io/tests/x.rs", "a").shipped_code(), "");
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("unsafe_code unsafe", "unsafe").collect::<Vec<_>>(), [12]);
    }
}
