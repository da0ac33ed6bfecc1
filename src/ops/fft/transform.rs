//! The three transforms, recorded in terms of each other.

use super::super::{complex, copy, view};
use super::resized;
use crate::autograd::record;
use crate::cpu::fft::fft_rows;
use crate::device::Device;
use crate::dtype::{Cplx, Dtype};
use crate::error::Result;
use crate::layout::Dims;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// Transforms a fresh complex tensor along a dimension, whatever its strides; answers one of the same shape.
fn along(x: &Tensor, d: usize, forward: bool, scale: f64) -> Result<Tensor> {
    let last = x.ndim() as i64 - 1;
    // A copy of its own, the dimension last.
    let rows = copy::clone(&view::transpose(x, d as i64, last)?.detach(), Some(super::super::MemoryFormat::Contiguous))?;
    let n = x.shape()[d];
    if n > 0 && rows.numel() > 0 {
        match x.dtype() {
            Dtype::C64 => fft_rows(rows.data_mut::<Cplx<f32>>(), n, forward, scale),
            _ => fft_rows(rows.data_mut::<Cplx<f64>>(), n, forward, scale),
        }
    }
    Ok(view::transpose(&rows, d as i64, last)?.detach())
}

fn raw(x: &Tensor, dims: &[usize], scale: f64, forward: bool) -> Result<Tensor> {
    let mut t = x.detach();
    if x.device() == Device::Meta {
        return t.empty_like();
    }
    t.check_data("fft")?;
    for (i, &d) in dims.iter().enumerate().rev() {
        t = along(&t, d, forward, if i == 0 { scale } else { 1.0 })?;
    }
    if dims.is_empty() { copy::clone(&t, None) } else { copy::contiguous(&t) }
}

/// Complex to complex along `dims`.
pub fn c2c(x: &Tensor, dims: &[usize], scale: f64, forward: bool) -> Result<Tensor> {
    let out = raw(x, dims, scale, forward)?;
    let dims: Dims = dims.into();
    Ok(record("FftC2CBackward0", &[x], out, move |_, g| Ok(smallvec![Some(c2c(g, &dims, scale, !forward)?)])))
}

/// Real to complex; `half` keeps what the rest follows from along the last of `dims`.
pub fn r2c(x: &Tensor, dims: &[usize], scale: f64, forward: bool, half: bool) -> Result<Tensor> {
    let last = *dims.last().expect("a dimension");
    let n = x.shape()[last];
    let wide = copy::to_dtype(&x.detach(), x.dtype().to_complex())?;
    let (keep, rest) = (if half { n / 2 + 1 } else { n }, &dims[..dims.len() - 1]);
    let out = raw(&wide, &[last], if rest.is_empty() { scale } else { 1.0 }, forward)?;
    let out = copy::contiguous(&view::narrow(&out, last as i64, 0, keep as i64)?.detach())?;
    let out = if rest.is_empty() { out } else { raw(&out, rest, scale, forward)? };
    let dims: Dims = dims.into();
    Ok(record("FftR2CBackward0", &[x], out, move |_, g| {
        let full = resized(g, last, n)?;
        let back = c2c(&full, &dims, scale, !forward)?;
        Ok(smallvec![Some(copy::contiguous(&complex::real(&back)?)?)])
    }))
}

/// The second half of a Hermitian spectrum of length `n` along dimension `d`, from the first.
fn completed(x: &Tensor, d: usize, n: usize) -> Result<Tensor> {
    let mut shape = x.dims();
    let have = shape[d];
    shape[d] = n;
    let inner: usize = shape[d + 1..].iter().product();
    let outer: usize = shape[..d].iter().product();
    let x = copy::contiguous(x)?;
    let out = Tensor::empty(&shape, x.dtype(), x.device())?;
    macro_rules! run {
        ($t:ty) => {{
            let (from, to) = (x.data::<Cplx<$t>>(), out.data_mut::<Cplx<$t>>());
            for o in 0..outer {
                for k in 0..n {
                    let mirrored = k >= have;
                    let at = (o * have + if mirrored { n - k } else { k }) * inner;
                    let to = &mut to[(o * n + k) * inner..][..inner];
                    for (to, z) in to.iter_mut().zip(&from[at..at + inner]) {
                        *to = if mirrored { Cplx { re: z.re, im: -z.im } } else { *z };
                    }
                }
            }
        }};
    }
    match x.dtype() {
        Dtype::C64 => run!(f32),
        _ => run!(f64),
    }
    Ok(out)
}

/// Complex to `n` reals along the last of `dims`, from the first half of a Hermitian spectrum.
pub fn c2r(x: &Tensor, dims: &[usize], scale: f64, forward: bool, n: usize) -> Result<Tensor> {
    let last = *dims.last().expect("a dimension");
    let rest = &dims[..dims.len() - 1];
    let have = x.shape()[last];
    let out = if x.device() == Device::Meta {
        let mut shape = x.dims();
        shape[last] = n;
        Tensor::empty(&shape, x.dtype().to_real(), Device::Meta)?
    } else {
        x.check_data("fft")?;
        let t = if rest.is_empty() { x.detach() } else { raw(x, rest, 1.0, forward)? };
        let full = raw(&completed(&t, last, n)?, &[last], scale, forward)?;
        copy::contiguous(&complex::real(&full)?)?.detach()
    };
    let dims: Dims = dims.into();
    Ok(record("FftC2RBackward0", &[x], out, move |_, g| {
        let back = r2c(g, &dims, scale, !forward, true)?;
        Ok(smallvec![Some(doubled(&back, last, n - have)?)])
    }))
}

/// Entries `1..=count` along a dimension doubled: they stand for their mirror images too.
fn doubled(x: &Tensor, d: usize, count: usize) -> Result<Tensor> {
    let out = copy::clone(&x.detach(), Some(super::super::MemoryFormat::Contiguous))?;
    let (size, inner) = (x.shape()[d], x.shape()[d + 1..].iter().product::<usize>());
    macro_rules! run {
        ($t:ty) => {
            for block in out.data_mut::<Cplx<$t>>().chunks_mut((size * inner).max(1)) {
                for z in &mut block[inner..(count + 1) * inner] {
                    *z = Cplx { re: z.re + z.re, im: z.im + z.im };
                }
            }
        };
    }
    if out.device() != Device::Meta && count > 0 && out.numel() > 0 {
        match x.dtype() {
            Dtype::C64 => run!(f32),
            _ => run!(f64),
        }
    }
    Ok(record("FftDoubleBackward0", &[x], out, move |_, g| Ok(smallvec![Some(doubled(g, d, count)?)])))
}
