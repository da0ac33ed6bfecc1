//! unique, unique_consecutive.

use super::order_along;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::wrap_dim;
use crate::ops::reduce::tools::*;
use crate::ops::{Registry, Ret, copy, index, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use std::cmp::Ordering;

/// NaN after all numbers.
fn compare<T: Real>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.nan().cmp(&b.nan()))
}

/// The rows of a matrix in lexicographic order.
fn lexicographic<T: Real>(x: &[T], rows: usize, len: usize) -> Vec<i64> {
    let row = |i: i64| &x[i as usize * len..(i as usize + 1) * len];
    let mut order: Vec<i64> = (0..rows as i64).collect();
    order
        .sort_by(|&a, &b| row(a).iter().zip(row(b)).map(|(&p, &q)| compare(p, q)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal));
    order
}

/// Which of the distinct rows (in the given order) each row is, and where each of them is first seen.
fn group<T: Real>(x: &[T], len: usize, order: &[i64]) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
    let row = |i: i64| &x[i as usize * len..(i as usize + 1) * len];
    let (mut firsts, mut counts, mut inverse) = (Vec::new(), Vec::new(), vec![0i64; order.len()]);
    for (k, &i) in order.iter().enumerate() {
        if k == 0 || row(order[k - 1]) != row(i) {
            firsts.push(i);
            counts.push(0);
        }
        *counts.last_mut().expect("a group is open") += 1;
        inverse[i as usize] = counts.len() as i64 - 1;
    }
    (firsts, inverse, counts)
}

/// Dimension `d` moved to the front.
fn front(x: &Tensor, d: usize) -> Result<Tensor> {
    let order: Vec<i64> = [d].into_iter().chain((0..x.ndim()).filter(|&k| k != d)).map(|k| k as i64).collect();
    view::permute(x, &order)
}

/// Undoes [`front`].
fn back(x: &Tensor, d: usize) -> Result<Tensor> {
    let mut order: Vec<i64> = (1..x.ndim() as i64).collect();
    order.insert(d, 0);
    copy::contiguous(&view::permute(x, &order)?)
}

struct Wanted {
    inverse: bool,
    counts: bool,
}

/// The distinct elements, or slices along `dim`; sorted, or only runs of equal ones merged.
fn unique(x: &Tensor, dim: Option<i64>, sorted: bool, want: Wanted) -> Result<Ret> {
    ensure!(!x.dtype().is_complex(), NotImplemented, "\"unique\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("unique")?;
    let x = x.detach();
    let (slices, rows, len, inverse_shape, d) = match dim {
        None => (reshaped(&x, &[x.numel()])?, x.numel(), 1, x.dims(), 0),
        Some(dim) => {
            ensure!(x.ndim() > 0, Index, "Dimension specified as {dim} but tensor has no dimensions");
            let d = wrap_dim(dim, x.ndim())?;
            let zeros = x.shape().iter().filter(|&&s| s == 0).count();
            if x.size(d) == 0 {
                ensure!(zeros == 1, Runtime, "Number of zero sized dimensions is more than one, so unique cannot be applied ");
            } else if zeros != 0 {
                bail!(Runtime, "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
            }
            let first = if x.ndim() == 0 { reshaped(&x, &[1])? } else { front(&x, d)? };
            let n = first.shape()[0];
            (copy::contiguous(&first)?, n, x.numel().checked_div(n).unwrap_or(0), [n].as_slice().into(), d)
        }
    };
    if gpu::holds(&x) {
        let g = gpu::sort::groups(&slices, rows, sorted)?;
        let values = index::index_select(&slices, 0, &g.firsts)?;
        let values = if d == 0 { values } else { back(&values, d)? };
        return finish(values, reshaped(&g.inverse, &inverse_shape)?, g.counts, want);
    }
    let wide = wide(&slices)?;
    let (firsts, inverse, counts) = kernel!(wide.dtype(), T => {
        let data = wide.data::<T>();
        let order = if !sorted {
            (0..rows as i64).collect()
        } else if len == 1 {
            let flat = reshaped(&slices, &[rows])?;
            order_along(&flat, 0, false)?.data::<i64>().to_vec()
        } else {
            lexicographic(data, rows, len)
        };
        group(data, len, &order)
    });
    // Along a dimension the other ones stay where they are.
    let values = {
        let mut shape = slices.dims();
        shape[0] = firsts.len();
        let out = Tensor::empty(&shape, x.dtype(), x.device())?;
        crate::dispatch!(bytes x.dtype(), T => {
            let (from, to) = (slices.data::<T>(), out.data_mut::<T>());
            for (k, &i) in firsts.iter().enumerate() {
                to[k * len..(k + 1) * len].copy_from_slice(&from[i as usize * len..(i as usize + 1) * len]);
            }
        });
        if d == 0 { out } else { back(&out, d)? }
    };
    let inverse = reshaped(&Tensor::from_slice(&inverse, &[inverse.len()])?, &inverse_shape)?;
    let counts = Tensor::from_slice(&counts, &[counts.len()])?;
    debug_assert_eq!(counts.dtype(), Dtype::I64);
    finish(values, inverse, counts, want)
}

/// What of it is wanted.
fn finish(values: Tensor, inverse: Tensor, counts: Tensor, want: Wanted) -> Result<Ret> {
    if !want.inverse && !want.counts {
        return Ok(values.into());
    }
    let mut out = vec![values];
    if want.inverse {
        out.push(inverse);
    }
    if want.counts {
        out.push(counts);
    }
    Ok(Ret::Tuple(out))
}

pub fn register(r: &mut Registry) {
    r.op(
        "fm",
        "unique(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Tensor",
        "The distinct elements, sorted.",
        |a| unique(a.t(0), a.oint(4), true, Wanted { inverse: a.b(2), counts: a.b(3) }),
    );
    r.op(
        "fm",
        "unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Tensor",
        "Runs of equal elements merged.",
        |a| unique(a.t(0), a.oint(3), false, Wanted { inverse: a.b(1), counts: a.b(2) }),
    );
}
