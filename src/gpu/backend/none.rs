//! In place of a backend, where this crate is built without the feature `gpu`: no device can be had.

use super::super::{Buffer, Info, MemoryStats};
use crate::err;
use crate::error::Result;

/// A GPU: there is none.
pub enum Gpu {}

/// Memory on a GPU: there is none.
pub enum Raw {}

pub fn count() -> usize {
    0
}

impl Gpu {
    pub fn get(_index: u16) -> Result<&'static Gpu> {
        Err(err!(Runtime, "this build of rustgrad has no GPU backend"))
    }
    pub fn info(&self) -> &Info {
        match *self {}
    }
    pub fn alloc(&'static self, _nbytes: usize) -> Result<Raw> {
        match *self {}
    }
    pub fn release(&self, _raw: &Raw) {
        match *self {}
    }
    pub fn upload(&self, _to: &Buffer, _at: usize, _bytes: &[u8]) -> Result<()> {
        match *self {}
    }
    pub fn download(&self, _from: &Buffer, _at: usize, _to: &mut [u8]) -> Result<()> {
        match *self {}
    }
    pub fn launch(
        &self,
        _key: u64,
        _source: &dyn Fn() -> String,
        _binds: &[(&Buffer, usize, usize)],
        _faults: bool,
        _params: &[u32],
        _groups: usize,
    ) -> Result<()> {
        match *self {}
    }
    pub fn fault(&self, _message: String) -> u32 {
        match *self {}
    }
    pub fn sync(&self) -> Result<()> {
        match *self {}
    }
    pub fn memory_stats(&self) -> MemoryStats {
        match *self {}
    }
    pub fn empty_cache(&self) {
        match *self {}
    }
    pub fn reset_peak(&self) {
        match *self {}
    }
}
