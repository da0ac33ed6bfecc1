//! Lengths: norm, linalg.vector_norm, dist, renorm.

use super::run::folded;
use super::tools::*;
use super::{reduced_dims, reduced_shape, sum};
use crate::autograd::{record, save, save_output};
use crate::cpu::reduce::ops::{Magnitudes, MaxMagnitude, Squares};
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::expr::builder::{E, c, par, wh};
use crate::layout::wrap_dim;
use crate::ops::elementwise as ew;
use crate::ops::{Registry, Ret, copy, linalg, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// The size of an element, in f64.
trait Size: Copy + Send + Sync {
    fn size(self) -> f64;
}
impl Size for f32 {
    #[inline(always)]
    fn size(self) -> f64 {
        f64::from(self.abs())
    }
}
impl Size for f64 {
    #[inline(always)]
    fn size(self) -> f64 {
        self.abs()
    }
}
impl<T: Element> Size for Pair<T> {
    #[inline(always)]
    fn size(self) -> f64 {
        self.0.to_f64().hypot(self.1.to_f64())
    }
}

fn fold_norm<T: Size>(x: &[T], b: &Block, out: &mut [f64], p: f64) {
    let add = |a: f64, b: f64| a + b;
    let root = |out: &mut [f64], e: f64| out.iter_mut().for_each(|v| *v = v.powf(e));
    if p == 0.0 {
        fold_block(x, b, out, 0.0, |a, v: T| a + f64::from(v.size() != 0.0), add);
    } else if p == 1.0 {
        fold_block(x, b, out, 0.0, |a, v: T| a + v.size(), add);
    } else if p == 2.0 {
        let square = |a: f64, v: T| {
            let s = v.size();
            a + s * s
        };
        fold_block(x, b, out, 0.0, square, add);
        out.iter_mut().for_each(|v| *v = v.sqrt());
    } else if p == f64::INFINITY {
        let top = |a: f64, v: f64| if v > a || v.is_nan() { v } else { a };
        fold_block(
            x,
            b,
            out,
            0.0,
            |a, v: T| if a.is_nan() { a } else { top(a, v.size()) },
            |a, v| if a.is_nan() { a } else { top(a, v) },
        );
    } else if p == f64::NEG_INFINITY {
        let low = |a: f64, v: f64| {
            if a.is_nan() {
                a
            } else if v < a || v.is_nan() {
                v
            } else {
                a
            }
        };
        fold_block(x, b, out, f64::INFINITY, |a, v: T| low(a, v.size()), low);
    } else {
        fold_block(x, b, out, 0.0, |a, v: T| a + v.size().powf(p), add);
        root(out, 1.0 / p);
    }
}

/// The norms of real tensors that have kernels of their own: p = 1, 2 and infinity. Reduced dimensions stay.
pub fn common_norm(x: &Tensor, p: f64, gone: &[bool]) -> Result<Option<Tensor>> {
    if x.dtype().is_complex() || !(p == 1.0 || p == 2.0 || p == f64::INFINITY) {
        return Ok(None);
    }
    let x = &x.detach();
    let double = wide_dtype(x.dtype()) == Dtype::F64;
    if p != 2.0 {
        return Ok(Some(match (p == 1.0, double) {
            (true, true) => folded::<f64, Magnitudes>(x, gone)?,
            (true, false) => folded::<f32, Magnitudes>(x, gone)?,
            (false, true) => folded::<f64, MaxMagnitude>(x, gone)?,
            (false, false) => folded::<f32, MaxMagnitude>(x, gone)?,
        }));
    }
    if crate::gpu::holds(x) && !double {
        return Ok(Some(call1(&ew::SQRT, &folded::<f32, Squares>(x, gone)?)?));
    }
    if !double {
        let kept = folded::<f32, Squares>(x, gone)?;
        // Squares that neither overflow nor vanish; NaN is for the other way too.
        let safe = |s: f32| s > 1e-20 && s < 1e37;
        if kept.data::<f32>().iter().all(|&s| safe(s)) {
            kept.data_mut::<f32>().iter_mut().for_each(|s| *s = s.sqrt());
            return Ok(Some(kept));
        }
    }
    let kept = if double || x.dtype() == Dtype::F32 {
        folded::<f64, Squares>(x, gone)?
    } else {
        folded::<f64, Squares>(&wide(x)?, gone)?
    };
    kept.data_mut::<f64>().iter_mut().for_each(|s| *s = s.sqrt());
    Ok(Some(kept))
}

/// The gradient of a norm, from x (0), the norm (1) and the incoming gradient (2); p is parameter 0.
fn norm_backward(x: &Tensor, norm: &Tensor, g: &Tensor, p: f64, dims: &[i64]) -> Result<Tensor> {
    const NAME: &str = "LinalgVectorNormBackward0";
    if p == 0.0 {
        return Tensor::zeros(x.shape(), x.dtype(), x.device());
    }
    let f = if p == 1.0 {
        return eval_formula(formula!(2, NAME, |x| x[0].sign() * x[1]), &[x, g], &[]);
    } else if p == 2.0 {
        formula!(3, NAME, |x| wh(x[1].eq(0.0), c(0.0), x[0] * (x[2] / x[1])))
    } else if p.is_infinite() {
        fn hit(x: &[E]) -> E {
            E::or(x[0].abs().eq(x[1]), E::and(x[0].is_nan(), x[1].is_nan()))
        }
        let ones = formula!(2, NAME, |x| wh(hit(x), c(1.0), c(0.0)));
        let count =
            crate::autograd::no_grad(|| sum(&eval_formula(ones, &[&x.detach(), &norm.detach()], &[])?, Some(dims), true, None))?;
        let f = formula!(4, NAME, |x| wh(hit(x), x[0].sign() * (x[2] / x[3]), c(0.0)));
        return eval_formula(f, &[x, norm, g, &count], &[]);
    } else if p < 1.0 {
        formula!(3, NAME, |x| wh(
            x[0].eq(0.0),
            c(0.0),
            x[0].sign() * E::pow(x[0].abs(), par(0) - 1.0) * (x[2] * E::pow(x[1], 1.0 - par(0)))
        ))
    } else if p < 2.0 {
        formula!(3, NAME, |x| wh(
            E::or(x[1].eq(0.0), x[0].eq(0.0)),
            c(0.0),
            x[0].sign() * E::pow(x[0].abs(), par(0) - 1.0) * (x[2] * E::pow(x[1], 1.0 - par(0)))
        ))
    } else {
        formula!(3, NAME, |x| wh(
            x[1].eq(0.0),
            c(0.0),
            x[0] * E::pow(x[0].abs(), par(0) - 2.0) * (x[2] / E::pow(x[1], par(0) - 1.0))
        ))
    };
    eval_formula(f, &[x, norm, g], &[p])
}

fn order(p: f64) -> String {
    if p == f64::INFINITY {
        "inf".into()
    } else if p == f64::NEG_INFINITY {
        "-inf".into()
    } else {
        format!("{p}")
    }
}

/// (sum |x|^p)^(1/p) over `dims`, with its limits for p = 0 and infinite p. Differentiable.
pub fn vector_norm(x: &Tensor, p: f64, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let d = x.dtype();
    ensure!(
        !d.is_integral(),
        Runtime,
        "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
        d.scalar_name()
    );
    if let Some(to) = dtype {
        ensure!(
            !to.is_integral(),
            Runtime,
            "linalg.vector_norm: dtype should be floating point or complex, but got {}",
            to.scalar_name()
        );
        ensure!(
            to.is_complex() == d.is_complex(),
            Runtime,
            "linalg.vector_norm: dtype should be {} for {} inputs, but got {}",
            if d.is_complex() { "complex" } else { "real" },
            if d.is_complex() { "complex" } else { "real" },
            to.scalar_name()
        );
        ensure!(
            d.promote(to) == to,
            Runtime,
            "linalg.vector_norm: the dtype of the input ({}) should be convertible without narrowing to the specified dtype ({})",
            d.scalar_name(),
            to.scalar_name()
        );
        return vector_norm(&copy::to_dtype(x, to)?, p, dims, keepdim, None);
    }
    let gone = reduced_dims(x.ndim(), dims)?;
    if x.numel() == 0 && (p < 0.0 || p == f64::INFINITY) {
        match dims {
            None | Some([]) => bail!(
                Runtime,
                "linalg.vector_norm cannot compute the {} norm on an empty tensor because the operation does not have an identity",
                order(p)
            ),
            Some(dims) => {
                for &dim in dims {
                    let w = wrap_dim(dim, x.ndim())?;
                    ensure!(
                        x.size(w) != 0,
                        Runtime,
                        "linalg.vector_norm cannot compute the {} norm on the dimension {dim}because this dimension is empty and the operation does not have an identity",
                        order(p)
                    );
                }
            }
        }
    }
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let kept = match common_norm(x, p, &gone)? {
        Some(kept) => kept,
        None if crate::gpu::holds(x) => {
            // |x|^p as an elementwise result, summed.
            let size = call1(&ew::ABS, &wide(x)?)?;
            if p == f64::NEG_INFINITY {
                super::extreme::over(&size, dims.unwrap_or(&[]), true, false)?
            } else if p == 0.0 {
                sum(&call2s(&ew::NE, &size, 0.0)?, dims, true, Some(size.dtype()))?
            } else {
                let power = |t: &Tensor, e: f64| ew::pow(crate::expr::Operand::T(t.clone()), crate::expr::Operand::S(e.into()));
                power(&sum(&power(&size, p)?, dims, true, None)?, 1.0 / p)?
            }
        }
        None => {
            let wide = if d.is_complex() { x.detach() } else { wide(x)? };
            let b = block(&wide, &gone)?;
            let kept = Tensor::empty(&with_ones, Dtype::F64, x.device())?;
            let to = kept.data_mut::<f64>();
            match wide.dtype() {
                Dtype::F32 => fold_norm(b.data.data::<f32>(), &b, to, p),
                Dtype::F64 => fold_norm(b.data.data::<f64>(), &b, to, p),
                Dtype::C64 => fold_norm(b.data.data::<Pair<f32>>(), &b, to, p),
                _ => fold_norm(b.data.data::<Pair<f64>>(), &b, to, p),
            }
            kept
        }
    };
    let out = reshaped(&copy::to_dtype(&kept, d.to_real())?, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (saved, result) = (save(x), save_output(&out, 0));
    let dims: SmallVec<[i64; 6]> = dims.unwrap_or(&[]).into();
    Ok(record("LinalgVectorNormBackward0", &[x], out, move |ctx, g| {
        let norm = view::reshape_to(&result.get(ctx)?, &with_ones)?;
        let g = view::reshape_to(g, &with_ones)?;
        Ok(smallvec![Some(norm_backward(&saved.get(ctx)?, &norm, &g, p, &dims)?)])
    }))
}

/// The p-norm of the difference.
pub fn dist(x: &Tensor, y: &Tensor, p: f64) -> Result<Tensor> {
    vector_norm(&ew::sub(x, y)?, p, None, false, None)
}

/// Slices along `dim` whose p-norm is above `max` are scaled down to it.
pub fn renorm(x: &Tensor, p: f64, dim: i64, max: f64) -> Result<Tensor> {
    ensure!(p > 0.0, Runtime, "renorm: non-positive-norm not supported");
    ensure!(max >= 0.0, Runtime, "renorm: expected maxnorm to be >= 0 but got {max}");
    ensure!(x.ndim() > 1, Runtime, "renorm: input needs at least 2 dimensions, got {} dimensions", x.ndim());
    let d = wrap_dim(dim, x.ndim())?;
    let others: Vec<i64> = (0..x.ndim()).filter(|&k| k != d).map(|k| k as i64).collect();
    let norm = vector_norm(x, p, Some(&others), true, None)?;
    let f = formula!(1, "RenormBackward0", |x| wh(x[0].gt(par(0)), par(0) / (x[0] + 1e-7), c(1.0)));
    ew::mul(x, &eval_formula(f, &[&norm], &[max])?)
}

/// `torch.norm`.
fn norm(x: &Tensor, p: Option<&str>, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    match p {
        None | Some("fro") => vector_norm(x, 2.0, dims, keepdim, dtype),
        Some("nuc") => linalg::nuclear_norm(x, dims.unwrap_or(&[-2, -1]), keepdim, dtype),
        Some("inf") => vector_norm(x, f64::INFINITY, dims, keepdim, dtype),
        Some("-inf") => vector_norm(x, f64::NEG_INFINITY, dims, keepdim, dtype),
        Some(p) => bail!(Runtime, "linalg.matrix_norm: Order {p} not supported."),
    }
}

pub fn register(r: &mut Registry) {
    r.op(
        "fm",
        "norm(Tensor self, str? p='fro', int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "The norm over dimensions.",
        |a| norm(a.t(0), a.os(1), a.oints(2), a.b(3), a.dtype(4)).map(Ret::from),
    );
    r.op(
        "fm",
        "norm(Tensor self, Scalar p, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "The norm over dimensions.",
        |a| vector_norm(a.t(0), a.f(1), a.oints(2), a.b(3), a.dtype(4)).map(Ret::from),
    );
    r.op(
        "l",
        "vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "The vector norm over dimensions.",
        |a| vector_norm(a.t(0), a.f(1), a.oints(2), a.b(3), a.dtype(4)).map(Ret::from),
    );
    r.op("fm", "dist(Tensor self, Tensor other, Scalar p=2) -> Tensor", "The p-norm of the difference.", |a| {
        dist(a.t(0), a.t(1), a.f(2)).map(Ret::from)
    });
    r.op("fmi", "renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor", "Slices scaled down to a norm.", |a| {
        renorm(a.t(0), a.f(1), a.int(2), a.f(3)).map(Ret::from)
    });
}
