//! quantile, nanquantile.

use super::{last, sort};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Dims, wrap_dim};
use crate::ops::elementwise as ew;
use crate::ops::reduce::{sum, tools::*};
use crate::ops::{Args, Registry, Ret, copy, view};
use crate::tensor::Tensor;

struct Options<'a> {
    dim: Option<i64>,
    keepdim: bool,
    interpolation: &'a str,
    ignore_nan: bool,
}

fn quantile(x: &Tensor, q: &Tensor, o: Options) -> Result<Tensor> {
    ensure!(x.numel() > 0, Runtime, "quantile() input tensor must be non-empty");
    ensure!(q.ndim() <= 1, Runtime, "quantile() q must be a scalar or 1D tensor");
    let d = x.dtype();
    ensure!(d == Dtype::F32 || d == Dtype::F64, Runtime, "quantile() input tensor must be either float or double dtype");
    ensure!(q.dtype() == d, Runtime, "quantile() q tensor must be same dtype as the input tensor");
    ensure!(
        matches!(o.interpolation, "linear" | "lower" | "higher" | "midpoint" | "nearest"),
        Runtime,
        "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {}",
        o.interpolation
    );
    let at = o.dim.map(|dim| wrap_dim(dim, x.ndim())).transpose()?;
    // On a GPU they are not looked at, as that would have to wait for it.
    let qs = if gpu::holds(q) { Tensor::empty(&[0], Dtype::F64, crate::device::Device::Cpu)? } else { q.detach() };
    let qs = copy::contiguous(&copy::to_dtype(&qs, Dtype::F64)?)?;
    ensure!(
        qs.data::<f64>().iter().all(|&v| (0.0..=1.0).contains(&v)),
        Runtime,
        "quantile() q values must be in the range [0, 1]"
    );
    let rows = match at {
        Some(w) if x.ndim() > 0 => last(x, w)?,
        _ => view::reshape_to(x, &[x.numel()])?,
    };
    let axis = rows.ndim() - 1;
    let n = rows.shape()[axis];
    let sorted = sort(&rows, -1, false)?.0;
    let m = q.numel();
    let mut shape: Dims = rows.dims();
    shape[axis] = m;
    let q = &if gpu::holds(x) { copy::to_device(q, x.device())? } else { q.clone() };
    let q1 = view::reshape_to(q, &[m])?;
    let nan = call1(&ew::ISNAN, &sorted.detach())?;
    let ranks = if o.ignore_nan {
        let numbers = call1(&ew::LOGICAL_NOT, &nan)?;
        let top = call2s(&ew::SUB, &copy::to_dtype(&sum(&numbers, Some(&[-1]), true, None)?, d)?, 1.0)?;
        call2s(&ew::CLAMP_MIN, &ew::mul(&q1, &top)?, 0.0)?
    } else {
        // Sorting has put a NaN last, where there is one.
        let poisoned = view::narrow(&nan, -1, n as i64 - 1, 1)?;
        choose(&poisoned, (n - 1) as f64, &ew::scale(&q1, (n - 1) as f64)?, d)?
    };
    let ranks = view::expand(&ranks, &shape)?;
    let ranks = match o.interpolation {
        "lower" => call1(&ew::FLOOR, &ranks)?,
        "higher" => call1(&ew::CEIL, &ranks)?,
        "nearest" => call1(&ew::ROUND, &ranks)?,
        _ => ranks,
    };
    let below = copy::to_dtype(&ranks.detach(), Dtype::I64)?;
    let mut out = gather_along(&sorted, &below, axis)?;
    if matches!(o.interpolation, "linear" | "midpoint") {
        let above = copy::to_dtype(&call1(&ew::CEIL, &ranks.detach())?, Dtype::I64)?;
        let weight = if o.interpolation == "linear" {
            Operand::T(ew::sub(&ranks, &copy::to_dtype(&below, d)?)?)
        } else {
            Operand::S(0.5.into())
        };
        out = ew::LERP.call(&[Operand::T(out), Operand::T(gather_along(&sorted, &above, axis)?), weight], &[], None)?;
    }
    // The quantiles come first, the reduced dimension goes.
    let mut order: Vec<i64> = (0..axis as i64).collect();
    order.insert(0, axis as i64);
    let out = view::permute(&out, &order)?;
    let mut shape: Dims = if q.ndim() == 0 { Dims::new() } else { [m].as_slice().into() };
    match (at, o.keepdim) {
        (Some(w), true) => shape.extend(with_size(x.shape(), w, 1)),
        (Some(w), false) => shape.extend(without(x.shape(), w)),
        (None, true) => shape.extend(x.shape().iter().map(|_| 1)),
        (None, false) => {}
    }
    view::reshape_to(&out, &shape)
}

fn options(a: &Args, ignore_nan: bool) -> Options<'_> {
    Options { dim: a.oint(2), keepdim: a.b(3), interpolation: a.s(4), ignore_nan }
}

fn by_tensor(a: &Args, ignore_nan: bool) -> Result<Ret> {
    quantile(a.t(0), a.t(1), options(a, ignore_nan)).map(Ret::from)
}
fn by_number(a: &Args, ignore_nan: bool) -> Result<Ret> {
    let q = a.f(1);
    ensure!((0.0..=1.0).contains(&q), Runtime, "quantile() q must be in the range [0, 1] but got {q}");
    quantile(a.t(0), &Tensor::scalar(q, a.t(0).dtype()), options(a, ignore_nan)).map(Ret::from)
}

pub fn register(r: &mut Registry) {
    let doc = "Quantiles along a dimension.";
    r.op(
        "fm",
        "quantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
        doc,
        |a| by_tensor(a, false),
    );
    r.op(
        "fm",
        "quantile(Tensor self, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
        doc,
        |a| by_number(a, false),
    );
    let doc = "Quantiles along a dimension of what is not NaN.";
    r.op(
        "fm",
        "nanquantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
        doc,
        |a| by_tensor(a, true),
    );
    r.op(
        "fm",
        "nanquantile(Tensor self, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
        doc,
        |a| by_number(a, true),
    );
}
