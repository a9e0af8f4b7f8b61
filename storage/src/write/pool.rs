//! Large buffers for use again, the last one first: its memory is the warmest, and no more of them are ever touched than
//! were in use at one time.

use std::sync::{Arc, Mutex, PoisonError};

use super::buffer::FRONT;

/// Room after the stream's bytes, up to the end of the block's padding.
const AFTER: usize = 1024 + 64;
/// The most buffers that are kept.
const MOST: usize = 128;

/// Buffers that are free; the worker takes them, the store thread brings them back.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    body_max: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    /// An empty pool for buffers that hold this many bytes of a stream, and what a block puts around them.
    pub(crate) fn new(body_max: usize) -> Self {
        Self { body_max, free: Arc::default() }
    }

    /// The most bytes of a stream that a buffer is for.
    pub(crate) const fn body_max(&self) -> usize {
        self.body_max
    }

    const fn capacity(&self) -> usize {
        FRONT + self.body_max + AFTER
    }

    /// A buffer with any content, or a new one.
    pub(crate) fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.capacity()))
    }

    /// Keeps the buffer for the next one who wants one; not when it is a smaller one, or too many are there.
    pub(crate) fn put(&self, buffer: Vec<u8>) {
        if buffer.capacity() < self.capacity() {
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
        let size = pool.capacity();
        pool.put(vec![1; size]);
        pool.put(vec![2; size]);
        pool.put(vec![3; size - 1]);
        assert_eq!((pool.take()[0], pool.take()[0]), (2, 1));
        let new = pool.take();
        assert!(new.is_empty() && new.capacity() >= size);
        (0..2 * MOST).for_each(|_| pool.put(vec![0; size]));
        assert_eq!(pool.free.lock().unwrap().len(), MOST);
    }
}
