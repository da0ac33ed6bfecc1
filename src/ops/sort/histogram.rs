//! histc, histogram, histogramdd, bincount.

use crate::device::Device;
use crate::dispatch;
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::gpu;
use crate::ops::elementwise as ew;
use crate::ops::reduce::{self, sum, tools::*};
use crate::ops::scan::diff;
use crate::ops::{Registry, Ret, copy, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// How the bin of a value is found.
#[derive(Clone, Copy, PartialEq)]
enum Find {
    /// By arithmetic alone.
    Linear,
    /// By arithmetic, corrected by the neighbouring edges.
    Near,
    /// By searching all edges.
    Search,
}

fn check_float(x: &Tensor, name: &str) -> Result<()> {
    ensure!(
        x.dtype() == Dtype::F32 || x.dtype() == Dtype::F64,
        NotImplemented,
        "\"{name}\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    x.check_memory(name)
}

/// Evenly spaced numbers, as torch.linspace rounds them.
fn linspace(start: f64, end: f64, steps: usize, like: &Tensor) -> Result<Tensor> {
    let out = Tensor::empty(&[steps], like.dtype(), Device::Cpu)?;
    dispatch!(float "linspace", like.dtype(), T => {
        let (a, b) = (start as T, end as T);
        let step = if steps > 1 { (b - a) / (steps - 1) as T } else { 0.0 };
        for (i, v) in out.data_mut::<T>().iter_mut().enumerate() {
            *v = if i < steps / 2 { a + step * i as T } else { b - step * (steps - i - 1) as T };
        }
    });
    copy::to_device(&out, like.device())
}

/// Counts the rows of `x` (points, contiguous) in the bins that the edges of each dimension bound.
fn count_points(x: &Tensor, edges: &[Tensor], weight: Option<&Tensor>, find: Find) -> Result<Tensor> {
    let bins: Vec<usize> = edges.iter().map(|e| e.numel().saturating_sub(1)).collect();
    for (d, &b) in bins.iter().enumerate() {
        ensure!(b > 0, Runtime, "torch.histogram(): bins must be > 0, but got {b} for dimension {d}");
    }
    if gpu::holds(x) {
        let at = gpu::sort::bins(x, edges, find as u32)?;
        let total = crate::layout::checked_numel(&bins)?;
        let hist = match weight {
            Some(w) => gpu::sort::weigh(&at, w, total)?,
            None => copy::to_dtype(&gpu::sort::count(&at, total)?, x.dtype())?,
        };
        return view::reshape_to(&hist, &bins);
    }
    let hist = Tensor::zeros(&bins, x.dtype(), x.device())?;
    let dims = edges.len();
    dispatch!(float "histogramdd", x.dtype(), T => {
        let (x, to) = (x.data::<T>(), hist.data_mut::<T>());
        let w = weight.map(|w| w.data::<T>());
        let edges: Vec<&[T]> = edges.iter().map(|e| e.data::<T>()).collect();
        'points: for (i, point) in x.chunks_exact(dims).enumerate() {
            let mut at = 0;
            for (d, &v) in point.iter().enumerate() {
                let e = edges[d];
                let (n, first, last) = (e.len(), e[0], e[e.len() - 1]);
                if !(v >= first && v <= last) {
                    continue 'points;
                }
                let mut p = match find {
                    Find::Search => e.partition_point(|&b| b <= v).max(1) - 1,
                    _ => ((v - first) * (n - 1) as T / (last - first)) as i64 as usize,
                }
                .min(n - 1);
                if find == Find::Near {
                    let (lo, hi) = (p.saturating_sub(1), (p + 2).min(n));
                    p = (lo + e[lo..hi].partition_point(|&b| b <= v)).max(1) - 1;
                }
                // The last bin has its right edge.
                at = at * bins[d] + p.min(n - 2);
            }
            to[at] += w.map_or(1.0, |w| w[i]);
        }
    });
    Ok(hist)
}

/// Smallest and largest of column `d` of the points.
fn data_range(x: &Tensor, dims: usize, d: usize) -> Result<(f64, f64)> {
    if gpu::holds(x) {
        let column = view::narrow(&view::reshape_to(&x.detach(), &[x.numel() / dims, dims])?, 1, d as i64, 1)?;
        let end = |max: bool| Ok::<_, crate::error::Error>(reduce::extreme_over(&column, &[0, 1], false, max)?.item()?.f64());
        return Ok((end(false)?, end(true)?));
    }
    Ok(dispatch!(float "histogramdd", x.dtype(), T => {
        x.data::<T>().iter().skip(d).step_by(dims).fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &v| {
            let v = v.to_f64();
            if v.is_nan() || lo.is_nan() { (f64::NAN, f64::NAN) } else { (lo.min(v), hi.max(v)) }
        })
    }))
}

fn c_float(v: f64) -> String {
    if v.is_nan() { "nan".into() } else { format!("{v}") }
}

fn check_bins(n: i64, d: usize) -> Result<usize> {
    ensure!(n > 0, Runtime, "torch.histogram(): bins must be > 0, but got {n} for dimension {d}");
    ensure!(n < i64::from(u32::MAX), Runtime, "torch.histogram(): {n} bins are too many");
    Ok(n as usize + 1)
}

fn histc(x: &Tensor, bins: i64, min: f64, max: f64) -> Result<Tensor> {
    if matches!(x.dtype(), Dtype::F16 | Dtype::BF16) {
        let wide = copy::to_dtype(&x.detach(), Dtype::F32)?;
        return copy::to_dtype(&histc(&wide, bins, min, max)?, x.dtype());
    }
    check_float(x, "histogram_cpu")?;
    let steps = check_bins(bins, 0)?;
    let flat = reshaped(x, &[x.numel()])?;
    ensure!(min <= max, Runtime, "torch.histc: max must be larger than min");
    let (mut lo, mut hi) = (min, max);
    if lo == hi && flat.numel() > 0 {
        (lo, hi) = data_range(&flat, 1, 0)?;
    }
    if lo == hi {
        (lo, hi) = (lo - 1.0, hi + 1.0);
    }
    ensure!(lo.is_finite() && hi.is_finite(), Runtime, "torch.histc: range of [{}, {}] is not finite", c_float(lo), c_float(hi));
    ensure!(lo < hi, Runtime, "torch.histc: max must be larger than min");
    count_points(&flat, &[linspace(lo, hi, steps, x)?], None, Find::Linear)
}

/// Edges for `counts` bins per dimension, over the given range or that of the data.
fn even_edges(x: &Tensor, counts: &[i64], range: Option<&[f64]>) -> Result<Vec<Tensor>> {
    let dims = counts.len();
    if let Some(r) = range {
        ensure!(
            r.len() == 2 * dims,
            Runtime,
            "torch.histogramdd: for a {dims}-dimensional histogram range should have {} elements, but got {}",
            2 * dims,
            r.len()
        );
    }
    (0..dims)
        .map(|d| {
            let (mut lo, mut hi) = match range {
                Some(r) => (r[2 * d], r[2 * d + 1]),
                None if x.numel() > 0 => data_range(x, dims, d)?,
                None => (0.0, 1.0),
            };
            ensure!(
                lo.is_finite() && hi.is_finite(),
                Runtime,
                "torch.histogramdd: dimension {d}'s range [{}, {}] is not finite",
                c_float(lo),
                c_float(hi)
            );
            ensure!(
                lo <= hi,
                Runtime,
                "torch.histogramdd: min should not exceed max, but got min {lo} max {hi} for dimension {d}"
            );
            if lo == hi {
                (lo, hi) = (lo - 0.5, hi + 0.5);
            }
            linspace(lo, hi, check_bins(counts[d], d)?, x)
        })
        .collect()
}

fn given_edges(x: &Tensor, edges: &[Tensor]) -> Result<Vec<Tensor>> {
    edges
        .iter()
        .map(|e| {
            ensure!(e.dtype() == x.dtype(), Runtime, "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype {} and bins with dtype {}", x.dtype().scalar_name(), e.dtype().scalar_name());
            ensure!(e.ndim() == 1, Runtime, "torch.histogramdd: bins tensor should have one dimension, but got {} dimensions", e.ndim());
            ensure!(e.numel() > 0, Runtime, "torch.histogramdd: bins tensor should have at least 1 element");
            e.check_memory("histogramdd")?;
            copy::contiguous(&e.detach())
        })
        .collect()
}

/// The histogram of points, perhaps as a density.
fn finish(
    points: &Tensor,
    edges: Vec<Tensor>,
    weight: Option<Tensor>,
    density: bool,
    find: Find,
) -> Result<(Tensor, Vec<Tensor>)> {
    let mut hist = count_points(points, &edges, weight.as_ref(), find)?;
    if density {
        hist = ew::div(&hist, &sum(&hist, None, false, None)?)?;
        for (d, e) in edges.iter().enumerate() {
            let mut shape = crate::layout::Dims::from_elem(1, edges.len());
            shape[d] = e.numel() - 1;
            hist = ew::div(&hist, &view::reshape_to(&diff(e, 1, 0, None, None)?, &shape)?)?;
        }
    }
    Ok((hist, edges))
}

fn weights(x: &Tensor, w: Option<&Tensor>, count: usize, dims: usize) -> Result<Option<Tensor>> {
    let Some(w) = w else { return Ok(None) };
    ensure!(
        w.dtype() == x.dtype(),
        Runtime,
        "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but got input(dtype={}), and weight(dtype={})",
        x.dtype().scalar_name(),
        w.dtype().scalar_name()
    );
    let expect = if dims == 0 { x.shape() } else { &x.shape()[..x.ndim() - 1] };
    ensure!(
        w.shape() == expect && w.numel() == count,
        Runtime,
        "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor excluding its innermost dimension, but got input with shape {} and weight with shape {}",
        crate::layout::show(x.shape()),
        crate::layout::show(w.shape())
    );
    w.check_memory("histogramdd")?;
    Ok(Some(copy::contiguous(&w.detach())?))
}

fn histogram(x: &Tensor, edges: Result<&Tensor, i64>, range: Option<&[f64]>, w: Option<&Tensor>, density: bool) -> Result<Ret> {
    check_float(x, "histogramdd")?;
    let points = reshaped(x, &[x.numel()])?;
    let w = weights(x, w, x.numel(), 0)?;
    let (edges, find) = match edges {
        Ok(t) => (given_edges(x, std::slice::from_ref(t))?, Find::Search),
        Err(n) => (even_edges(&points, &[n], range)?, Find::Near),
    };
    let (hist, mut edges) = finish(&points, edges, w, density, find)?;
    Ok((hist, edges.remove(0)).into())
}

enum Bins<'a> {
    Edges(&'a [Tensor]),
    Counts(&'a [i64]),
}

fn histogramdd(x: &Tensor, bins: Bins, range: Option<&[f64]>, w: Option<&Tensor>, density: bool) -> Result<Ret> {
    ensure!(x.ndim() >= 2, Runtime, "torch.histogramdd: input tensor should have at least 2 dimensions");
    check_float(x, "histogramdd")?;
    let dims = x.shape()[x.ndim() - 1];
    let n = match &bins {
        Bins::Edges(e) => e.len(),
        Bins::Counts(c) => c.len(),
    };
    ensure!(n == dims, Runtime, "histogramdd: The size of bins must be equal to the innermost dimension of the input.");
    ensure!(dims > 0, Runtime, "torch.histogramdd: input tensor should have a non-empty innermost dimension");
    let points = copy::contiguous(&x.detach())?;
    let w = weights(x, w, x.numel() / dims, dims)?;
    let (edges, find) = match bins {
        Bins::Edges(e) => (given_edges(x, e)?, Find::Search),
        Bins::Counts(c) => (even_edges(&points, c, range)?, Find::Near),
    };
    let (hist, edges) = finish(&points, edges, w, density, find)?;
    Ok(Ret::Nested(hist, edges))
}

fn bincount(x: &Tensor, w: Option<&Tensor>, minlength: i64) -> Result<Tensor> {
    ensure!(minlength >= 0, Runtime, "minlength should be >= 0");
    if !x.dtype().is_integral() || x.dtype() == Dtype::Bool {
        bail!(NotImplemented, "\"bincount_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    }
    x.check_memory("bincount")?;
    if gpu::holds(x) {
        return bincount_on_gpu(x, w, minlength as usize);
    }
    let idx = copy::contiguous(&wide(x)?)?;
    let at = idx.data::<i64>();
    if x.ndim() == 1 && at.is_empty() {
        return Tensor::zeros(&[minlength as usize], Dtype::I64, x.device());
    }
    ensure!(x.ndim() == 1 && at.iter().all(|&i| i >= 0), Runtime, "bincount only supports 1-d non-negative integral inputs.");
    if let Some(w) = w {
        ensure!(w.ndim() == 1 && w.numel() == at.len(), Runtime, "weights should be 1-d and have the same length as input");
        w.check_data("bincount")?;
    }
    let top = at.iter().max().map_or(0, |&m| m as u64 + 1);
    let n = top.max(minlength as u64) as usize;
    let out_dtype = match w.map(|w| w.dtype()) {
        None => Dtype::I64,
        Some(Dtype::F32) => Dtype::F32,
        Some(_) => Dtype::F64,
    };
    let out = Tensor::zeros(&[n], out_dtype, x.device())?;
    match w {
        None => at.iter().for_each(|&i| out.data_mut::<i64>()[i as usize] += 1),
        Some(w) => {
            let w = copy::contiguous(&copy::to_dtype(&w.detach(), out_dtype)?)?;
            dispatch!(float "bincount_cpu", out_dtype, T => {
                let to = out.data_mut::<T>();
                for (&i, v) in at.iter().zip(w.data::<T>()) {
                    to[i as usize] = T::from_f64(to[i as usize].to_f64() + v.to_f64());
                }
            });
        }
    }
    Ok(out)
}

/// [`bincount`] of a tensor on a GPU, which is waited for: the result's size depends on the largest number.
fn bincount_on_gpu(x: &Tensor, w: Option<&Tensor>, minlength: usize) -> Result<Tensor> {
    const WRONG: &str = "bincount only supports 1-d non-negative integral inputs.";
    ensure!(x.ndim() == 1, Runtime, "{WRONG}");
    if x.numel() == 0 {
        return Tensor::zeros(&[minlength], Dtype::I64, x.device());
    }
    let x = wide(x)?;
    let end = |max: bool| Ok::<_, crate::error::Error>(reduce::extreme_over(&x, &[0], false, max)?.item()?.i64());
    ensure!(end(false)? >= 0, Runtime, "{WRONG}");
    let bins = minlength.max(end(true)? as usize + 1);
    let Some(w) = w else {
        return copy::to_dtype(&gpu::sort::count(&x, bins)?, Dtype::I64);
    };
    ensure!(w.ndim() == 1 && w.numel() == x.numel(), Runtime, "weights should be 1-d and have the same length as input");
    if w.dtype() != Dtype::F32 {
        return Err(gpu::refuse("bincount", w.dtype(), gpu::of(&x)?));
    }
    gpu::sort::weigh(&x, w, bins)
}

pub fn register(r: &mut Registry) {
    r.op("fm", "histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor", "Counts in equal bins.", |a| {
        histc(a.t(0), a.int(1), a.f(2), a.f(3)).map(Ret::from)
    });
    let doc = "Counts in bins, and their edges.";
    r.op(
        "fm",
        "histogram(Tensor self, Tensor bins, *, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor bin_edges)",
        doc,
        |a| histogram(a.t(0), Ok(a.t(1)), None, a.ot(2), a.b(3)),
    );
    r.op(
        "fm",
        "histogram(Tensor self, int bins=100, *, float[]? range=None, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor bin_edges)",
        doc,
        |a| histogram(a.t(0), Err(a.int(1)), a.floats(2), a.ot(3), a.b(4)),
    );
    let doc = "Counts of points in boxes, and the edges of these.";
    r.op(
        "f",
        "histogramdd(Tensor self, int[] bins, float[]? range=None, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor[] bin_edges)",
        doc,
        |a| histogramdd(a.t(0), Bins::Counts(a.ints(1)), a.floats(2), a.ot(3), a.b(4)),
    );
    r.op(
        "f",
        "histogramdd(Tensor self, int bins, float[]? range=None, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor[] bin_edges)",
        doc,
        |a| {
            let dims = a.t(0).shape().last().copied().unwrap_or(0);
            histogramdd(a.t(0), Bins::Counts(&vec![a.int(1); dims]), a.floats(2), a.ot(3), a.b(4))
        },
    );
    r.op(
        "f",
        "histogramdd(Tensor self, Tensor[] bins, float[]? range=None, Tensor? weight=None, bool density=False) -> (Tensor hist, Tensor[] bin_edges)",
        doc,
        |a| histogramdd(a.t(0), Bins::Edges(&a.ts(1)), a.floats(2), a.ot(3), a.b(4)),
    );
    r.op("fm", "bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor", "How often each number occurs.", |a| {
        bincount(a.t(0), a.ot(1), a.int(2)).map(Ret::from)
    });
}
