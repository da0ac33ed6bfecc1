// Softmax, log-softmax, logsumexp and their gradients.
