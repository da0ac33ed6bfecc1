//! Masks: filling, selecting and scattering where true; the places of nonzero elements.

use super::advanced::{destination, true_positions, values_for};
use super::lanes::{self, Lanes};
use super::{fill_value, t};
use crate::autograd::{needs_grad, record, save};
use crate::cpu::threads::{self, SendPtr};
use crate::dtype::{Cplx, Dtype, Scalar};
use crate::error::Result;
use crate::gpu;
use crate::layout::{Layout, broadcast};
use crate::ops::{Registry, Ret, complex, copy, elementwise as ew, reduce, view};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::smallvec;

fn bool_mask(mask: &Tensor, op: &str) -> Result<()> {
    ensure!(
        mask.dtype() == Dtype::Bool,
        Runtime,
        "{op} only supports boolean masks, but got mask with dtype {}",
        mask.dtype().cpp_name()
    );
    Ok(())
}

/// `t` broadcast to `shape`, without history.
fn spread(t: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if t.shape() == shape { Ok(t.detach()) } else { Ok(t.detach().alias(t.layout().expand(shape)?).detach()) }
}

/// Positions of the true elements of a mask (which has the layout's shape) under a layout.
fn where_true(l: &Layout, mask: &Tensor) -> Result<Lanes> {
    let at = true_positions(mask)?;
    if gpu::holds(&at) {
        let n = l.numel();
        return Ok(Lanes::on_gpu(if l.is_contiguous() {
            gpu::index::Lanes::at(&at, n, 1, String::new()).unique()
        } else {
            let rows = gpu::index::unravel(&at, &l.shape)?;
            let parts: Vec<_> = (0..l.ndim())
                .map(|d| Ok((view::select(&rows, 1, d as i64)?.detach(), l.shape[d], l.strides[d], String::new())))
                .collect::<Result<_>>()?;
            let span: isize = l.shape.iter().zip(&l.strides).map(|(&n, &s)| (n as isize - 1) * s).sum();
            gpu::index::Lanes::at(&gpu::index::sum(&parts)?, span as usize + 1, 1, String::new()).unique()
        }));
    }
    if l.is_contiguous() {
        return Ok(Lanes::at(at.data::<i64>().iter().map(|&v| v as isize).collect()));
    }
    let place = |&v: &i64| {
        let (mut v, mut pos) = (v as usize, 0);
        for d in (0..l.ndim()).rev() {
            pos += (v % l.shape[d]) as isize * l.strides[d];
            v /= l.shape[d];
        }
        pos
    };
    Ok(Lanes::at(at.data::<i64>().iter().map(place).collect()))
}

/// A copy of `x` (broadcast with the mask) with a 0-d value where the mask is true. Differentiable.
pub fn masked_fill(x: &Tensor, mask: &Tensor, value: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    masked_fill_named(x, mask, value, target, "MaskedFillBackward1")
}

fn masked_fill_named(x: &Tensor, mask: &Tensor, value: &Tensor, target: Option<&Tensor>, name: &'static str) -> Result<Tensor> {
    bool_mask(mask, "masked_fill_")?;
    ensure!(
        value.ndim() == 0,
        Runtime,
        "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
        value.ndim()
    );
    let shape = broadcast(mask.shape(), x.shape())?;
    ensure!(
        x.dtype().can_hold(value.dtype()),
        Runtime,
        "value cannot be converted to type {} without overflow",
        x.dtype().cpp_name()
    );
    let v = copy::to_dtype(&value.detach(), x.dtype())?;
    // In place only where the mask does not stretch the target.
    let target = target.filter(|t| t.shape() == shape.as_slice());
    let out = if gpu::holds(x) && target.is_none() && !x.dtype().is_complex() {
        let d = x.dtype();
        ew::apply(ew::WHERE.compiled(), &[t(&mask.detach()), t(&v), t(&x.detach())], &[], d, d, None)?.detach()
    } else {
        let out = destination(&spread(x, &shape)?, target)?;
        fill_where(&out, &spread(mask, &shape)?, &values_for(&out, &v)?)?;
        out
    };
    if target.is_some() || !needs_grad(&[x, value]) {
        return Ok(out);
    }
    let (mask, xs, vd) = (save(mask), x.dims(), value.dtype());
    Ok(record(name, &[x, value], out, move |ctx, g| {
        let mask = mask.get(ctx)?;
        let gx = if ctx.needs(0) {
            Some(reduce::sum_to(&masked_fill(g, &mask, &Tensor::scalar(0i64, g.dtype()), None)?, &xs)?)
        } else {
            None
        };
        let gv = if ctx.needs(1) {
            Some(copy::to_dtype(&reduce::sum(&masked_select(g, &mask)?, None, false, None)?, vd)?)
        } else {
            None
        };
        Ok(smallvec![gx, gv])
    }))
}

/// Writes a 0-d value of the same dtype where the mask (of the same shape) is true.
pub fn fill_where(out: &Tensor, m: &Tensor, v: &Tensor) -> Result<()> {
    if gpu::holds(out) {
        if out.dtype().is_complex() {
            return lanes::write(out, &where_true(out.layout(), m)?, v);
        }
        let d = out.dtype();
        return ew::apply(ew::WHERE.compiled(), &[t(m), t(v), t(out)], &[], d, d, Some(out)).map(drop);
    }
    out.check_data("masked_fill")?;
    if out.is_contiguous() {
        let m = copy::contiguous(&m.detach())?;
        dispatch!(bytes out.dtype(), T => {
            let (v, flags, dst) = (v.data::<T>()[0], m.data::<u8>(), SendPtr(out.ptr_mut() as *mut T));
            threads::parallel_for(flags.len(), 1 << 15, |r| {
                // SAFETY: `out` is contiguous with as many elements as the mask; pieces are disjoint.
                let part = unsafe { dst.slice(r.start, r.len()) };
                for (o, &f) in part.iter_mut().zip(&flags[r]) {
                    *o = if f != 0 { v } else { *o };
                }
            });
        });
    } else {
        lanes::write(out, &where_true(out.layout(), m)?, v)?;
    }
    Ok(())
}

/// The elements where the mask is true, as one row. Differentiable.
pub fn masked_select(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    ensure!(mask.dtype() == Dtype::Bool, Runtime, "masked_select: expected BoolTensor for mask");
    let shape = broadcast(mask.shape(), x.shape())?;
    let source = spread(x, &shape)?;
    let l = where_true(source.layout(), &spread(mask, &shape)?)?;
    let out = Tensor::empty(&[l.numel()], x.dtype(), x.device())?;
    lanes::read(&source, &l, &out)?;
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let (mask, xs) = (save(mask), x.dims());
    Ok(record("MaskedSelectBackward0", &[x], out, move |ctx, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        Ok(smallvec![Some(reduce::sum_to(&masked_scatter(&zeros, &mask.get(ctx)?, g, None)?, &xs)?)])
    }))
}

/// A copy of `x` with the elements of `source`, in order, where the mask is true. Differentiable.
pub fn masked_scatter(x: &Tensor, mask: &Tensor, source: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    bool_mask(mask, "masked_scatter_")?;
    ensure!(
        x.dtype() == source.dtype(),
        Runtime,
        "masked_scatter: expected self and source to have same dtypes but got{} and {}",
        x.dtype().scalar_name(),
        source.dtype().scalar_name()
    );
    let shape = broadcast(mask.shape(), x.shape())?;
    let target = target.filter(|t| t.shape() == shape.as_slice());
    let out = destination(&spread(x, &shape)?, target)?;
    let l = where_true(out.layout(), &spread(mask, &shape)?)?;
    let n = l.numel();
    ensure!(n <= source.numel(), Runtime, "Number of elements of source < number of ones in mask");
    if n > 0 {
        let v = values_for(&out, source)?;
        let v = v.alias(Layout::strided(&[n], &[1], v.layout().offset)?);
        lanes::write(&out, &l, &v)?;
    }
    if target.is_some() || !needs_grad(&[x, source]) {
        return Ok(out);
    }
    let (mask, xs, ss) = (save(mask), x.dims(), source.dims());
    Ok(record("MaskedScatterBackward0", &[x, source], out, move |ctx, g| {
        let mask = mask.get(ctx)?;
        let gx = if ctx.needs(0) {
            Some(reduce::sum_to(&masked_fill(g, &mask, &Tensor::scalar(0i64, g.dtype()), None)?, &xs)?)
        } else {
            None
        };
        let gs = if ctx.needs(1) {
            let got = masked_select(g, &mask)?;
            let missing = ss.iter().product::<usize>() - got.numel();
            Some(view::reshape_to(&crate::ops::join::constant_pad_nd(&got, &[0, missing as i64], Scalar::Int(0))?, &ss)?)
        } else {
            None
        };
        Ok(smallvec![gx, gs])
    }))
}

/// Whether each element is not zero.
fn truth(x: &Tensor) -> Result<Tensor> {
    let x = x.detach();
    if !x.dtype().is_complex() {
        return copy::to_dtype(&x, Dtype::Bool);
    }
    if gpu::holds(&x) {
        let parts = copy::to_dtype(&complex::pairs(&x)?, Dtype::Bool)?;
        let part = |k: i64| view::select(&parts, -1, k).map(|p| t(&p));
        return ew::LOGICAL_OR.call(&[part(0)?, part(1)?], &[], None);
    }
    x.check_data("nonzero")?;
    let c = copy::contiguous(&x)?;
    let out = Tensor::empty(x.shape(), Dtype::Bool, x.device())?;
    fn go<T: Copy + PartialEq + Default>(from: &[Cplx<T>], to: &mut [u8]) {
        to.iter_mut().zip(from).for_each(|(o, z)| *o = (z.re != T::default() || z.im != T::default()) as u8);
    }
    match x.dtype() {
        Dtype::C64 => go::<f32>(c.data(), out.data_mut()),
        _ => go::<f64>(c.data(), out.data_mut()),
    }
    Ok(out)
}

/// The indices of the nonzero elements, one row each.
pub fn nonzero(x: &Tensor) -> Result<Tensor> {
    let at = true_positions(&truth(x)?)?;
    let nd = x.ndim();
    if gpu::holds(&at) {
        return gpu::index::unravel(&at, x.shape());
    }
    let out = Tensor::empty(&[at.numel(), nd], Dtype::I64, x.device())?;
    if nd == 0 || at.numel() == 0 {
        return Ok(out);
    }
    for (row, &v) in out.data_mut::<i64>().chunks_exact_mut(nd).zip(at.data::<i64>()) {
        let mut v = v as usize;
        for d in (0..nd).rev() {
            row[d] = (v % x.shape()[d]) as i64;
            v /= x.shape()[d];
        }
    }
    Ok(out)
}

/// [`nonzero`], one tensor for each dimension.
pub fn nonzero_tuple(x: &Tensor) -> Result<Vec<Tensor>> {
    let x = super::along::at_least_1d(x)?;
    view::unbind(&nonzero(&x)?, 1)
}

/// [`nonzero`] with `size` rows: the first ones, and rows of `fill` where there are fewer.
fn nonzero_static(x: &Tensor, size: i64, fill: i64) -> Result<Tensor> {
    ensure!(size >= 0, Runtime, "nonzero_static: 'size' must be an non-negative integer");
    let found = nonzero(x)?;
    let out = Tensor::full(&[size as usize, x.ndim()], fill, Dtype::I64, x.device())?;
    let n = size.min(found.size(0) as i64);
    copy::copy_raw(&view::narrow(&out, 0, 0, n)?, &view::narrow(&found, 0, 0, n)?)?;
    Ok(out)
}

/// Elements of `x` where the condition holds, zero elsewhere; a helper for gradients.
pub fn keep_where(condition: &Tensor, x: &Tensor) -> Result<Tensor> {
    let d = x.dtype();
    ew::apply(ew::WHERE.compiled(), &[t(condition), t(x), crate::expr::Operand::S(Scalar::Int(0))], &[], d, d, None)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fmi", "masked_fill(Tensor self, Tensor mask, Tensor value) -> Tensor", "A 0-d tensor where mask is true.", |a| {
        masked_fill(a.t(0), a.t(1), a.t(2), a.target.as_ref()).map(Into::into)
    });
    r.op("fmi", "masked_fill(Tensor self, Tensor mask, Scalar value) -> Tensor", "A number where mask is true.", |a| {
        let value = fill_value(a.sc(2), a.t(0).dtype())?;
        masked_fill_named(a.t(0), a.t(1), &value, a.target.as_ref(), "MaskedFillBackward0").map(Into::into)
    });
    r.op("fm", "masked_select(Tensor self, Tensor mask) -> Tensor", "The elements where mask is true.", |a| {
        masked_select(a.t(0), a.t(1)).map(Into::into)
    });
    r.op(
        "fmi",
        "masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor",
        "Elements of source, in order, where mask is true.",
        |a| masked_scatter(a.t(0), a.t(1), a.t(2), a.target.as_ref()).map(Into::into),
    );
    r.op(
        "fm",
        "nonzero_static(Tensor self, *, int size, int fill_value=-1) -> Tensor",
        "The indices of the first nonzero elements, size of them, filled up.",
        |a| nonzero_static(a.t(0), a.int(1), a.int(2)).map(Into::into),
    );
    r.op("fm", "nonzero(Tensor self, *, bool as_tuple=False) -> Tensor", "The indices of the nonzero elements.", |a| {
        if a.b(1) { nonzero_tuple(a.t(0)).map(Ret::Tuple) } else { nonzero(a.t(0)).map(Into::into) }
    });
    r.op("fm", "argwhere(Tensor self) -> Tensor", "The indices of the nonzero elements.", |a| nonzero(a.t(0)).map(Into::into));
    r.op("f", "where(Tensor condition) -> Tensor[]", "The indices of the nonzero elements, one tensor a dimension.", |a| {
        nonzero_tuple(a.t(0)).map(Ret::Tuple)
    });
}
