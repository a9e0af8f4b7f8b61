//! Packets, conversations and slow twins for tests.
