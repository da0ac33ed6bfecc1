//! Random numbers from the generator: rand, randn, normal_, bernoulli, multinomial, dropout.

use super::{Registry, SharedGenerator};
use crate::random::{Generator, os_seed};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// The generator that functions draw from when none is given.
pub fn default_generator() -> &'static SharedGenerator {
    static G: OnceLock<SharedGenerator> = OnceLock::new();
    G.get_or_init(|| Arc::new(Mutex::new(Generator::new(os_seed()))))
}

pub(super) fn register(_r: &mut Registry) {}
