//! Layer, RMS, batch and group normalisation and their gradients.
