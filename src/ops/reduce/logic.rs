//! Whether and how many: any, all, count_nonzero, equal, allclose, isclose, is_nonzero.

use super::run::folded;
use super::tools::*;
use super::{reduced_dims, reduced_shape};
use crate::cpu::reduce::ops::{Max, Min, Sum};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::builder::{E, c, par, wh};
use crate::ops::elementwise::{self as ew, apply};
use crate::ops::{Registry, Ret, complex, copy};
use crate::tensor::Tensor;

/// `x != 0` as a contiguous bool tensor, any dtype.
pub fn nonzero_mask(x: &Tensor) -> Result<Tensor> {
    let x = x.detach();
    if x.dtype() == Dtype::Bool {
        return copy::contiguous(&x);
    }
    if x.dtype().is_complex() {
        let c = copy::contiguous(&x)?;
        let out = Tensor::empty(x.shape(), Dtype::Bool, x.device())?;
        let to = out.data_mut::<u8>();
        if x.dtype() == Dtype::C64 {
            to.iter_mut().zip(c.data::<Pair<f32>>()).for_each(|(o, v)| *o = (v.0 != 0.0 || v.1 != 0.0) as u8);
        } else {
            to.iter_mut().zip(c.data::<Pair<f64>>()).for_each(|(o, v)| *o = (v.0 != 0.0 || v.1 != 0.0) as u8);
        }
        return Ok(out);
    }
    copy::contiguous(&call2s(&ew::NE, &x, 0.0)?)
}

/// Whether any element is zero.
pub fn any_equal_zero(x: &Tensor) -> Result<bool> {
    all_set(&nonzero_mask(x)?).map(|all| !all)
}

/// Whether every element of a bool tensor is set; waits for a GPU.
fn all_set(mask: &Tensor) -> Result<bool> {
    if crate::gpu::holds(mask) {
        return Ok(folded::<u8, Min>(mask, &vec![true; mask.ndim()])?.item()?.i64() != 0);
    }
    Ok(!copy::contiguous(mask)?.data::<u8>().contains(&0))
}

fn any_all(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, all: bool) -> Result<Tensor> {
    let mask = nonzero_mask(x)?;
    let out_dtype = if x.dtype() == Dtype::U8 { Dtype::U8 } else { Dtype::Bool };
    if dims.is_some_and(|d| d.is_empty()) {
        return copy::to_dtype(&mask, out_dtype);
    }
    let gone = reduced_dims(x.ndim(), dims)?;
    let kept = if all { folded::<u8, Min>(&mask, &gone)? } else { folded::<u8, Max>(&mask, &gone)? };
    if crate::gpu::holds(&kept) {
        return reshaped(&copy::to_dtype(&kept, out_dtype)?, &reduced_shape(x.shape(), &gone, keepdim));
    }
    // A bool made from other memory may be any byte.
    let out = Tensor::empty(&reduced_shape(x.shape(), &gone, keepdim), Dtype::Bool, x.device())?;
    out.data_mut::<u8>().iter_mut().zip(kept.data::<u8>()).for_each(|(o, &v)| *o = (v != 0) as u8);
    copy::to_dtype(&out, out_dtype)
}

/// How many elements are not zero.
pub fn count_nonzero(x: &Tensor, dims: Option<&[i64]>) -> Result<Tensor> {
    let gone = reduced_dims(x.ndim(), dims)?;
    let mask = nonzero_mask(x)?;
    if x.dtype() == Dtype::Bool && !crate::gpu::holds(x) {
        // A bool made from other memory may be any byte.
        let ones = Tensor::empty(x.shape(), Dtype::Bool, x.device())?;
        ones.data_mut::<u8>().iter_mut().zip(mask.data::<u8>()).for_each(|(o, &v)| *o = (v != 0) as u8);
        return reshaped(&folded::<i64, Sum>(&ones, &gone)?, &reduced_shape(x.shape(), &gone, false));
    }
    reshaped(&folded::<i64, Sum>(&mask, &gone)?, &reduced_shape(x.shape(), &gone, false))
}

/// Same shape and equal elements.
pub fn equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.shape() != b.shape() {
        return Ok(false);
    }
    if a.dtype().is_complex() && a.dtype() == b.dtype() && crate::gpu::holds(a) {
        return equal(&complex::pairs(&a.detach())?, &complex::pairs(&b.detach())?);
    }
    if a.dtype().is_complex() || b.dtype().is_complex() {
        let (a, b) = (copy::to_dtype(&a.detach(), Dtype::C128)?, copy::to_dtype(&b.detach(), Dtype::C128)?);
        let (a, b) = (copy::contiguous(&a)?, copy::contiguous(&b)?);
        return Ok(a.data::<Pair<f64>>().iter().zip(b.data::<Pair<f64>>()).all(|(x, y)| x.0 == y.0 && x.1 == y.1));
    }
    let eq = call2(&ew::EQ, &a.detach(), &b.detach())?;
    ensure!(eq.device() != crate::device::Device::Meta, NotImplemented, "equal: a meta tensor has no values");
    all_set(&eq)
}

/// |a - b| <= atol + rtol |b|, element by element.
pub fn isclose(a: &Tensor, b: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Result<Tensor> {
    ensure!(a.dtype() == b.dtype(), Runtime, "{} did not match {}", a.dtype().scalar_name(), b.dtype().scalar_name());
    ensure!(rtol >= 0.0, Runtime, "rtol must be greater than or equal to zero, but got {rtol}");
    ensure!(atol >= 0.0, Runtime, "atol must be greater than or equal to zero, but got {atol}");
    // Halves are compared in f32; integers in f64, where differences of 32-bit numbers are exact.
    let common = match a.dtype() {
        d if d.is_float() => d,
        // No GPU has to have float64.
        _ if crate::gpu::holds(a) => Dtype::F32,
        _ => Dtype::F64,
    };
    fn near(x: &[E]) -> E {
        let diff = (x[0] - x[1]).abs();
        let within = diff.le(par(1) + (par(0) * x[1]).abs());
        let finite = E::or(diff.is_inf(), diff.is_nan()).not();
        let nan = E::and(par(2), E::and(x[0].is_nan(), x[1].is_nan()));
        wh(E::or(x[0].eq(x[1]), E::or(E::and(finite, within), nan)), c(1.0), c(0.0))
    }
    let f = formula!(2, "IscloseBackward0", near);
    let operands = [Operand::T(a.detach()), Operand::T(b.detach())];
    let params = [rtol.into(), atol.into(), f64::from(equal_nan).into()];
    // Equal integers are close, whatever their size.
    let close = apply(f, &operands, &params, common, Dtype::Bool, None)?;
    if a.dtype() == Dtype::I64 {
        return call2(&ew::LOGICAL_OR, &close, &call2(&ew::EQ, &a.detach(), &b.detach())?);
    }
    Ok(close)
}

/// Whether a tensor with one element is not zero.
pub fn is_nonzero(x: &Tensor) -> Result<bool> {
    ensure!(x.numel() != 0, Runtime, "Boolean value of Tensor with no values is ambiguous");
    ensure!(x.numel() == 1, Runtime, "Boolean value of Tensor with more than one value is ambiguous");
    Ok(nonzero_mask(x)?.item()?.i64() != 0)
}

pub fn register(r: &mut Registry) {
    r.op("fm", "all(Tensor self) -> Tensor", "Whether every element is nonzero.", |a| {
        any_all(a.t(0), None, false, true).map(Ret::from)
    });
    r.op(
        "fm",
        "all(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
        "Whether all along dimensions are nonzero.",
        |a| any_all(a.t(0), a.oints(1), a.b(2), true).map(Ret::from),
    );
    r.op("fm", "any(Tensor self) -> Tensor", "Whether some element is nonzero.", |a| {
        any_all(a.t(0), None, false, false).map(Ret::from)
    });
    r.op(
        "fm",
        "any(Tensor self, int[1]? dim=None, bool keepdim=False) -> Tensor",
        "Whether some along dimensions is nonzero.",
        |a| any_all(a.t(0), a.oints(1), a.b(2), false).map(Ret::from),
    );
    r.op("fm", "count_nonzero(Tensor self, int[1]? dim=None) -> Tensor", "How many elements are not zero.", |a| {
        count_nonzero(a.t(0), a.oints(1)).map(Ret::from)
    });
    r.op("fm", "equal(Tensor self, Tensor other) -> bool", "Whether shape and elements are equal.", |a| {
        equal(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op(
        "fm",
        "isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
        "|self - other| <= atol + rtol |other|.",
        |a| isclose(a.t(0), a.t(1), a.f(2), a.f(3), a.b(4)).map(Ret::from),
    );
    r.op(
        "fm",
        "allclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> bool",
        "Whether isclose holds everywhere.",
        |a| all_set(&isclose(a.t(0), a.t(1), a.f(2), a.f(3), a.b(4))?).map(Ret::from),
    );
    r.op("fm", "is_nonzero(Tensor self) -> bool", "Whether the single element is nonzero.", |a| {
        is_nonzero(a.t(0)).map(Ret::from)
    });
}
