//! Packets, conversations and slow twins for tests.

#[cfg(feature = "fault")]
mod disk;
#[cfg(feature = "fault")]
mod fault;
mod flood;
mod folder;
#[cfg(feature = "fault")]
mod powercut;
#[cfg(feature = "fault")]
mod quick;
mod random;
#[cfg(feature = "fault")]
mod site;

#[cfg(feature = "fault")]
pub use fault::{Fault, FaultVolume, Operation};
pub use flood::Flood;
pub use folder::TestFolder;
#[cfg(feature = "fault")]
pub use powercut::{PowerCut, Survivors};
#[cfg(feature = "fault")]
pub use quick::QuickVolume;
pub use random::Random;
