//! Who was longest without a frame: one linked list per time limit, each in the order of the last frames.
//!
//! The clock of the lists moves at ticks only and never back, so a connection moves to the end of its list at most once
//! a tick, and the first of each list is the first to expire.

const NONE: u32 = u32::MAX;

/// Which time limit holds for a connection; also the order in which equals expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    Ended = 0,
    Opening = 1,
    Udp = 2,
    Closing = 3,
    Open = 4,
    /// As the last three, of those of which nothing shows that there are two ends.
    LoneUdp = 5,
    LoneClosing = 6,
    LoneOpen = 7,
    /// As the last two, with so many frames that they are taken for connections all the same.
    BusyClosing = 8,
    BusyOpen = 9,
}

/// What it costs to give up a connection of a class when the table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Nothing: it is over, or anybody could have made it alone.
    Nothing,
    /// Little: a datagram that comes later begins another flow; of a connection of which one end alone is seen, who made the frames
    /// is not known.
    Little,
    /// A connection of TCP that two ends agreed upon.
    Much,
}

impl Class {
    pub(crate) const ALL: [Self; 10] = [
        Self::Ended,
        Self::Opening,
        Self::Udp,
        Self::Closing,
        Self::Open,
        Self::LoneUdp,
        Self::LoneClosing,
        Self::LoneOpen,
        Self::BusyClosing,
        Self::BusyOpen,
    ];

    pub(crate) const fn worth(self) -> Worth {
        match self {
            Self::Ended | Self::Opening | Self::LoneUdp | Self::LoneClosing | Self::LoneOpen => Worth::Nothing,
            Self::Udp | Self::BusyClosing | Self::BusyOpen => Worth::Little,
            Self::Closing | Self::Open => Worth::Much,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    /// `None` for a slot in no list.
    class: Option<Class>,
    age: i64,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    count: usize,
}

/// The lists over the slots of the table.
#[derive(Debug)]
pub(crate) struct Ages {
    links: Vec<Link>,
    lists: [Ends; Class::ALL.len()],
    now: i64,
}

impl Ages {
    pub(crate) const fn new() -> Self {
        Self { links: Vec::new(), lists: [Ends { first: NONE, last: NONE, count: 0 }; Class::ALL.len()], now: 0 }
    }

    /// The clock of the lists.
    pub(crate) const fn now(&self) -> i64 {
        self.now
    }

    /// Moves the clock on.
    pub(crate) fn advance(&mut self, nanos: i64) {
        self.now = self.now.saturating_add(nanos.max(0));
    }

    /// A frame came for this slot, or its class changed: it is the youngest of its class now.
    #[inline]
    pub(crate) fn touch(&mut self, slot: u32, class: Class) {
        if let Some(link) = self.links.get(slot as usize)
            && link.age == self.now
            && link.class == Some(class)
        {
            return;
        }
        self.move_to_end(slot, class);
    }

    /// The class of this slot changed, perhaps, but no frame came.
    pub(crate) fn reclass(&mut self, slot: u32, class: Class) {
        if self.links.get(slot as usize).is_none_or(|link| link.class != Some(class)) {
            self.move_to_end(slot, class);
        }
    }

    fn move_to_end(&mut self, slot: u32, class: Class) {
        self.remove(slot);
        let need = slot as usize + 1;
        if self.links.len() < need {
            self.links.resize(need, Link { before: NONE, after: NONE, class: None, age: 0 });
        }
        let Some(ends) = self.lists.get_mut(class as usize) else { return };
        let last = ends.last;
        ends.last = slot;
        ends.count += 1;
        if last == NONE {
            ends.first = slot;
        } else if let Some(link) = self.links.get_mut(last as usize) {
            link.after = slot;
        }
        if let Some(link) = self.links.get_mut(slot as usize) {
            *link = Link { before: last, after: NONE, class: Some(class), age: self.now };
        }
    }

    /// Takes a slot out of its list.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(link) = self.links.get_mut(slot as usize) else { return };
        let Some(class) = link.class.take() else { return };
        let (before, after) = (link.before, link.after);
        let Some(ends) = self.lists.get_mut(class as usize) else { return };
        ends.count -= 1;
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => ends.first = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => ends.last = before,
        }
    }

    /// Nanoseconds since the last frame of this slot, to the tick.
    pub(crate) fn idle(&self, slot: u32) -> i64 {
        self.links.get(slot as usize).map_or(0, |link| self.now.saturating_sub(link.age))
    }

    /// How many are worth so much.
    pub(crate) fn count(&self, worth: Worth) -> usize {
        Class::ALL
            .into_iter()
            .zip(&self.lists)
            .filter(|(class, _)| class.worth() == worth)
            .map(|(_, ends)| ends.count)
            .sum()
    }

    /// The slot that is given up when the table is full, and its worth. Of what is worth least the one longest without a frame; but
    /// where all of that is younger than `young`, one of little worth that is older, so that a flood of one kind does not keep what
    /// just begins from being more. Of what is worth much none as long as there is any other.
    pub(crate) fn to_give_up(&self, young: i64) -> Option<(u32, Worth)> {
        let oldest = |worth, than| Some((self.oldest(|class, idle| class.worth() == worth && idle >= than)?, worth));
        oldest(Worth::Nothing, young)
            .or_else(|| oldest(Worth::Little, young))
            .or_else(|| oldest(Worth::Nothing, 0))
            .or_else(|| oldest(Worth::Little, 0))
            .or_else(|| oldest(Worth::Much, 0))
    }

    /// The slot longest without a frame of those for which `due` says so, given class and idle time.
    pub(crate) fn oldest(&self, due: impl Fn(Class, i64) -> bool) -> Option<u32> {
        let mut best: Option<(i64, u32)> = None;
        for (class, ends) in Class::ALL.into_iter().zip(&self.lists) {
            if let Some(link) = self.links.get(ends.first as usize)
                && due(class, self.now.saturating_sub(link.age))
                && best.is_none_or(|(age, _)| link.age < age)
            {
                best = Some((link.age, ends.first));
            }
        }
        best.map(|(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silent_comes_first() {
        let mut ages = Ages::new();
        for (slot, class) in [(0, Class::Open), (1, Class::Udp), (2, Class::Open), (3, Class::Open)] {
            ages.touch(slot, class);
            ages.advance(10);
        }
        ages.touch(0, Class::Open);
        ages.remove(2);
        let mut order = Vec::new();
        while let Some(slot) = ages.oldest(|_, _| true) {
            order.push((slot, ages.idle(slot)));
            ages.remove(slot);
        }
        assert_eq!(order, [(1, 30), (3, 10), (0, 0)]);
    }

    #[test]
    fn only_what_is_due() {
        let mut ages = Ages::new();
        ages.touch(7, Class::Open);
        ages.touch(3, Class::Udp);
        ages.advance(5);
        ages.advance(-3);
        assert_eq!(ages.oldest(|class, idle| class == Class::Udp && idle >= 5), Some(3));
        assert_eq!(ages.oldest(|class, idle| class == Class::Udp && idle >= 6), None);
        ages.reclass(3, Class::Udp);
        assert_eq!(ages.idle(3), 5);
        ages.reclass(3, Class::Ended);
        assert_eq!(ages.oldest(|class, _| class == Class::Udp), None);
        assert_eq!(ages.oldest(|class, idle| class == Class::Ended && idle == 0), Some(3));
    }
}
