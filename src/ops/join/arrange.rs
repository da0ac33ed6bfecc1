//! The same elements in another order, or several times: flip, roll, rot90, repeat, ...

use super::pieces;
use crate::autograd::{needs_grad, record};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, Layout, show, wrap_dim};
use crate::ops::index::lanes::{self, After, Combine, Lanes, Places, offsets};
use crate::ops::{Registry, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;
use std::sync::Arc;

/// For every dimension which indices a result takes; `None`: all, in order.
pub type Lists = Arc<Vec<Option<Vec<usize>>>>;

fn lanes_of(l: &Layout, lists: &Lists) -> Lanes {
    let mut lead = vec![0isize];
    let last = l.ndim() - 1;
    let along = |d: usize| -> Vec<isize> {
        match &lists[d] {
            Some(v) => v.iter().map(|&i| i as isize * l.strides[d]).collect(),
            None => offsets(&l.shape[d..=d], &l.strides[d..=d]),
        }
    };
    for d in 0..last {
        let part = along(d);
        lead = lead.iter().flat_map(|&b| part.iter().map(move |&o| b + o)).collect();
    }
    let after = match &lists[last] {
        None => After::of(&l.shape[last..], &l.strides[last..]),
        Some(_) => After::list(&along(last)),
    };
    Lanes::Host(Places { before: vec![0], index: lead, after })
}

/// The elements of `x` at the product of the lists (an index may occur several times). Differentiable.
pub fn pick(x: &Tensor, lists: &Lists, name: &'static str) -> Result<Tensor> {
    let shape: Dims = (0..x.ndim()).map(|d| lists[d].as_ref().map_or(x.shape()[d], Vec::len)).collect();
    let out = if gpu::holds(x) {
        pieces::pick(x, lists)?
    } else {
        let out = Tensor::empty(&shape, x.dtype(), x.device())?;
        if out.numel() > 0 {
            lanes::read(x, &lanes_of(x.layout(), lists), &out)?;
        }
        out
    };
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let (lists, shape) = (lists.clone(), x.dims());
    Ok(record(name, &[x], out, move |_, g| Ok(smallvec![Some(place(g, &shape, &lists, name)?)])))
}

/// Zeros with the elements of `g` added where [`pick`] would take them from. Differentiable.
fn place(g: &Tensor, shape: &[usize], lists: &Lists, name: &'static str) -> Result<Tensor> {
    let out = if gpu::holds(g) { pieces::place(g, shape, lists)? } else { Tensor::zeros(shape, g.dtype(), g.device())? };
    if g.numel() > 0 && !gpu::holds(g) {
        lanes::combine(&out, &lanes_of(out.layout(), lists), &copy::contiguous(&g.detach())?, Combine::Add)?;
    }
    let lists = lists.clone();
    Ok(record(name, &[g], out, move |_, gg| Ok(smallvec![Some(pick(gg, &lists, name)?)])))
}

/// Dimensions in reverse. Differentiable.
pub fn flip(x: &Tensor, dims: &[i64]) -> Result<Tensor> {
    let mut lists: Vec<Option<Vec<usize>>> = vec![None; x.ndim()];
    let mut seen = [false; crate::layout::MAX_DIMS];
    for &d in dims {
        let d = wrap_dim(d, x.ndim())?;
        ensure!(!std::mem::replace(&mut seen[d], true), Runtime, "dim {d} appears multiple times in the list of dims");
        if x.ndim() > 0 {
            lists[d] = Some((0..x.shape()[d]).rev().collect());
        }
    }
    if x.ndim() == 0 {
        return copy::clone(x, None);
    }
    pick(x, &Arc::new(lists), "FlipBackward0")
}

/// Elements moved along dimensions; those that fall off come in at the other end. Differentiable.
pub fn roll(x: &Tensor, shifts: &[i64], dims: &[i64]) -> Result<Tensor> {
    if dims.is_empty() && shifts.len() == 1 {
        let flat = view::reshape_to(&x.detach(), &[x.numel()])?;
        let out = view::reshape_to(&roll(&flat, shifts, &[0])?, x.shape())?.detach();
        let back = shifts[0].saturating_neg();
        return Ok(record("RollBackward0", &[x], out, move |_, g| Ok(smallvec![Some(roll(g, &[back], &[])?)])));
    }
    ensure!(
        shifts.len() == dims.len() && !shifts.is_empty(),
        Runtime,
        "{}",
        if shifts.is_empty() {
            "`shifts` required".to_string()
        } else {
            format!("shifts and dimensions must align. shifts: {}, dims:{}", shifts.len(), dims.len())
        }
    );
    let mut total = vec![0i64; x.ndim()];
    for (&s, &d) in shifts.iter().zip(dims) {
        ensure!(x.ndim() > 0, Index, "Dimension specified as {d} but tensor has no dimensions");
        let d = wrap_dim(d, x.ndim())?;
        let n = (x.shape()[d] as i64).max(1);
        total[d] = (total[d] + s.rem_euclid(n)).rem_euclid(n);
    }
    let lists: Vec<Option<Vec<usize>>> = total
        .iter()
        .zip(x.shape())
        .map(|(&s, &n)| (s != 0).then(|| (0..n).map(|i| (i + n - s as usize) % n).collect()))
        .collect();
    pick(x, &Arc::new(lists), "RollBackward0")
}

/// A rotation by `k` quarter turns in a plane.
pub fn rot90(x: &Tensor, k: i64, dims: &[i64]) -> Result<Tensor> {
    ensure!(dims.len() == 2, Runtime, "expected total rotation dims == 2, but got dims = {}", dims.len());
    ensure!(x.ndim() >= 2, Runtime, "expected total dims >= 2, but got total dims = {}", x.ndim());
    let (a, b) = (wrap_dim(dims[0], x.ndim())?, wrap_dim(dims[1], x.ndim())?);
    ensure!(a != b, Runtime, "expected rotation dims to be different, but got dim0 = {} and dim1 = {}", dims[0], dims[1]);
    match k.rem_euclid(4) {
        1 => view::transpose(&flip(x, &[dims[1]])?, dims[0], dims[1]),
        2 => flip(x, dims),
        3 => view::transpose(&flip(x, &[dims[0]])?, dims[0], dims[1]),
        _ => copy::clone(x, None),
    }
}

/// The tensor several times along each dimension. Differentiable.
pub fn repeat(x: &Tensor, times: &[i64]) -> Result<Tensor> {
    ensure!(
        times.len() >= x.ndim(),
        Runtime,
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
    );
    let lead = times.len() - x.ndim();
    let size = |d: usize| if d < lead { 1 } else { x.shape()[d - lead] };
    let target: Vec<i64> = times.iter().enumerate().map(|(d, &t)| t.saturating_mul(size(d) as i64)).collect();
    ensure!(
        times.iter().all(|&t| t >= 0),
        Runtime,
        "Trying to create tensor with negative dimension {}: {}",
        target.iter().find(|t| **t < 0).unwrap_or(&-1),
        show(&target)
    );
    // [r0, s0, r1, s1, ...]: repeats beside sizes, without those that are 1.
    let (mut wide, mut strides, mut keep) = (Dims::new(), smallvec::SmallVec::<[isize; 6]>::new(), Vec::new());
    for (d, &r) in times.iter().enumerate() {
        if r != 1 {
            keep.push((wide.len() as i64, true));
            wide.push(r as usize);
            strides.push(0);
        }
        wide.push(size(d));
        strides.push(if d < lead { 0 } else { x.strides()[d - lead] });
    }
    let shape: Dims = target.iter().map(|&t| t as usize).collect();
    let out = Tensor::empty(&shape, x.dtype(), x.device())?;
    if out.numel() > 0 {
        let slot = out.alias(out.layout().view(&wide)?.expect("contiguous"));
        copy::copy_raw(&slot, &x.detach().alias(Layout::strided(&wide, &strides, x.layout().offset)?))?;
    }
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let from = x.dims();
    let dims: Vec<i64> = keep.iter().map(|k| k.0).collect();
    Ok(record("RepeatBackward0", &[x], out, move |_, g| {
        if g.numel() == 0 {
            return Ok(smallvec![Some(Tensor::zeros(&from, g.dtype(), g.device())?)]);
        }
        let g = view::reshape_to(g, &wide)?;
        let g = if dims.is_empty() { g } else { reduce::sum(&g, Some(&dims), false, None)? };
        Ok(smallvec![Some(view::reshape_to(&g, &from)?)])
    }))
}

/// [`repeat`] where missing counts are 1.
pub fn tile(x: &Tensor, times: &[i64]) -> Result<Tensor> {
    let mut all = vec![1; x.ndim().saturating_sub(times.len())];
    all.extend_from_slice(times);
    repeat(x, &all)
}

/// The index that repeats each place as often as `repeats` says.
pub fn repeat_index(repeats: &Tensor, output_size: Option<i64>) -> Result<Tensor> {
    ensure!(repeats.ndim() == 1, Runtime, "repeat_interleave only accept 1D vector as repeat");
    ensure!(
        matches!(repeats.dtype(), Dtype::I64 | Dtype::I32),
        NotImplemented,
        "\"repeat_interleave_cpu\" not implemented for '{}'",
        repeats.dtype().scalar_name()
    );
    let r = copy::to_host(repeats)?;
    r.check_data("repeat_interleave")?;
    let r = copy::contiguous(&copy::to_dtype(&r, Dtype::I64)?)?;
    let counts = r.data::<i64>();
    ensure!(counts.iter().all(|&c| c >= 0), Runtime, "repeats can not be negative");
    let total = counts.iter().try_fold(0usize, |a, &c| a.checked_add(c as usize));
    let Some(total) = total else { bail!(Runtime, "repeat_interleave: the result is too large") };
    ensure!(output_size.is_none_or(|n| n == total as i64), Runtime, "allocated size does not match required size");
    let out = Tensor::empty(&[total], Dtype::I64, Device::Cpu)?;
    let slots = out.data_mut::<i64>();
    let mut at = 0;
    for (i, &c) in counts.iter().enumerate() {
        slots[at..at + c as usize].fill(i as i64);
        at += c as usize;
    }
    // An int32 count gives an int32 index.
    copy::to_device(&copy::to_dtype(&out, repeats.dtype())?, repeats.device())
}

fn repeat_interleave_by(x: &Tensor, repeats: &Tensor, dim: Option<i64>, output_size: Option<i64>) -> Result<Tensor> {
    let (x, d) = match dim {
        None => (view::reshape_to(x, &[x.numel()])?, 0),
        Some(d) => (x.clone(), wrap_dim(d, x.ndim())?),
    };
    let n = x.size(d);
    let one = repeats.ndim() == 0 || (repeats.ndim() == 1 && repeats.numel() == 1);
    let repeats = if one {
        let r = view::reshape_to(&repeats.detach(), &[1])?;
        view::expand(&r, &[n])?
    } else {
        ensure!(repeats.ndim() == 1, Runtime, "repeats must be 0-dim or 1-dim tensor");
        ensure!(
            repeats.numel() == n,
            Runtime,
            "repeats must have the same size as input along dim, but got repeats.size(0) = {} and input.size({d}) = {n}",
            repeats.numel()
        );
        repeats.detach()
    };
    crate::ops::index::index_select(&x, d as i64, &repeat_index(&repeats, output_size)?)
}

fn repeat_interleave(x: &Tensor, times: i64, dim: Option<i64>, output_size: Option<i64>) -> Result<Tensor> {
    ensure!(times >= 0, Runtime, "Repeats must be non-negative");
    let x = if dim.is_none() || x.ndim() == 0 { view::reshape_to(x, &[x.numel()])? } else { x.clone() };
    let d = wrap_dim(dim.unwrap_or(0), x.ndim())?;
    let n = x.shape()[d].checked_mul(times as usize);
    let Some(n) = n else { bail!(Runtime, "repeat_interleave: the result is too large") };
    ensure!(
        output_size.is_none_or(|o| o == n as i64),
        Runtime,
        "repeat_interleave: Invalid output_size, expected {n} but got {}",
        output_size.unwrap_or(0)
    );
    let mut wide = x.dims();
    wide.insert(d + 1, times as usize);
    let mut shape = x.dims();
    shape[d] = n;
    let wide = view::expand(&view::unsqueeze(&x, d as i64 + 1)?, &wide)?;
    view::reshape_to(&copy::clone(&wide, Some(crate::ops::MemoryFormat::Contiguous))?, &shape)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "flip(Tensor self, int[] dims) -> Tensor", "Dimensions in reverse.", |a| flip(a.t(0), a.ints(1)).map(Into::into));
    r.op("fm", "fliplr(Tensor self) -> Tensor", "Columns in reverse.", |a| {
        ensure!(a.t(0).ndim() >= 2, Runtime, "Input must be >= 2-d.");
        flip(a.t(0), &[1]).map(Into::into)
    });
    r.op("fm", "flipud(Tensor self) -> Tensor", "Rows in reverse.", |a| {
        ensure!(a.t(0).ndim() >= 1, Runtime, "Input must be >= 1-d.");
        flip(a.t(0), &[0]).map(Into::into)
    });
    r.op(
        "fm",
        "roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor",
        "Elements moved along dimensions, around the end.",
        |a| roll(a.t(0), a.ints(1), a.ints(2)).map(Into::into),
    );
    r.op("fm", "rot90(Tensor self, int k=1, int[] dims=[0, 1]) -> Tensor", "A rotation by quarter turns.", |a| {
        rot90(a.t(0), a.int(1), a.ints(2)).map(Into::into)
    });
    r.op("m", "repeat(Tensor self, int[] repeats) -> Tensor", "The tensor several times along each dimension.", |a| {
        repeat(a.t(0), a.ints(1)).map(Into::into)
    });
    r.op("fm", "tile(Tensor self, int[] dims) -> Tensor", "repeat; missing counts are 1.", |a| {
        tile(a.t(0), a.ints(1)).map(Into::into)
    });
    r.op("f", "repeat_interleave(Tensor repeats, *, int? output_size=None) -> Tensor", "Indices, each as often as told.", |a| {
        repeat_index(a.t(0), a.oint(1)).map(Into::into)
    });
    r.op(
        "fm",
        "repeat_interleave(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor",
        "Every element as often as told.",
        |a| repeat_interleave_by(a.t(0), a.t(1), a.oint(2), a.oint(3)).map(Into::into),
    );
    r.op(
        "fm",
        "repeat_interleave(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor",
        "Every element several times.",
        |a| repeat_interleave(a.t(0), a.int(1), a.oint(2), a.oint(3)).map(Into::into),
    );
}
