//! Ops whose index is a vector that names slices of one dimension.

use super::advanced::{destination, values_for};
use super::along::at_least_1d;
use super::fill_value;
use super::lanes::{self, After, Combine, Lanes, Places, offsets};
use crate::autograd::{needs_grad, record, save};
use crate::dtype::{Dtype, Scalar};
use crate::ensure;
use crate::error::{Error, Result};
use crate::gpu;
use crate::layout::{Dims, Layout, show, wrap_dim};
use crate::ops::{Registry, copy, elementwise as ew, reduce, view};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// Slices of dimension `dim` under a layout; `refuse` makes the error for an index out of bounds.
fn slices(l: &Layout, dim: usize, index: &Tensor, negative: bool, refuse: impl Fn(i64, i64) -> Error) -> Result<Lanes> {
    let (n, st) = (l.shape[dim] as i64, l.strides[dim]);
    if gpu::holds(index) {
        ensure!(n > 0 || index.numel() == 0, Index, "index is out of bounds for dimension {dim} with size 0");
        let before = (&l.shape[..dim], &l.strides[..dim]);
        let after = (&l.shape[dim + 1..], &l.strides[dim + 1..]);
        let index = copy::contiguous(&index.detach())?;
        let message = format!("index {{}} is out of bounds for dimension {dim} with size {n}");
        return Ok(Lanes::on_gpu(gpu::index::Lanes::slices(before, &index, after, (n as usize, st), negative, message)));
    }
    index.check_data("index")?;
    let i = copy::contiguous(&copy::to_dtype(&index.detach(), Dtype::I64)?)?;
    let mut at = Vec::with_capacity(i.numel());
    for &v in i.data::<i64>() {
        let w = if negative && v < 0 { v.wrapping_add(n) } else { v };
        if !(0..n).contains(&w) {
            return Err(refuse(v, n));
        }
        at.push(w as isize * st);
    }
    Ok(Lanes::Host(Places {
        before: offsets(&l.shape[..dim], &l.strides[..dim]),
        index: at,
        after: After::of(&l.shape[dim + 1..], &l.strides[dim + 1..]),
    }))
}

fn is_index(t: &Tensor) -> bool {
    matches!(t.dtype(), Dtype::I64 | Dtype::I32)
}

/// The slices `index` of dimension `dim`. Differentiable.
pub fn index_select(x: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(index.ndim() <= 1, Index, "index_select(): Index is supposed to be a vector");
    ensure!(is_index(index), Runtime, "index_select(): Expected dtype int32 or int64 for index");
    if x.ndim() == 0 {
        ensure!(
            index.numel() == 1,
            Runtime,
            "index_select(): Index to scalar can have only 1 value, got {} value(s)",
            index.numel()
        );
    }
    ensure!(x.size(d) > 0 || index.numel() == 0, Runtime, "index_select(): self indexing axis dim should be positive");
    let flat = at_least_1d(x)?;
    let mut shape = x.dims();
    if !shape.is_empty() {
        shape[d] = index.numel();
    }
    let out = Tensor::empty(&shape, x.dtype(), x.device())?;
    let l = slices(flat.layout(), d, index, false, |v, n| {
        if d == 0 {
            crate::err!(Index, "index out of range in self")
        } else {
            crate::err!(Runtime, "INDICES element is out of DATA bounds, id={v} axis_dim={n}")
        }
    })?;
    lanes::read(&flat, &l, &out)?;
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), x.dims());
    Ok(record("IndexSelectBackward0", &[x], out, move |ctx, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        Ok(smallvec![Some(index_add(&zeros, dim, &index.get(ctx)?, g, Scalar::Int(1), None)?)])
    }))
}

/// Whether `source` has a slice for every index and otherwise the shape of `x`.
pub fn check_source(x: &Tensor, d: usize, index: &Tensor, source: &Tensor, op: &str) -> Result<()> {
    ensure!(
        index.ndim() <= 1,
        Index,
        "{op}(): Index is supposed to be a vector, but got dim: {} with type: {} and size: {}",
        index.ndim(),
        index.dtype().scalar_name(),
        show(index.shape())
    );
    ensure!(is_index(index), Runtime, "{op}(): Expected dtype int32/int64 for index but got: {}", index.dtype().scalar_name());
    ensure!(
        x.dtype() == source.dtype(),
        Runtime,
        "{op}(): self ({}) and source ({}) must have the same scalar type",
        x.dtype().scalar_name(),
        source.dtype().scalar_name()
    );
    ensure!(
        source.ndim() == 0 || d < source.ndim(),
        Runtime,
        "{op}(): Indexing dim {d} is out of bounds of the source tensor with dim {}",
        source.ndim()
    );
    ensure!(
        index.numel() == source.size(d),
        Runtime,
        "{op}(): Number of indices ({}) should be equal to source.size(dim): ({}), for dim: {d}",
        index.numel(),
        source.size(d)
    );
    let rest = |t: &Tensor| -> Dims { (0..t.ndim()).filter(|&k| k != d).map(|k| t.shape()[k]).collect() };
    let same =
        if source.ndim() == 0 || x.ndim() == 0 { rest(x).is_empty() && rest(source).is_empty() } else { rest(x) == rest(source) };
    ensure!(
        same,
        Runtime,
        "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = {} source.shape = {}",
        show(x.shape()),
        show(source.shape())
    );
    Ok(())
}

/// A copy of `x` with `alpha * source` added to its slices, in the order of the index. Differentiable.
pub fn index_add(
    x: &Tensor,
    dim: i64,
    index: &Tensor,
    source: &Tensor,
    alpha: Scalar,
    target: Option<&Tensor>,
) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    check_source(x, d, index, source, "index_add_")?;
    let refuse = |v: i64, n: i64| crate::err!(Runtime, "index {v} is out of bounds for dimension {d} with size {n}");
    let unit = alpha == Scalar::Int(1) || alpha == Scalar::Float(1.0);
    // A whole-number sum takes a whole factor.
    let alpha = if x.dtype().is_integral() { Scalar::Int(alpha.i64()) } else { alpha };
    let values = if unit { source.detach() } else { scaled(source, alpha)? };
    let out = destination(x, target)?;
    let l = slices(at_least_1d(&out)?.layout(), d, index, false, refuse)?;
    lanes::combine(&out, &l, &values_for(&out, &values)?, Combine::Add)?;
    if target.is_some() || !needs_grad(&[x, source]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), source.dims());
    Ok(record("IndexAddBackward0", &[x, source], out, move |ctx, g| {
        let gs = if ctx.needs(1) {
            let s = view::reshape_to(&index_select(g, dim, &index.get(ctx)?)?, &shape)?;
            Some(if unit { s } else { times(&s, alpha)? })
        } else {
            None
        };
        Ok(smallvec![Some(g.clone()), gs])
    }))
}

/// A copy multiplied by a number in its own dtype.
fn scaled(x: &Tensor, s: Scalar) -> Result<Tensor> {
    if gpu::holds(x) {
        return copy::to_dtype(&times(&x.detach(), s)?.detach(), x.dtype());
    }
    let out = copy::clone(&x.detach(), Some(crate::ops::MemoryFormat::Contiguous))?;
    let all = Lanes::Host(Places { before: vec![0], index: vec![0], after: After::Run(out.numel()) });
    lanes::combine(&out, &all, &Tensor::scalar(s, x.dtype()), Combine::Mul)?;
    Ok(out)
}

fn times(x: &Tensor, s: Scalar) -> Result<Tensor> {
    ew::MUL.call(&[super::t(x), crate::expr::Operand::S(s)], &[], None)
}

/// A copy of `x` with slices replaced by those of `source`. Differentiable.
pub fn index_copy(x: &Tensor, dim: i64, index: &Tensor, source: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(index.ndim() <= 1, Index, "index_copy_(): Index should have dimension 1 or 0 (got {})", index.ndim());
    ensure!(
        index.dtype() == Dtype::I64,
        Runtime,
        "index_copy_(): Expected a long tensor for index, but got {}",
        index.dtype().scalar_name()
    );
    ensure!(
        x.dtype() == source.dtype(),
        Runtime,
        "index_copy_(): self and source expected to have the same dtype, but got (self) {} and (source) {}",
        x.dtype().scalar_name(),
        source.dtype().scalar_name()
    );
    ensure!(
        source.ndim() != 0 || index.numel() == 1,
        Index,
        "index_copy_(): When source is scalar, index should have one element (got {})",
        index.numel()
    );
    ensure!(
        source.ndim() == x.ndim() || source.ndim() == 0 || x.ndim() == 0,
        Index,
        "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source dimensionality ({}), destination dimensionality ({})",
        source.ndim(),
        x.ndim()
    );
    ensure!(
        source.ndim() == 0 || index.numel() == source.size(d),
        Index,
        "index_copy_(): Number of indices ({}) should be equal to source.size(dim) ({})",
        index.numel(),
        source.size(d)
    );
    let rest = |t: &Tensor| -> Dims { (0..t.ndim()).filter(|&k| k != d).map(|k| t.shape()[k]).collect() };
    ensure!(
        rest(x) == rest(source),
        Index,
        "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: {} at dimension {d} and source slice shape: {} at dimension 0.",
        show(&rest(x)),
        show(&rest(source))
    );
    let out = destination(x, target)?;
    let l = slices(at_least_1d(&out)?.layout(), d, index, false, |v, n| {
        crate::err!(Index, "index_copy_(): index {v} is out of bounds for dimension {d} with size {n}")
    })?;
    if l.numel() > 0 {
        lanes::write(&out, &l, &values_for(&out, source)?)?;
    }
    if target.is_some() || !needs_grad(&[x, source]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), source.dims());
    Ok(record("IndexCopyBackward0", &[x, source], out, move |ctx, g| {
        let index = index.get(ctx)?;
        let gx = if ctx.needs(0) { Some(index_fill(g, dim, &index, &Tensor::scalar(0i64, g.dtype()), None)?) } else { None };
        let gs = if ctx.needs(1) { Some(view::reshape_to(&index_select(g, dim, &index)?, &shape)?) } else { None };
        Ok(smallvec![gx, gs])
    }))
}

/// A copy of `x` with slices filled with a 0-d value. Differentiable.
pub fn index_fill(x: &Tensor, dim: i64, index: &Tensor, value: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    index_fill_named(x, dim, index, value, target, "IndexFillBackward1")
}

fn index_fill_named(
    x: &Tensor,
    dim: i64,
    index: &Tensor,
    value: &Tensor,
    target: Option<&Tensor>,
    name: &'static str,
) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(index.dtype() == Dtype::I64, Index, "index_fill_(): Expected dtype int64 for index.");
    ensure!(index.ndim() <= 1, Runtime, "Index has to be a vector/scalar");
    ensure!(
        value.ndim() == 0,
        Runtime,
        "index_fill_ only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
        value.ndim()
    );
    ensure!(
        x.dtype().is_complex() || !value.dtype().is_complex(),
        Runtime,
        "index_fill_(): Converting complex Scalar to non-complex type is not supported"
    );
    let v = copy::to_dtype(&value.detach(), x.dtype())?;
    let out = destination(x, target)?;
    let l = slices(at_least_1d(&out)?.layout(), d, index, true, |v, n| {
        crate::err!(Index, "index {v} is out of bounds for dimension {d} with size {n}")
    })?;
    lanes::write(&out, &l, &values_for(&out, &v)?)?;
    if target.is_some() || !needs_grad(&[x, value]) {
        return Ok(out);
    }
    let (index, vd) = (save(index), value.dtype());
    Ok(record(name, &[x, value], out, move |ctx, g| {
        let index = index.get(ctx)?;
        let gx = if ctx.needs(0) { Some(index_fill(g, dim, &index, &Tensor::scalar(0i64, g.dtype()), None)?) } else { None };
        let gv = if ctx.needs(1) {
            Some(copy::to_dtype(&reduce::sum(&select_once(g, dim, &index)?, None, false, None)?, vd)?)
        } else {
            None
        };
        Ok(smallvec![gx, gv])
    }))
}

/// [`index_select`] for an index that may count from the end; every slice once.
fn select_once(g: &Tensor, dim: i64, index: &Tensor) -> Result<Tensor> {
    let n = g.size(wrap_dim(dim, g.ndim())?) as i64;
    if gpu::holds(g) {
        let none = Tensor::zeros(g.shape(), Dtype::Bool, g.device())?;
        let named = index_fill(&none, dim, index, &Tensor::scalar(1i64, Dtype::Bool), None)?;
        return super::mask::keep_where(&named, g);
    }
    let i = copy::contiguous(&index.detach())?;
    let mut once: Vec<i64> = i.data::<i64>().iter().map(|&v| if v < 0 { v + n } else { v }).collect();
    once.sort_unstable();
    once.dedup();
    index_select(g, dim, &Tensor::from_slice(&once, &[once.len()])?)
}

// ---- take and put: the tensor as one row ----

/// Positions in a strided tensor of row-major indices.
fn row_major(l: &Layout, index: &Tensor) -> Result<Lanes> {
    let n = l.numel() as i64;
    if gpu::holds(index) {
        // Strided tensors come as copies.
        let step = if l.is_contiguous() { 1 } else { 0 };
        ensure!(step == 1 || n <= 1, NotImplemented, "take: not implemented for strided tensors on a GPU");
        let message = format!("out of range: tried to access index {{}} on a tensor of {n} elements.");
        let i = copy::contiguous(&index.detach())?;
        return Ok(Lanes::on_gpu(gpu::index::Lanes::at(&i, n as usize, step, message)));
    }
    index.check_data("take")?;
    let i = copy::contiguous(&index.detach())?;
    let plain = l.is_contiguous();
    let mut out = Vec::with_capacity(i.numel());
    for &v in i.data::<i64>() {
        let w = if v < 0 { v.wrapping_add(n) } else { v };
        ensure!((0..n).contains(&w), Index, "out of range: tried to access index {v} on a tensor of {n} elements.");
        out.push(if plain {
            w as isize
        } else {
            let (mut w, mut pos) = (w as usize, 0);
            for d in (0..l.ndim()).rev() {
                pos += (w % l.shape[d]) as isize * l.strides[d];
                w /= l.shape[d];
            }
            pos
        });
    }
    Ok(Lanes::at(out))
}

/// Elements by their row-major position. Differentiable.
pub fn take(x: &Tensor, index: &Tensor) -> Result<Tensor> {
    ensure!(
        index.dtype() == Dtype::I64,
        Runtime,
        "take(): Expected a long tensor for index, but got {}",
        index.dtype().scalar_name()
    );
    ensure!(x.numel() > 0 || index.numel() == 0, Index, "take(): tried to take from an empty tensor");
    let out = Tensor::empty(index.shape(), x.dtype(), x.device())?;
    let from = if gpu::holds(x) { copy::contiguous(&x.detach())? } else { x.detach() };
    lanes::read(&from, &row_major(from.layout(), index)?, &out)?;
    if !needs_grad(&[x]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), x.dims());
    Ok(record("TakeBackward0", &[x], out, move |ctx, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        Ok(smallvec![Some(put(&zeros, &index.get(ctx)?, g, true, None)?)])
    }))
}

/// A copy of `x` with elements at row-major positions written or added. Differentiable.
pub fn put(x: &Tensor, index: &Tensor, source: &Tensor, accumulate: bool, target: Option<&Tensor>) -> Result<Tensor> {
    ensure!(
        index.dtype() == Dtype::I64,
        Runtime,
        "put_(): Expected a long tensor for index, but got {}",
        index.dtype().scalar_name()
    );
    ensure!(
        x.dtype() == source.dtype(),
        Runtime,
        "put_(): self and source expected to have the same dtype, but got self.dtype = {} and source.dtype = {}",
        x.dtype().scalar_name(),
        source.dtype().scalar_name()
    );
    ensure!(
        source.numel() == index.numel(),
        Index,
        "put_(): Expected source and index to have the same number of elements, but got source.numel() = {}, index.numel() = {}",
        source.numel(),
        index.numel()
    );
    ensure!(x.numel() > 0 || index.numel() == 0, Index, "put_(): tried to put elements into an empty tensor");
    let out = destination(x, target)?;
    let work = if gpu::holds(&out) { copy::contiguous(&out)? } else { out.clone() };
    let l = row_major(work.layout(), index)?;
    if l.numel() > 0 {
        let v = values_for(&out, source)?;
        if accumulate {
            lanes::combine(&work, &l, &v, Combine::Add)?
        } else {
            lanes::write(&work, &l, &v)?
        }
        if !work.same_storage(&out) {
            copy::copy_raw(&out, &work)?;
        }
    }
    if target.is_some() || !needs_grad(&[x, source]) {
        return Ok(out);
    }
    let (index, shape) = (save(index), source.dims());
    Ok(record("PutBackward0", &[x, source], out, move |ctx, g| {
        let index = index.get(ctx)?;
        let gx = if accumulate {
            g.clone()
        } else {
            put(g, &index, &Tensor::zeros(index.shape(), g.dtype(), g.device())?, false, None)?
        };
        let gs = if ctx.needs(1) { Some(view::reshape_to(&take(g, &index)?, &shape)?) } else { None };
        Ok(smallvec![Some(gx), gs])
    }))
}

/// [`super::along::gather`] with broadcasting; without `dim` over the flattened tensor.
pub fn take_along_dim(x: &Tensor, index: &Tensor, dim: Option<i64>) -> Result<Tensor> {
    ensure!(
        matches!(index.dtype(), Dtype::I64 | Dtype::I32),
        Runtime,
        "torch.take_along_dim(): dtype of indices should be Long but got {}",
        index.dtype().scalar_name()
    );
    let Some(dim) = dim else {
        let flat = view::reshape_to(x, &[x.numel()])?;
        let i = from_start(&view::reshape_to(index, &[index.numel()])?, x.numel())?;
        return super::along::gather(&flat, 0, &i);
    };
    ensure!(
        x.ndim() == index.ndim(),
        Runtime,
        "torch.take_along_dim(): input and indices should have the same number of dimensions, but got {} dimensions for input, and {} dimensions for indices",
        x.ndim(),
        index.ndim()
    );
    let d = wrap_dim(dim, x.ndim())?;
    let (mut a, mut b) = (x.dims(), index.dims());
    if x.ndim() > 0 {
        (a[d], b[d]) = (1, 1);
        let mut common = crate::layout::broadcast(&a, &b)?;
        common[d] = x.shape()[d];
        a = common.clone();
        common[d] = index.shape()[d];
        b = common;
    }
    super::along::gather(&view::expand(x, &a)?, dim, &from_start(&view::expand(index, &b)?, x.size(d))?)
}

/// Indices that count from the end, counted from the start.
fn from_start(index: &Tensor, n: usize) -> Result<Tensor> {
    let i = copy::contiguous(&copy::to_dtype(&index.detach(), Dtype::I64)?)?;
    if gpu::holds(&i) {
        let negative = ew::LT.call(&[super::t(&i), crate::expr::Operand::S(Scalar::Int(0))], &[], None)?;
        let shift = times(&copy::to_dtype(&negative, Dtype::I64)?, Scalar::Int(n as i64))?;
        return Ok(ew::add(&i, &shift)?.detach());
    }
    i.check_data("take_along_dim")?;
    if i.data::<i64>().iter().all(|&v| v >= 0) {
        return Ok(i);
    }
    let all: Vec<i64> = i.data::<i64>().iter().map(|&v| if v < 0 { v.wrapping_add(n as i64) } else { v }).collect();
    Tensor::from_slice(&all, i.shape())
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "index_select(Tensor self, int dim, Tensor index) -> Tensor", "The slices that index names.", |a| {
        index_select(a.t(0), a.int(1), a.t(2)).map(Into::into)
    });
    r.op(
        "fmi",
        "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
        "alpha * source added to the slices that index names.",
        |a| index_add(a.t(0), a.int(1), a.t(2), a.t(3), a.sc(4), a.target.as_ref()).map(Into::into),
    );
    r.op(
        "fmi",
        "index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
        "Slices replaced by those of source.",
        |a| index_copy(a.t(0), a.int(1), a.t(2), a.t(3), a.target.as_ref()).map(Into::into),
    );
    r.op(
        "fmi",
        "index_fill(Tensor self, int dim, Tensor index, Tensor value) -> Tensor",
        "Slices filled with a 0-d tensor.",
        |a| index_fill(a.t(0), a.int(1), a.t(2), a.t(3), a.target.as_ref()).map(Into::into),
    );
    r.op("fmi", "index_fill(Tensor self, int dim, Tensor index, Scalar value) -> Tensor", "Slices filled with a number.", |a| {
        let x = a.t(0);
        ensure!(
            x.dtype().is_complex() || !matches!(a.sc(3), Scalar::Complex(..)),
            Runtime,
            "index_fill_(): Converting complex Scalar to non-complex type is not supported"
        );
        let value = fill_value(a.sc(3), x.dtype())?;
        index_fill_named(x, a.int(1), a.t(2), &value, a.target.as_ref(), "IndexFillBackward0").map(Into::into)
    });
    r.op("fm", "take(Tensor self, Tensor index) -> Tensor", "Elements by their row-major position.", |a| {
        take(a.t(0), a.t(1)).map(Into::into)
    });
    r.op(
        "fmi",
        "put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
        "Elements written by their row-major position.",
        |a| put(a.t(0), a.t(1), a.t(2), a.b(3), a.target.as_ref()).map(Into::into),
    );
    r.op("fm", "take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor", "gather with broadcasting.", |a| {
        take_along_dim(a.t(0), a.t(1), a.oint(2)).map(Into::into)
    });
}
