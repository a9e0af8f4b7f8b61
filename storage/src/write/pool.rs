//! Large buffers for use again, the last one first: its memory is the warmest, and no more of them are ever touched than
//! were in use at one time.

use std::sync::{Arc, Mutex, PoisonError};

/// The most buffers that are kept.
const MOST: usize = 128;

/// Buffers that are free; the worker takes them, the store thread brings them back.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    capacity: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    /// An empty pool for buffers of this capacity.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, free: Arc::default() }
    }

    /// A buffer with any content, or a new one.
    pub(crate) fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.capacity))
    }

    /// Keeps the buffer for the next one who wants one; not when it is a smaller one, or too many are there.
    pub(crate) fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() < self.capacity {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_first_and_not_too_many() {
        let pool = Pool::new(100);
        pool.put(vec![1; 100]);
        pool.put(vec![2; 100]);
        pool.put(vec![3; 99]);
        assert_eq!((pool.take()[0], pool.take()[0]), (2, 1));
        let new = pool.take();
        assert!(new.is_empty() && new.capacity() >= 100);
        (0..2 * MOST).for_each(|_| pool.put(vec![0; 100]));
        assert_eq!(pool.free.lock().unwrap().len(), MOST);
    }
}
