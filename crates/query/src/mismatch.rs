//! Whether the type that a sender declared contradicts what the content is.

/// What a media type is about, as far as telling a contradiction needs it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// To be read: text, markup, scripts, JSON.
    Text,
    Image,
    /// To be heard or watched.
    Media,
    Font,
    Program,
    /// Files in a file; many documents are such ones too.
    Archive,
    Document,
}

/// Whether content of type `mime` is something else than what its sender declared. A type that says nothing, as
/// `application/octet-stream` does, contradicts nothing, nor does content that is not known.
pub fn of(declared: Option<&str>, mime: &str) -> bool {
    let (Some(declared), Some(is)) = (declared.and_then(about), about(mime)) else { return false };
    let archive = |a, b| a == About::Document && b == About::Archive;
    declared != is && !archive(declared, is) && !archive(is, declared)
}

fn about(media_type: &str) -> Option<About> {
    let essence = media_type.split(';').next()?.trim().to_ascii_lowercase();
    let (major, minor) = essence.split_once('/')?;
    match major {
        "image" if minor.ends_with("+xml") => Some(About::Text),
        "image" => Some(About::Image),
        "audio" | "video" => Some(About::Media),
        "font" => Some(About::Font),
        "text" => Some(About::Text),
        "application" => of_application(minor),
        _ => None,
    }
}

fn of_application(minor: &str) -> Option<About> {
    const TEXT: [&str; 8] =
        ["json", "xml", "javascript", "x-javascript", "ecmascript", "xhtml", "x-www-form-urlencoded", "ld"];
    const PROGRAM: [&str; 12] = [
        "vnd.microsoft.portable-executable",
        "x-dosexec",
        "x-msdownload",
        "x-msdos-program",
        "x-executable",
        "x-sharedlib",
        "x-pie-executable",
        "x-object",
        "x-mach-binary",
        "x-elf",
        "x-dex",
        "exe",
    ];
    const ARCHIVE: [&str; 17] = [
        "zip",
        "x-zip",
        "x-zip-compressed",
        "gzip",
        "x-gzip",
        "x-tar",
        "x-7z-compressed",
        "vnd.rar",
        "x-rar",
        "x-rar-compressed",
        "x-bzip2",
        "x-xz",
        "zstd",
        "vnd.ms-cab-compressed",
        "java-archive",
        "vnd.android.package-archive",
        "vnd.debian.binary-package",
    ];
    const DOCUMENT: [&str; 7] = ["pdf", "msword", "rtf", "postscript", "x-ole-storage", "x-msi", "epub+zip"];
    let is_one_of = |list: &[&str]| list.contains(&minor);
    Some(match minor {
        _ if is_one_of(&PROGRAM) => About::Program,
        _ if is_one_of(&ARCHIVE) => About::Archive,
        _ if is_one_of(&DOCUMENT) => About::Document,
        _ if minor.starts_with("vnd.ms-fontobject") || minor.starts_with("x-font") || minor.starts_with("font-") => {
            About::Font
        }
        _ if ["vnd.openxmlformats", "vnd.oasis", "vnd.ms-"].iter().any(|start| minor.starts_with(start)) => {
            About::Document
        }
        _ if is_one_of(&TEXT) || minor.ends_with("+json") || minor.ends_with("+xml") => About::Text,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_no_picture() {
        for (declared, mime, expected) in [
            (Some("image/gif"), "application/vnd.microsoft.portable-executable", true),
            (Some("text/html; charset=utf-8"), "application/vnd.microsoft.portable-executable", true),
            (Some("Application/X-MSDOWNLOAD"), "application/vnd.microsoft.portable-executable", false),
            (Some("application/octet-stream"), "application/vnd.microsoft.portable-executable", false),
            (None, "application/vnd.microsoft.portable-executable", false),
            (Some("image/jpeg"), "text/html", true),
            (Some("image/jpeg"), "image/png", false),
            (Some("image/svg+xml"), "text/xml", false),
            (Some("application/javascript"), "text/plain", false),
            (Some("application/json"), "text/html", false),
            (Some("application/pdf"), "application/zip", false),
            (Some("application/pdf"), "application/x-executable", true),
            (Some("application/zip"), "application/vnd.oasis.opendocument.text", false),
            (Some("text/plain"), "application/octet-stream", false),
            (Some("nonsense"), "text/html", false),
            (Some("video/mp4"), "audio/mpeg", false),
        ] {
            assert_eq!(of(declared, mime), expected, "{declared:?} {mime}");
        }
    }
}
