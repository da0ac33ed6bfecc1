//! Pooling. Gradients gather: each element of the input looks at the windows that it lies in.

use super::softmax::plain;
use super::{Call, call, of};
use crate::cpu::pool::PoolShape;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::{copy, reduce, view};
use crate::tensor::Tensor;

/// Windows over planes: of equal size, or such that cut the input into pieces.
#[derive(Clone, Copy)]
pub struct Windows {
    pub shape: PoolShape,
    pub adaptive: bool,
}

/// What a sum over a window is divided by.
#[derive(Clone, Copy)]
pub enum Divisor {
    Elements,
    WithPadding,
    Given(i64),
}

impl Windows {
    /// Windows of equal size.
    pub fn fixed(shape: PoolShape) -> Windows {
        Windows { shape, adaptive: false }
    }

    /// Windows that cut the input into `output` overlapping pieces.
    pub fn adaptive(planes: usize, input: [usize; 3], output: [usize; 3]) -> Windows {
        let one = [1; 3];
        let shape = PoolShape { planes, input, kernel: one, stride: one, pad: [0; 3], dilation: one, output };
        Windows { shape, adaptive: true }
    }

    fn params(&self) -> Vec<u32> {
        let mut s = self.shape;
        for d in 0..3 {
            // What reaches beyond the padded input does so as well when it is shorter, and products stay small.
            let all = s.input[d] + 2 * s.pad[d] + 1;
            s.dilation[d] = s.dilation[d].min(all);
            s.kernel[d] = s.kernel[d].min(all);
        }
        let all = [s.input, s.output, s.kernel, s.stride, s.pad, s.dilation];
        let mut p: Vec<u32> = all.iter().flatten().map(|&v| u32::try_from(v).unwrap_or(u32::MAX)).collect();
        p.push(self.adaptive as u32);
        p
    }

    fn averaging(&self, d: Divisor) -> Vec<u32> {
        let mut p = self.params();
        p.extend(match d {
            Divisor::Elements => [0, 1],
            Divisor::WithPadding => [1, 1],
            Divisor::Given(n) => [2, n as i32 as u32],
        });
        p
    }

    /// The maxima of windows of contiguous `x` into `y`, and into `places`, if given, where in the plane they are.
    pub fn max(&self, x: &Tensor, y: &Tensor, places: Option<&Tensor>) -> Result<()> {
        let choice = [("PLACES", if places.is_some() { "1" } else { "0" })];
        let tensors = [x, y, places.unwrap_or(y)];
        Call { name: "max_pool", tensors: &tensors, params: &self.params(), choice: &choice, n: y.numel() }.run()
    }

    /// The gradient of the input of [`Windows::max`], float32.
    pub fn max_backward(&self, g: &Tensor, places: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let from = plain("max_pool_backward", g)?;
        let out = Tensor::empty(shape, Dtype::F32, g.device())?;
        call("max_pool_backward", &[&from, places, &out], &self.params(), out.numel())?;
        Ok(out)
    }

    /// The averages of windows; int64 is cut off.
    pub fn average(&self, x: &Tensor, d: Divisor, shape: &[usize]) -> Result<Tensor> {
        let (from, kind) = if x.dtype() == Dtype::I64 {
            (copy::contiguous(&x.detach())?, Dtype::I64)
        } else {
            (plain("avg_pool", x)?, Dtype::F32)
        };
        let (plane, output) = (self.shape.input.iter().product::<usize>(), self.shape.output);
        if self.adaptive && output == [1; 3] && kind == Dtype::F32 && plane >= 64 {
            let planes = view::reshape_to(&copy::to_dtype(&from, Dtype::F32)?, &[self.shape.planes, plane])?;
            let mean = reduce::mean(&planes, Some(&[1]), false, None)?;
            return Ok(view::reshape_to(&copy::to_dtype(&mean, x.dtype())?, shape)?.detach());
        }
        let out = Tensor::empty(shape, kind, x.device())?;
        call("avg_pool", &[&from, &out], &self.averaging(d), out.numel())?;
        copy::to_dtype(&out, x.dtype())
    }

    /// The gradient of the input of [`Windows::average`].
    pub fn average_backward(&self, g: &Tensor, d: Divisor, shape: &[usize]) -> Result<Tensor> {
        let from = plain("avg_pool_backward", g)?;
        let out = Tensor::empty(shape, Dtype::F32, g.device())?;
        call("avg_pool_backward", &[&from, &out], &self.averaging(d), out.numel())?;
        copy::to_dtype(&out, g.dtype())
    }
}

/// Adds every element of `g` to the place in its plane of `shape` that `places` names.
pub fn put(g: &Tensor, places: &Tensor, shape: &[usize], plane: usize, count: usize) -> Result<Tensor> {
    let from = plain("max_pool_backward", g)?;
    let out = Tensor::zeros(shape, Dtype::F32, g.device())?;
    call("plane_put", &[&from, places, &out], &[plane as u32, count as u32], out.numel() / plane)?;
    Ok(out)
}

/// The elements of the planes of `x` that `places` names; 0 for places outside.
pub fn take(x: &Tensor, places: &Tensor, plane: usize, count: usize) -> Result<Tensor> {
    let from = copy::contiguous(&x.detach())?;
    let out = Tensor::empty(places.shape(), x.dtype(), x.device())?;
    call("plane_take", &[&from, places, &out], &[plane as u32, count as u32], out.numel())?;
    Ok(out)
}

/// Elements of planes of `count` back to planes of `plane`, where `places` says; the last one stays. `message` says what is
/// wrong with a place outside.
pub fn unpool(x: &Tensor, places: &Tensor, shape: &[usize], plane: usize, count: usize, message: String) -> Result<Tensor> {
    let (from, places) = (copy::contiguous(&x.detach())?, copy::contiguous(&places.detach())?);
    let owners = Tensor::zeros(shape, Dtype::I32, x.device())?;
    let out = Tensor::empty(shape, x.dtype(), x.device())?;
    let code = of(x)?.fault(message);
    call("unpool_owners", &[&places, &owners], &[plane as u32, count as u32, code], x.numel())?;
    call("unpool", &[&from, &owners, &out], &[0], out.numel())?;
    Ok(out)
}
