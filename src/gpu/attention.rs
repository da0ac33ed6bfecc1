//! Attention without a score matrix.
