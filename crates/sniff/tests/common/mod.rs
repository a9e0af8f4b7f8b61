//! Minimal files of the kinds that take more than a line: what their writers would make, with as little in it as can be.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::indexing_slicing, reason = "samples are made of what is there")]

/// Puts `value` at `at`, over what is there.
pub fn put(bytes: &mut Vec<u8>, at: usize, value: &[u8]) {
    bytes.resize(bytes.len().max(at + value.len()), 0);
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// What is chosen of a Windows program.
pub struct Pe {
    pub machine: u16,
    pub plus: bool,
    pub dll: bool,
    pub subsystem: u16,
    pub managed: bool,
    pub sections: &'static [&'static [u8]],
    pub behind: &'static [u8],
}

impl Pe {
    pub const GUI: Self = Self {
        machine: 0x14c,
        plus: false,
        dll: false,
        subsystem: 2,
        managed: false,
        sections: &[b".text", b".rdata", b".data"],
        behind: b"",
    };

    pub fn build(&self) -> Vec<u8> {
        const AT: usize = 0x80;
        let mut b = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff".to_vec();
        put(&mut b, 0x18, &[0x40]);
        put(&mut b, 0x3c, &(AT as u32).to_le_bytes());
        put(&mut b, 0x4e, b"This program cannot be run in DOS mode.\r\r\n$");
        put(&mut b, AT, b"PE\0\0");
        put(&mut b, AT + 4, &self.machine.to_le_bytes());
        put(&mut b, AT + 6, &(self.sections.len() as u16).to_le_bytes());
        let optional: u16 = if self.plus { 112 + 128 } else { 96 + 128 };
        put(&mut b, AT + 20, &optional.to_le_bytes());
        put(&mut b, AT + 22, &(if self.dll { 0x2102_u16 } else { 0x102 }).to_le_bytes());
        put(&mut b, AT + 24, &(if self.plus { 0x20b_u16 } else { 0x10b }).to_le_bytes());
        put(&mut b, AT + 92, &self.subsystem.to_le_bytes());
        let directories = AT + if self.plus { 24 + 112 } else { 24 + 96 };
        put(&mut b, directories - 4, &16_u32.to_le_bytes());
        if self.managed {
            put(&mut b, directories + 14 * 8, &0x2008_u32.to_le_bytes());
        }
        let mut at = AT + 24 + usize::from(optional);
        let data = 0x400_u32;
        for name in self.sections {
            put(&mut b, at, name);
            put(&mut b, at + 16, &0x200_u32.to_le_bytes());
            put(&mut b, at + 20, &data.to_le_bytes());
            put(&mut b, at + 39, &[0x60]);
            at += 40;
        }
        put(&mut b, 0x600, self.behind);
        b
    }
}

/// A 64-bit program for Linux on x86-64: what its type is, its interpreter, its dynamic section, its symbol table.
pub fn elf(kind: u16, interpreter: Option<&[u8]>, dynamic: Option<&[[u64; 2]]>, symbols: bool) -> Vec<u8> {
    let mut b = b"\x7fELF\x02\x01\x01\0".to_vec();
    put(&mut b, 16, &kind.to_le_bytes());
    put(&mut b, 18, &62_u16.to_le_bytes());
    put(&mut b, 20, &[1]);
    put(&mut b, 32, &64_u64.to_le_bytes());
    put(&mut b, 52, &[64, 0, 56, 0]);
    put(&mut b, 58, &[64, 0]);
    let (mut headers, mut at) = (0_u16, 0x200);
    let mut segment = |b: &mut Vec<u8>, kind: u32, body: &[u8]| {
        let header = 64 + usize::from(headers) * 56;
        put(b, header, &kind.to_le_bytes());
        put(b, header + 8, &(at as u64).to_le_bytes());
        put(b, header + 32, &(body.len() as u64).to_le_bytes());
        put(b, at, body);
        at += body.len().next_multiple_of(16);
        headers += 1;
        put(b, 56, &headers.to_le_bytes());
    };
    if let Some(path) = interpreter {
        segment(&mut b, 3, path);
    }
    if let Some(entries) = dynamic {
        let body: Vec<u8> = entries.iter().flatten().flat_map(|n| n.to_le_bytes()).collect();
        segment(&mut b, 2, &body);
    }
    let mut note = Vec::new();
    for number in [4_u32, 16, 1] {
        note.extend(number.to_le_bytes());
    }
    note.extend(b"GNU\0");
    for number in [0_u32, 3, 2, 0] {
        note.extend(number.to_le_bytes());
    }
    segment(&mut b, 4, &note);
    let table = b.len();
    put(&mut b, 40, &(table as u64).to_le_bytes());
    put(&mut b, 60, &2_u16.to_le_bytes());
    put(&mut b, table, &[0; 128]);
    put(&mut b, table + 64 + 4, &[if symbols { 2 } else { 3 }]);
    b
}

/// A zip archive of stored members, with its directory; each member has flags, a name, an extra field and data.
pub fn zip(members: &[(u16, &str, &[u8], &[u8])]) -> Vec<u8> {
    let (mut b, mut directory) = (Vec::new(), Vec::new());
    for (flags, name, extra, data) in members {
        let mut fields = vec![20, 0];
        fields.extend(flags.to_le_bytes());
        fields.extend([0; 10]);
        // Behind a descriptor the length is not known before.
        let length = if flags & 8 != 0 { 0 } else { data.len() as u32 };
        fields.extend(length.to_le_bytes());
        fields.extend(length.to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend((extra.len() as u16).to_le_bytes());
        b.extend(b"PK\x03\x04");
        b.extend(&fields);
        b.extend(name.as_bytes());
        b.extend(*extra);
        b.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&fields);
        directory.extend([0; 14]);
        directory.extend(name.as_bytes());
        directory.extend(*extra);
    }
    let begins = b.len() as u32;
    b.extend(&directory);
    b.extend(b"PK\x05\x06\0\0\0\0");
    b.extend((members.len() as u16).to_le_bytes());
    b.extend((members.len() as u16).to_le_bytes());
    b.extend((directory.len() as u32).to_le_bytes());
    b.extend(begins.to_le_bytes());
    b.extend([0; 2]);
    b
}

/// A compound file of 512-byte sectors: allocation table, then the directory with these names, in a chain.
pub fn compound(root_class: [u8; 16], names: &[&str]) -> Vec<u8> {
    let mut b = vec![0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    put(&mut b, 24, &[0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    put(&mut b, 44, &[1]);
    put(&mut b, 48, &[1]);
    put(&mut b, 76, &[0xff; 436]);
    put(&mut b, 76, &[0; 4]);
    put(&mut b, 512, &[0xff; 512]);
    put(&mut b, 512, &0xffff_fffd_u32.to_le_bytes());
    let names: Vec<&str> = std::iter::once("Root Entry").chain(names.iter().copied()).collect();
    for (n, four) in names.chunks(4).enumerate() {
        // The next sector of the directory, or its end.
        let next = if (n + 1) * 4 < names.len() { n as u32 + 2 } else { 0xffff_fffe };
        put(&mut b, 512 + (n + 1) * 4, &next.to_le_bytes());
        put(&mut b, 512 * (n + 3) - 1, &[0]);
        for (m, name) in four.iter().enumerate() {
            let entry = 512 * (n + 2) + m * 128;
            let letters: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            put(&mut b, entry, &letters);
            put(&mut b, entry + 64, &(letters.len() as u16 + 2).to_le_bytes());
            if n == 0 && m == 0 {
                put(&mut b, entry + 80, &root_class);
            }
        }
    }
    b
}

/// A tar header for an empty file, with this magic, and its checksum.
pub fn tar(magic: &[u8]) -> Vec<u8> {
    let mut b = vec![0; 1024];
    put(&mut b, 0, b"file.txt");
    put(&mut b, 100, b"0000644\0");
    put(&mut b, 124, b"00000000000\0");
    put(&mut b, 148, b"        ");
    put(&mut b, 257, magic);
    let sum: u32 = b.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut b, 148, format!("{sum:06o}\0 ").as_bytes());
    b
}

/// A hello of a TLS client, or of a server, with these extensions.
pub fn hello(client: bool, version: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(if client { &[0, 4, 0x13, 1, 0x13, 2, 1, 0][..] } else { &[0x13, 1, 0] });
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat())
        .collect();
    body.extend((all.len() as u16).to_be_bytes());
    body.extend(all);
    let mut b = vec![22, 3, 1];
    b.extend((body.len() as u16 + 4).to_be_bytes());
    b.extend([if client { 1 } else { 2 }, 0]);
    b.extend((body.len() as u16).to_be_bytes());
    b.extend(body);
    b
}

/// Under a repeating key.
pub fn xored(plain: &[u8], key: &[u8]) -> Vec<u8> {
    plain.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

/// Members of a Unix archive, padded to even lengths.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut b = b"!<arch>\n".to_vec();
    for (name, data) in members {
        b.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).into_bytes());
        b.extend(*data);
        b.extend(&b"\n"[..data.len() % 2]);
    }
    b
}

/// A Windows program of one section, which is in the file where it is in memory, less 0xc00 bytes.
pub struct Program {
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Program {
    const PE: usize = 0x80;
    const ADDRESS: usize = 0x1000;
    const OFFSET: usize = 0x400;

    pub fn new() -> Self {
        let mut header = Pe { sections: &[b".all"], ..Pe::GUI }.build();
        header.truncate(Self::OFFSET);
        header.resize(Self::OFFSET, 0);
        put(&mut header, Self::PE + 8, &1_325_473_445_u32.to_le_bytes());
        Self { header, body: Vec::new() }
    }

    pub fn directory(&mut self, number: usize, at: u32, size: u32) {
        put(&mut self.header, Self::PE + 24 + 96 + number * 8, &[at.to_le_bytes(), size.to_le_bytes()].concat());
    }

    /// Adds bytes to the section; where they are in memory.
    fn add(&mut self, bytes: &[u8]) -> u32 {
        let at = self.body.len();
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        (Self::ADDRESS + at) as u32
    }

    /// Libraries, each with functions by name and then by number.
    pub fn imports(&mut self, libraries: &[(&str, &[&str], &[u32])]) {
        let mut table = Vec::new();
        for (library, names, numbers) in libraries {
            let mut thunks = Vec::new();
            for name in *names {
                let at = self.add(&[&[0, 0], name.as_bytes(), &[0]].concat());
                thunks.extend(at.to_le_bytes());
            }
            numbers.iter().for_each(|number| thunks.extend((number | 1 << 31).to_le_bytes()));
            thunks.extend([0; 4]);
            let (first, second) = (self.add(&thunks), self.add(&thunks));
            let name = self.add(&[library.as_bytes(), &[0]].concat());
            for number in [first, 0, 0, name, second] {
                table.extend(number.to_le_bytes());
            }
        }
        table.extend([0; 20]);
        let at = self.add(&table);
        self.directory(1, at, table.len() as u32);
    }

    /// A version resource with these strings.
    pub fn version(&mut self, strings: &[(&str, &str)]) {
        fn wide(text: &str) -> Vec<u8> {
            text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
        }
        fn block(name: &str, text: bool, value: &[u8], inside: &[u8]) -> Vec<u8> {
            let mut b = vec![0; 6];
            b.extend(wide(name));
            b.resize(b.len().next_multiple_of(4), 0);
            b.extend(value);
            b.resize(b.len().next_multiple_of(4), 0);
            b.extend(inside);
            let (length, value) = (b.len() as u16, value.len() as u16 / if text { 2 } else { 1 });
            put(&mut b, 0, &[length.to_le_bytes(), value.to_le_bytes(), [text.into(), 0]].concat());
            b.resize(b.len().next_multiple_of(4), 0);
            b
        }
        let strings: Vec<u8> = strings.iter().flat_map(|(name, value)| block(name, true, &wide(value), b"")).collect();
        let table = block("040904b0", true, b"", &strings);
        let info = block("VS_VERSION_INFO", false, &[7; 52], &block("StringFileInfo", true, b"", &table));
        let data = self.add(&info);
        let mut tree = Vec::new();
        // Three levels of one entry each: type, name, language.
        for (level, id) in [16_u32, 1, 0x409].into_iter().enumerate() {
            let next = (level as u32 + 1) * 24;
            tree.extend([0; 12]);
            tree.extend([0, 0, 1, 0]);
            tree.extend(id.to_le_bytes());
            tree.extend((next | if level < 2 { 1 << 31 } else { 0 }).to_le_bytes());
        }
        tree.extend(data.to_le_bytes());
        tree.extend((info.len() as u32).to_le_bytes());
        tree.extend([0; 8]);
        let at = self.add(&tree);
        self.directory(2, at, tree.len() as u32);
    }

    /// The path of the symbols.
    pub fn symbols(&mut self, path: &str) {
        let record = self.add(&[b"RSDS", &[9; 20][..], path.as_bytes(), &[0]].concat());
        let mut entry = vec![0; 28];
        put(&mut entry, 12, &[2]);
        put(&mut entry, 24, &(record - 0xc00).to_le_bytes());
        let at = self.add(&entry);
        self.directory(6, at, 28);
    }

    pub fn build(&self) -> Vec<u8> {
        let (mut file, mut body) = (self.header.clone(), self.body.clone());
        body.resize(body.len().next_multiple_of(0x200), 0);
        let section = Self::PE + 24 + 96 + 128;
        let number = |n: usize| (n as u32).to_le_bytes();
        let place = [number(body.len()), number(Self::ADDRESS), number(body.len()), number(Self::OFFSET)].concat();
        put(&mut file, section + 8, &place);
        file.extend(body);
        file
    }
}
