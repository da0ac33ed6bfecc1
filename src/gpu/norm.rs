//! Norms: of rows (layer, RMS) and of groups of segments (batch, group, instance).

use super::softmax::{Lanes, plain};
use super::{Call, call};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::{copy, reduce, view};
use crate::tensor::Tensor;

const WEIGHT: u32 = 1;
const BIAS: u32 = 2;
const CENTER: u32 = 4;

/// Rows and columns of blocks whose contributions to the gradients of weight and bias are added up apart.
const COLUMNS: usize = 1 << 16;

/// Parameters for a kernel: in their place, where there are none, `x` stands, which is not read.
struct Affine {
    w: Tensor,
    b: Tensor,
    flags: u32,
}

impl Affine {
    fn new(op: &str, x: &Tensor, w: Option<&Tensor>, b: Option<&Tensor>) -> Result<Affine> {
        let or_x = |t: Option<&Tensor>| t.map_or_else(|| Ok(x.clone()), |t| plain(op, t));
        let flags = if w.is_some() { WEIGHT } else { 0 } | if b.is_some() { BIAS } else { 0 };
        Ok(Affine { w: or_x(w)?, b: or_x(b)?, flags })
    }
}

/// Layer norm (RMS norm without `center`) of rows of `len` elements; the mean and reciprocal deviation of each, in float32
/// of the shape `stat`.
#[allow(clippy::too_many_arguments)]
pub fn rows(
    x: &Tensor,
    len: usize,
    w: Option<&Tensor>,
    b: Option<&Tensor>,
    eps: f64,
    center: bool,
    stat: &[usize],
) -> Result<(Tensor, Tensor, Tensor)> {
    let from = plain("layer_norm", x)?;
    let a = Affine::new("layer_norm", &from, w, b)?;
    let new = |shape: &[usize]| Tensor::empty(shape, Dtype::F32, x.device());
    let (out, mean, rstd) = (new(x.shape())?, new(stat)?, new(stat)?);
    let flags = a.flags | if center { CENTER } else { 0 };
    let r = Lanes::new(mean.numel(), len, 1);
    let params = [mean.numel() as u32, len as u32, (eps as f32).to_bits(), flags];
    let tensors = &[&from, &a.w, &a.b, &out, &mean, &rstd];
    Call { name: "norm_rows", tensors, params: &params, choice: &r.choice(), n: r.n }.run()?;
    Ok((copy::to_dtype(&out, x.dtype())?, mean, rstd))
}

/// The gradients of the input and, flat and in float32, of weight and bias of [`rows`]. `g` has the elements of `x`, or a
/// single row that counts for every one.
pub fn rows_backward(
    x: &Tensor,
    g: &Tensor,
    len: usize,
    w: Option<&Tensor>,
    [mean, rstd]: [&Tensor; 2],
    center: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    let op = "layer_norm_backward";
    let (from, g) = (plain(op, x)?, plain(op, g)?);
    let (mean, rstd) = (copy::to_dtype(mean, Dtype::F32)?, copy::to_dtype(rstd, Dtype::F32)?);
    let a = Affine::new(op, &from, w, None)?;
    let dx = Tensor::empty(x.shape(), Dtype::F32, x.device())?;
    let rows = mean.numel();
    let step = if g.numel() == x.numel() { len as u32 } else { 0 };
    let r = Lanes::new(rows, len, 1);
    let params = [rows as u32, len as u32, a.flags | if center { CENTER } else { 0 }, step];
    let tensors = &[&from, &g, &a.w, &mean, &rstd, &dx];
    Call { name: "norm_rows_backward", tensors, params: &params, choice: &r.choice(), n: r.n }.run()?;
    let pieces = (COLUMNS / len.max(1)).clamp(1, rows.div_ceil(16).max(1));
    let block = rows.div_ceil(pieces).max(1);
    let pieces = rows.div_ceil(block);
    let partial = Tensor::empty(&[2, pieces, len], Dtype::F32, x.device())?;
    let params = [rows as u32, len as u32, block as u32, step];
    call("norm_columns", &[&from, &g, &mean, &rstd, &partial], &params, pieces * len)?;
    let total = reduce::sum(&partial, Some(&[1]), false, None)?;
    Ok((copy::to_dtype(&dx, x.dtype())?, view::select(&total, 0, 0)?, view::select(&total, 0, 1)?))
}

/// Groups of the segments of `[n, channels, inner]`.
#[derive(Clone, Copy)]
pub struct Segments {
    pub n: usize,
    pub channels: usize,
    pub inner: usize,
    /// Channels of a group; 0: each channel of all samples is one.
    pub count: usize,
}

/// How a kernel goes over groups.
struct Walk {
    groups: usize,
    size: usize,
    step: usize,
    skip: usize,
    parts: usize,
    chunk: usize,
}

impl Walk {
    fn new(groups: usize, size: usize, step: usize, skip: usize) -> Walk {
        // Enough workgroups to fill a large GPU, of at least a few elements for each invocation.
        let parts = (1024 / groups.max(1)).clamp(1, size.div_ceil(2048).max(1));
        let chunk = size.div_ceil(parts).max(1);
        Walk { groups, size, step, skip, parts: size.div_ceil(chunk).max(1), chunk }
    }

    fn run(&self, name: &'static str, s: &Segments, tensors: &[&Tensor], more: &[u32]) -> Result<()> {
        // Segments of one element are the columns of a matrix.
        let (lanes, own) = if s.inner == 1 && s.count == 0 { ("8", 32) } else { ("256", 1) };
        let mut params: Vec<u32> =
            [self.groups, self.size, s.inner, self.step, self.skip, self.parts, self.chunk].map(|v| v as u32).into();
        params.extend(more);
        let n = self.groups.div_ceil(own) * self.parts;
        Call { name, tensors, params: &params, choice: &[("LANES", lanes)], n }.run()
    }
}

impl Segments {
    fn groups(&self) -> usize {
        if self.count == 0 { self.channels } else { self.n * self.channels / self.count }
    }

    fn size(&self) -> usize {
        self.inner * if self.count == 0 { self.n } else { self.count }
    }

    /// The groups.
    fn walk(&self) -> Walk {
        let (step, skip) = if self.count == 0 { (self.channels, 1) } else { (1, self.count) };
        Walk::new(self.groups(), self.size(), step, skip)
    }
}

/// The normalised input, scaled and shifted by channel; mean and reciprocal deviation of every group, in float32.
pub fn groups(x: &Tensor, s: Segments, w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let from = plain("batch_norm", x)?;
    let count = s.groups();
    if s.size() == 0 {
        let nan = || Tensor::full(&[count], f64::NAN, Dtype::F32, x.device());
        return Ok((x.empty_like()?, nan()?, nan()?));
    }
    let a = Affine::new("batch_norm", &from, w, b)?;
    let new = |shape: &[usize]| Tensor::empty(shape, Dtype::F32, x.device());
    let (out, mean, rstd) = (new(x.shape())?, new(&[count])?, new(&[count])?);
    let walk = s.walk();
    let parts = new(&[count, walk.parts, 2])?;
    walk.run("group_moments", &s, &[&from, &parts], &[])?;
    let params = [walk.size as u32, walk.parts as u32, walk.chunk as u32, (eps as f32).to_bits()];
    call("group_statistics", &[&parts, &mean, &rstd], &params, count)?;
    let params = [s.inner as u32, s.channels as u32, s.count as u32, a.flags];
    call("group_apply", &[&from, &mean, &rstd, &a.w, &a.b, &out], &params, x.numel())?;
    Ok((copy::to_dtype(&out, x.dtype())?, mean, rstd))
}

/// The gradients of the input and, in float32, of weight and bias of [`groups`].
pub fn groups_backward(
    x: &Tensor,
    g: &Tensor,
    s: Segments,
    w: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let op = "batch_norm_backward";
    let (from, g) = (plain(op, x)?, plain(op, g)?);
    let a = Affine::new(op, &from, w, None)?;
    let new = |shape: &[usize]| Tensor::empty(shape, Dtype::F32, x.device());
    let dx = new(x.shape())?;
    if x.numel() == 0 {
        let zeros = || Tensor::zeros(&[s.channels], Dtype::F32, x.device());
        return Ok((x.empty_like()?, zeros()?, zeros()?));
    }
    let (n, c) = (if s.count == 0 { 1 } else { s.n }, s.channels);
    let walk = if s.count == 0 { s.walk() } else { Walk::new(n * c, s.inner, 1, 1) };
    let parts = new(&[2, n * c, walk.parts])?;
    walk.run("group_sums", &s, &[&from, &g, mean, &parts], &[s.count.max(1) as u32])?;
    let sums = if walk.parts == 1 { parts } else { reduce::sum(&parts, Some(&[2]), false, None)? };
    let slopes = new(&[2, s.groups()])?;
    let each = s.count.max(1);
    let params = [c as u32, each as u32, s.count as u32, s.size() as u32, a.flags];
    call("group_slopes", &[&sums, &a.w, rstd, &slopes], &params, s.groups())?;
    let params = [s.inner as u32, c as u32, s.count as u32, a.flags, s.groups() as u32];
    call("group_backward", &[&from, &g, &a.w, mean, rstd, &slopes, &dx], &params, x.numel())?;
    // The products still lack the reciprocal deviation of their group.
    let split = view::reshape_to(&sums, &[2, n, c / each, each])?;
    let (products, plain) = (view::select(&split, 0, 0)?, view::select(&split, 0, 1)?);
    let rstd = view::reshape_to(rstd, &[n, c / each, 1])?;
    let dw = crate::ops::elementwise::mul(&products, &rstd)?;
    let total = |t: &Tensor| -> Result<Tensor> {
        let t = if n == 1 { t.clone() } else { reduce::sum(t, Some(&[0]), false, None)? };
        view::reshape_to(&t, &[c])
    };
    Ok((copy::to_dtype(&dx, x.dtype())?, total(&dw)?, total(&plain)?))
}

/// The sum of the channels of `[n, c, inner]` from `before` before to `after` after each.
pub fn channel_windows(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    let from = plain("local_response_norm", x)?;
    let out = Tensor::empty(x.shape(), Dtype::F32, x.device())?;
    let (c, inner) = (x.shape()[1], x.shape()[2..].iter().product::<usize>());
    let params = [inner as u32, c as u32, before.min(c) as u32, after.min(c) as u32];
    call("channel_windows", &[&from, &out], &params, x.numel())?;
    copy::to_dtype(&out, x.dtype())
}
