//! Items of captures that did not come through the kernel, as they are given to a worker: filtered here, and taken even where a
//! filter or a rule about cutoffs cannot be used on them, as that is the doing of whoever captured them.

use std::collections::BTreeMap;

use streamdb_capture::{Filter, Item};
use streamdb_types::{Interface, LinkType};

use crate::commands::Error;
use crate::output::{complain, printable};
use crate::worker::Worker;

/// The filter, and the interfaces so far.
pub(super) struct Given {
    expression: Option<String>,
    /// The filter for each kind of link; `None` where it cannot be used.
    filters: BTreeMap<LinkType, Option<Filter>>,
    /// The kind of link of each interface.
    links: Vec<LinkType>,
}

impl Given {
    pub(super) const fn new(expression: Option<String>) -> Self {
        Self { expression, filters: BTreeMap::new(), links: Vec::new() }
    }

    /// From now on this filter holds, if any.
    pub(super) fn set_filter(&mut self, expression: Option<String>) {
        self.expression = expression;
        self.filters.clear();
    }

    /// The interfaces of what comes now have numbers from 0 on again.
    pub(super) fn begin_capture(&mut self) {
        self.links.clear();
    }

    /// Gives one to the worker.
    ///
    /// # Errors
    /// When the store thread is gone.
    pub(super) fn take(&mut self, worker: &mut Worker, item: &Item<'_>) -> Result<(), Error> {
        match item {
            Item::Frame(frame) => {
                let link = self.links.get(frame.interface as usize);
                if let (Some(expression), Some(&link)) = (self.expression.as_deref(), link) {
                    let filter = self.filters.entry(link).or_insert_with(|| compiled(expression, link));
                    if filter.as_ref().is_some_and(|filter| !filter.matches(frame.data)) {
                        worker.filtered();
                        return Ok(());
                    }
                }
                worker.frame(frame)?;
            }
            Item::Interface(_, interface) => self.begin(worker, interface),
            Item::Drops(drops) => {
                let frames = drops.by_kernel.saturating_add(drops.by_interface);
                worker.dropped_by_sender(frames, drops.between)?;
            }
            Item::Secrets { kind, data } => worker.attachment(Some(*kind), data)?,
            Item::Names(data) => worker.attachment(None, data)?,
        }
        Ok(())
    }

    fn begin(&mut self, worker: &mut Worker, interface: &Interface) {
        self.links.push(interface.link_type);
        if let Err(error) = worker.any_interface(interface) {
            complain(&printable(&error.to_string()));
        }
    }
}

/// The filter for this kind of link; where it cannot be used all is taken.
fn compiled(expression: &str, link: LinkType) -> Option<Filter> {
    Filter::compile(expression, link).inspect_err(|error| complain(&printable(&error.to_string()))).ok()
}
