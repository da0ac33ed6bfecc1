// Pooling and its gradients.
