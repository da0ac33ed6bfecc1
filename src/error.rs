//! One error type for the whole crate. Each variant is the Python exception that PyTorch raises.

use std::any::Any;
use std::fmt;

/// What went wrong, with a message that names the op, the shapes and what was expected.
pub enum Error {
    Runtime(String),
    Value(String),
    Type(String),
    Index(String),
    NotImplemented(String),
    Memory(String),
    Assertion(String),
    /// The GPU is gone (`rustgrad.gpu.DeviceLostError`).
    DeviceLost(String),
    /// The driver refused a kernel (`rustgrad.gpu.KernelCompileError`).
    KernelCompile(String),
    /// `torch.linalg.LinAlgError`
    Linalg(String),
    /// An exception of the embedding language, passed through untouched (a Python hook that raised).
    Foreign(Box<dyn Any + Send + Sync>),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The message, for errors that have one.
    pub fn message(&self) -> &str {
        match self {
            Error::Runtime(m)
            | Error::Value(m)
            | Error::Type(m)
            | Error::Index(m)
            | Error::NotImplemented(m)
            | Error::Memory(m)
            | Error::Assertion(m)
            | Error::DeviceLost(m)
            | Error::KernelCompile(m)
            | Error::Linalg(m) => m,
            Error::Foreign(_) => "exception raised by a callback",
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

/// `err!(Runtime, "text {}", x)` makes an [`Error`].
#[macro_export]
macro_rules! err {
    ($kind:ident, $($arg:tt)*) => { $crate::error::Error::$kind(format!($($arg)*)) };
}

/// `bail!(Index, "text {}", x)` returns an [`Error`] from the function.
#[macro_export]
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => { return Err($crate::err!($kind, $($arg)*)) };
}

/// `ensure!(condition, Value, "text")`: the error unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $kind:ident, $($arg:tt)*) => { if !$cond { $crate::bail!($kind, $($arg)*) } };
}
