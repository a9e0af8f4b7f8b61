//! Texts that are looked for: names with `*`, and regular expressions.

use regex::{Regex, RegexBuilder, bytes};

/// Most bytes of an expression or pattern.
const LONGEST: usize = 4096;
/// Most memory of a compiled expression, and of the automaton that runs it.
const COMPILED: usize = 4 << 20;

/// The same for an expression over contents, which are long. What a byte costs grows with the expression: one of 4 MiB would
/// take minutes for each MiB that it is looked for in.
const COMPILED_FOR_BYTES: usize = 128 << 10;

/// A compiled expression over texts; two are equal when they were written the same.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// A regular expression, anywhere in the text, upper and lower case alike.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn anywhere(text: &str) -> Result<Self, String> {
        compile(text)
    }

    /// A name in which `*` stands for any characters, upper and lower case alike. Without one the whole text has to be this
    /// name, or, as a `prefix`, begin with it.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn name(text: &str, prefix: bool) -> Result<Self, String> {
        let parts: Vec<String> = text.split('*').map(regex::escape).collect();
        let end = if prefix && parts.len() == 1 { "" } else { "$" };
        compile(&format!("(?s)^{}{end}", parts.join(".*")))
    }

    /// Whether a text has what is looked for.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

fn compile(text: &str) -> Result<Expression, String> {
    if text.len() > LONGEST {
        return Err(format!("an expression of at most {LONGEST} bytes"));
    }
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
    built.map(Expression).map_err(|error| explain(&error))
}

/// A compiled expression over bytes; two are equal when they were written the same.
#[derive(Clone, Debug)]
pub struct BytesExpression(bytes::Regex);

impl BytesExpression {
    /// A regular expression over bytes, with `\xff` for any byte, anywhere in them. What a byte
    /// costs is bounded, so that look-around and back-references, with which that cannot be, are refused, and so is an
    /// expression that takes much memory.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("an expression of at most {LONGEST} bytes"));
        }
        // PCRE matches bytes unless told otherwise, so `.` is a byte and not a character here.
        let builder = || {
            let mut builder = bytes::RegexBuilder::new(text);
            builder.size_limit(COMPILED_FOR_BYTES).dfa_size_limit(COMPILED);
            builder
        };
        let built = builder().unicode(false).build().or_else(|_| builder().build());
        built.map(Self).map_err(|error| explain(&error))
    }

    /// Whether it is somewhere in these bytes.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for BytesExpression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for BytesExpression {}

/// What is wrong with an expression: the last line of what the compiler prints, as the ones before draw it.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "an expression that needs less memory".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            format!("a regular expression that takes linear time (no look-around, no back-references): {last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_stars() {
        let is = |name: &str, text: &str| Expression::name(name, false).unwrap().is_in(text);
        assert!(is("www.example.com", "WWW.example.com"));
        assert!(!is("example.com", "www.example.com"));
        assert!(is("*.example.com", "www.example.com"));
        assert!(!is("www.example.com", "wwwXexample.com"));
        assert!(is("image/*", "image/png"));
        assert!(is("*a*b*", "xxaxxb\n"));
        let begins = |name: &str, text: &str| Expression::name(name, true).unwrap().is_in(text);
        assert!(begins("/a.php", "/a.php?size=0"));
        assert!(!begins("/a.php", "/b/a.php"));
        assert!(begins("*/a.php*", "/b/a.php?x"));
        assert!(!begins("*.php", "/a.php?x"));
    }

    #[test]
    fn bytes_and_what_is_refused() {
        let is = |text: &str, bytes: &[u8]| BytesExpression::new(text).unwrap().is_in(bytes);
        assert!(is(r"\xff\xd8.", b"..\xff\xd8\xff"));
        assert!(is("(?i)cannot be RUN", b"This program cannot be run in DOS mode"));
        assert!(!is("^MZ", b"xMZ"));
        assert!(is("\u{e9}", "caf\u{e9}".as_bytes()));
        for refused in [r"(?=a)", r"(a)\1", "("] {
            let why = BytesExpression::new(refused).unwrap_err();
            assert!(why.starts_with("a regular expression that takes linear time"), "{why}");
            assert!(!why.contains('\n'));
        }
        assert_eq!(BytesExpression::new("a{1000}{1000}").unwrap_err(), "an expression that needs less memory");
        assert!(Expression::anywhere(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn what_a_byte_costs_is_bounded() {
        let dear = r"(?s)([\x00-\x7f].{400}|[\x80-\xff].{410}){20}\x00";
        assert_eq!(BytesExpression::new(dear).unwrap_err(), "an expression that needs less memory");
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.take(256 << 10).collect();
        // About as large as is taken, and with as many ways at each byte.
        for expression in [r"(?s)([\x00-\x7f].{90}|[\x80-\xff].{95}){5}\x00nowhere", r"(?s)(?:[a-m].{0,40}){12}nowhere"]
        {
            let begun = std::time::Instant::now();
            assert!(!BytesExpression::new(expression).unwrap().is_in(&noise));
            println!("{expression}: {:?} for 256 KiB", begun.elapsed());
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{expression}: {:?}", begun.elapsed());
        }
    }
}
