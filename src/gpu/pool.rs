//! Pooling and its gradients.
