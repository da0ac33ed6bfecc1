//! Unfolding of images into columns of patches, and the sum that undoes it.

use super::super::threads::{SendPtr, parallel_for};

/// The sizes of an unfolding of `batch` images of `channels` channels.
#[derive(Clone, Copy, Debug)]
pub struct FoldShape {
    pub batch: usize,
    pub channels: usize,
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    pub dilation: [usize; 2],
    /// Positions of the kernel along each dimension.
    pub output: [usize; 2],
}

impl FoldShape {
    fn lens(&self) -> (usize, usize) {
        let product = |a: [usize; 2]| a[0] * a[1];
        let planes = self.batch * self.channels;
        (planes * product(self.input), planes * product(self.kernel) * product(self.output))
    }

    /// Calls `f(column index, image index or None)` for a plane's patches, column rows in order.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, Option<usize>)) {
        let mut at = 0;
        for ky in 0..self.kernel[0] {
            for kx in 0..self.kernel[1] {
                for oy in 0..self.output[0] {
                    let y = (oy * self.stride[0] + ky * self.dilation[0]).wrapping_sub(self.pad[0]);
                    for ox in 0..self.output[1] {
                        let x = ox * self.stride[1] + kx * self.dilation[1];
                        let x = x.wrapping_sub(self.pad[1]);
                        let inside = y < self.input[0] && x < self.input[1];
                        f(at, inside.then(|| y * self.input[1] + x));
                        at += 1;
                    }
                }
            }
        }
    }

    fn grain(&self) -> usize {
        let work = self.lens().1 / (self.batch * self.channels).max(1);
        (1 << 14) / work.max(1)
    }
}

/// `[N, C, H, W]` to `[N, C * kernel, positions]`; the padding is zero.
pub fn unfold<T: Copy + Default + Send + Sync>(s: &FoldShape, x: &[T], y: &mut [T]) {
    assert_eq!((x.len(), y.len()), s.lens(), "unfold buffers");
    let planes = s.batch * s.channels;
    let (from, to) = (x.len() / planes.max(1), y.len() / planes.max(1));
    let y = SendPtr(y.as_mut_ptr());
    parallel_for(planes, s.grain(), |range| {
        for p in range {
            let x = &x[p * from..][..from];
            // SAFETY: this plane belongs to this piece.
            let y = unsafe { y.slice(p * to, to) };
            s.each(|column, image| y[column] = image.map_or(T::default(), |i| x[i]));
        }
    });
}

/// `[N, C * kernel, positions]` to `[N, C, H, W]`, adding what overlaps.
pub fn fold<T: Copy + Default + std::ops::AddAssign + Send + Sync>(s: &FoldShape, x: &[T], y: &mut [T]) {
    assert_eq!((y.len(), x.len()), s.lens(), "fold buffers");
    let planes = s.batch * s.channels;
    let (from, to) = (x.len() / planes.max(1), y.len() / planes.max(1));
    let y = SendPtr(y.as_mut_ptr());
    parallel_for(planes, s.grain(), |range| {
        for p in range {
            let x = &x[p * from..][..from];
            // SAFETY: this plane belongs to this piece.
            let y = unsafe { y.slice(p * to, to) };
            y.fill(T::default());
            s.each(|column, image| {
                if let Some(i) = image {
                    y[i] += x[column];
                }
            });
        }
    });
}
