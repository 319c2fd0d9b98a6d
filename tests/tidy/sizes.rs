//! Files and functions stay short enough to be read at once.

use crate::source::{Source, closing, words};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Rust files and functions above the limits.
pub fn too_long(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            violations.push(source.at(0, &format!("{lines} lines, above {FILE_LINES_MAX}")));
        }
        for (at, name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
                let limit = FUNCTION_LINES_MAX;
                violations.push(source.at(at, &format!("{name}: {lines} lines, above {limit}")));
            }
        }
    }
    violations
}

/// Offset, name and number of lines of each function that has a body.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let head = &code[at + 2..];
        let name: String =
            head.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        let Some(body) = body(code, at + 2) else { continue };
        let lines = code[at..closing(code, body)].lines().count();
        found.push((at, name, lines));
    }
    found
}

/// Where the body's brace is, unless a `;` comes first.
fn body(code: &str, mut at: usize) -> Option<usize> {
    while let Some(byte) = code.as_bytes().get(at) {
        match byte {
            b'(' | b'[' => at = closing(code, at),
            b'{' => return Some(at),
            b';' | b'}' | b')' => return None,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        too_long(&[Source::new("src/x.rs", text)])
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_and_one_of_70_is_not() {
        let with = |lines: usize| format!("fn f(a: [u8; 3]) {{\n{}}}\n", "a();\n".repeat(lines));
        assert!(of(&with(68)).is_empty());
        assert_eq!(of(&with(69)), ["src/x.rs:1: f: 71 lines, above 70"]);
    }

    #[test]
    fn braces_in_literals_do_not_end_a_function() {
        let text = format!("fn f() {{\nlet a = '}}'; // }}\n{}}}\n", "a();\n".repeat(69));
        assert_eq!(of(&text).len(), 1);
    }

    #[test]
    fn a_declaration_ends_at_its_semicolon() {
        let text = format!("trait T {{ fn f(); }}\nmod m {{\n{}}}\n", "a();\n".repeat(100));
        assert!(of(&text).is_empty());
    }

    #[test]
    fn a_file_of_801_lines_is_too_long_and_one_of_800_is_not() {
        assert!(of(&"a();\n".repeat(800)).is_empty());
        assert_eq!(of(&"a();\n".repeat(801)).len(), 1);
    }
}
