//! Expressions made smaller that are asked only whether they match, and not where: what may be left out of the beginning and
//! of the end of every match.

use regex_syntax::hir::{Hir, HirKind, Repetition};

/// An expression that matches somewhere in just those contents in which this one does. Of `[a-z]{8,}x.*` that is `[a-z]{8}x`:
/// whatever has nine letters before the x has eight there too, and what comes behind it may be nothing.
pub(crate) fn trimmed(hir: Hir) -> Hir {
    trim(trim(hir, Side::Front), Side::Back)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Front,
    Back,
}

fn trim(hir: Hir, side: Side) -> Hir {
    match hir.into_kind() {
        HirKind::Repetition(Repetition { min: 0, .. }) => Hir::empty(),
        HirKind::Repetition(all) => Hir::repetition(Repetition { max: Some(all.min), ..all }),
        HirKind::Capture(capture) => trim(*capture.sub, side),
        HirKind::Alternation(ways) => Hir::alternation(ways.into_iter().map(|way| trim(way, side)).collect()),
        HirKind::Concat(mut parts) => {
            if side == Side::Front {
                parts.reverse();
            }
            while let Some(outermost) = parts.pop() {
                let trimmed = trim(outermost, side);
                if *trimmed.kind() != HirKind::Empty {
                    parts.push(trimmed);
                    break;
                }
            }
            if side == Side::Front {
                parts.reverse();
            }
            Hir::concat(parts)
        }
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_nothing_is_left_out_at_both_ends() {
        for (text, wanted) in [
            ("[a-z]{8,}x.*", "[a-z]{8}x"),
            (".*x", "x"),
            ("x", "x"),
            ("(a*)*(b?c+d)", "cd"),
            ("a*|b", "|b"),
            ("(a*b|c)d(e|f+)", "(?:b|c)d(?:e|f)"),
            ("^a*", "^"),
            (r"a*\bx", r"\bx"),
            ("a*$", "$"),
            ("a?b?", ""),
            ("(?:ab){2,5}", "(?:ab){2}"),
        ] {
            let [trimmed, wanted] = [trimmed(parse(text)), parse(wanted)];
            assert_eq!(trimmed, wanted, "{text}");
        }
    }

    fn parse(text: &str) -> Hir {
        regex_automata::util::syntax::parse(text).unwrap()
    }
}
