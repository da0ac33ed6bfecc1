// Products of matrices.
