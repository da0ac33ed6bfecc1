//! Looking up rows of a table.

use crate::autograd::{record, save};
use crate::cpu::float::Float;
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::Layout;
use crate::ops::norm::num::dense;
use crate::ops::{Args, Registry, Ret, copy, elementwise as ew, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// Elements of work below which a second thread does not pay.
const GRAIN: usize = 1 << 15;

/// Rows asked for, and how their gradients come back. Indices are i64, contiguous and in range; on a GPU they may be of
/// either dtype, and kernels check them.
#[derive(Clone)]
pub(super) struct Lookup {
    pub index: Tensor,
    /// The row that gets no gradient.
    pub padding: Option<usize>,
    /// For each row of the table, the factor of its gradient (`scale_grad_by_freq`).
    pub scale: Option<Tensor>,
    pub rows: usize,
}

/// Indices as i64, checked against the number of rows.
pub(super) fn indices(index: &Tensor, rows: usize, what: &str) -> Result<Tensor> {
    ensure!(
        matches!(index.dtype(), Dtype::I64 | Dtype::I32),
        Runtime,
        "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {} instead (while checking arguments for {what})",
        index.type_name()
    );
    if gpu::holds(index) {
        return copy::contiguous(&index.detach());
    }
    index.check_data(what)?;
    let index = copy::contiguous(&copy::to_dtype(&index.detach(), Dtype::I64)?)?;
    ensure!(index.data::<i64>().iter().all(|&i| (0..rows as i64).contains(&i)), Index, "index out of range in self");
    Ok(index)
}

/// `1 / count` of every row, for the rows that occur.
pub(super) fn frequencies(index: &Tensor, rows: usize) -> Result<Tensor> {
    if gpu::holds(index) {
        let counts = Tensor::zeros(&[rows], Dtype::F32, index.device())?;
        let one = Tensor::full(&[1], 1.0, Dtype::F32, index.device())?;
        gpu::index::combine(&counts, &row_lanes(index, (rows, 1), None), &one, "add")?;
        let least = ew::MAXIMUM.call(&[Operand::T(counts), Operand::T(Tensor::scalar(1.0, Dtype::F32))], &[], None)?;
        return ew::RECIPROCAL.call(&[Operand::T(least)], &[], None);
    }
    let scale = Tensor::zeros(&[rows], Dtype::F64, index.device())?;
    let s = scale.data_mut::<f64>();
    for &i in index.data::<i64>() {
        s[i as usize] += 1.0;
    }
    s.iter_mut().filter(|v| **v > 0.0).for_each(|v| *v = 1.0 / *v);
    Ok(scale)
}

/// Rows of a table on a GPU: how many, how far apart, and the size and stride of a row.
fn row_lanes(index: &Tensor, (rows, step): (usize, isize), row: Option<(usize, isize)>) -> gpu::index::Lanes {
    let (shape, strides): (Vec<usize>, Vec<isize>) = row.into_iter().unzip();
    let message = format!("index out of range in self: {{}} for {rows} rows");
    gpu::index::Lanes::slices((&[], &[]), index, (&shape, &strides), (rows, step), false, message)
}

impl Lookup {
    fn gather_on_gpu(&self, table: &Tensor, back: bool) -> Result<Tensor> {
        let width = table.shape()[1];
        ensure!(self.rows > 0 || self.index.numel() == 0, Index, "index out of range in self");
        let mut shape = self.index.dims();
        shape.push(width);
        let out = Tensor::empty(&shape, table.dtype(), table.device())?;
        let st = table.strides();
        gpu::index::read(&table.detach(), &row_lanes(&self.index, (self.rows, st[0]), Some((width, st[1]))), &out)?;
        if !back {
            return Ok(out);
        }
        let out = match self.padding {
            Some(p) => {
                let padded = ew::EQ.call(&[Operand::T(self.index.clone()), Operand::S(Scalar::Int(p as i64))], &[], None)?;
                let zero = Tensor::scalar(0i64, out.dtype());
                crate::ops::index::masked_fill(&out, &view::unsqueeze(&padded, -1)?, &zero, None)?
            }
            None => out,
        };
        let Some(scale) = &self.scale else { return Ok(out) };
        let each = crate::ops::index::index_select(scale, 0, &view::reshape_to(&self.index, &[self.index.numel()])?)?;
        let mut shape = self.index.dims();
        shape.push(1);
        ew::mul(&out, &copy::to_dtype(&view::reshape_to(&each, &shape)?, out.dtype())?)
    }

    fn scatter_on_gpu(&self, g: &Tensor) -> Result<Tensor> {
        let width = g.size(g.ndim() - 1);
        let out = Tensor::zeros(&[self.rows, width], g.dtype(), g.device())?;
        let from = copy::contiguous(&g.detach())?;
        gpu::index::combine(&out, &row_lanes(&self.index, (self.rows, width as isize), Some((width, 1))), &from, "add")?;
        if let Some(p) = self.padding {
            let row = Layout::strided(&[width], &[1], p * width)?;
            copy::copy_raw(&out.alias(row).detach(), &Tensor::scalar(0i64, g.dtype()))?;
        }
        match &self.scale {
            Some(s) => ew::mul(&out, &copy::to_dtype(&view::unsqueeze(s, 1)?, g.dtype())?),
            None => Ok(out),
        }
    }

    /// The rows; with `back`, as the transpose of [`Lookup::scatter`]: scaled, and 0 for padding.
    fn gather(&self, table: &Tensor, back: bool) -> Result<Tensor> {
        let table_d = copy::contiguous(&table.detach())?;
        let width = table.shape()[1];
        let mut shape = self.index.dims();
        shape.push(width);
        let out = Tensor::empty(&shape, table.dtype(), table.device())?;
        if width == 0 {
            return Ok(out);
        }
        let ids = self.index.data::<i64>();
        dispatch!(bytes table.dtype(), T => {
            let (from, to) = (table_d.data::<T>(), SendPtr(out.data_mut::<T>().as_mut_ptr()));
            parallel_for(ids.len(), (GRAIN / width).max(1), |range| {
                // SAFETY: rows of the result, disjoint for disjoint ranges.
                let to = unsafe { to.slice(range.start * width, range.len() * width) };
                for (to, &i) in to.chunks_exact_mut(width).zip(&ids[range]) {
                    if back && self.padding == Some(i as usize) {
                        to.fill(T::default());
                    } else {
                        to.copy_from_slice(&from[i as usize * width..(i as usize + 1) * width]);
                    }
                }
            });
        });
        if let Some(scale) = self.scale.as_ref().filter(|_| back) {
            let s = scale.data::<f64>();
            dispatch!(real "embedding", table.dtype(), T => {
                for (to, &i) in out.data_mut::<T>().chunks_exact_mut(width).zip(ids) {
                    to.iter_mut().for_each(|v| *v = T::from_f64(Element::to_f64(*v) * s[i as usize]));
                }
            });
        }
        Ok(out)
    }

    /// A table whose rows are the sums of the gradients of their occurrences, in the order of the indices.
    fn scatter(&self, g: &Tensor) -> Result<Tensor> {
        let width = g.size(g.ndim() - 1);
        // The gradient of a sum is one value for all: a row of it is enough.
        let same = g.numel() > 0 && g.strides().iter().all(|&s| s == 0);
        let from = if same {
            let row = Layout::strided(&[width], &[0], g.layout().offset)?;
            dense(&g.alias(row))?
        } else {
            dense(g)?
        };
        let step = if same { 0 } else { width };
        let out = Tensor::empty(&[self.rows, width], from.dtype(), g.device())?;
        if width == 0 {
            return copy::to_dtype(&out, g.dtype());
        }
        let ids = self.index.data::<i64>();
        let scale = self.scale.as_ref().map(|s| s.data::<f64>());
        dispatch!(float "embedding_backward", from.dtype(), T => {
            let (from, to) = (from.data::<T>(), SendPtr(out.data_mut::<T>().as_mut_ptr()));
            // Every piece owns some rows, and looks through all indices for them.
            let grain = (self.rows.div_ceil(16)).max(8 * GRAIN / width).max(1);
            parallel_for(self.rows, grain, |rows| {
                // SAFETY: rows of the result, disjoint for disjoint ranges.
                let to = unsafe { to.slice(rows.start * width, rows.len() * width) };
                to.fill(T::ZERO);
                for (k, &i) in ids.iter().enumerate() {
                    let i = i as usize;
                    if rows.contains(&i) && self.padding != Some(i) {
                        let at = (i - rows.start) * width;
                        add_row(&mut to[at..at + width], &from[k * step..k * step + width], scale.map_or(T::ONE, |s| T::of(s[i])));
                    }
                }
            });
        });
        copy::to_dtype(&out, g.dtype())
    }
}

fn add_row<T: Float>(to: &mut [T], g: &[T], scale: T) {
    for (t, &g) in to.iter_mut().zip(g) {
        *t += g * scale;
    }
}

/// Rows by checked indices. Differentiable.
pub(super) fn gather(l: Lookup, table: &Tensor, back: bool, name: &'static str) -> Result<Tensor> {
    let out = if gpu::holds(table) { l.gather_on_gpu(&table.detach(), back)? } else { l.gather(table, back)? };
    let index = save(&l.index);
    Ok(record(name, &[table], out, move |ctx, g| {
        index.get(ctx)?;
        Ok(smallvec![Some(scatter(l.clone(), g)?)])
    }))
}

/// The transpose of [`gather`]. Differentiable.
pub(super) fn scatter(l: Lookup, g: &Tensor) -> Result<Tensor> {
    let out = if gpu::holds(g) { l.scatter_on_gpu(&g.detach())? } else { l.scatter(g)? };
    Ok(record("EmbeddingDenseBackward0", &[g], out, move |_, gg| {
        Ok(smallvec![Some(gather(l.clone(), gg, true, "EmbeddingBackward0")?)])
    }))
}

/// Rows of `table` by index. Differentiable in the table.
pub fn embedding(table: &Tensor, index: &Tensor, padding: Option<usize>, by_freq: bool) -> Result<Tensor> {
    ensure!(table.ndim() == 2, Runtime, "'weight' must be 2-D");
    let rows = table.shape()[0];
    if table.device() == crate::device::Device::Meta || index.device() == crate::device::Device::Meta {
        let mut shape = index.dims();
        shape.push(table.shape()[1]);
        return Tensor::empty(&shape, table.dtype(), crate::device::Device::Meta);
    }
    let index = indices(index, rows, "embedding")?;
    let scale = by_freq.then(|| frequencies(&index, rows)).transpose()?;
    gather(Lookup { index, padding, scale, rows }, table, false, "EmbeddingBackward0")
}

/// Scales the rows that are asked for down to a norm of `max`, in place and without history.
pub(super) fn renorm(table: &Tensor, index: &Tensor, max: f64, p: f64) -> Result<()> {
    ensure!(table.ndim() == 2, Runtime, "'weight' must be 2-D");
    ensure!(
        table.dtype().is_float(),
        NotImplemented,
        "\"embedding_renorm_cpu_\" not implemented for '{}'",
        table.dtype().scalar_name()
    );
    let index = indices(index, table.shape()[0], "embedding_renorm_")?;
    if gpu::holds(table) {
        return renorm_on_gpu(&table.detach(), &index, max, p);
    }
    let mut ids = index.data::<i64>().to_vec();
    ids.sort_unstable();
    ids.dedup();
    let width = table.shape()[1];
    let work = copy::contiguous(&copy::to_dtype(&table.detach(), table.dtype().compute())?)?;
    // Another copy only where the memory is that of the table.
    let work = if work.same_storage(table) { copy::clone_dense(&work)? } else { work };
    let mut changed = false;
    dispatch!(float "embedding_renorm_cpu_", work.dtype(), T => {
        let data = work.data_mut::<T>();
        for i in ids {
            let row = &mut data[i as usize * width..(i as usize + 1) * width];
            let norm = p_norm(row.iter().map(|v| Element::to_f64(*v)), p);
            if norm > max {
                changed = true;
                let s = T::of(max / (norm + 1e-7));
                row.iter_mut().for_each(|v| *v *= s);
            }
        }
    });
    if changed {
        copy::copy_raw(table, &work)?;
        table.storage().bump_version();
    }
    Ok(())
}

/// [`renorm`] for all rows that are asked for at once: equal indices write the same values.
fn renorm_on_gpu(table: &Tensor, index: &Tensor, max: f64, p: f64) -> Result<()> {
    let index = view::reshape_to(index, &[index.numel()])?;
    let rows = crate::ops::index::index_select(table, 0, &index)?;
    let norm = copy::to_dtype(&reduce::vector_norm(&rows, p, Some(&[1]), true, None)?, Dtype::F32)?;
    let share = ew::ADD.call(&[Operand::T(norm.clone()), Operand::S(Scalar::Float(1e-7))], &[], None)?;
    let share = ew::scale(&ew::RECIPROCAL.call(&[Operand::T(share)], &[], None)?, max)?;
    let keep = ew::LE.call(&[Operand::T(norm), Operand::S(Scalar::Float(max))], &[], None)?;
    let one = Tensor::scalar(1.0, Dtype::F32);
    let share = copy::to_dtype(&crate::ops::index::masked_fill(&share, &keep, &one, None)?, table.dtype())?;
    crate::ops::index::select::index_copy(table, 0, &copy::to_dtype(&index, Dtype::I64)?, &ew::mul(&rows, &share)?, Some(table))?;
    table.storage().bump_version();
    Ok(())
}

fn p_norm(v: impl Iterator<Item = f64>, p: f64) -> f64 {
    if p == f64::INFINITY {
        v.fold(0.0, |m, x| m.max(x.abs()))
    } else if p == 2.0 {
        v.map(|x| x * x).sum::<f64>().sqrt()
    } else if p == 1.0 {
        v.map(f64::abs).sum()
    } else if p == 0.0 {
        v.filter(|x| *x != 0.0).count() as f64
    } else {
        v.map(|x| x.abs().powf(p)).sum::<f64>().powf(1.0 / p)
    }
}

/// `padding_idx` counted from the end where negative.
pub(super) fn padding(idx: Option<i64>, rows: usize) -> Result<Option<usize>> {
    let Some(i) = idx else { return Ok(None) };
    let n = rows as i64;
    if !(-n..n).contains(&i) {
        bail!(Assertion, "Padding_idx must be within num_embeddings");
    }
    Ok(Some(if i < 0 { i + n } else { i } as usize))
}

fn functional(a: &Args) -> Result<Tensor> {
    let (index, table) = (a.t(0), a.t(1));
    ensure!(table.ndim() == 2, Runtime, "'weight' must be 2-D");
    let pad = padding(a.oint(2), table.shape()[0])?;
    if let Some(max) = a.of(3) {
        renorm(table, index, max, a.f(4))?;
    }
    embedding(table, index, pad, a.b(5))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "embedding(Tensor self, Tensor weight, int? padding_idx=None, float? max_norm=None, float norm_type=2.0, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
        "Rows of weight by index; gradients are dense.",
        |a| functional(a).map(Ret::from),
    );
    r.op(
        "f",
        "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
        "Rows of weight by index.",
        |a| embedding(a.t(0), a.t(1), usize::try_from(a.int(2)).ok(), a.b(3)).map(Ret::from),
    );
    r.op(
        "f",
        "embedding_renorm_(Tensor self, Tensor indices, float max_norm, float norm_type) -> Tensor",
        "Scales the rows asked for down to max_norm, in place.",
        |a| {
            renorm(a.t(0), a.t(1), a.f(2), a.f(3))?;
            Ok(a.t(0).clone().into())
        },
    );
}
