//! Convolutions: implicit products, forward and both gradients.
