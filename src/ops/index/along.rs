//! Ops whose index names a place along one dimension for every element: gather, scatter and their kin.

use super::advanced::{destination, values_for};
use super::lanes::{self, Combine, Lanes};
use super::{fill_value, masked_fill, t};
use crate::autograd::{needs_grad, record, save, save_output};
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Layout, show, wrap_dim};
use crate::ops::{Registry, copy, elementwise as ew};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// A tensor without history; a 0-d one as a row of one element.
pub fn at_least_1d(x: &Tensor) -> Result<Tensor> {
    if x.ndim() > 0 {
        return Ok(x.detach());
    }
    Ok(x.detach().alias(Layout::strided(&[1], &[1], x.layout().offset)?).detach())
}

/// The index of `op` as contiguous int64 with the dimensions of `x`; checks what does not depend on values.
fn checked_index(x: &Tensor, dim: i64, index: &Tensor, op: &str, role: &str) -> Result<(usize, Tensor)> {
    let d = wrap_dim(dim, x.ndim())?;
    // An empty index may be of any dtype.
    let whole = matches!(index.dtype(), Dtype::I64 | Dtype::I32);
    ensure!(whole || index.numel() == 0, Runtime, "{op}(): Expected dtype int32/int64 for index");
    let i = if gpu::holds(index) {
        // Kernels read either dtype, and any strides.
        at_least_1d(&if whole { index.detach() } else { copy::to_dtype(&index.detach(), Dtype::I64)? })?
    } else {
        copy::contiguous(&at_least_1d(&copy::to_dtype(&index.detach(), Dtype::I64)?)?)?
    };
    if i.numel() > 0 {
        ensure!(i.ndim() == x.ndim().max(1), Runtime, "Index tensor must have the same number of dimensions as {role} tensor");
    }
    Ok((d, i))
}

/// Positions of the elements that `index` names under a layout. Bounds are checked.
fn positions(l: &Layout, dim: usize, index: &Tensor) -> Result<Lanes> {
    let (n, st) = (l.shape[dim] as i64, l.strides[dim]);
    if gpu::holds(index) {
        ensure!(n > 0 || index.numel() == 0, Runtime, "index is out of bounds for dimension {dim} with size 0");
        let message = format!("index {{}} is out of bounds for dimension {dim} with size {n}");
        return Ok(Lanes::on_gpu(gpu::index::Lanes::along(l, dim, index, message)));
    }
    index.check_data("gather")?;
    let values = index.data::<i64>();
    let mut out = Vec::with_capacity(values.len());
    let nd = index.ndim();
    if values.is_empty() {
        return Ok(Lanes::at(out));
    }
    let shape = index.shape();
    let last = nd - 1;
    let step = if dim == last { 0 } else { l.strides[last] };
    let mut counter = vec![0usize; nd];
    for row in values.chunks_exact(shape[last]) {
        let base: isize = (0..last).filter(|&d| d != dim).map(|d| counter[d] as isize * l.strides[d]).sum();
        for (j, &v) in row.iter().enumerate() {
            ensure!((0..n).contains(&v), Runtime, "index {v} is out of bounds for dimension {dim} with size {n}");
            out.push(base + j as isize * step + v as isize * st);
        }
        for d in (0..last).rev() {
            counter[d] += 1;
            if counter[d] < shape[d] {
                break;
            }
            counter[d] = 0;
        }
    }
    Ok(Lanes::at(out))
}

/// `out[i][j] = x[index[i][j]][j]`, and so on for other dimensions. Differentiable.
pub fn gather(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    let (d, i) = checked_index(x, dim, index, "gather", "input")?;
    let flat = at_least_1d(x)?;
    let out = Tensor::empty(index.shape(), x.dtype(), x.device())?;
    if i.numel() > 0 {
        ensure!(
            (0..i.ndim()).all(|k| k == d || i.shape()[k] <= flat.shape()[k]),
            Runtime,
            "Size does not match at dimension {} expected index {} to be no larger than self {} apart from dimension {d}",
            (0..i.ndim()).find(|&k| k != d && i.shape()[k] > flat.shape()[k]).unwrap_or(0),
            show(index.shape()),
            show(x.shape())
        );
        lanes::read(&flat, &positions(flat.layout(), d, &i)?, &out)?;
    }
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), x.dims());
    Ok(record("GatherBackward0", &[x], out, move |ctx, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        Ok(smallvec![Some(scatter_add(&zeros, dim, &index.get(ctx)?, g, None)?)])
    }))
}

/// The part of `src` that `index` covers, contiguous.
fn covered(src: &Tensor, index: &Tensor, out: &Tensor) -> Result<Tensor> {
    let s = at_least_1d(src)?;
    let part = s.alias(Layout::strided(index.shape(), s.strides(), s.layout().offset)?);
    values_for(out, &part)
}

/// The gradient of `src`, of which the index may have covered a part only.
fn gather_into(g: &Tensor, dim: i64, index: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let got = gather(g, dim, index)?;
    if got.shape() == shape {
        return Ok(got);
    }
    let got = if index.ndim() != shape.len() {
        crate::ops::view::reshape_to(&got, &shape.iter().map(|_| 1).collect::<Vec<_>>())?
    } else {
        got
    };
    let pad: Vec<i64> = (0..shape.len()).rev().flat_map(|d| [0, (shape[d] - got.shape()[d]) as i64]).collect();
    crate::ops::join::constant_pad_nd(&got, &pad, Scalar::Int(0))
}

fn check_scatter(x: &Tensor, d: usize, i: &Tensor, src: Option<&Tensor>) -> Result<()> {
    if i.numel() == 0 {
        return Ok(());
    }
    let nd = x.ndim().max(1);
    if let Some(s) = src {
        ensure!(s.dtype() == x.dtype(), Runtime, "scatter(): Expected self.dtype to be equal to src.dtype");
        ensure!(s.ndim().max(1) == nd, Runtime, "Index tensor must have the same number of dimensions as src tensor");
    }
    let fits = (0..nd).all(|k| {
        let n = i.shape()[k];
        (k == d || n <= x.size(k)) && src.is_none_or(|s| n <= s.size(k))
    });
    match src {
        Some(s) => ensure!(
            fits,
            Runtime,
            "Expected index {} to be no larger than self {} apart from dimension {d} and to be no larger size than src {}",
            show(i.shape()),
            show(x.shape()),
            show(s.shape())
        ),
        None => ensure!(
            fits,
            Runtime,
            "Expected index {} to be no larger than self {} apart from dimension {d}",
            show(i.shape()),
            show(x.shape())
        ),
    }
    Ok(())
}

/// A copy of `x` with `src` written where `index` says. Differentiable.
pub fn scatter(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    let (d, i) = checked_index(x, dim, index, "scatter", "self")?;
    check_scatter(x, d, &i, Some(src))?;
    let out = destination(x, target)?;
    if i.numel() > 0 {
        // Every position is checked before anything is written.
        let l = positions(at_least_1d(&out)?.layout(), d, &i)?;
        lanes::write(&out, &l, &covered(src, &i, &out)?)?;
    }
    if target.is_some() || !needs_grad(&[x, src]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), src.dims());
    Ok(record("ScatterBackward0", &[x, src], out, move |ctx, g| {
        let index = index.get(ctx)?;
        let gx = if ctx.needs(0) { Some(scatter_value(g, dim, &index, Scalar::Int(0), None)?) } else { None };
        let gs = if ctx.needs(1) { Some(gather_into(g, dim, &index, &shape)?) } else { None };
        Ok(smallvec![gx, gs])
    }))
}

/// A copy of `x` with a number written where `index` says. Differentiable.
pub fn scatter_value(x: &Tensor, dim: i64, index: &Tensor, value: Scalar, target: Option<&Tensor>) -> Result<Tensor> {
    let (d, i) = checked_index(x, dim, index, "scatter", "self")?;
    check_scatter(x, d, &i, None)?;
    let v = fill_value(value, x.dtype())?;
    let out = destination(x, target)?;
    if i.numel() > 0 {
        lanes::write(&out, &positions(at_least_1d(&out)?.layout(), d, &i)?, &v)?;
    }
    if target.is_some() || !needs_grad(&[x]) {
        return Ok(out);
    }
    let index = save(index);
    Ok(record("ScatterBackward1", &[x], out, move |ctx, g| {
        Ok(smallvec![Some(scatter_value(g, dim, &index.get(ctx)?, Scalar::Int(0), None)?)])
    }))
}

/// A copy of `x` with `src` added where `index` says, in order. Differentiable.
pub fn scatter_add(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    let out = scatter_combine(x, dim, index, src, Combine::Add, target)?;
    if target.is_some() || !needs_grad(&[x, src]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), src.dims());
    Ok(record("ScatterAddBackward0", &[x, src], out, move |ctx, g| {
        let gs = if ctx.needs(1) { Some(gather_into(g, dim, &index.get(ctx)?, &shape)?) } else { None };
        Ok(smallvec![Some(g.clone()), gs])
    }))
}

fn scatter_combine(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor, op: Combine, target: Option<&Tensor>) -> Result<Tensor> {
    let (d, i) = checked_index(x, dim, index, "scatter", "self")?;
    check_scatter(x, d, &i, Some(src))?;
    let out = destination(x, target)?;
    if i.numel() > 0 {
        let l = positions(at_least_1d(&out)?.layout(), d, &i)?;
        lanes::combine(&out, &l, &covered(src, &i, &out)?, op)?;
    }
    Ok(out)
}

/// How a group of elements becomes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduce {
    Sum,
    Prod,
    Mean,
    Max,
    Min,
}

impl Reduce {
    fn combine(self) -> Combine {
        match self {
            Reduce::Sum | Reduce::Mean => Combine::Add,
            Reduce::Prod => Combine::Mul,
            Reduce::Max => Combine::Max,
            Reduce::Min => Combine::Min,
        }
    }

    /// The value that changes nothing.
    fn identity(self, d: Dtype) -> Tensor {
        let (low, high) = match d {
            Dtype::U8 => (0, 255),
            Dtype::I8 => (i8::MIN as i64, i8::MAX as i64),
            Dtype::I16 => (i16::MIN as i64, i16::MAX as i64),
            Dtype::I32 => (i32::MIN as i64, i32::MAX as i64),
            Dtype::Bool => (0, 1),
            _ => (i64::MIN, i64::MAX),
        };
        let bound = |i: i64, f: f64| if d.is_integral() { Scalar::Int(i) } else { Scalar::Float(f) };
        Tensor::scalar(
            match self {
                Reduce::Sum | Reduce::Mean => Scalar::Int(0),
                Reduce::Prod => Scalar::Int(1),
                Reduce::Max => bound(low, f64::NEG_INFINITY),
                Reduce::Min => bound(high, f64::INFINITY),
            },
            d,
        )
    }
}

fn scatter_reduce_raw(x: &Tensor, dim: i64, index: &Tensor, src: &Tensor, how: Reduce, include_self: bool) -> Result<Tensor> {
    let (d, i) = checked_index(x, dim, index, "scatter_reduce", "self")?;
    check_scatter(x, d, &i, Some(src))?;
    ensure!(
        !(x.dtype().is_complex() && matches!(how, Reduce::Max | Reduce::Min)),
        NotImplemented,
        "\"scatter_reduce\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    let out = copy::clone(&x.detach(), Some(crate::ops::MemoryFormat::Contiguous))?;
    if i.numel() == 0 {
        return Ok(out);
    }
    let l = positions(at_least_1d(&out)?.layout(), d, &i)?;
    if !include_self {
        lanes::write(&out, &l, &how.identity(x.dtype()))?;
    }
    lanes::combine(&out, &l, &covered(src, &i, &out)?, how.combine())?;
    if how == Reduce::Mean {
        let count = Tensor::full(out.shape(), include_self as i64, Dtype::I64, out.device())?;
        lanes::combine(&count, &l, &Tensor::scalar(1i64, Dtype::I64), Combine::Add)?;
        if gpu::holds(&out) {
            return divided(&out, &count);
        }
        let counts = count.data::<i64>();
        dispatch!(real "scatter_reduce", out.dtype(), T => {
            for (o, &n) in out.data_mut::<T>().iter_mut().zip(counts).filter(|(_, n)| **n > 1) {
                *o = if T::DTYPE.is_integral() { T::from_i64(o.to_i64().div_euclid(n)) } else { T::from_f64(o.to_f64() / n as f64) };
            }
        });
    }
    Ok(out)
}

/// Sums over their numbers of summands, where there are any; without history.
fn divided(sums: &Tensor, counts: &Tensor) -> Result<Tensor> {
    let n = ew::MAXIMUM.call(&[t(counts), t(&Tensor::scalar(1i64, counts.dtype()))], &[], None)?;
    let n = copy::to_dtype(&n, sums.dtype())?;
    let mean = if sums.dtype().is_integral() { ew::FLOOR_DIVIDE.call(&[t(sums), t(&n)], &[], None)? } else { ew::div(sums, &n)? };
    Ok(mean.detach())
}

/// A copy of `x` where elements with the same place are reduced to one. Differentiable.
pub fn scatter_reduce(
    x: &Tensor,
    dim: i64,
    index: &Tensor,
    src: &Tensor,
    how: Reduce,
    include_self: bool,
    name: &'static str,
) -> Result<Tensor> {
    let out = scatter_reduce_raw(x, dim, index, src, how, include_self)?;
    if !needs_grad(&[x, src]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), src.dims());
    let values = (how != Reduce::Sum && how != Reduce::Mean).then(|| (save(x), save(src), save_output(&out, 0)));
    Ok(record(name, &[x, src], out, move |ctx, g| {
        let index = index.get(ctx)?;
        // The part of src that took part.
        let part = |s: &Tensor| -> Result<Tensor> {
            let mut p = s.clone();
            for k in 0..index.ndim().min(s.ndim()) {
                if p.shape()[k] != index.shape()[k] {
                    p = crate::ops::view::narrow(&p, k as i64, 0, index.shape()[k] as i64)?;
                }
            }
            Ok(p)
        };
        let mul = |a: &Tensor, b: &Tensor| ew::mul(a, &copy::to_dtype(b, a.dtype())?);
        let (gx, gs) = match (how, &values) {
            (Reduce::Mean, _) => {
                let n = Tensor::full(g.shape(), include_self as i64, g.dtype(), g.device())?;
                let ones = Tensor::full(index.shape(), 1i64, g.dtype(), g.device())?;
                let n = scatter_combine(&n, dim, &index, &ones, Combine::Add, None)?;
                let n = masked_fill(
                    &n,
                    &ew::EQ.call(&[t(&n), Operand::S(Scalar::Int(0))], &[], None)?,
                    &Tensor::scalar(1i64, n.dtype()),
                    None,
                )?;
                let share = ew::div(g, &n)?;
                let gs = gather(&share, dim, &index)?;
                (share, gs)
            }
            (Reduce::Prod, Some((x, src, out))) => {
                let (x, src, out) = (x.get(ctx)?, part(&src.get(ctx)?)?, out.get(ctx)?);
                let one = Tensor::scalar(1i64, x.dtype());
                let zero = |a: &Tensor| ew::EQ.call(&[t(a), Operand::S(Scalar::Int(0))], &[], None);
                let masked_x = masked_fill(&x, &zero(&x)?, &one, None)?;
                let masked_x_out = scatter_reduce(&masked_x, dim, &index, &src, how, include_self, "ScatterReduceBackward0")?;
                let gx = ew::div(&mul(g, &masked_x_out)?, &masked_x)?;
                let src_zero = zero(&src)?;
                let zeros = Tensor::zeros(x.shape(), x.dtype(), x.device())?;
                let count = scatter_combine(&zeros, dim, &index, &copy::to_dtype(&src_zero, x.dtype())?, Combine::Add, None)?;
                let count = gather(&count, dim, &index)?;
                let single = ew::LOGICAL_AND.call(
                    &[t(&src_zero), t(&ew::EQ.call(&[t(&count), Operand::S(Scalar::Int(1))], &[], None)?)],
                    &[],
                    None,
                )?;
                let masked_src = masked_fill(&src, &single, &one, None)?;
                let masked_src_out = scatter_reduce(&x, dim, &index, &masked_src, how, include_self, "ScatterReduceBackward0")?;
                let a = gather(&mul(g, &masked_src_out)?, dim, &index)?;
                let b = ew::div(&gather(&mul(g, &out)?, dim, &index)?, &masked_fill(&src, &src_zero, &one, None)?)?;
                let d = b.dtype();
                let gs = ew::apply(ew::WHERE.compiled(), &[t(&single), t(&a), t(&b)], &[], d, d, None)?;
                (gx, gs)
            }
            (Reduce::Max | Reduce::Min, Some((x, src, out))) => {
                let (x, src, out) = (x.get(ctx)?.detach(), part(&src.get(ctx)?.detach())?, out.get(ctx)?.detach());
                let value = gather(&out, dim, &index)?;
                let same = |a: &Tensor, b: &Tensor| copy::to_dtype(&ew::EQ.call(&[t(a), t(b)], &[], None)?, g.dtype());
                let (self_is, src_is) = (same(&x, &out)?, same(&src, &value)?);
                let start = if include_self { self_is.clone() } else { Tensor::zeros(x.shape(), g.dtype(), g.device())? };
                let n = scatter_combine(&start, dim, &index, &src_is, Combine::Add, None)?;
                let n = masked_fill(
                    &n,
                    &ew::EQ.call(&[t(&n), Operand::S(Scalar::Int(0))], &[], None)?,
                    &Tensor::scalar(1i64, n.dtype()),
                    None,
                )?;
                let share = ew::div(g, &n)?;
                (ew::mul(&self_is, &share)?, ew::mul(&src_is, &gather(&share, dim, &index)?)?)
            }
            _ => (g.clone(), gather(g, dim, &index)?),
        };
        let gx = if include_self { gx } else { scatter_value(&gx_or(g, gx, how)?, dim, &index, Scalar::Int(0), None)? };
        Ok(smallvec![Some(gx), Some(grow(gs, &shape)?)])
    }))
}

/// Untouched elements keep their gradient, which the formulas of the extremes and products give as well.
fn gx_or(g: &Tensor, gx: Tensor, how: Reduce) -> Result<Tensor> {
    Ok(if matches!(how, Reduce::Sum | Reduce::Mean) { g.clone() } else { gx })
}

/// Zeros appended so that the gradient has the shape of `src`.
fn grow(g: Tensor, shape: &[usize]) -> Result<Tensor> {
    if g.shape() == shape || g.ndim() != shape.len() {
        return crate::ops::reduce::sum_to(&g, shape).or(Ok(g));
    }
    let pad: Vec<i64> = (0..shape.len()).rev().flat_map(|d| [0, (shape[d] - g.shape()[d]) as i64]).collect();
    crate::ops::join::constant_pad_nd(&g, &pad, Scalar::Int(0))
}

fn reduction(name: &str) -> Result<Reduce> {
    Ok(match name {
        "sum" => Reduce::Sum,
        "prod" => Reduce::Prod,
        "mean" => Reduce::Mean,
        "amax" => Reduce::Max,
        "amin" => Reduce::Min,
        _ => bail!(Runtime, "reduce argument must be either sum, prod, mean, amax or amin, got {name}"),
    })
}

fn add_or_multiply(name: &str) -> Result<Combine> {
    match name {
        "add" => Ok(Combine::Add),
        "multiply" => Ok(Combine::Mul),
        _ => bail!(Runtime, "reduce argument must be either add or multiply."),
    }
}

/// `input.index_reduce(dim, index, source, reduce)`.
pub fn index_reduce(x: &Tensor, dim: i64, index: &Tensor, source: &Tensor, reduce: &str, include_self: bool) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    let how = match reduce {
        "prod" | "mean" | "amax" | "amin" => reduction(reduce)?,
        _ => bail!(Runtime, "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."),
    };
    super::select::check_source(x, d, index, source, "index_reduce_")?;
    let mut shape = vec![1usize; source.ndim()];
    if !shape.is_empty() {
        shape[d] = index.numel();
    }
    let i = crate::ops::view::reshape_to(&index.detach(), &shape)?;
    let i = copy::contiguous(&i.alias(i.layout().expand(source.shape())?))?;
    scatter_reduce(x, dim, &i, source, how, include_self, "IndexReduceBackward0")
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "fm",
        "gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
        "Elements picked along a dimension.",
        |a| gather(a.t(0), a.int(1), a.t(2)).map(Into::into),
    );
    r.op("fmi", "scatter(Tensor self, int dim, Tensor index, Tensor src) -> Tensor", "src written along a dimension.", |a| {
        scatter(a.t(0), a.int(1), a.t(2), a.t(3), a.target.as_ref()).map(Into::into)
    });
    r.op(
        "fmi",
        "scatter(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
        "A number written along a dimension.",
        |a| scatter_value(a.t(0), a.int(1), a.t(2), a.sc(3), a.target.as_ref()).map(Into::into),
    );
    r.op(
        "fmi",
        "scatter(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
        "src added or multiplied in.",
        |a| {
            match add_or_multiply(a.s(4))? {
                Combine::Add => scatter_add(a.t(0), a.int(1), a.t(2), a.t(3), a.target.as_ref()),
                _ => scatter_reduce(a.t(0), a.int(1), a.t(2), a.t(3), Reduce::Prod, true, "ScatterReduceBackward0"),
            }
            .map(Into::into)
        },
    );
    r.op(
        "fmi",
        "scatter(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
        "A number added or multiplied in.",
        |a| {
            let v = Tensor::full(&[], fill_value(a.sc(3), a.t(0).dtype())?.item()?, a.t(0).dtype(), a.t(0).device())?;
            let src = v.alias(v.layout().expand(a.t(2).shape())?);
            match add_or_multiply(a.s(4))? {
                Combine::Add => scatter_add(a.t(0), a.int(1), a.t(2), &src, a.target.as_ref()),
                _ => scatter_reduce(a.t(0), a.int(1), a.t(2), &src, Reduce::Prod, true, "ScatterReduceBackward0"),
            }
            .map(Into::into)
        },
    );
    r.op("fmi", "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor", "src added along a dimension.", |a| {
        scatter_add(a.t(0), a.int(1), a.t(2), a.t(3), a.target.as_ref()).map(Into::into)
    });
    r.op(
        "fmi",
        "scatter_reduce(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> Tensor",
        "Elements of src with the same place reduced to one.",
        |a| {
            scatter_reduce(a.t(0), a.int(1), a.t(2), a.t(3), reduction(a.s(4))?, a.b(5), "ScatterReduceBackward0").map(Into::into)
        },
    );
    r.op(
        "fmi",
        "index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True) -> Tensor",
        "Slices of source with the same index reduced to one.",
        |a| index_reduce(a.t(0), a.int(1), a.t(2), a.t(3), a.s(4), a.b(5)).map(Into::into),
    );
}
