//! Frames as a capture file again: pcapng, or classic pcap where that says all there is to say.

mod classic;
mod pcapng;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use streamdb_types::{Interface, LinkType, Resolution};

use crate::read::frames::StoredFrame;

/// The capture file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureFormat {
    /// Classic pcap: one link type, microseconds or nanoseconds, nothing said of interfaces.
    Pcap,
    /// pcapng: everything.
    Pcapng,
}

impl CaptureFormat {
    /// The format that says all there is to say of frames of these interfaces: classic pcap when one description without
    /// options covers them all, else pcapng.
    pub fn for_interfaces<'i>(interfaces: impl IntoIterator<Item = &'i Interface>) -> Self {
        let mut interfaces = interfaces.into_iter();
        let Some(first) = interfaces.next() else { return Self::Pcap };
        let plain = first.options.is_empty()
            && first.time_offset == 0
            && matches!(first.resolution, Resolution::MICROS | Resolution::NANOS);
        if plain && interfaces.all(|other| other == first) { Self::Pcap } else { Self::Pcapng }
    }

    /// The media type of such a file.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pcap => "application/vnd.tcpdump.pcap",
            Self::Pcapng => "application/x-pcapng",
        }
    }
}

/// Writes frames as a capture file.
pub struct CaptureWriter<W: Write> {
    out: W,
    format: CaptureFormat,
    /// The numbers of the interfaces described so far. For classic pcap the one interface has number 0.
    interfaces: HashMap<Arc<Interface>, u32>,
    last: Option<(Arc<Interface>, u32)>,
    begun: bool,
}

impl<W: Write> CaptureWriter<W> {
    /// A capture file of this format.
    pub fn new(out: W, format: CaptureFormat) -> Self {
        Self { out, format, interfaces: HashMap::new(), last: None, begun: false }
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// When the output refuses it, or a time is beyond what the format can say.
    pub fn frame(&mut self, frame: &StoredFrame<'_>) -> io::Result<()> {
        let number = match &self.last {
            Some((interface, number)) if Arc::ptr_eq(interface, frame.interface) => *number,
            _ => self.describe(frame.interface)?,
        };
        match self.format {
            CaptureFormat::Pcap => classic::frame(&mut self.out, frame),
            CaptureFormat::Pcapng => pcapng::frame(&mut self.out, number, frame),
        }
    }

    /// Ends the file: one without frames is a capture file all the same.
    ///
    /// # Errors
    /// When the output refuses it.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.begun {
            match self.format {
                CaptureFormat::Pcap => classic::header(&mut self.out, None)?,
                CaptureFormat::Pcapng => {
                    pcapng::section(&mut self.out)?;
                    // libpcap refuses a section that describes no interface.
                    pcapng::interface(&mut self.out, &plain())?;
                }
            }
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn describe(&mut self, interface: &Arc<Interface>) -> io::Result<u32> {
        let known = self.interfaces.get(interface).copied();
        let number = match known {
            Some(number) => number,
            None => {
                let number = self.interfaces.len() as u32;
                match self.format {
                    CaptureFormat::Pcap if number > 0 => {
                        return Err(io::Error::other(
                            "frames of several interfaces do not fit into a classic pcap file",
                        ));
                    }
                    CaptureFormat::Pcap => classic::header(&mut self.out, Some(interface))?,
                    CaptureFormat::Pcapng => {
                        if !self.begun {
                            pcapng::section(&mut self.out)?;
                        }
                        pcapng::interface(&mut self.out, interface)?;
                    }
                }
                self.begun = true;
                self.interfaces.insert(Arc::clone(interface), number);
                number
            }
        };
        self.last = Some((Arc::clone(interface), number));
        Ok(number)
    }
}

/// The interface of a capture without frames, which says nothing of any.
const fn plain() -> Interface {
    Interface {
        link_type: LinkType::ETHERNET,
        snap_length: 0,
        resolution: Resolution::MICROS,
        time_offset: 0,
        fcs_length: None,
        options: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn interface(resolution: u8, time_offset: i64) -> Interface {
        Interface {
            link_type: LinkType::ETHERNET,
            snap_length: 0,
            resolution: Resolution(resolution),
            time_offset,
            fcs_length: None,
            options: Vec::new(),
        }
    }

    #[test]
    fn the_plainest_format_that_says_it_all_is_taken() {
        let plain = interface(6, 0);
        let named = Interface { options: vec![2, 0, 0, 0], ..interface(6, 0) };
        assert_eq!(CaptureFormat::for_interfaces([&plain, &plain]), CaptureFormat::Pcap);
        assert_eq!(CaptureFormat::for_interfaces([&plain, &interface(9, 0)]), CaptureFormat::Pcapng);
        assert_eq!(CaptureFormat::for_interfaces([&named]), CaptureFormat::Pcapng);
        assert_eq!(CaptureFormat::for_interfaces([]), CaptureFormat::Pcap);
    }
}
