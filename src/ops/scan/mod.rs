//! Running results along a dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.

mod calculus;

pub use calculus::diff;

use super::elementwise as ew;
use super::reduce::{sum_dtype, tools::*};
use super::{Registry, Ret, copy, view};
use crate::autograd::{record, save, save_output};
use crate::cpu::scan::{self as kernels, Plus, Running, Times};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Dtype, Element};
use crate::ensure;
use crate::error::Result;
use crate::expr::builder::{E, c, wh};
use crate::gpu;
use crate::layout::wrap_dim;
use crate::tensor::Tensor;
use smallvec::smallvec;

/// `out[o, i, j] = show(state)` after `state = f(state, x[o, i, j])`, forwards or backwards along `i`.
fn scan_block<T: Copy + Sync, A: Copy + Send + Sync, O: Copy + Send>(
    x: &[T],
    b: &Block,
    out: &mut [O],
    reverse: bool,
    init: A,
    f: impl Fn(A, T) -> A + Sync,
    show: impl Fn(A) -> O + Sync,
) {
    const WIDTH: usize = 256;
    let (len, inner) = (b.len, b.inner);
    assert!(x.len() == b.outer * len * inner && out.len() == x.len());
    if x.is_empty() {
        return;
    }
    let chunks = inner.div_ceil(WIDTH);
    let to = SendPtr(out.as_mut_ptr());
    let grain = ((1 << 15) / (len * inner.min(WIDTH))).max(1);
    parallel_for(b.outer * chunks, grain, |range| {
        let mut buffer = [init; WIDTH];
        for task in range {
            let (o, c0) = (task / chunks, task % chunks * WIDTH);
            let w = WIDTH.min(inner - c0);
            let state = &mut buffer[..w];
            state.fill(init);
            for k in 0..len {
                let i = if reverse { len - 1 - k } else { k };
                let start = (o * len + i) * inner + c0;
                // SAFETY: these columns belong to this piece.
                let row = unsafe { to.slice(start, w) };
                for ((s, &v), o) in state.iter_mut().zip(&x[start..start + w]).zip(row) {
                    *s = f(*s, v);
                    *o = show(*s);
                }
            }
        }
    });
}

/// Neighbours along `dim`: element `i` is `x[i - 1]` (with `reverse`, `x[i + 1]`), at the end `fill`.
pub fn shift(x: &Tensor, d: usize, reverse: bool, fill: f64) -> Result<Tensor> {
    let out = Tensor::full(x.shape(), fill, x.dtype(), x.device())?;
    let n = x.size(d) as i64;
    if x.ndim() > 0 && n > 1 {
        let (from, to) = if reverse { (1, 0) } else { (0, 1) };
        let x = x.detach();
        copy::copy_raw(&view::narrow(&out, d as i64, to, n - 1)?, &view::narrow(&x, d as i64, from, n - 1)?)?;
    }
    Ok(record("RollBackward0", &[x], out.detach(), move |_, g| Ok(smallvec![Some(shift(g, d, !reverse, 0.0)?)])))
}

/// `s[i] = b[i] + a[i] * s[i - 1]` along `dim` (with `reverse`, from the end). Differentiable.
pub fn linear_scan(a: &Tensor, b: &Tensor, d: usize, reverse: bool) -> Result<Tensor> {
    let (ba, bb) = (along(&wide(a)?, d)?, along(&wide(b)?, d)?);
    let out = Tensor::empty(a.shape(), ba.data.dtype(), a.device())?;
    if gpu::holds(&out) {
        gpu::scan::linear(&ba.data, &bb.data, &out, on_gpu(&ba, reverse))?;
    } else {
        linear_block(&ba, &bb.data, &out, reverse)?;
    }
    let out = copy::to_dtype(&out, a.dtype())?;
    let (saved, result) = (save(a), save_output(&out, 0));
    Ok(record("LinearScanBackward0", &[a, b], out, move |ctx, g| {
        let back = linear_scan(&shift(&saved.get(ctx)?, d, !reverse, 0.0)?, g, d, !reverse)?;
        let to_a = ctx.needs(0).then(|| ew::mul(&back, &shift(&result.get(ctx)?, d, reverse, 0.0)?)).transpose()?;
        Ok(smallvec![to_a, Some(back)])
    }))
}

/// [`linear_scan`] on the CPU.
fn linear_block(ba: &Block, b: &Tensor, out: &Tensor, reverse: bool) -> Result<()> {
    crate::dispatch!(float "linear_scan", ba.data.dtype(), T => {
        let (x, y, to) = (ba.data.data::<T>(), b.data::<T>(), out.data_mut::<T>());
        let (len, inner) = (ba.len, ba.inner);
        for o in 0..ba.outer {
            for k in 0..len {
                let i = if reverse { len - 1 - k } else { k };
                let at = (o * len + i) * inner;
                for j in 0..inner {
                    let before = match (k, reverse) {
                        (0, _) => 0.0,
                        (_, false) => to[at + j - inner],
                        (_, true) => to[at + j + inner],
                    };
                    // At the start nothing is carried, whatever the factor (it may be infinite).
                    to[at + j] = if k == 0 { y[at + j] } else { y[at + j] + x[at + j] * before };
                }
            }
        }
    });
    Ok(())
}

/// The block as GPU kernels take it.
fn on_gpu(b: &Block, reverse: bool) -> gpu::scan::Shape {
    gpu::scan::Shape { outer: b.outer, len: b.len, inner: b.inner, reverse }
}

/// Running results of `op` along dimension `d`, without history; complex ones by `f` from `init`.
fn run_along<R: Running>(
    x: &Tensor,
    d: usize,
    reverse: bool,
    op: R,
    single: (Pair<f32>, impl Fn(Pair<f32>, Pair<f32>) -> Pair<f32> + Sync),
    double: (Pair<f64>, impl Fn(Pair<f64>, Pair<f64>) -> Pair<f64> + Sync),
) -> Result<Tensor> {
    let from = if x.dtype().is_complex() { x.detach() } else { wide(x)? };
    let b = along(&from, d)?;
    let out = Tensor::empty(x.shape(), from.dtype(), x.device())?;
    if gpu::holds(x) {
        gpu::scan::scan(&b.data, &out, on_gpu(&b, reverse), if R::PRODUCT { "prod" } else { "sum" })?;
        return copy::to_dtype(&out, x.dtype());
    }
    match from.dtype() {
        Dtype::C64 => scan_block(b.data.data(), &b, out.data_mut(), reverse, single.0, single.1, |a| a),
        Dtype::C128 => scan_block(b.data.data(), &b, out.data_mut(), reverse, double.0, double.1, |a| a),
        d => kernel!(d, T => kernels::scan(b.data.data::<T>(), out.data_mut::<T>(), b.len, b.inner, reverse, op)),
    }
    copy::to_dtype(&out, x.dtype())
}

/// Running sums along dimension `d`; with `reverse`, from the end. Differentiable.
pub fn cumsum_along(x: &Tensor, d: usize, reverse: bool) -> Result<Tensor> {
    x.check_memory("cumsum")?;
    let out = run_along(x, d, reverse, Plus, (Pair::default(), |a, b| a + b), (Pair::default(), |a, b| a + b))?;
    Ok(record("CumsumBackward0", &[x], out, move |_, g| Ok(smallvec![Some(cumsum_along(g, d, !reverse)?)])))
}

/// Running products along dimension `d`. Differentiable, also where elements are zero.
pub fn cumprod_along(x: &Tensor, d: usize, reverse: bool) -> Result<Tensor> {
    x.check_memory("cumprod")?;
    let out = run_along(x, d, reverse, Times, (Pair(1.0, 0.0), |a, b| a * b), (Pair(1.0, 0.0), |a, b| a * b))?;
    let (saved, result) = (save(x), save_output(&out, 0));
    Ok(record("CumprodBackward0", &[x], out, move |ctx, g| {
        // dx[k] = (product before k) * s[k], where s[k] = g[k] + x[k + 1] s[k + 1].
        let next = shift(&saved.get(ctx)?, d, !reverse, 0.0)?;
        let s = linear_scan(&next, g, d, !reverse)?;
        Ok(smallvec![Some(ew::mul(&shift(&result.get(ctx)?, d, reverse, 1.0)?, &s)?)])
    }))
}

/// Running logarithms of sums of exponentials. Differentiable.
pub fn logcumsumexp(x: &Tensor, dim: i64) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(x.dtype().is_float(), NotImplemented, "\"logcumsumexp_out_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("logcumsumexp")?;
    let b = along(&wide(x)?, d)?;
    let out = Tensor::empty(x.shape(), b.data.dtype(), x.device())?;
    let add = |a: f64, v: f64| {
        if a.is_nan() || v.is_nan() {
            f64::NAN
        } else if a.max(v).is_infinite() {
            a.max(v)
        } else {
            a.max(v) + (-(a - v).abs()).exp().ln_1p()
        }
    };
    if gpu::holds(x) {
        gpu::scan::logcumsumexp(&b.data, &out, on_gpu(&b, false))?;
    } else {
        crate::dispatch!(float "logcumsumexp_out_cpu", b.data.dtype(), T => {
            scan_block(b.data.data::<T>(), &b, out.data_mut::<T>(), false, f64::NEG_INFINITY, |a, v: T| add(a, v.to_f64()), |a| a as T);
        });
    }
    let out = copy::to_dtype(&out, x.dtype())?;
    let (saved, result) = (save(x), save_output(&out, 0));
    Ok(record("LogcumsumexpBackward0", &[x], out, move |ctx, g| {
        // dx[k] = exp(x[k] - out[k]) r[k], where r[k] = g[k] + exp(out[k] - out[k + 1]) r[k + 1].
        // Minus infinity stays what it is, also where it is taken from minus infinity.
        let f = formula!(2, "LogcumsumexpBackward0", |x| {
            let none = x[0].eq(f64::NEG_INFINITY);
            (wh(none, c(f64::NEG_INFINITY), x[0]) - wh(none, c(0.0), x[1])).exp()
        });
        // Equal infinities decay by nothing.
        let step = formula!(2, "LogcumsumexpBackward0", |x| {
            let same = E::and(x[0].eq(x[1]), x[0].eq(f64::INFINITY));
            let none = x[0].eq(f64::NEG_INFINITY);
            let from = wh(none, c(f64::NEG_INFINITY), wh(same, c(0.0), x[0]));
            (from - wh(E::or(none, same), c(0.0), x[1])).exp()
        });
        let out = result.get(ctx)?;
        let decay = eval_formula(step, &[&out, &shift(&out, d, true, f64::INFINITY)?], &[])?;
        let r = linear_scan(&decay, g, d, true)?;
        Ok(smallvec![Some(ew::mul(&r, &eval_formula(f, &[&saved.get(ctx)?, &out], &[])?)?)])
    }))
}

/// Running extremes and where they are (the last of equals).
pub fn cumextreme(x: &Tensor, dim: i64, max: bool) -> Result<(Tensor, Tensor)> {
    let d = wrap_dim(dim, x.ndim())?;
    let name = if max { "cummax" } else { "cummin" };
    ensure!(!x.dtype().is_complex(), NotImplemented, "\"{name}_helper_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory(name)?;
    if gpu::holds(x) {
        let keys = gpu::sort::keys(x, if max { gpu::sort::Way::Up } else { gpu::sort::Way::DownToNan })?;
        let b = along(&keys, d)?;
        let index = Tensor::empty(x.shape(), Dtype::I64, x.device())?;
        gpu::scan::greatest(&b.data, &index, on_gpu(&b, false))?;
        return pick_many(cumextreme_node(max), x, index, d);
    }
    let b = along(&wide(x)?, d)?;
    let index = Tensor::empty(x.shape(), Dtype::I64, x.device())?;
    kernel!(b.data.dtype(), T => {
        // State: the extreme, its place, the place of the next element.
        let step = |(best, at, i): (T, i64, i64), v: T| {
            let wins = i == 0 || v.nan() || (!best.nan() && if max { v >= best } else { v <= best });
            if wins { (v, i, i + 1) } else { (best, at, i + 1) }
        };
        let start = (<T as Default>::default(), 0, 0);
        scan_block(b.data.data::<T>(), &b, index.data_mut::<i64>(), false, start, step, |s| s.1);
    });
    pick_many(cumextreme_node(max), x, index, d)
}

fn cumextreme_node(max: bool) -> &'static str {
    if max { "CummaxBackward0" } else { "CumminBackward0" }
}

fn running(x: &Tensor, dim: i64, dtype: Option<Dtype>, f: fn(&Tensor, usize, bool) -> Result<Tensor>) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    f(&copy::to_dtype(x, sum_dtype(x.dtype(), dtype))?, d, false)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fmi", "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor", "Running sums.", |a| {
        running(a.t(0), a.int(1), a.dtype(2), cumsum_along).map(Ret::from)
    });
    r.op("fmi", "cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor", "Running products.", |a| {
        running(a.t(0), a.int(1), a.dtype(2), cumprod_along).map(Ret::from)
    });
    r.op("fm", "logcumsumexp(Tensor self, int dim) -> Tensor", "Running log(sum(exp(x))).", |a| {
        logcumsumexp(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("fm", "cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)", "Running maxima.", |a| {
        cumextreme(a.t(0), a.int(1), true).map(Ret::from)
    });
    r.op("fm", "cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)", "Running minima.", |a| {
        cumextreme(a.t(0), a.int(1), false).map(Ret::from)
    });
    calculus::register(r);
}
