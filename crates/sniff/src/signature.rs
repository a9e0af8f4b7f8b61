//! What else the `infer` package knows by signature, with our sentences and our names for MIME types.

use crate::kind::Kind;
use crate::text;

/// By the extension that `infer` gives: MIME type, sentence, extension.
const SENTENCES: &[(&str, &str, &str, &str)] = &[
    ("dey", "application/x-dex", "Dalvik dex file (optimized for host)", "dey"),
    ("webm", "video/webm", "WebM", "webm"),
    ("mkv", "video/x-matroska", "Matroska data", "mkv"),
    ("avi", "video/x-msvideo", "RIFF (little-endian) data, AVI", "avi"),
    ("flv", "video/x-flv", "Macromedia Flash Video", "flv"),
    ("mp3", "audio/mpeg", "MPEG audio", "mp3"),
    ("wav", "audio/x-wav", "RIFF (little-endian) data, WAVE audio", "wav"),
    ("mid", "audio/midi", "Standard MIDI data", "mid"),
    ("crx", "application/x-chrome-extension", "Google Chrome extension", "crx"),
    ("bc", "application/x-llvm", "LLVM IR bitcode", "bc"),
    ("ps", "application/postscript", "PostScript document text", "ps"),
    ("psd", "image/vnd.adobe.photoshop", "Adobe Photoshop Image", "psd"),
    ("jxl", "image/jxl", "JPEG XL codestream", "jxl"),
    ("jp2", "image/jp2", "JPEG 2000", "jp2"),
    ("eot", "application/vnd.ms-fontobject", "Embedded OpenType (EOT)", "eot"),
    ("cpio", "application/x-cpio", "cpio archive", "cpio"),
    ("lz", "application/x-lzip", "lzip compressed data", "lz"),
];

/// The sentence for what `infer` recognises.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    let found = infer::get(head)?;
    let believed = match found.extension() {
        // COFF objects and LLVM bitcode are recognised by two bytes, which is next to nothing.
        "obj" => false,
        "bc" => head.starts_with(b"BC\xc0\xde"),
        "mp3" | "aac" | "mpg" => !text::is_text(head),
        // What our own describers looked at more closely and did not find to be one.
        "exe" | "dll" | "elf" | "class" | "dex" | "mach" | "bmp" | "ico" | "der" | "pem" | "Z" | "tar" | "bz2"
        | "ttf" | "otf" => false,
        // The text describer says more about these.
        "html" | "xml" | "sh" => false,
        _ => true,
    };
    if !believed {
        return None;
    }
    let ours = SENTENCES.iter().find(|(theirs, ..)| *theirs == found.extension());
    Some(match ours {
        Some((_, mime, description, extension)) => Kind::fixed(mime, description, extension),
        // No sentence of our own: the MIME type says what is known.
        None => Kind::fixed(found.mime_type(), found.mime_type(), found.extension()),
    })
}
