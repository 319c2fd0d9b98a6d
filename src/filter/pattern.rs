use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

use super::folding;
use super::glob::Glob;
use crate::base::limits::{
    FILTER_REGEX_CACHE_BYTES_MAX, FILTER_REGEX_NEST_MAX, FILTER_REGEX_PROGRAM_BYTES_MAX,
};

/// A test of one string, beside equality.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Pattern {
    Prefix(Box<str>),
    Contains(Box<str>),
    Glob(Glob),
    Regex(Regex),
}

impl Pattern {
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Prefix(prefix) => value.starts_with(&**prefix),
            Self::Contains(part) => value.contains(&**part),
            Self::Glob(glob) => glob.matches(value),
            Self::Regex(regex) => regex.matches(value),
        }
    }
}

/// A regular expression, the same as another of the same text.
///
/// Built from the parts that the crate `regex` is built from, because only they
/// let every table be bounded: groups are not captured and no automaton is
/// determinised ahead. Evaluation is linear in the value.
#[derive(Clone)]
pub(super) struct Regex {
    text: Box<str>,
    program: meta::Regex,
}

impl Regex {
    /// # Errors
    /// Says what is wrong with the expression.
    pub fn new(text: &str) -> Result<Self, String> {
        folding::check(text)?;
        let config = meta::Config::new()
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(FILTER_REGEX_PROGRAM_BYTES_MAX))
            .hybrid_cache_capacity(FILTER_REGEX_CACHE_BYTES_MAX)
            .onepass(false)
            .backtrack(false)
            .dfa(false);
        let built = meta::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().nest_limit(FILTER_REGEX_NEST_MAX))
            .build(text);
        match built {
            Ok(program) => Ok(Self { text: text.into(), program }),
            Err(error) => Err(explained(&error)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, value: &str) -> bool {
        self.program.is_match(value)
    }

    /// Bytes of the compiled expression, without what it remembers while matching.
    pub fn program_bytes(&self) -> usize {
        self.program.memory_usage()
    }
}

/// The last line of the parser's explanation: those above show the expression again.
fn explained(error: &meta::BuildError) -> String {
    if error.size_limit().is_some() {
        return format!("takes more than {FILTER_REGEX_PROGRAM_BYTES_MAX} bytes when compiled");
    }
    match error.syntax_error() {
        Some(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            format!("not a regular expression: {}", reason.trim_start_matches("error: "))
        }
        None => error.to_string(),
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Regex").field(&self.text).finish()
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

impl PartialOrd for Regex {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Regex {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_found_anywhere_unless_anchored() {
        let matches = |text: &str, value: &str| Regex::new(text).unwrap().matches(value);
        assert!(matches("api", "my-api-1") && !matches("^api$", "my-api-1"));
        assert!(!matches("api", "API") && matches("(?i)api", "API"));
        assert!(matches("^.$", "é") && !matches("^.$", "\n") && matches(r"^\d+$", "42"));
        assert!(matches("", "") && matches("(a)(b)?(c)", "ac"));
    }

    #[test]
    fn expressions_that_would_grow_are_refused() {
        for text in [
            ".{1000}{1000}",
            r"\w{250}",
            "(a{100}){100}",
            "((((((a{9}){9}){9}){9}){9}){9})",
            r"(?:\pL|\pN){99}",
            "(?s:.{999})",
        ] {
            let error = Regex::new(text).unwrap_err();
            assert!(error.contains("bytes when compiled"), "{text}: {error}");
        }
        let nested = "(".repeat(100) + &")".repeat(100);
        let error = Regex::new(&nested).unwrap_err();
        assert!(error.contains("exceed"), "{error}");
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_reason() {
        for (text, reason) in [
            (r"(?i)[\W]", "`(?i)`"),
            ("(", "unclosed group"),
            ("a**{", "repetition"),
            (r"(a)\1", "backreferences are not supported"),
            ("a(?=b)", "look-around"),
            ("[z-a]", "invalid character class range"),
        ] {
            let error = Regex::new(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn expressions_that_explode_elsewhere_are_linear() {
        let value = "a".repeat(100_000) + "!";
        for text in ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*a){12}$", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
            assert!(!Regex::new(text).unwrap().matches(&value), "{text}");
        }
    }
}
