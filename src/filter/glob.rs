/// A pattern of a whole string: `*` any characters, `?` one character, `[a-z]`
/// one of a set, `[!a-z]` one that is not, `\` the next character as it is.
///
/// Kept as written and read again at each evaluation: thousands of them take no
/// more memory than their text. Characters are Unicode's, so that `?` is `é`
/// too; `/` is nothing special.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Glob(Box<str>);

impl Glob {
    /// # Errors
    /// Says what is wrong with the pattern.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let mut rest = text;
        while !rest.is_empty() {
            rest = match rest.strip_prefix('*') {
                Some(rest) => rest,
                None => Element::first(rest)?.1,
            };
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes at most as many steps as the pattern's length times the value's:
    /// only the last `*` is ever extended.
    pub fn matches(&self, value: &str) -> bool {
        let (mut pattern, mut value) = (&*self.0, value);
        // The pattern after the last `*`, and the value after what that stands for.
        let mut last_run = None;
        loop {
            if let Some(after) = pattern.strip_prefix('*') {
                if after.is_empty() {
                    return true;
                }
                pattern = after;
                last_run = Some((after, value));
                continue;
            }
            let mut characters = value.chars();
            let Some(character) = characters.next() else { return pattern.is_empty() };
            match Element::first(pattern) {
                Ok((element, after)) if element.matches(character) => {
                    pattern = after;
                    value = characters.as_str();
                }
                _ => {
                    let Some((after, from)) = last_run else { return false };
                    let mut longer = from.chars();
                    if longer.next().is_none() {
                        return false;
                    }
                    (pattern, value) = (after, longer.as_str());
                    last_run = Some((after, value));
                }
            }
        }
    }
}

/// What stands for one character.
enum Element<'a> {
    Any,
    Literal(char),
    Set { negated: bool, items: &'a str },
}

impl<'a> Element<'a> {
    /// The first element of `pattern`, which does not begin with `*`, and the rest.
    fn first(pattern: &'a str) -> Result<(Self, &'a str), &'static str> {
        let mut characters = pattern.chars();
        match characters.next() {
            None => Err("the pattern ends too early"),
            Some('?') => Ok((Self::Any, characters.as_str())),
            Some('[') => Self::set(characters.as_str()),
            Some('\\') => match characters.next() {
                Some(literal) => Ok((Self::Literal(literal), characters.as_str())),
                None => Err("nothing follows the `\\`"),
            },
            Some(literal) => Ok((Self::Literal(literal), characters.as_str())),
        }
    }

    /// The set whose `[` was read.
    fn set(pattern: &'a str) -> Result<(Self, &'a str), &'static str> {
        let (negated, items) = match pattern.strip_prefix(['!', '^']) {
            Some(items) => (true, items),
            None => (false, pattern),
        };
        let mut rest = items;
        loop {
            if let Some(after) = rest.strip_prefix(']')
                && rest.len() < items.len()
            {
                let items = &items[..items.len() - rest.len()];
                return Ok((Self::Set { negated, items }, after));
            }
            let Some((first, last, after)) = range(rest) else {
                return Err("a set without its `]`");
            };
            if first > last {
                return Err("a range from a higher to a lower character");
            }
            rest = after;
        }
    }

    fn matches(&self, character: char) -> bool {
        match *self {
            Self::Any => true,
            Self::Literal(literal) => literal == character,
            Self::Set { negated, items } => {
                let mut rest = items;
                while let Some((first, last, after)) = range(rest) {
                    if (first..=last).contains(&character) {
                        return !negated;
                    }
                    rest = after;
                }
                negated
            }
        }
    }
}

/// The first item of a set, `a` or `a-z`, and the rest.
fn range(items: &str) -> Option<(char, char, &str)> {
    let (first, rest) = set_character(items)?;
    // A `-` at the end is itself.
    match rest.strip_prefix('-').and_then(set_character) {
        Some((last, after)) if !rest.starts_with("-]") => Some((first, last, after)),
        _ => Some((first, first, rest)),
    }
}

fn set_character(items: &str) -> Option<(char, &str)> {
    let mut characters = items.chars();
    let character = match characters.next()? {
        '\\' => characters.next()?,
        character => character,
    };
    Some((character, characters.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Glob::new(pattern).unwrap().matches(value)
    }

    #[test]
    fn the_whole_string_is_matched_by_characters() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("api-*", "api-1", true),
            ("api-*", "api-", true),
            ("api-*", "my-api-1", false),
            ("api-*", "API-1", false),
            ("*-db", "eu-db", true),
            ("*-db", "eu-db-1", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("?", "é", true),
            ("?", "", false),
            ("??", "é", false),
            ("[é-ü]", "ö", true),
            ("db-[0-9]", "db-7", true),
            ("db-[!0-9]", "db-7", false),
            ("db-[^0-9]", "db-x", true),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[\\]x]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
            ("]", "]", true),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["[", "[]", "[!", "[a", "a[b-", "x\\", "[z-a]", "[a\\"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_runs_over_a_long_value_do_not_explode() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches(&pattern, &"a".repeat(10_000)));
        assert!(matches(&pattern, &("a".repeat(10_000) + "b")));
    }

    /// By the definition: a run is every possible length.
    fn by_definition(pattern: &[char], value: &[char]) -> bool {
        match (pattern.split_first(), value.split_first()) {
            (None, None) => true,
            (Some(('*', pattern)), _) => {
                (0..=value.len()).any(|length| by_definition(pattern, &value[length..]))
            }
            (Some(('?', pattern)), Some((_, value))) => by_definition(pattern, value),
            (Some((literal, pattern)), Some((character, value))) => {
                literal == character && by_definition(pattern, value)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn runs_mean_what_their_definition_says(
            pattern in "[ab*?]{0,8}",
            value in "[ab]{0,8}",
        ) {
            let (characters, values): (Vec<_>, Vec<_>) =
                (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(matches(&pattern, &value), by_definition(&characters, &values));
        }

        #[test]
        fn any_text_is_taken_or_refused(pattern in "[\\[\\]!^a\\\\*?é-]{0,12}", value in ".{0,8}") {
            if let Ok(glob) = Glob::new(&pattern) {
                glob.matches(&value);
            }
        }
    }
}
