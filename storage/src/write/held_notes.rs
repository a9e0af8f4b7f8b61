//! What a capture says before its first frame: it waits for the frame, which tells the time that it is of.

use streamdb_types::Timestamp;

use crate::format::record::Loss;

/// The most bytes of attachments that wait, and a bound on their number.
const MAX_BYTES: usize = 16 << 20;
/// What one attachment counts beside its bytes.
const EACH: usize = 64;

/// Secrets, names and losses that came while there was no bucket.
#[derive(Debug, Default)]
pub(super) struct HeldNotes {
    pub(super) attachments: Vec<(Option<u32>, Vec<u8>)>,
    bytes: usize,
    /// All losses as one.
    pub(super) loss: Option<Loss>,
}

impl HeldNotes {
    /// Keeps it, if there is room.
    pub(super) fn attachment(&mut self, kind: Option<u32>, bytes: &[u8]) -> bool {
        let more = bytes.len().saturating_add(EACH);
        if self.bytes.saturating_add(more) > MAX_BYTES {
            return false;
        }
        self.bytes += more;
        self.attachments.push((kind, bytes.to_vec()));
        true
    }

    pub(super) fn loss(&mut self, loss: &Loss) {
        let known = self.loss.get_or_insert(Loss { kernel: 0, interface: 0, shed: 0, ..*loss });
        known.from = known.from.min(loss.from);
        known.to = Timestamp(known.to.0.max(loss.to.0));
        known.kernel = known.kernel.saturating_add(loss.kernel);
        known.interface = known.interface.saturating_add(loss.interface);
        known.shed = known.shed.saturating_add(loss.shed);
    }
}
