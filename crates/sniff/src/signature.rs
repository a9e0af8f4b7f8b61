//! What else the `infer` package knows by signature, with our sentences and our names for MIME types.

use crate::kind::Kind;
use crate::text;

/// By the extension that `infer` gives: MIME type, sentence, extension.
const SENTENCES: &[(&str, &str, &str, &str)] = &[
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "Microsoft Word 2007+", "docx"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "Microsoft Excel 2007+", "xlsx"),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "Microsoft PowerPoint 2007+",
        "pptx",
    ),
    ("odt", "application/vnd.oasis.opendocument.text", "OpenDocument Text", "odt"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet", "OpenDocument Spreadsheet", "ods"),
    ("odp", "application/vnd.oasis.opendocument.presentation", "OpenDocument Presentation", "odp"),
    ("epub", "application/epub+zip", "EPUB document", "epub"),
    ("mach", "application/x-mach-binary", "Mach-O", "macho"),
    ("dey", "application/x-dex", "Dalvik dex file (optimized for host)", "dey"),
    ("pem", "application/x-pem-file", "PEM data", "pem"),
    ("der", "application/pkix-cert", "Certificate", "der"),
    ("ico", "image/x-icon", "MS Windows icon resource", "ico"),
    ("tif", "image/tiff", "TIFF image data", "tif"),
    ("mp4", "video/mp4", "ISO Media, MP4", "mp4"),
    ("webm", "video/webm", "WebM", "webm"),
    ("mkv", "video/x-matroska", "Matroska data", "mkv"),
    ("avi", "video/x-msvideo", "RIFF (little-endian) data, AVI", "avi"),
    ("flv", "video/x-flv", "Macromedia Flash Video", "flv"),
    ("mp3", "audio/mpeg", "MPEG audio", "mp3"),
    ("ogg", "audio/ogg", "Ogg data", "ogg"),
    ("wav", "audio/x-wav", "RIFF (little-endian) data, WAVE audio", "wav"),
    ("flac", "audio/flac", "FLAC audio bitstream data", "flac"),
    ("woff", "font/woff", "Web Open Font Format", "woff"),
    ("woff2", "font/woff2", "Web Open Font Format (Version 2)", "woff2"),
    ("ttf", "font/ttf", "TrueType Font data", "ttf"),
    ("otf", "font/otf", "OpenType font data", "otf"),
    ("tar", "application/x-tar", "POSIX tar archive", "tar"),
    ("xz", "application/x-xz", "XZ compressed data", "xz"),
    ("zst", "application/zstd", "Zstandard compressed data (v0.8+)", "zst"),
    ("lz4", "application/x-lz4", "LZ4 compressed data", "lz4"),
    ("Z", "application/x-compress", "compress'd data", "Z"),
    ("ar", "application/x-archive", "current ar archive", "a"),
    ("deb", "application/vnd.debian.binary-package", "Debian binary package (format 2.0)", "deb"),
    ("rpm", "application/x-rpm", "RPM", "rpm"),
    ("crx", "application/x-chrome-extension", "Google Chrome extension", "crx"),
    ("ps", "application/postscript", "PostScript document text", "ps"),
    ("sqlite", "application/vnd.sqlite3", "SQLite 3.x database", "sqlite"),
];

/// The sentence for what `infer` recognises.
pub(crate) fn describe(head: &[u8]) -> Option<Kind> {
    let found = infer::get(head)?;
    let believed = match found.extension() {
        // COFF objects and LLVM bitcode are recognised by two bytes, which is next to nothing.
        "obj" => false,
        "bc" => head.starts_with(b"BC\xc0\xde"),
        // A certificate is a SEQUENCE that begins with a SEQUENCE (RFC 5280 §4.1).
        "der" => matches!(head, [0x30, 0x82, _, _, 0x30, ..]),
        "mp3" | "Z" | "aac" | "ico" | "mpg" => !text::is_text(head),
        // What our own describers looked at more closely and did not find to be one.
        "exe" | "dll" | "elf" | "class" | "dex" | "bmp" => false,
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
        // No sentence of our own yet: the MIME type says what is known.
        None => Kind::fixed(found.mime_type(), found.mime_type(), found.extension()),
    })
}
