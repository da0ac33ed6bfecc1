//! Gather, scatter and the other ops that follow indices.
