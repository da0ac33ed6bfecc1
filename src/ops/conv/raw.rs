//! The three bilinear maps of a convolution. Each is a derivative of the other two, so that recording
//! them in terms of each other gives derivatives of any order.

use super::super::complex::{self, conj_physical};
use super::super::elementwise::{add, sub};
use super::super::{copy, reduce};
use crate::autograd::{Grads, is_grad_enabled, needs_grad, record, save};
use crate::cpu::conv::{ConvShape, conv_backward_bias, conv_backward_input, conv_backward_weight, conv_forward};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::Dims;
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::{SmallVec, smallvec};
use std::num::Wrapping;
use std::ops::{Add, AddAssign, Mul};
use std::sync::Arc;

/// Which of input, weight and output of a convolution is computed from the other two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Map {
    /// The output, from input and weight.
    Output,
    /// The input's side, from output side and weight; the forward pass of a transposed convolution.
    Input,
    /// The weight's side, from input and output sides.
    Weight,
}

/// A convolution with the shapes of its three tensors.
pub struct Plan {
    pub shape: ConvShape,
    pub input: Dims,
    pub weight: Dims,
    pub output: Dims,
}

impl Plan {
    fn dims(&self, map: Map) -> &Dims {
        match map {
            Map::Output => &self.output,
            Map::Input => &self.input,
            Map::Weight => &self.weight,
        }
    }

    /// Whether the padded copies of the fast kernels would be out of proportion to the tensors.
    fn odd(&self) -> bool {
        let s = &self.shape;
        let padded: f64 = (0..3).map(|d| s.input[d] as f64 + 2.0 * s.pad[d] as f64).product();
        let share = s.batch.min(256) as f64;
        let channels = (s.c_in / s.groups) as f64;
        let columns = channels * s.kernel.iter().product::<usize>() as f64 * s.output[2] as f64;
        padded * channels * share > 8.0 * s.lens().0 as f64 + 6.7e7 || columns > 2.7e8
    }
}

/// A map applied to its two operands, recorded. Operands are in the order input, weight, output: an
/// output is made from input and weight, an input's side from weight and output side.
pub fn bilinear(map: Map, plan: &Arc<Plan>, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, name: &'static str) -> Result<Tensor> {
    let out = raw(map, plan, a, b, bias)?;
    // The node lists what plays the input before the weight, as PyTorch's does.
    let (ia, ib) = if map == Map::Input { (1, 0) } else { (0, 1) };
    let mut inputs: SmallVec<[&Tensor; 3]> = if ia == 0 { smallvec![a, b] } else { smallvec![b, a] };
    inputs.extend(bias);
    if !needs_grad(&inputs) {
        return Ok(out);
    }
    let (sa, sb) = (b.requires_grad().then(|| save(a)), a.requires_grad().then(|| save(b)));
    let (plan, biased) = (plan.clone(), bias.is_some());
    Ok(record(name, &inputs, out, move |ctx, g| {
        const NAME: &str = "ConvolutionBackwardBackward0";
        // Both maps and the sum want it dense; without a graph to keep, one copy serves them.
        let dense = if is_grad_enabled() { g.clone() } else { copy::contiguous(g)? };
        let g = &dense;
        let ga = match &sb {
            Some(b) if ctx.needs(ia) => {
                let b = conj(b.get(ctx)?)?;
                Some(match map {
                    Map::Output => bilinear(Map::Input, &plan, &b, g, None, NAME)?,
                    Map::Input => bilinear(Map::Weight, &plan, g, &b, None, NAME)?,
                    Map::Weight => bilinear(Map::Input, &plan, g, &b, None, NAME)?,
                })
            }
            _ => None,
        };
        let gb = match &sa {
            Some(a) if ctx.needs(ib) => {
                let a = conj(a.get(ctx)?)?;
                Some(match map {
                    Map::Output => bilinear(Map::Weight, &plan, &a, g, None, NAME)?,
                    Map::Input => bilinear(Map::Output, &plan, g, &a, None, NAME)?,
                    Map::Weight => bilinear(Map::Output, &plan, &a, g, None, NAME)?,
                })
            }
            _ => None,
        };
        let mut grads: Grads = if ia == 0 { smallvec![ga, gb] } else { smallvec![gb, ga] };
        if biased {
            grads.push(if ctx.needs(2) { Some(bias_gradient(g)?) } else { None });
        }
        Ok(grads)
    }))
}

/// The sum of `[N, C, ...]` over all dimensions but the second.
fn bias_gradient(g: &Tensor) -> Result<Tensor> {
    let fits = matches!(g.dtype(), Dtype::F32 | Dtype::F64) && g.device() == Device::Cpu && g.is_contiguous();
    if fits && !is_grad_enabled() && g.numel() > 0 {
        let out = Tensor::empty(&g.shape()[1..2], g.dtype(), g.device())?;
        let (batch, plane) = (g.shape()[0], g.shape()[2..].iter().product());
        dispatch!(float "convolution_backward", g.dtype(), T => conv_backward_bias::<T>(batch, plane, g.data(), out.data_mut()));
        return Ok(out);
    }
    let dims: Vec<i64> = (0..g.ndim() as i64).filter(|&d| d != 1).collect();
    reduce::sum(g, Some(&dims), false, None)
}

fn conj(t: Tensor) -> Result<Tensor> {
    if t.dtype().is_complex() { conj_physical(&t) } else { Ok(t) }
}

fn raw(map: Map, plan: &Plan, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (dims, dtype) = (plan.dims(map), a.dtype());
    if a.device() == Device::Meta || b.device() == Device::Meta {
        return Tensor::empty(dims, dtype, Device::Meta);
    }
    let on_gpu = gpu::holds(a);
    for t in [Some(a), Some(b), bias].into_iter().flatten() {
        a.device().check_same(t.device())?;
    }
    if dtype.is_complex() {
        return complex(map, plan, a, b, bias);
    }
    if dtype == Dtype::Bool {
        let name = if map == Map::Input { "slow_conv_transpose2d_out_cpu" } else { "slow_conv2d_cpu" };
        bail!(NotImplemented, "\"{name}\" not implemented for 'Bool'");
    }
    if on_gpu {
        let ready = |t: &Tensor| copy::contiguous(&t.detach());
        let (a, b, bias) = (ready(a)?, ready(b)?, bias.map(ready).transpose()?);
        let out = Tensor::empty(dims, dtype, a.device())?;
        let side = match map {
            Map::Output => gpu::conv::Side::Output,
            Map::Input => gpu::conv::Side::Input,
            Map::Weight => gpu::conv::Side::Weight,
        };
        gpu::conv::run(side, &plan.shape, &a, &b, bias.as_ref(), &out)?;
        return Ok(out);
    }
    let acc = if dtype.is_integral() { Dtype::I64 } else { dtype.compute() };
    let ready = |t: &Tensor| copy::contiguous(&copy::to_dtype(&t.detach(), acc)?);
    let (a, b, bias) = (ready(a)?, ready(b)?, bias.map(ready).transpose()?);
    let out = Tensor::empty(dims, acc, a.device())?;
    let bias = bias.as_ref();
    match acc {
        Dtype::F32 => run::<f32>(map, plan, &a, &b, bias, &out),
        Dtype::F64 => run::<f64>(map, plan, &a, &b, bias, &out),
        _ => {
            direct::<Wrapping<i64>>(map, &plan.shape, a.data(), b.data(), out.data_mut());
            add_bias::<Wrapping<i64>>(bias, &out);
        }
    }
    copy::to_dtype(&out, dtype)
}

fn run<T>(map: Map, plan: &Plan, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, out: &Tensor)
where
    T: crate::cpu::gemm::GemmScalar + Mul<Output = T> + Add<Output = T> + AddAssign + Default + Copy,
{
    let s = &plan.shape;
    let (x, y, to) = (a.data::<T>(), b.data::<T>(), out.data_mut::<T>());
    if plan.odd() {
        direct(map, s, x, y, to);
        return add_bias::<T>(bias, out);
    }
    match map {
        Map::Output => conv_forward(s, x, y, bias.map(|b| b.data::<T>()), to),
        Map::Input => {
            // The kernel takes the output's side first.
            conv_backward_input(s, y, x, to);
            add_bias::<T>(bias, out);
        }
        Map::Weight => conv_backward_weight(s, x, y, to),
    }
}

fn add_bias<T: Copy + AddAssign>(bias: Option<&Tensor>, out: &Tensor) {
    let Some(bias) = bias else { return };
    let plane: usize = out.shape()[2..].iter().product();
    if out.numel() == 0 {
        return;
    }
    let bias = bias.data::<T>();
    for (i, row) in out.data_mut::<T>().chunks_mut(plane).enumerate() {
        let b = bias[i % bias.len()];
        row.iter_mut().for_each(|v| *v += b);
    }
}

/// Any of the maps without scratch memory: for integers, and for padding out of proportion.
fn direct<T: Copy + Default + AddAssign + Mul<Output = T>>(map: Map, s: &ConvShape, a: &[T], b: &[T], out: &mut [T]) {
    out.fill(T::default());
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let plane = |d: &[usize; 3]| d.iter().product::<usize>();
    let (ip, kp, op) = (plane(&s.input), plane(&s.kernel), plane(&s.output));
    for image in 0..s.batch {
        for co in 0..s.c_out {
            for ci in 0..cig {
                let x0 = (image * s.c_in + co / cog * cig + ci) * ip;
                let w0 = (co * cig + ci) * kp;
                let y0 = (image * s.c_out + co) * op;
                each(s, |x, w, y| {
                    let (x, w, y) = (x0 + x, w0 + w, y0 + y);
                    match map {
                        Map::Output => out[y] += a[x] * b[w],
                        Map::Input => out[x] += a[w] * b[y],
                        Map::Weight => out[w] += a[x] * b[y],
                    }
                });
            }
        }
    }
}

/// Calls `f(input, weight, output position)` for every product of one pair of channels.
#[inline(always)]
fn each(s: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let at = |d: usize, o: usize, k: usize| {
        let p = (o * s.stride[d] + k * s.dilation[d]).wrapping_sub(s.pad[d]);
        (p < s.input[d]).then_some(p)
    };
    let mut w = 0;
    for kz in 0..s.kernel[0] {
        for ky in 0..s.kernel[1] {
            for kx in 0..s.kernel[2] {
                for oz in 0..s.output[0] {
                    let Some(z) = at(0, oz, kz) else { continue };
                    for oy in 0..s.output[1] {
                        let Some(y) = at(1, oy, ky) else { continue };
                        let (from, to) = ((z * s.input[1] + y) * s.input[2], (oz * s.output[1] + oy) * s.output[2]);
                        for ox in 0..s.output[2] {
                            if let Some(x) = at(2, ox, kx) {
                                f(from + x, w, to + ox);
                            }
                        }
                    }
                }
                w += 1;
            }
        }
    }
}

/// Real and imaginary parts apart.
fn complex(map: Map, plan: &Plan, a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "expected scalar type {} but found {}",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    let parts = |t: &Tensor| -> Result<[Tensor; 2]> {
        Ok([copy::contiguous(&complex::part(t, false)?)?, copy::contiguous(&complex::part(t, true)?)?])
    };
    let ([ar, ai], [br, bi]) = (parts(a)?, parts(b)?);
    let bias = bias.map(parts).transpose()?;
    let one = |x: &Tensor, y: &Tensor, i: Option<usize>| raw(map, plan, x, y, bias.as_ref().zip(i).map(|(b, i)| &b[i]));
    let (rr, ii, ri, ir) = (one(&ar, &br, Some(0))?, one(&ai, &bi, None)?, one(&ar, &bi, Some(1))?, one(&ai, &br, None)?);
    let out = Tensor::empty(plan.dims(map), a.dtype(), a.device())?;
    copy::copy_raw(&complex::part(&out, false)?, &sub(&rr, &ii)?)?;
    copy::copy_raw(&complex::part(&out, true)?, &add(&ri, &ir)?)?;
    Ok(out)
}
