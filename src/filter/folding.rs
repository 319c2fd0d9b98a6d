//! Case-insensitive classes of every script's letters are cheap to write and dear
//! to compile: `(?i)[\W\D]` takes milliseconds each time that it stands there.

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    self, Ast, ClassSetBinaryOp, ClassSetItem, Flag, Flags, GroupKind, Visitor,
};

use crate::base::limits::{FILTER_REGEX_FOLDED_CLASSES_MAX, FILTER_REGEX_NEST_MAX};

/// # Errors
/// When folding the case of the expression's classes would take long. One that
/// cannot be parsed is left to the compiler, which says why.
pub(super) fn check(regex: &str) -> Result<(), String> {
    let parsed = ParserBuilder::new().nest_limit(FILTER_REGEX_NEST_MAX).build().parse(regex);
    let Ok(syntax) = parsed else { return Ok(()) };
    let Ok(classes) = ast::visit(&syntax, Classes::default());
    if !classes.folded {
        return Ok(());
    }
    if classes.wide > 0 {
        return Err("`(?i)` goes with plain sets of characters only, not with \\p, \\W, \\D, \\S \
                    or sets of sets in brackets"
            .to_owned());
    }
    if classes.letters > FILTER_REGEX_FOLDED_CLASSES_MAX {
        return Err(format!(
            "`(?i)` with more than {FILTER_REGEX_FOLDED_CLASSES_MAX} classes such as [\\w-]"
        ));
    }
    Ok(())
}

#[derive(Default)]
struct Classes {
    /// `(?i)` stands somewhere.
    folded: bool,
    /// Those of perhaps a million characters.
    wide: usize,
    /// Those of up to all letters, in brackets.
    letters: usize,
}

impl Classes {
    fn flags(&mut self, flags: &Flags) {
        self.folded |= flags.flag_state(Flag::CaseInsensitive) == Some(true);
    }
}

impl Visitor for Classes {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, syntax: &Ast) -> Result<(), Self::Err> {
        match syntax {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(_) => self.wide += 1,
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        /// Characters of a range that are folded in no time.
        const FEW: u32 = 1_000;
        match item {
            ClassSetItem::Range(range) => {
                let width = u32::from(range.end.c).saturating_sub(u32::from(range.start.c));
                self.wide += usize::from(width > FEW);
            }
            ClassSetItem::Ascii(class) => self.wide += usize::from(class.negated),
            ClassSetItem::Perl(class) if !class.negated => self.letters += 1,
            ClassSetItem::Perl(_) | ClassSetItem::Unicode(_) | ClassSetItem::Bracketed(_) => {
                self.wide += 1;
            }
            ClassSetItem::Empty(_) | ClassSetItem::Literal(_) | ClassSetItem::Union(_) => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(
        &mut self,
        _operation: &ClassSetBinaryOp,
    ) -> Result<(), Self::Err> {
        self.wide += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_usual_is_taken() {
        for regex in [
            "(?i)checkout",
            r"(?i)^[\w.-]+@[\w.-]+$",
            r"(?i)\w+\s\W\D\S",
            "(?i)[а-я]+[^a-z]",
            "(?i)[[:alpha:]]",
            r"[\W\D]\PL[[^a]b]",
            r"(?-i)[\W\D]",
            "(",
        ] {
            assert_eq!(check(regex), Ok(()), "{regex}");
        }
    }

    #[test]
    fn what_takes_long_to_fold_is_refused() {
        for regex in [
            r"(?i)[\W\D]",
            r"(?i)\pL",
            r"a(?i:[\D])",
            "(?i)[[^a]b]",
            r"(?i)[\w&&\d]",
            "(?i)[\u{0}-\u{10ffff}]",
            r"(?i)[\u{0}-\u{10ffff}]",
            "(?i)[[:^alpha:]]",
            r"[\W](?x: a)(?i)b",
            r"(?i)[\w][\w][\w]",
        ] {
            assert!(check(regex).is_err_and(|error| error.contains("(?i)")), "{regex}");
        }
    }
}
