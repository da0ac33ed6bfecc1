//! Indexing with tensors: `x[i, j]`, masks, and writing there.

use super::lanes::{self, After, Combine, Lanes, Places, offsets};
use crate::autograd::{Saved, record, save};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, Layout, broadcast, show};
use crate::ops::{copy, reduce};
use crate::tensor::Tensor;
use crate::{bail, ensure, err};
use smallvec::{SmallVec, smallvec};

/// One index over `count` dimensions from `first`: a long tensor over one, or the row-major positions where
/// a mask is true.
struct Part {
    first: usize,
    count: usize,
    index: Tensor,
    mask: bool,
}

/// Parts whose indices have been broadcast together.
pub struct Plan {
    parts: SmallVec<[Part; 4]>,
    shape: Dims,
}

/// Row-major positions of the true elements.
pub fn true_positions(mask: &Tensor) -> Result<Tensor> {
    if gpu::holds(mask) {
        return gpu::index::flags(mask);
    }
    mask.check_data("nonzero")?;
    let m = copy::contiguous(&mask.detach())?;
    let bytes = m.data::<u8>();
    let n = bytes.iter().filter(|b| **b != 0).count();
    let out = Tensor::empty(&[n], Dtype::I64, mask.device())?;
    let mut slots = out.data_mut::<i64>().iter_mut();
    for (i, &b) in bytes.iter().enumerate() {
        if b != 0
            && let Some(s) = slots.next()
        {
            *s = i as i64;
        }
    }
    Ok(out)
}

fn plan(x: &Tensor, indices: &[Option<Tensor>]) -> Result<Plan> {
    let mut parts: SmallVec<[Part; 4]> = SmallVec::new();
    let mut at = 0;
    for (k, i) in indices.iter().enumerate() {
        let Some(i) = i else {
            at += 1;
            continue;
        };
        // An index may come from the CPU.
        let i = &if gpu::holds(x) { copy::to_device(&i.detach(), x.device())? } else { i.clone() };
        match i.dtype() {
            Dtype::Bool | Dtype::U8 => {
                let n = i.ndim();
                ensure!(at + n <= x.ndim(), Index, "too many indices for tensor of dimension {}", x.ndim());
                for d in 0..n {
                    ensure!(
                        i.shape()[d] == x.shape()[at + d],
                        Index,
                        "The shape of the mask {} at index {d} does not match the shape of the indexed tensor {} at index {}",
                        show(i.shape()),
                        show(x.shape()),
                        at + d
                    );
                }
                parts.push(Part { first: at, count: n, index: true_positions(i)?, mask: true });
                at += n;
            }
            Dtype::I64 | Dtype::I32 => {
                // Kernels of a GPU read either dtype.
                let index = if gpu::holds(i) { i.detach() } else { copy::to_dtype(&i.detach(), Dtype::I64)? };
                parts.push(Part { first: at, count: 1, index, mask: false });
                at += 1;
            }
            _ => bail!(Index, "tensors used as indices must be long, int, byte or bool tensors"),
        }
        ensure!(at <= x.ndim(), Index, "too many indices for tensor of dimension {} (got {})", x.ndim(), k + 1);
    }
    ensure!(at <= x.ndim(), Index, "too many indices for tensor of dimension {} (got {})", x.ndim(), indices.len());
    let mut shape = Dims::new();
    for (k, p) in parts.iter().enumerate() {
        let s = if k == 0 { Ok(p.index.dims()) } else { broadcast(&shape, p.index.shape()) };
        shape = s.map_err(|_| {
            let all: Vec<String> = parts.iter().map(|p| show(p.index.shape())).collect();
            err!(Index, "shape mismatch: indexing tensors could not be broadcast together with shapes {}", all.join(", "))
        })?;
    }
    for p in &mut parts {
        if p.index.shape() != shape.as_slice() {
            p.index = p.index.alias(p.index.layout().expand(&shape)?);
        }
        p.index = copy::contiguous(&p.index.detach())?;
    }
    Ok(Plan { parts, shape })
}

impl Plan {
    /// Whether the indexed dimensions are next to each other; if not, the index comes first in the result.
    fn adjacent(&self) -> bool {
        self.parts.windows(2).all(|w| w[0].first + w[0].count == w[1].first)
    }

    fn start(&self) -> usize {
        if self.adjacent() { self.parts[0].first } else { 0 }
    }

    fn indexed(&self, d: usize) -> bool {
        self.parts.iter().any(|p| (p.first..p.first + p.count).contains(&d))
    }

    /// The shape of the result of indexing.
    fn result_shape(&self, shape: &[usize]) -> Dims {
        let start = self.start();
        let mut out: Dims = shape[..start].into();
        out.extend_from_slice(&self.shape);
        out.extend((start..shape.len()).filter(|&d| !self.indexed(d)).map(|d| shape[d]));
        out
    }

    /// Positions under a layout; checks every index.
    fn lanes(&self, l: &Layout) -> Result<Lanes> {
        let start = self.start();
        if self.parts.iter().any(|p| gpu::holds(&p.index)) {
            return self.lanes_on_gpu(l).map(Lanes::on_gpu);
        }
        let mut index = vec![0isize; self.shape.iter().product()];
        for p in &self.parts {
            let values = p.index.data::<i64>();
            if p.mask {
                let (shape, strides) = (&l.shape[p.first..p.first + p.count], &l.strides[p.first..p.first + p.count]);
                let merges = (1..shape.len()).all(|d| strides[d - 1] == strides[d] * shape[d] as isize);
                let last = strides.last().copied().unwrap_or(0);
                for (o, &v) in index.iter_mut().zip(values) {
                    if merges {
                        *o += v as isize * last;
                        continue;
                    }
                    let mut v = v as usize;
                    for d in (0..shape.len()).rev() {
                        *o += (v % shape[d]) as isize * strides[d];
                        v /= shape[d];
                    }
                }
                continue;
            }
            let (n, st) = (l.shape[p.first] as i64, l.strides[p.first]);
            ensure!(n > 0 || values.is_empty(), Index, "index is out of bounds for dimension with size 0");
            for (o, &v) in index.iter_mut().zip(values) {
                let w = if v < 0 { v.wrapping_add(n) } else { v };
                ensure!((0..n).contains(&w), Index, "index {v} is out of bounds for dimension {} with size {n}", p.first);
                *o += w as isize * st;
            }
        }
        let rest: SmallVec<[usize; 6]> = (start..l.ndim()).filter(|&d| !self.indexed(d)).collect();
        let shape: Dims = rest.iter().map(|&d| l.shape[d]).collect();
        let strides: SmallVec<[isize; 6]> = rest.iter().map(|&d| l.strides[d]).collect();
        Ok(Lanes::Host(Places {
            before: offsets(&l.shape[..start], &l.strides[..start]),
            index,
            after: After::of(&shape, &strides),
        }))
    }

    fn lanes_on_gpu(&self, l: &Layout) -> Result<gpu::index::Lanes> {
        let start = self.start();
        let rest: SmallVec<[usize; 6]> = (start..l.ndim()).filter(|&d| !self.indexed(d)).collect();
        let shape: Dims = rest.iter().map(|&d| l.shape[d]).collect();
        let strides: SmallVec<[isize; 6]> = rest.iter().map(|&d| l.strides[d]).collect();
        let (before, after) = ((&l.shape[..start], &l.strides[..start]), (shape.as_slice(), strides.as_slice()));
        let dims: SmallVec<[usize; 6]> = self.parts.iter().flat_map(|p| p.first..p.first + p.count).collect();
        let message = |d: usize| format!("index {{}} is out of bounds for dimension {d} with size {}", l.shape[d]);
        // Indexed dimensions that lie one in the other have one number for all of them.
        let merges = dims.windows(2).all(|w| l.strides[w[0]] == l.strides[w[1]] * l.shape[w[1]] as isize);
        let whole: usize = dims.iter().map(|&d| l.shape[d]).product();
        let empty = self.shape.contains(&0);
        ensure!(whole > 0 || empty, Index, "index is out of bounds for dimension with size 0");
        let last = dims.last().map_or(0, |&d| l.strides[d]);
        if let [p] = self.parts.as_slice()
            && merges
        {
            let lanes = gpu::index::Lanes::slices(before, &p.index, after, (whole, last), !p.mask, message(p.first));
            return Ok(if p.mask { lanes.unique() } else { lanes });
        }
        // One number for all parts: row-major, or else the place in memory.
        let inner = |d: usize| -> isize {
            if merges { dims.iter().filter(|&&e| e > d).map(|&e| l.shape[e] as isize).product() } else { l.strides[d] }
        };
        let mut parts = Vec::new();
        for p in &self.parts {
            if !p.mask {
                parts.push((p.index.clone(), l.shape[p.first], inner(p.first), message(p.first)));
                continue;
            }
            let rows = gpu::index::unravel(&p.index, &l.shape[p.first..p.first + p.count])?;
            for k in 0..p.count {
                let row = crate::ops::view::select(&rows.detach(), 1, k as i64)?.detach();
                parts.push((row, l.shape[p.first + k], inner(p.first + k), String::new()));
            }
        }
        let span: isize = dims.iter().map(|&d| (l.shape[d] as isize - 1) * l.strides[d]).sum();
        let target = if merges { (whole, last) } else { (span.max(0) as usize + 1, 1) };
        if empty || parts.is_empty() {
            // No place, or (for a mask without dimensions) the only one.
            let none = Tensor::zeros(&self.shape, Dtype::I32, self.parts[0].index.device())?;
            return Ok(gpu::index::Lanes::slices(before, &none, after, target, false, String::new()));
        }
        let lanes = gpu::index::Lanes::slices(before, &gpu::index::sum(&parts)?, after, target, false, String::new());
        Ok(if self.parts.iter().all(|p| p.mask) { lanes.unique() } else { lanes })
    }
}

fn save_all(indices: &[Option<Tensor>]) -> Vec<Option<Saved>> {
    indices.iter().map(|i| i.as_ref().map(save)).collect()
}

fn get_all(saved: &[Option<Saved>], ctx: &crate::autograd::Ctx) -> Result<Vec<Option<Tensor>>> {
    saved.iter().map(|s| s.as_ref().map(|s| s.get(ctx)).transpose()).collect()
}

/// `x[indices]`: `None` takes all of a dimension. Differentiable.
pub fn index(x: &Tensor, indices: &[Option<Tensor>]) -> Result<Tensor> {
    let plan = plan(x, indices)?;
    if plan.parts.is_empty() {
        return copy::clone(x, None);
    }
    let out = Tensor::empty(&plan.result_shape(x.shape()), x.dtype(), x.device())?;
    lanes::read(x, &plan.lanes(x.layout())?, &out)?;
    if !crate::autograd::needs_grad(&[x]) {
        return Ok(out);
    }
    let (saved, shape) = (save_all(indices), x.dims());
    Ok(record("IndexBackward0", &[x], out, move |ctx, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        Ok(smallvec![Some(index_put(&zeros, &get_all(&saved, ctx)?, g, true, None)?)])
    }))
}

/// Where an op writes: the target of an in-place call, else a copy of `x`.
pub fn destination(x: &Tensor, target: Option<&Tensor>) -> Result<Tensor> {
    match target {
        Some(t) => Ok(t.detach()),
        None => copy::clone_dense(&x.detach()),
    }
}

/// Values to be written to `out`: contiguous, and not in memory that is being written.
pub fn values_for(out: &Tensor, values: &Tensor) -> Result<Tensor> {
    let dense = |t: &Tensor| t.layout().is_dense() && t.numel() > 0;
    if values.same_storage(out) && values.numel() > 1 && dense(values) && dense(out) {
        let range = |t: &Tensor| (t.layout().offset, t.layout().offset + t.numel());
        let ((a, b), (c, d)) = (range(values), range(out));
        ensure!(
            a >= d || c >= b,
            Runtime,
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. Please clone() the tensor before performing the operation."
        );
    }
    let v = copy::contiguous(&values.detach())?;
    if v.same_storage(out) { copy::clone(&v.detach(), Some(crate::ops::MemoryFormat::Contiguous)) } else { Ok(v) }
}

/// A copy of `x` with `value` (broadcast) written or added at `indices`. Differentiable.
pub fn index_put(
    x: &Tensor,
    indices: &[Option<Tensor>],
    value: &Tensor,
    accumulate: bool,
    target: Option<&Tensor>,
) -> Result<Tensor> {
    // The most frequent assignment, x[x > a] = b, without a list of positions.
    if let ([Some(m)], false, Some(out)) = (indices, accumulate, target)
        && m.dtype() == Dtype::Bool
        && m.shape() == x.shape()
        && m.device() == x.device()
        && value.numel() == 1
    {
        let v = copy::to_dtype(&value.detach(), x.dtype())?;
        let v = copy::clone(&v.alias(Layout::strided(&[], &[], v.layout().offset)?).detach(), None)?;
        super::mask::fill_where(&out.detach(), m, &v)?;
        return Ok(out.detach());
    }
    let plan = plan(x, indices)?;
    ensure!(!plan.parts.is_empty(), Runtime, "at least one index is needed");
    let one_mask = matches!(plan.parts.as_slice(), [Part { mask: true, .. }]) && value.numel() == 1 && !accumulate;
    let value = &if one_mask { copy::to_dtype(value, x.dtype())? } else { value.clone() };
    let value =
        &if gpu::holds(x) && value.ndim() == 0 && !value.requires_grad() { super::beside(value, x)? } else { value.clone() };
    x.device().check_same(value.device())?;
    ensure!(
        value.dtype() == x.dtype(),
        Runtime,
        "Index put requires the source and destination dtypes match, got {} for the destination and {} for the source.",
        x.dtype().scalar_name(),
        value.dtype().scalar_name()
    );
    let shape = plan.result_shape(x.shape());
    let l = plan.lanes(x.layout())?;
    // Leading dimensions of size 1 do not matter.
    let mut vl = value.layout().clone();
    while vl.ndim() > shape.len() && vl.shape[0] == 1 {
        vl = Layout::strided(&vl.shape[1..], &vl.strides[1..], vl.offset)?;
    }
    let spread = vl.expand(&shape).map_err(|_| {
        err!(
            Runtime,
            "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
            show(value.shape()),
            show(&shape)
        )
    })?;
    let out = destination(x, target)?;
    let l = if out.layout() == x.layout() { l } else { plan.lanes(out.layout())? };
    if l.numel() > 0 {
        let v = if value.numel() == 1 { value.detach() } else { value.detach().alias(spread) };
        let v = values_for(&out, &v)?;
        if accumulate { lanes::combine(&out, &l, &v, Combine::Add)? } else { lanes::write(&out, &l, &v)? }
    }
    if target.is_some() || !crate::autograd::needs_grad(&[x, value]) {
        return Ok(out);
    }
    let (saved, vshape) = (save_all(indices), value.dims());
    Ok(record("IndexPutBackward0", &[x, value], out, move |ctx, g| {
        let indices = get_all(&saved, ctx)?;
        let gx = match (ctx.needs(0), accumulate) {
            (false, _) => None,
            (true, true) => Some(g.clone()),
            (true, false) => Some(index_put(g, &indices, &Tensor::scalar(0.0, g.dtype()), false, None)?),
        };
        let gv = if ctx.needs(1) { Some(to_value(&index(g, &indices)?, &vshape)?) } else { None };
        Ok(smallvec![gx, gv])
    }))
}

/// The gradient of a value that was broadcast (and may have had leading dimensions of size 1).
fn to_value(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if g.ndim() >= shape.len() {
        return reduce::sum_to(g, shape);
    }
    let lead = shape.len() - g.ndim();
    crate::ops::view::reshape_to(&reduce::sum_to(g, &shape[lead..])?, shape)
}
