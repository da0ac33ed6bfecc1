//! Interpolation, grid sampling, fold and unfold.
