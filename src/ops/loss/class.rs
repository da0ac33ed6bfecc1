//! Losses of class predictions: negative log likelihood and cross entropy.

use super::{Reduction, answer, classes};
use crate::autograd::{is_grad_enabled, record, save};
use crate::cpu::cross_entropy as kernels;
use crate::cpu::float::Float;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::gpu::loss::Targets;
use crate::layout::{Dims, show};
use crate::ops::elementwise::{ADD, DIV, EQ, MUL, NEG, WHERE, add, div, mul, sub};
use crate::ops::matmul::matmul;
use crate::ops::norm::num::{dense, dense_as, op1, op2, ops};
use crate::ops::norm::{log_softmax, softmax};
use crate::ops::{Args, Registry, copy, creation, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// The problem as `[n, classes, inner]`, and what the kernels need of it; no history in it.
#[derive(Clone)]
struct Nll {
    target: Tensor,
    weight: Option<Tensor>,
    ignore: i64,
    red: Reduction,
    n: usize,
    c: usize,
    inner: usize,
    /// Target and weight for the kernels of a GPU.
    on_gpu: Option<Targets>,
}

impl Nll {
    /// The weights of the counted targets, added up.
    fn total(&self) -> f64 {
        let t = self.target.data::<i64>().iter().filter(|&&t| t != self.ignore);
        match &self.weight {
            None => t.count() as f64,
            Some(w) => {
                let mut sum = 0.0;
                dispatch!(@arms w.dtype(), T, { let w = w.data::<T>(); sum = t.map(|&t| w[t as usize] as f64).sum() }, [F32 = f32, F64 = f64], ());
                sum
            }
        }
    }

    /// The losses of a GPU, reduced.
    fn reduced(&self, losses: &Tensor, t: &Targets) -> Result<Tensor> {
        match self.red {
            Reduction::None => Ok(losses.clone()),
            Reduction::Sum => reduce::sum(losses, None, false, None),
            Reduction::Mean => div(&reduce::sum(losses, None, false, None)?, &t.total()?),
        }
    }

    /// What losses of a GPU are divided by.
    fn divisor(&self, t: &Targets) -> Result<Tensor> {
        if self.red == Reduction::Mean { t.total() } else { Tensor::full(&[], 1.0, Dtype::F32, t.w.device()) }
    }

    /// The smoothed targets, and weights divided by their total: of rows, on a GPU.
    fn goal_on_gpu(&self, t: &Targets, smoothing: f64) -> Result<(Tensor, Tensor)> {
        let classes = creation::arange(0.into(), (self.c as i64).into(), 1.into(), Some(Dtype::I32), t.w.device())?;
        let at = op2(&EQ, &view::reshape_to(&t.class, &[self.n, 1])?, &classes)?;
        let goal = ops(&ADD, &ops(&MUL, &copy::to_dtype(&at, Dtype::F32)?, 1.0 - smoothing)?, smoothing / self.c as f64)?;
        Ok((goal, view::reshape_to(&div(&t.w, &self.divisor(t)?)?, &[self.n, 1])?))
    }

    /// The problem for the fused kernels; `T` is the dtype of the weight.
    fn classes<T: Float>(&self, smoothing: f64) -> kernels::Classes<'_, T> {
        let weight = self.weight.as_ref().map(|w| w.data::<T>());
        kernels::Classes { n: self.c, target: self.target.data::<i64>(), ignore: self.ignore, weight, smoothing }
    }

    /// The gradient of [`fused`] in differentiable ops: `g w / total (softmax(x) - target)` with the smoothed target.
    fn composed(&self, x: &Tensor, g: &Tensor, smoothing: f64, total: f64) -> Result<Tensor> {
        let (goal, scale) = match &self.on_gpu {
            Some(t) => self.goal_on_gpu(t, smoothing)?,
            None => self.goal(x, smoothing, total)?,
        };
        let kind = x.dtype().compute();
        let rows = if g.numel() == 1 { 1 } else { self.n };
        let g = mul(&view::reshape_to(&copy::to_dtype(g, kind)?, &[rows, 1])?, &scale)?;
        let p = softmax(&view::reshape_to(&copy::to_dtype(x, kind)?, &[self.n, self.c])?, 1, None)?;
        copy::to_dtype(&view::reshape_to(&mul(&sub(&p, &goal)?, &g)?, x.shape())?, x.dtype())
    }

    /// The smoothed targets, and weights divided by their total: of rows.
    fn goal(&self, x: &Tensor, smoothing: f64, total: f64) -> Result<(Tensor, Tensor)> {
        let kind = x.dtype().compute();
        let goal = Tensor::full(&[self.n, self.c], smoothing / self.c as f64, kind, x.device())?;
        let scale = Tensor::zeros(&[self.n, 1], kind, x.device())?;
        dispatch!(float "nll_loss", kind, T => {
            let w = self.weight.as_ref().map(|w| w.data::<T>());
            let (goal, scale) = (goal.data_mut::<T>(), scale.data_mut::<T>());
            for (r, &t) in self.target.data::<i64>().iter().enumerate().filter(|(_, t)| **t != self.ignore) {
                goal[r * self.c + t as usize] += T::of(1.0 - smoothing);
                scale[r] = T::of(w.map_or(1.0, |w| w[t as usize].to_f64()) / total);
            }
        });
        Ok((goal, scale))
    }

    /// `x` has values for every class; the result has one for every target, or one in all.
    fn pick(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(t) = &self.on_gpu {
            return copy::to_dtype(&self.reduced(&t.pick(x, self.c, self.inner)?, t)?, x.dtype());
        }
        let from = dense(x)?;
        let total = if self.red == Reduction::Mean { self.total() } else { 1.0 };
        let count = self.n * self.inner;
        dispatch!(float "nll_loss_out_frame", from.dtype(), T => {
            let w = dense_as(self.weight.as_ref(), from.dtype())?;
            let w = w.as_ref().map(|w| w.data::<T>());
            let (data, t) = (from.data::<T>(), self.target.data::<i64>());
            let losses = Tensor::empty(&[count], from.dtype(), x.device())?;
            for (i, l) in losses.data_mut::<T>().iter_mut().enumerate() {
                let k = t[i];
                *l = if k == self.ignore {
                    T::ZERO
                } else {
                    let v = data[((i / self.inner) * self.c + k as usize) * self.inner + i % self.inner];
                    -(v * w.map_or(T::ONE, |w| w[k as usize]))
                };
            }
            if self.red != Reduction::None {
                let s = reduce::sum_row(losses.data::<T>());
                return copy::to_dtype(&Tensor::scalar(s.to_f64() / total, from.dtype()), x.dtype());
            }
            copy::to_dtype(&losses, x.dtype())
        })
    }

    /// The transpose of [`Nll::pick`]: spreads one value for every target, or one in all, over the classes.
    fn spread(&self, g: &Tensor, shape: &[usize]) -> Result<Tensor> {
        if let Some(t) = &self.on_gpu {
            return t.spread(g, &self.divisor(t)?, shape, self.red == Reduction::None, [self.c, self.inner]);
        }
        let from = dense(g)?;
        let out = Tensor::zeros(shape, from.dtype(), g.device())?;
        let total = if self.red == Reduction::Mean { self.total() } else { 1.0 };
        dispatch!(float "nll_loss_backward_out_frame", from.dtype(), T => {
            let w = dense_as(self.weight.as_ref(), from.dtype())?;
            let w = w.as_ref().map(|w| w.data::<T>());
            let (data, t, to) = (from.data::<T>(), self.target.data::<i64>(), out.data_mut::<T>());
            for (i, &k) in t.iter().enumerate() {
                if k != self.ignore {
                    let g = if self.red == Reduction::None { data[i] } else { data[0] / T::of(total) };
                    to[((i / self.inner) * self.c + k as usize) * self.inner + i % self.inner] = -(g * w.map_or(T::ONE, |w| w[k as usize]));
                }
            }
        });
        copy::to_dtype(&out, g.dtype())
    }
}

fn run(p: Nll, x: &Tensor, shape: Dims) -> Result<Tensor> {
    let out = p.pick(x)?;
    let out = if p.red == Reduction::None { view::reshape_to(&out, &shape)?.detach() } else { out };
    let name = if shape.len() < 2 { "NllLossBackward0" } else { "NllLoss2DBackward0" };
    let full = x.dims();
    let target = save(&p.target);
    Ok(record(name, &[x], out, move |ctx, g| {
        target.get(ctx)?;
        Ok(smallvec![Some(run_back(p.clone(), g, &full, shape.clone())?)])
    }))
}

fn run_back(p: Nll, g: &Tensor, full: &Dims, shape: Dims) -> Result<Tensor> {
    let out = p.spread(g, full)?;
    Ok(record("NllLossBackwardBackward0", &[g], out, move |_, gg| Ok(smallvec![Some(run(p.clone(), gg, shape.clone())?)])))
}

/// The negative of the value at the target class. `x` is `[C]`, `[N, C]` or `[N, C, d1, ...]`. Differentiable.
pub fn nll_loss(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, ignore: i64, red: Reduction) -> Result<Tensor> {
    let (p, shape) = check(x, target, weight, ignore, red)?;
    run(p, x, shape)
}

/// The checks of [`nll_loss`]; the problem, and the shape of the losses.
fn check(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, ignore: i64, red: Reduction) -> Result<(Nll, Dims)> {
    let d = x.ndim();
    ensure!(d >= 1, Value, "Expected 1 or more dimensions (got 0)");
    if d == 1 {
        if target.ndim() == 1 {
            ensure!(
                target.numel() == 1,
                Value,
                "For 1D input, 1D target must have size 1, but got target size: {}",
                target.numel()
            );
        }
        ensure!(target.ndim() <= 1, Runtime, "0D or 1D target tensor expected, multi-target not supported");
    } else {
        ensure!(
            x.shape()[0] == target.shape().first().copied().unwrap_or(0),
            Value,
            "Expected input batch_size ({}) to match target batch_size ({}).",
            x.shape()[0],
            target.shape().first().copied().unwrap_or(0)
        );
    }
    let c = if d == 1 { x.shape()[0] } else { x.shape()[1] };
    if d == 2 {
        ensure!(target.ndim() <= 1, Runtime, "0D or 1D target tensor expected, multi-target not supported");
    }
    if d == 4 {
        ensure!(
            target.ndim() == 3,
            Runtime,
            "only batches of spatial targets supported (3D tensors) but got targets of dimension: {}",
            target.ndim()
        );
        ensure!(
            target.shape()[1..] == x.shape()[2..],
            Runtime,
            "size mismatch (got input: {} , target: {}",
            show(x.shape()),
            show(target.shape())
        );
    } else if d > 2 {
        let mut want = x.dims();
        want.remove(1);
        ensure!(target.shape() == want.as_slice(), Runtime, "Expected target size {}, got {}", show(&want), show(target.shape()));
    }
    if let Some(w) = weight {
        let fits = w.ndim() == 1 && w.numel() == c;
        if d > 2 {
            ensure!(fits, Runtime, "weight tensor should be defined either for all or no classes");
        }
        ensure!(
            fits,
            Runtime,
            "weight tensor should be defined either for all {c} classes or no classes but got weight tensor of shape: {}",
            show(w.shape())
        );
    }
    ensure!(x.dtype().is_float(), NotImplemented, "\"nll_loss_out_frame\" not implemented for '{}'", x.dtype().scalar_name());
    ensure!(
        matches!(target.dtype(), Dtype::I64 | Dtype::U8),
        Runtime,
        "expected target dtype to be Long or Byte, but got {}",
        target.dtype().scalar_name()
    );
    if let Some(w) = weight {
        ensure!(
            w.dtype() == x.dtype(),
            Runtime,
            "expected scalar type {} but found {}",
            x.dtype().scalar_name(),
            w.dtype().scalar_name()
        );
    }
    let n = if d == 1 { 1 } else { x.shape()[0] };
    let inner: usize = x.shape().iter().skip(2).product();
    // Every position has a target now; an empty batch has none.
    let shape: Dims =
        if d == 1 { target.dims() } else { x.shape().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, &s)| s).collect() };
    x.check_memory("nll_loss")?;
    target.check_memory("nll_loss")?;
    let t = classes(target)?;
    if gpu::holds(x) {
        let targets = Targets::new(&t, weight, ignore, c, "Target {} is out of bounds.")?;
        return Ok((Nll { target: t, weight: None, ignore, red, n, c, inner, on_gpu: Some(targets) }, shape));
    }
    if let Some(&bad) = t.data::<i64>().iter().find(|&&v| v != ignore && !(0..c as i64).contains(&v)) {
        bail!(Index, "Target {bad} is out of bounds.");
    }
    let weight = dense_as(weight, x.dtype().compute())?;
    Ok((Nll { target: t, weight, ignore, red, n, c, inner, on_gpu: None }, shape))
}

/// Cross entropy of rows of logits in one pass, forward and backward; `smoothing` only without weights.
fn fused(p: Nll, x: &Tensor, shape: Dims, smoothing: f64) -> Result<Tensor> {
    if let Some(t) = p.on_gpu.clone() {
        return fused_on_gpu(p, t, x, shape, smoothing);
    }
    let from = dense(x)?;
    let kind = from.dtype();
    let stat = || Tensor::empty(&[p.n], kind, x.device());
    let (loss, m, s) = (stat()?, stat()?, stat()?);
    let total = if p.red == Reduction::Mean { p.total() } else { 1.0 };
    let mut out = loss.clone();
    dispatch!(float "nll_loss_out_frame", kind, T => {
        let c = p.classes::<T>(smoothing);
        kernels::forward(from.data::<T>(), c, loss.data_mut::<T>(), m.data_mut::<T>(), s.data_mut::<T>());
        if p.red != Reduction::None {
            out = Tensor::scalar(reduce::sum_row(loss.data::<T>()).to_f64() / total, kind);
        }
    });
    let out = copy::to_dtype(&out, x.dtype())?;
    let out = if p.red == Reduction::None { view::reshape_to(&out, &shape)?.detach() } else { out };
    let (xs, target) = (save(x), save(&p.target));
    Ok(record("NllLossBackward0", &[x], out, move |ctx, g| {
        let x = xs.get(ctx)?;
        target.get(ctx)?;
        if is_grad_enabled() {
            return Ok(smallvec![Some(p.composed(&x, g, smoothing, total)?)]);
        }
        let (from, gd) = (dense(&x)?, dense(g)?);
        let dx = from.empty_like()?;
        dispatch!(float "nll_loss_backward_out_frame", kind, T => {
            let gd = gd.data::<T>();
            let one = T::of(gd.first().copied().unwrap_or(T::ZERO).to_f64() / total);
            let each = p.red == Reduction::None;
            let g = |r: usize| if each { gd[r] } else { one };
            kernels::backward(from.data::<T>(), p.classes::<T>(smoothing), m.data::<T>(), s.data::<T>(), g, dx.data_mut::<T>());
        });
        Ok(smallvec![Some(copy::to_dtype(&dx, x.dtype())?)])
    }))
}

fn fused_on_gpu(p: Nll, t: Targets, x: &Tensor, shape: Dims, smoothing: f64) -> Result<Tensor> {
    let (loss, stats) = gpu::softmax::cross_entropy(x, &t.class, &t.w, p.c, smoothing)?;
    let out = copy::to_dtype(&p.reduced(&loss, &t)?, x.dtype())?;
    let out = if p.red == Reduction::None { view::reshape_to(&out, &shape)?.detach() } else { out };
    let (xs, target) = (save(x), save(&p.target));
    Ok(record("NllLossBackward0", &[x], out, move |ctx, g| {
        let x = xs.get(ctx)?;
        target.get(ctx)?;
        if is_grad_enabled() {
            return Ok(smallvec![Some(p.composed(&x, g, smoothing, 1.0)?)]);
        }
        let each = p.red == Reduction::None;
        let of_rows = [&t.class, &t.w, &stats, &p.divisor(&t)?];
        Ok(smallvec![Some(gpu::softmax::cross_entropy_backward(&x, of_rows, g, p.c, smoothing, each)?)])
    }))
}

/// Log-softmax and the loss of the target: class numbers, or probabilities of the shape of `x`. Differentiable.
pub fn cross_entropy(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    ignore: i64,
    red: Reduction,
    smoothing: f64,
) -> Result<Tensor> {
    let class_dim = if x.ndim() == 1 { 0 } else { 1 };
    if x.shape() == target.shape() {
        ensure!(
            target.dtype().is_float(),
            Runtime,
            "Expected floating point type for target with class probabilities, got {}",
            target.dtype().scalar_name()
        );
        ensure!(ignore < 0, Runtime, "ignore_index is not supported for floating point target");
        return with_probabilities(x, target, weight, red, smoothing, class_dim);
    }
    let rows = x.ndim() <= 2 && x.dtype().is_float();
    if smoothing == 0.0 {
        if rows {
            let (p, shape) = check(x, target, weight, ignore, red)?;
            return fused(p, x, shape, 0.0);
        }
        return nll_loss(&log_softmax(x, class_dim, None)?, target, weight, ignore, red);
    }
    ensure!(smoothing > 0.0 && smoothing <= 1.0, Runtime, "label_smoothing must be between 0.0 and 1.0. Got: {smoothing}");
    if rows && weight.is_none() {
        let (p, shape) = check(x, target, weight, ignore, red)?;
        return fused(p, x, shape, smoothing);
    }
    let logp = log_softmax(x, class_dim, None)?;
    let nll = nll_loss(&logp, target, weight, ignore, red)?;
    let c = x.size(class_dim as usize);
    let weighted = match weight {
        Some(w) => mul(&logp, &along_classes(w, x.ndim(), class_dim)?)?,
        None => logp,
    };
    let smooth = op1(&NEG, &reduce::sum(&weighted, Some(&[class_dim]), false, None)?)?;
    let smooth = if smooth.shape() == target.shape() { smooth } else { view::reshape_to(&smooth, target.shape())? };
    let ignored = EQ.call(&[Operand::T(target.clone()), Operand::S(ignore.into())], &[], None)?;
    let smooth = WHERE.call(&[Operand::T(ignored), Operand::S(0.0.into()), Operand::T(smooth)], &[], None)?;
    let smooth = match red {
        Reduction::None => smooth,
        Reduction::Sum => reduce::sum(&smooth, None, false, None)?,
        Reduction::Mean if gpu::holds(x) => {
            let t = Targets::new(&classes(target)?, weight, ignore, c, "Target {} is out of bounds.")?;
            div(&reduce::sum(&smooth, None, false, None)?, &copy::to_dtype(&t.total()?, smooth.dtype())?)?
        }
        Reduction::Mean => {
            let t = classes(target)?;
            let counted = t.data::<i64>().iter().filter(|&&t| t != ignore);
            let total = match weight {
                // The targets are inside: nll_loss has checked them.
                Some(w) => counted.map(|&t| w.at(t as usize).f64()).sum(),
                None => counted.count() as f64,
            };
            ops(&DIV, &reduce::sum(&smooth, None, false, None)?, total)?
        }
    };
    add(&ops(&MUL, &nll, 1.0 - smoothing)?, &ops(&MUL, &smooth, smoothing / c as f64)?)
}

/// Class weights in a shape that broadcasts along the class dimension.
fn along_classes(w: &Tensor, ndim: usize, class_dim: i64) -> Result<Tensor> {
    let mut shape = Dims::from_elem(1, ndim);
    shape[class_dim as usize] = w.numel();
    view::reshape_to(w, &shape)
}

fn with_probabilities(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    red: Reduction,
    smoothing: f64,
    class_dim: i64,
) -> Result<Tensor> {
    let c = x.size(class_dim as usize);
    if let Some(w) = weight {
        ensure!(
            w.ndim() == 1 && w.numel() == c,
            Runtime,
            "cross_entropy: weight tensor should be defined either for all {c} classes or no classes but got weight tensor of shape: {}",
            show(w.shape())
        );
    }
    ensure!((0.0..=1.0).contains(&smoothing), Runtime, "label_smoothing must be between 0.0 and 1.0. Got: {smoothing}");
    let logp = log_softmax(x, class_dim, None)?;
    let target =
        if smoothing > 0.0 { ops(&ADD, &ops(&MUL, target, 1.0 - smoothing)?, smoothing / c as f64)? } else { target.clone() };
    let mut loss = mul(&logp, &target)?;
    if let Some(w) = weight {
        loss = mul(&loss, &along_classes(w, x.ndim(), class_dim)?)?;
    }
    let neg = |t: Tensor| op1(&NEG, &t);
    match red {
        Reduction::None => neg(reduce::sum(&loss, Some(&[class_dim]), false, None)?),
        Reduction::Sum => neg(reduce::sum(&loss, None, false, None)?),
        Reduction::Mean => {
            let n = Tensor::scalar(if c == 0 { 0.0 } else { (x.numel() / c) as f64 }, loss.dtype());
            div(&neg(reduce::sum(&loss, None, false, None)?)?, &n)
        }
    }
}

/// Cross entropy of `x weight^T + bias`. Differentiable.
fn linear_cross_entropy(a: &Args) -> Result<Tensor> {
    let (x, w, target) = (a.t(0), a.t(1), a.t(2));
    ensure!((1..=2).contains(&x.ndim()), Runtime, "expected input with dimensionality 1 or 2, got {}", x.ndim());
    ensure!(w.ndim() >= 2, Runtime, "expected linear_weight with dimensionality at least 2, got {}", w.ndim());
    let features = x.shape()[x.ndim() - 1];
    let last = w.shape()[w.ndim() - 1];
    ensure!(
        features == last,
        Runtime,
        "expected equal input and linear_weight last dimensions (in_features), got {features} and {last}, respectively"
    );
    let outs = &w.shape()[..w.ndim() - 1];
    if let Some(b) = a.ot(3) {
        ensure!(b.shape() == outs, Runtime, "expected linear_bias shape {}, got {}", show(outs), show(b.shape()));
    }
    ensure!(
        outs.len() == 1 || x.ndim() == 2,
        Runtime,
        "K-dimensional loss defined by linear_weight shape {} requires batched input, (N, {features}), got unbatched input with shape {}",
        show(w.shape()),
        show(x.shape())
    );
    let mut shape: Dims = x.shape()[..x.ndim() - 1].into();
    shape.extend_from_slice(outs);
    ensure!(
        target.shape() != shape.as_slice() || a.oint(6).is_none(),
        Runtime,
        "ignore_index cannot be specified when target contains probabilities"
    );
    let rows: usize = outs.iter().product();
    let flat = view::reshape_to(w, &[rows, features])?;
    let mut logits = matmul(x, &view::transpose(&flat, 0, 1)?)?;
    if let Some(b) = a.ot(3) {
        logits = add(&logits, &view::reshape_to(b, &[rows])?)?;
    }
    let red = Reduction::parse(a.s(5))?;
    cross_entropy(&view::reshape_to(&logits, &shape)?, target, a.ot(4), a.oint(6).unwrap_or(-100), red, a.f(7))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "linear_cross_entropy(Tensor self, Tensor linear_weight, Tensor target, *, Tensor? linear_bias=None, Tensor? weight=None, str reduction='mean', int? ignore_index=None, float label_smoothing=0.0, Any? options=None) -> Tensor",
        "The cross entropy of a linear layer's results.",
        |a| answer(linear_cross_entropy(a)),
    );
    r.op(
        "n",
        "nll_loss(Tensor self, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100, bool? reduce=None, str reduction='mean') -> Tensor",
        "The negative of the value at the target class.",
        |a| answer(nll_loss(a.t(0), a.t(1), a.ot(2), a.int(4), Reduction::legacy(a, 3, 5, 6)?)),
    );
    r.op(
        "n",
        "cross_entropy(Tensor self, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100, bool? reduce=None, str reduction='mean', float label_smoothing=0.0) -> Tensor",
        "The cross entropy of logits and target classes or class probabilities.",
        |a| answer(cross_entropy(a.t(0), a.t(1), a.ot(2), a.int(4), Reduction::legacy(a, 3, 5, 6)?, a.f(7))),
    );
}
