//! unfold and fold (im2col and col2im): each is the gradient of the other.

use super::super::{Registry, Ret, copy, view};
use crate::autograd::record;
use crate::cpu::resample::{FoldShape, fold as fold_kernel, unfold as unfold_kernel};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;
use std::ops::AddAssign;

/// A bool that adds up as "or".
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct Or(u8);
#[allow(clippy::suspicious_op_assign_impl)] // "or" is what adding up means here
impl AddAssign for Or {
    fn add_assign(&mut self, o: Or) {
        self.0 |= o.0;
    }
}

/// Complex numbers that add up.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct Sum<T>([T; 2]);
impl<T: AddAssign + Copy> AddAssign for Sum<T> {
    fn add_assign(&mut self, o: Sum<T>) {
        self.0[0] += o.0[0];
        self.0[1] += o.0[1];
    }
}

fn unnamed(v: [i64; 2]) -> String {
    format!("({}, {})", v[0], v[1])
}

struct Sizes {
    kernel: [i64; 2],
    dilation: [i64; 2],
    padding: [i64; 2],
    stride: [i64; 2],
}

impl Sizes {
    fn new([kernel, dilation, padding, stride]: [&[i64]; 4]) -> Result<Sizes> {
        let s = Sizes {
            kernel: two(kernel, "kernel_size")?,
            dilation: two(dilation, "dilation")?,
            padding: two(padding, "padding")?,
            stride: two(stride, "stride")?,
        };
        let positive =
            [(s.kernel, "kernel size", "kernel"), (s.stride, "stride", "stride"), (s.dilation, "dilation", "dilation")];
        for (v, what, prefix) in positive {
            ensure!(
                v[0] > 0 && v[1] > 0,
                Runtime,
                "{what} should be greater than zero, but got {prefix}_height: {} {prefix}_width: {}",
                v[0],
                v[1]
            );
        }
        let p = s.padding;
        ensure!(
            p[0] >= 0 && p[1] >= 0,
            Runtime,
            "padding should be non-negative, but got pad_height: {} pad_width: {}",
            p[0],
            p[1]
        );
        Ok(s)
    }

    /// Positions of the kernel along each dimension of an image.
    fn blocks(&self, image: [i128; 2]) -> [i128; 2] {
        std::array::from_fn(|d| {
            let reach = i128::from(self.dilation[d]) * (i128::from(self.kernel[d]) - 1) + 1;
            (image[d] + 2 * i128::from(self.padding[d]) - reach).div_euclid(i128::from(self.stride[d])) + 1
        })
    }

    fn shape(&self, batch: usize, channels: usize, input: [usize; 2], blocks: [i128; 2]) -> FoldShape {
        let to = |v: [i64; 2]| v.map(|n| n as usize);
        FoldShape {
            batch,
            channels,
            input,
            kernel: to(self.kernel),
            stride: to(self.stride),
            pad: to(self.padding),
            dilation: to(self.dilation),
            output: blocks.map(|n| n as usize),
        }
    }
}

fn two(v: &[i64], name: &str) -> Result<[i64; 2]> {
    match v {
        [a, b] => Ok([*a, *b]),
        v => bail!(Runtime, "It is expected {name} equals to 2, but got size {}", v.len()),
    }
}

/// The recorded operation: to columns, or back to images.
fn linear(s: FoldShape, x: &Tensor, to_columns: bool) -> Result<Tensor> {
    let positions = s.output[0].checked_mul(s.output[1]);
    let rows = s.kernel[0].checked_mul(s.kernel[1]).and_then(|k| k.checked_mul(s.channels));
    let (Some(rows), Some(positions)) = (rows, positions) else { bail!(Runtime, "unfold: the number of columns overflows") };
    let shape: Dims =
        if to_columns { [s.batch, rows, positions].into() } else { [s.batch, s.channels, s.input[0], s.input[1]].into() };
    let out = Tensor::empty(&shape, x.dtype(), x.device())?;
    if gpu::holds(x) {
        let known = x.dtype().is_float() || x.dtype() == Dtype::Bool || x.dtype().is_complex();
        let name = if to_columns { "im2col_out_cpu" } else { "col2im_out_cpu" };
        ensure!(known, NotImplemented, "\"{name}\" not implemented for '{}'", x.dtype().scalar_name());
        gpu::resample::fold(&s, x, &out, to_columns)?;
    } else if x.device() != Device::Meta {
        x.check_data("unfold")?;
        let source = copy::contiguous(&x.detach())?;
        macro_rules! run {
            ($t:ty) => {
                if to_columns {
                    unfold_kernel::<$t>(&s, source.data(), out.data_mut())
                } else {
                    fold_kernel::<$t>(&s, source.data(), out.data_mut())
                }
            };
        }
        match x.dtype() {
            Dtype::F32 => run!(f32),
            Dtype::F64 => run!(f64),
            Dtype::F16 => run!(half::f16),
            Dtype::BF16 => run!(half::bf16),
            Dtype::Bool => run!(Or),
            Dtype::C64 => run!(Sum<f32>),
            Dtype::C128 => run!(Sum<f64>),
            d => {
                let name = if to_columns { "im2col_out_cpu" } else { "col2im_out_cpu" };
                bail!(NotImplemented, "\"{name}\" not implemented for '{}'", d.scalar_name())
            }
        }
    }
    let name = if to_columns { "Im2ColBackward0" } else { "Col2ImBackward0" };
    Ok(record(name, &[x], out, move |_, g| Ok(smallvec![Some(linear(s, g, !to_columns)?)])))
}

/// Columns of the patches that a kernel sees.
pub fn unfold(x: &Tensor, sizes: [&[i64]; 4]) -> Result<Tensor> {
    let s = Sizes::new(sizes)?;
    let full = x.shape().iter().skip(x.ndim().saturating_sub(3)).all(|&n| n > 0);
    ensure!(
        (x.ndim() == 3 || x.ndim() == 4) && full,
        Runtime,
        "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: {}",
        show(x.shape())
    );
    let batched = x.ndim() == 4;
    let x = if batched { x.clone() } else { view::unsqueeze(x, 0)? };
    let [n, c, h, w] = [0, 1, 2, 3].map(|d| x.shape()[d]);
    let blocks = s.blocks([h as i128, w as i128]);
    ensure!(
        blocks[0] >= 1 && blocks[1] >= 1,
        Runtime,
        "Given input with spatial size ({h}, {w}), kernel_size={}, dilation={}, padding={}, calculated shape of the array of sliding blocks as ({}, {}), but its components must be at least one.",
        unnamed(s.kernel),
        unnamed(s.dilation),
        unnamed(s.padding),
        blocks[0],
        blocks[1]
    );
    let y = linear(s.shape(n, c, [h, w], blocks), &x, true)?;
    if batched { Ok(y) } else { view::squeeze(&y, Some(&[0])) }
}

/// Images from columns, adding what overlaps.
pub fn fold(x: &Tensor, output: &[i64], sizes: [&[i64]; 4]) -> Result<Tensor> {
    let out = two(output, "output_size")?;
    let s = Sizes::new(sizes)?;
    let full = x.shape().iter().skip(x.ndim().saturating_sub(2)).all(|&n| n > 0);
    ensure!(
        (x.ndim() == 2 || x.ndim() == 3) && full,
        Runtime,
        "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but got: {}",
        show(x.shape())
    );
    let batched = x.ndim() == 3;
    let x = if batched { x.clone() } else { view::unsqueeze(x, 0)? };
    let [n, rows, columns] = [0, 1, 2].map(|d| x.shape()[d]);
    let taps = i128::from(s.kernel[0]) * i128::from(s.kernel[1]);
    ensure!(
        rows as i128 % taps == 0,
        Runtime,
        "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)={rows} and kernel_size={}.",
        unnamed(s.kernel)
    );
    let blocks = s.blocks(out.map(i128::from));
    let given = format!(
        "Given output_size={}, kernel_size={}, dilation={}, padding={}, stride={}",
        unnamed(out),
        unnamed(s.kernel),
        unnamed(s.dilation),
        unnamed(s.padding),
        unnamed(s.stride)
    );
    let count = blocks[0].saturating_mul(blocks[1]);
    ensure!(
        columns as i128 == count,
        Runtime,
        "{given}, expected size of input's dimension 2 to match the calculated number of sliding blocks {} * {} = {count}, but got input.size(2)={columns}.",
        blocks[0],
        blocks[1]
    );
    ensure!(
        blocks[0] >= 1 && blocks[1] >= 1,
        Runtime,
        "{given}, calculated shape of the array of sliding blocks as ({}, {}), but its components must be at least one.",
        blocks[0],
        blocks[1]
    );
    ensure!(
        out[0] >= 1 && out[1] >= 1,
        Runtime,
        "Expected output spatial size to be positive, but got: output_size={}.",
        unnamed(out)
    );
    let channels = (rows as i128 / taps) as usize;
    let y = linear(s.shape(n, channels, out.map(|n| n as usize), blocks), &x, false)?;
    if batched { Ok(y) } else { view::squeeze(&y, Some(&[0])) }
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "unfold(Tensor input, int[2] kernel_size, int[2] dilation=1, int[2] padding=0, int[2] stride=1) -> Tensor",
        "The patches that a kernel sees, as columns.",
        |a| unfold(a.t(0), [a.ints(1), a.ints(2), a.ints(3), a.ints(4)]).map(Ret::from),
    );
    r.op(
        "n",
        "fold(Tensor input, int[2] output_size, int[2] kernel_size, int[2] dilation=1, int[2] padding=0, int[2] stride=1) -> Tensor",
        "Images from columns of patches; what overlaps adds up.",
        |a| fold(a.t(0), a.ints(1), [a.ints(2), a.ints(3), a.ints(4), a.ints(5)]).map(Ret::from),
    );
}
