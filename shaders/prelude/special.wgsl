// Special functions of float32, as `src/expr/special.rs` has them.
