//! Elementwise formulas: scalar primitives ([`prim`]), writing and differentiating formulas ([`builder`]),
//! running them on the CPU ([`eval`]), at once or when their results are needed ([`pending`]).

pub mod builder;
mod convert;
pub mod eval;
pub mod pending;
pub mod prim;
pub mod special;

pub use builder::{E, Formula};
pub use eval::Operand;
