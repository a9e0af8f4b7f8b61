//! The head of a part: the fields that say what it is.

use std::borrow::Cow;

use super::parameters::{Parameters, text};
use crate::fields::unfold;

/// The longest value that is looked at, in bytes.
const VALUE_BYTES: usize = 16 << 10;
/// The longest name that a sender can give, in characters.
const NAME_CHARS: usize = 1024;
/// The longest boundary: RFC 2046 §5.1.1 has 70 characters.
const BOUNDARY_BYTES: usize = 256;
/// The fields that are kept.
const KEPT: [&str; 8] = [
    "content-description",
    "content-disposition",
    "content-id",
    "content-location",
    "content-range",
    "content-transfer-encoding",
    "content-type",
    "message-id",
];

/// What the head of a part, or of a mail, says. Of several fields of one name the first counts, but for ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead(Vec<(&'static str, Box<[u8]>)>);

impl PartHead {
    /// Takes the bytes of a head apart, whole or cut short, with the empty line or without.
    pub fn new(bytes: &[u8]) -> Self {
        let mut head = Self::default();
        let mut lines = bytes.split_inclusive(|b| *b == b'\n').peekable();
        let mut at = 0usize;
        while let Some(line) = lines.next() {
            let start = at;
            at += line.len();
            while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
                at += more.len();
            }
            head.field(bytes.get(start..at).unwrap_or_default());
        }
        head
    }

    fn field(&mut self, field: &[u8]) {
        let Some(colon) = field.iter().position(|b| *b == b':') else { return };
        let (name, value) = field.split_at_checked(colon).unwrap_or_default();
        let name = name.trim_ascii();
        let Some(kept) = KEPT.iter().find(|kept| kept.as_bytes().eq_ignore_ascii_case(name)) else { return };
        let value = value.get(1..).unwrap_or_default();
        let value = unfold(value.get(..VALUE_BYTES).unwrap_or(value));
        let value = value.trim_ascii();
        match self.0.iter_mut().find(|(known, _)| known == kept) {
            None => self.0.push((kept, value.into())),
            // Of bytes that are said to belong to several places nobody knows where.
            Some((_, known)) if *kept == "content-range" && **known != *value && known.len() <= VALUE_BYTES => {
                *known = [known, value].join(&b", "[..]).into();
            }
            Some(_) => {}
        }
    }

    /// The value of a field, folds made one blank: its name in lower case, one of `content-type`, `content-disposition`,
    /// `content-transfer-encoding`, `content-range`, `content-location`, `content-id`, `content-description`, `message-id`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(kept, _)| *kept == name).map(|(_, value)| value.as_ref())
    }

    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        self.get("content-type").map(media_type)
    }

    /// The name of the file: by its disposition, or by its type (RFC 2183 §2.3).
    pub fn filename(&self) -> Option<String> {
        let of = |field: &str, parameter: &str| {
            let name = Parameters::new(self.get(field)?).text(parameter)?;
            let name: String = name.chars().take(NAME_CHARS).collect();
            (!name.is_empty()).then_some(name)
        };
        of("content-disposition", "filename")
            .or_else(|| of("content-type", "name"))
            .or_else(|| of("content-disposition", "name").filter(|_| !self.is_form_data()))
    }

    /// The name of a form's field (RFC 7578 §4.2).
    pub fn field_name(&self) -> Option<String> {
        Parameters::new(self.get("content-disposition").filter(|_| self.is_form_data())?).text("name")
    }

    fn is_form_data(&self) -> bool {
        self.get("content-disposition").is_some_and(|value| media_type(value) == "form-data")
    }

    /// The boundary of a body of several parts.
    pub(super) fn boundary(&self) -> Option<Vec<u8>> {
        boundary(self.get("content-type")?)
    }

    /// The codings to undo, in the order in which they were applied; `7bit`, `8bit` and `binary` are none (RFC 2045 §6.2).
    pub(super) fn codings(&self) -> Vec<String> {
        let value = self.get("content-transfer-encoding").unwrap_or_default();
        // Some senders put a comment or a parameter behind it.
        let end = value.iter().position(|b| matches!(b, b';' | b'(' | b' ' | b'\t')).unwrap_or(value.len());
        let name = value.get(..end.min(64)).unwrap_or_default();
        let name = String::from_utf8_lossy(name).trim_matches('"').to_ascii_lowercase();
        match name.as_str() {
            "" | "7bit" | "8bit" | "binary" | "7-bit" | "8-bit" => Vec::new(),
            _ => vec![name],
        }
    }

    /// The identifier of a mail, without its brackets (RFC 5322 §3.6.4).
    pub(crate) fn message_id(&self) -> Option<String> {
        let id = text(self.get("message-id")?);
        let id = id.trim().trim_start_matches('<');
        let id: String = id.split('>').next()?.chars().take(NAME_CHARS / 4).collect();
        (!id.is_empty()).then_some(id)
    }
}

/// What stands before the parameters, in lower case.
pub(super) fn media_type(value: &[u8]) -> String {
    let end = value.iter().position(|b| matches!(b, b';' | b' ' | b'\t')).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end.min(256)).unwrap_or_default()).to_ascii_lowercase()
}

/// The boundary that a media type of several parts declares.
pub(super) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    if !media_type(content_type).starts_with("multipart/") {
        return None;
    }
    let value: Cow<'_, [u8]> = unfold(content_type.get(..VALUE_BYTES).unwrap_or(content_type));
    let boundary = Parameters::new(&value).bytes("boundary")?;
    // RFC 2046 §5.1.1: it does not end with a blank.
    let boundary = boundary.trim_ascii_end();
    (1..=BOUNDARY_BYTES).contains(&boundary.len()).then(|| boundary.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_what_they_are_of() {
        let head = PartHead::new(
            b"From: x\r\nCONTENT-type : Application/X-Foo;\r\n\tname=\"a.bin\"\r\nMessage-ID: <1@x>\r\nno field\r\n\
              Content-Transfer-Encoding: BASE64 (really)\nContent-Transfer-Encoding: 7bit\r\n\r\n",
        );
        assert_eq!(head.get("content-type"), Some(&b"Application/X-Foo; name=\"a.bin\""[..]));
        assert_eq!(head.media_type().as_deref(), Some("application/x-foo"));
        assert_eq!(head.filename().as_deref(), Some("a.bin"));
        assert_eq!(head.codings(), ["base64"]);
        assert_eq!(head.message_id().as_deref(), Some("1@x"));
        assert_eq!(head.boundary(), None);
        assert_eq!(PartHead::new(b""), PartHead::default());
    }

    #[test]
    fn a_field_of_a_form_is_no_file() {
        let head = PartHead::new(b"Content-Disposition: form-data; name=\"user\"\r\n");
        assert_eq!((head.filename(), head.field_name().as_deref()), (None, Some("user")));
        let head = PartHead::new(b"Content-Disposition: form-data; name=\"up\"; filename=\"x.exe\"\r\n");
        assert_eq!((head.filename().as_deref(), head.field_name().as_deref()), (Some("x.exe"), Some("up")));
    }
}
