//! Elementwise formulas: scalar primitives ([`prim`]), writing and differentiating formulas ([`builder`]),
//! and running them on the CPU ([`eval`]).

pub mod builder;
mod convert;
pub mod eval;
pub mod prim;
pub mod special;

pub use builder::{E, Formula};
pub use eval::Operand;
