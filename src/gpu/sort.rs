//! Order: sorting, and what is read from sorted keys.

use super::{call, flat, of, refuse};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::{copy, creation};
use crate::tensor::Tensor;

/// Elements that a workgroup sorts in its memory.
const RUN: usize = 1024;

/// In which order keys are.
#[derive(Clone, Copy)]
pub enum Way {
    /// As the values, NaN last.
    Up,
    /// The other way round, NaN first.
    Down,
    /// The other way round, but NaN last.
    DownToNan,
}

/// Integers that order as the elements of a real tensor do: int32, or int64 for dtypes of 64 bits; contiguous.
pub fn keys(x: &Tensor, way: Way) -> Result<Tensor> {
    let x = copy::contiguous(&x.detach())?;
    let (name, dtype) = match x.dtype() {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => ("keys_of_floats", Dtype::I32),
        Dtype::F64 => ("keys_of_float64", Dtype::I64),
        Dtype::I64 => ("keys_of_integers", Dtype::I64),
        d if d.is_complex() => return Err(refuse(crate::ops::current(), d, of(&x)?)),
        _ => ("keys_of_integers", Dtype::I32),
    };
    // The bits of a float64 are all that is needed of it.
    let x = if x.dtype() == Dtype::F64 { Tensor::from_parts(x.storage().clone(), x.layout().clone(), Dtype::I64) } else { x };
    let out = Tensor::empty(x.shape(), dtype, x.device())?;
    call(name, &[&x, &out], &[way as u32], x.numel())?;
    Ok(out)
}

/// Whether keys of a dtype may stand for NaN.
fn has_nan(d: Dtype) -> u32 {
    u32::from(d.is_float())
}

/// The keys (contiguous) sorted along the last dimension, and the position in its row of each (int32).
pub fn rows(keys: &Tensor) -> Result<(Tensor, Tensor)> {
    let len = *keys.shape().last().unwrap_or(&1);
    let pair = || -> Result<(Tensor, Tensor)> {
        Ok((Tensor::empty(keys.shape(), keys.dtype(), keys.device())?, Tensor::empty(keys.shape(), Dtype::I32, keys.device())?))
    };
    let mut now = pair()?;
    let n = keys.numel();
    if n == 0 {
        return Ok(now);
    }
    let mut run = len.next_power_of_two().min(RUN);
    let runs = len.div_ceil(run);
    let count = n / len * runs;
    let params = [len as u32, runs as u32, run as u32, count as u32];
    call("sort_runs", &[keys, &now.0, &now.1], &params, count.div_ceil(RUN / run))?;
    if run < len {
        let mut next = pair()?;
        while run < len {
            call("merge_runs", &[&now.0, &now.1, &next.0, &next.1], &[len as u32, run as u32], n)?;
            std::mem::swap(&mut now, &mut next);
            run *= 2;
        }
    }
    Ok(now)
}

/// 0, 1, ... as int32.
fn count_up(n: usize, like: &Tensor) -> Result<Tensor> {
    creation::arange(0.into(), (n as i64).into(), 1.into(), Some(Dtype::I32), like.device())
}

/// The stable order (int32) of `n` slices of keys, each compared from its first key on.
pub fn slices(keys: &Tensor, n: usize) -> Result<Tensor> {
    let len = keys.numel() / n.max(1);
    let mut now = count_up(n, keys)?;
    let mut next = Tensor::empty(&[n], Dtype::I32, keys.device())?;
    let mut run = 1;
    while run < n {
        call("merge_slices", &[keys, &now, &next], &[n as u32, len as u32, run as u32], n)?;
        std::mem::swap(&mut now, &mut next);
        run *= 2;
    }
    Ok(now)
}

/// A result with one int64 for each row of sorted keys.
fn one_each(keys: &Tensor) -> Result<(Tensor, usize, u32)> {
    let mut shape = keys.dims();
    let len = shape.last().copied().unwrap_or(1);
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    Ok((Tensor::empty(&shape, Dtype::I64, keys.device())?, keys.numel() / len.max(1), len as u32))
}

/// The position of the lower median of each row of sorted keys; a NaN's where there is one, unless they are ignored.
pub fn median(keys: &Tensor, order: &Tensor, dtype: Dtype, ignore_nan: bool) -> Result<Tensor> {
    let (out, n, len) = one_each(keys)?;
    call("median_of_sorted", &[keys, order, &out], &[len, has_nan(dtype), ignore_nan as u32], n)?;
    Ok(out)
}

/// The last position of the most frequent value of each row of sorted keys.
pub fn mode(keys: &Tensor, order: &Tensor, dtype: Dtype) -> Result<Tensor> {
    let (out, n, len) = one_each(keys)?;
    call("mode_of_sorted", &[keys, order, &out], &[len, has_nan(dtype)], n)?;
    Ok(out)
}

/// Distinct slices: where each is first seen, which of them every slice is, how many of each there are (int64).
pub struct Groups {
    pub firsts: Tensor,
    pub inverse: Tensor,
    pub counts: Tensor,
}

/// Groups equal ones among `n` slices of `x` that are neighbours, in sorted order if that is wanted. Waits for the GPU: their
/// number is needed.
pub fn groups(x: &Tensor, n: usize, sorted: bool) -> Result<Groups> {
    let keys = keys(x, Way::Up)?;
    let len = keys.numel() / n.max(1);
    let order = if !sorted {
        count_up(n, x)?
    } else if len == 1 {
        rows(&flat(&keys, 0, n)?)?.1
    } else {
        slices(&keys, n)?
    };
    let new = |n: usize| Tensor::empty(&[n], Dtype::I64, x.device());
    let (flags, which, inverse) = (new(n)?, new(n)?, new(n)?);
    call("unique_flags", &[&keys, &order, &flags], &[len as u32, has_nan(x.dtype())], n)?;
    super::scan::scan(&flags, &which, super::scan::Shape { outer: 1, len: n, inner: 1, reverse: false }, "sum")?;
    let count = if n == 0 { 0 } else { which.at(n - 1).i64() as usize };
    let (firsts, starts) = (new(count)?, new(count + 1)?);
    call("unique_places", &[&which, &order, &firsts, &starts, &inverse], &[n as u32], n)?;
    let counts = crate::ops::elementwise::sub(&flat(&starts, 1, count)?, &flat(&starts, 0, count)?)?;
    Ok(Groups { firsts, inverse, counts })
}

/// Where values belong among the sorted ones of `x`: in row `i / each` of it for value `i`, if `x` has rows at all.
pub fn searchsorted(x: &Tensor, sorter: Option<&Tensor>, v: &Tensor, each: Option<usize>, right: bool) -> Result<Tensor> {
    if x.dtype() == Dtype::F64 {
        return Err(refuse(crate::ops::current(), x.dtype(), of(x)?));
    }
    let out = Tensor::empty(v.shape(), Dtype::I64, v.device())?;
    let len = x.shape().last().copied().unwrap_or(1);
    if len == 0 {
        return Tensor::zeros(v.shape(), Dtype::I64, v.device());
    }
    let none = Tensor::empty(&[1], Dtype::I64, v.device())?;
    let params = [len as u32, each.unwrap_or(1) as u32, each.is_some() as u32, sorter.is_some() as u32, right as u32];
    call("searchsorted", &[x, sorter.unwrap_or(&none), v, &out], &params, v.numel())?;
    Ok(out)
}

/// Which elements of `x` are among those of `test`, which has the same dtype.
pub fn isin(x: &Tensor, test: &Tensor, invert: bool) -> Result<Tensor> {
    let out = Tensor::empty(x.shape(), Dtype::Bool, x.device())?;
    let flat = crate::ops::view::reshape_to(&test.detach(), &[test.numel()])?;
    let sorted = rows(&keys(&flat, Way::Up)?)?.0;
    let params = [test.numel() as u32, has_nan(x.dtype()), invert as u32];
    call("isin", &[&sorted, &keys(x, Way::Up)?, &out], &params, x.numel())?;
    Ok(out)
}

/// How often each number below `bins` occurs in `x` (int32 or int64): int32. Others do not count.
pub fn count(x: &Tensor, bins: usize) -> Result<Tensor> {
    let x = copy::contiguous(&x.detach())?;
    let out = Tensor::zeros(&[bins], Dtype::I32, x.device())?;
    call("count", &[&x, &out], &[bins as u32], x.numel())?;
    Ok(out)
}

/// The sums of weights (float32) of what has each number below `bins` in `x` (int32 or int64).
pub fn weigh(x: &Tensor, weights: &Tensor, bins: usize) -> Result<Tensor> {
    let out = Tensor::empty(&[bins], Dtype::F32, x.device())?;
    let (sorted, order) = rows(&keys(x, Way::Up)?)?;
    call("weigh", &[&sorted, &order, &copy::contiguous(&weights.detach())?, &out], &[x.numel() as u32], bins)?;
    Ok(out)
}

/// The bin of each point (int32; -1 outside) among those that the edges bound; `find` as the kernel numbers it.
pub fn bins(points: &Tensor, edges: &[Tensor], find: u32) -> Result<Tensor> {
    if points.dtype() != Dtype::F32 {
        return Err(refuse(crate::ops::current(), points.dtype(), of(points)?));
    }
    let n = points.numel() / edges.len();
    let out = Tensor::empty(&[n], Dtype::I32, points.device())?;
    for (d, e) in edges.iter().enumerate() {
        let params = [edges.len() as u32, d as u32, e.numel() as u32, find];
        call("histogram_bins", &[points, e, &out], &params, n)?;
    }
    Ok(out)
}
