//! The generator of a GPU. Philox computes any block of its stream from the seed and the block's number, so all that is
//! kept is how many blocks have been drawn.

use super::{Generator, StateError};

/// Bytes of a saved state: the seed and the position, as PyTorch's CUDA generator has them.
pub const STATE_BYTES: usize = 16;

/// The device, and the next block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Philox {
    pub device: u16,
    pub at: u64,
}

impl Generator {
    /// A generator for the tensors of a GPU.
    pub fn for_gpu(device: u16, seed: u64) -> Self {
        Generator { philox: Some(Philox { device, at: 0 }), ..Generator::new(seed) }
    }

    /// The GPU it is for.
    pub fn gpu(&self) -> Option<u16> {
        self.philox.map(|p| p.device)
    }

    /// The next blocks of four words each: the seed, and the number of the first one. Only for a GPU's.
    pub fn take_blocks(&mut self, count: u64) -> (u64, u64) {
        let p = self.philox.as_mut().expect("a generator for a GPU");
        let first = p.at;
        p.at = first.wrapping_add(count);
        (self.seed, first)
    }

    pub(super) fn philox_state(&self, p: &Philox) -> Vec<u8> {
        [self.seed.to_le_bytes(), p.at.to_le_bytes()].concat()
    }

    pub(super) fn set_philox_state(&mut self, device: u16, bytes: &[u8]) -> Result<(), StateError> {
        let (Some(seed), Some(at), STATE_BYTES) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) else {
            return Err(StateError::Size(bytes.len()));
        };
        self.seed = u64::from_le_bytes(*seed);
        self.philox = Some(Philox { device, at: u64::from_le_bytes(*at) });
        Ok(())
    }
}
