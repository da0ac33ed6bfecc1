//! Losses that look up classes.
