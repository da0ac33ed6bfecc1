//! Joining, padding and rearranging.
