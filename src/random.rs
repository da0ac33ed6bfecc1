//! PyTorch's CPU generator.
