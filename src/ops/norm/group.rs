//! Group norm, local response norm, normalize.

use super::batch::record_affine;
use super::num::{dense, ops};
use super::segments::{Groups, forward};
use crate::autograd::record;
use crate::cpu::float::Float;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Dims, show};
use crate::ops::elementwise::{ADD, MUL, div, mul, pow};
use crate::ops::{Registry, Ret, copy, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// The output, and the mean and reciprocal deviation of every group. Differentiable in the first.
pub fn native_group_norm(
    x: &Tensor,
    groups: i64,
    w: Option<&Tensor>,
    b: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    ensure!(x.ndim() >= 2, Runtime, "Expected at least 2 dimensions for input tensor but received {}", x.ndim());
    ensure!(groups > 0, Runtime, "Expected num groups to be greater than 0, got {groups}");
    let c = x.shape()[1];
    ensure!(
        c as i64 % groups == 0,
        Runtime,
        "Expected number of channels in input to be divisible by num_groups, but got input of shape {} and num_groups={groups}",
        show(x.shape())
    );
    for (name, t) in [("weight", w), ("bias", b)] {
        if let Some(t) = t {
            ensure!(
                t.ndim() == 1 && t.numel() == c,
                Runtime,
                "Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape {} and input of shape {}",
                show(t.shape()),
                show(x.shape())
            );
            ensure!(
                t.dtype() == x.dtype() || (x.dtype().size() == 2 && t.dtype() == crate::dtype::Dtype::F32),
                Runtime,
                "mixed dtype (CPU): expect parameter to have scalar type of Float"
            );
        }
    }
    ensure!(x.dtype().is_float(), NotImplemented, "\"GroupNormKernelImpl\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("group_norm")?;
    let (n, groups) = (x.shape()[0], groups as usize);
    let gr = Groups::of_channels(x, groups);
    let (out, mean, rstd) = forward(x, gr, w, b, eps)?;
    let shape: Dims = [n, groups, gr.size()].into();
    let stat = |t: Tensor| -> Result<Tensor> { Ok(view::reshape_to(&copy::to_dtype(&t, x.dtype())?, &[n, groups])?.detach()) };
    let kept = (&mean, &rstd);
    let (mean, rstd) = (stat(mean.clone())?, stat(rstd.clone())?);
    record_affine("NativeGroupNormBackward0", x, w, b, &[&out, &mean, &rstd], gr, kept, shape, vec![2], eps);
    Ok((out, mean, rstd))
}

fn functional_group_norm(x: &Tensor, groups: i64, w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    ensure!(x.ndim() >= 2, Runtime, "Expected at least 2 dimensions for input tensor but received {}", x.ndim());
    ensure!(groups != 0, Value, "integer division or modulo by zero");
    let mut seen = vec![(x.shape()[0] * x.shape()[1]) as i64 / groups, groups];
    seen.extend(x.shape()[2..].iter().map(|&s| s as i64));
    let values: i64 = seen[0] * seen[2..].iter().product::<i64>();
    ensure!(values != 1, Value, "Expected more than 1 value per channel when training, got input size {}", show(&seen));
    Ok(native_group_norm(x, groups, w, b, eps)?.0)
}

/// The sum of the channels from `before` before to `after` after each. Differentiable.
fn window_sum(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    let out = if gpu::holds(x) { gpu::norm::channel_windows(x, before, after)? } else { windows_on_cpu(x, before, after)? };
    Ok(record("AvgPool3DBackward0", &[x], out, move |_, g| Ok(smallvec![Some(window_sum(g, after, before)?)])))
}

fn windows_on_cpu(x: &Tensor, before: usize, after: usize) -> Result<Tensor> {
    let from = dense(x)?;
    let out = Tensor::zeros(x.shape(), from.dtype(), x.device())?;
    let (c, inner) = (x.shape()[1], x.shape()[2..].iter().product::<usize>());
    if x.numel() > 0 {
        dispatch!(float "local_response_norm", from.dtype(), T => {
            let (from, to) = (from.data::<T>(), out.data_mut::<T>());
            for (k, to) in to.chunks_exact_mut(inner).enumerate() {
                let (sample, ch) = (k / c, k % c);
                for j in ch.saturating_sub(before)..(ch.saturating_add(after).saturating_add(1)).min(c) {
                    add_to(to, &from[(sample * c + j) * inner..(sample * c + j + 1) * inner]);
                }
            }
        });
    }
    copy::to_dtype(&out, x.dtype())
}

fn add_to<T: Float>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(t, &f)| *t += f);
}

/// `x / (k + alpha * mean of the squares of neighbouring channels)^beta`. Differentiable.
pub fn local_response_norm(x: &Tensor, size: i64, alpha: f64, beta: f64, k: f64) -> Result<Tensor> {
    ensure!(
        x.ndim() >= 3,
        Value,
        "Expected 3D or higher dimensionality                          input (got {} dimensions)",
        x.ndim()
    );
    if x.numel() == 0 {
        return Ok(x.clone());
    }
    ensure!(size > 0, Runtime, "kernel size should be greater than zero, but got kH: {size} kW: 1");
    ensure!(x.dtype().is_float(), NotImplemented, "\"avg_pool2d_out_frame\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("local_response_norm")?;
    let n = size as usize;
    let sums = window_sum(&mul(x, x)?, n / 2, (n - 1) / 2)?;
    let base = ops(&ADD, &ops(&MUL, &sums, alpha / n as f64)?, k)?;
    div(x, &pow(Operand::T(base), Operand::S(beta.into()))?)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "group_norm(Tensor self, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
        "Normalises groups of channels of every sample.",
        |a| functional_group_norm(a.t(0), a.int(1), a.ot(2), a.ot(3), a.f(4)).map(Ret::from),
    );
    r.op(
        "f",
        "group_norm(Tensor self, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enabled=True) -> Tensor",
        "Normalises groups of channels of every sample.",
        |a| Ok(native_group_norm(a.t(0), a.int(1), a.ot(2), a.ot(3), a.f(4))?.0.into()),
    );
    r.op(
        "f",
        "native_group_norm(Tensor self, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, float eps) -> (Tensor, Tensor, Tensor)",
        "group_norm with the mean and the reciprocal deviation of each group.",
        |a| {
            let (x, n, c) = (a.t(0), a.int(3), a.int(4));
            let inner: usize = x.shape().iter().skip(2).product();
            if x.ndim() < 2 || x.shape()[0] as i64 != n || x.shape()[1] as i64 != c || inner as i64 != a.int(5) {
                bail!(Runtime, "native_group_norm: input of shape {} is not {n} x {c} x {}", show(x.shape()), a.int(5));
            }
            let (y, m, s) = native_group_norm(x, a.int(6), a.ot(1), a.ot(2), a.f(7))?;
            Ok(Ret::Tuple(vec![y, m, s]))
        },
    );
    r.op(
        "n",
        "local_response_norm(Tensor self, int size, float alpha=0.0001, float beta=0.75, float k=1.0) -> Tensor",
        "Divides by a power of the mean square of neighbouring channels.",
        |a| local_response_norm(a.t(0), a.int(1), a.f(2), a.f(3), a.f(4)).map(Ret::from),
    );
}
