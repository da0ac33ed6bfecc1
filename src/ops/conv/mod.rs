//! Convolutions and their transposes.

mod raw;

use super::join::constant_pad_nd;
use super::{Args, Ints, Registry, Ret, view};
use crate::autograd::record;
use crate::cpu::conv::{ConvError, ConvShape};
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{bail, ensure, err};
use raw::{Map, Plan, bilinear};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// The numbers of a convolution, one for each spatial dimension.
struct Params {
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    output_padding: Ints,
    transposed: bool,
    groups: i64,
}

fn expand_param(v: &[i64], name: &str, dim: usize) -> Result<Ints> {
    match v {
        [one] => Ok(Ints::from_elem(*one, dim)),
        v if v.len() == dim => Ok(v.into()),
        v => bail!(
            Runtime,
            "expected {name} to be a single integer value or a list of {dim} values to match the convolution dimensions, but got {name}={}",
            show(v)
        ),
    }
}

/// `8 x 8`, as the messages print spatial sizes.
fn by(v: &[i128]) -> String {
    v.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" x ")
}

/// The name of a tensor's type in the messages about unequal types.
fn type_string(d: Dtype) -> String {
    match d {
        Dtype::F16 | Dtype::BF16 | Dtype::C64 | Dtype::C128 => match d {
            Dtype::BF16 => "CPUBFloat16Type".into(),
            d => format!("CPU{}Type", d.scalar_name()),
        },
        d => format!("torch.{}Tensor", d.scalar_name()),
    }
}

fn check_types(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    let d = x.dtype();
    for (t, what) in [(Some(w), "weight"), (bias, "bias")] {
        let Some(t) = t.filter(|t| t.dtype() != d) else { continue };
        if d.is_complex() {
            bail!(Runtime, "Input type ({}) and {what} type ({}) should be the same", type_string(d), type_string(t.dtype()));
        }
        ensure!(
            matches!(d, Dtype::F32 | Dtype::BF16),
            Runtime,
            "expected scalar type {} but found {}",
            d.scalar_name(),
            t.dtype().scalar_name()
        );
        bail!(
            Runtime,
            "Input type ({}) and {what} type ({}) should be the same or input should be a MKLDNN tensor and {what} is a dense tensor",
            type_string(d),
            type_string(t.dtype())
        );
    }
    Ok(())
}

impl Params {
    fn check(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        let (k, ws, xs, groups) = (w.ndim(), w.shape(), x.shape(), self.groups);
        ensure!(self.padding.iter().all(|&p| p >= 0), Runtime, "negative padding is not supported");
        ensure!(self.output_padding.iter().all(|&p| p >= 0), Runtime, "negative output_padding is not supported");
        ensure!(self.stride.iter().all(|&s| s > 0), Runtime, "non-positive stride is not supported");
        ensure!(self.dilation.iter().all(|&d| d > 0), Runtime, "non-positive dilation is not supported");
        ensure!(
            x.ndim() == k,
            Runtime,
            "Expected {k}-dimensional input for {k}-dimensional weight {}, but got {}-dimensional input of size {} instead",
            show(ws),
            x.ndim(),
            show(xs)
        );
        ensure!(
            ws[0] as i64 >= groups,
            Runtime,
            "Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size {} instead",
            show(ws)
        );
        ensure!(
            (ws[0] as i64) % groups == 0,
            Runtime,
            "Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size [{}] instead",
            show(ws)
        );
        for (d, &p) in self.padding.iter().enumerate() {
            let most = i64::MAX / 2;
            ensure!(p <= most, Runtime, "Given padding={p} at dimension {d} , expected padding to be at most {most}");
        }
        let (wants, outputs, given) = if self.transposed {
            (ws[0] as i128, ws[1] as i128 * i128::from(groups), "transposed=1".to_string())
        } else {
            (ws[1] as i128 * i128::from(groups), ws[0] as i128, format!("groups={groups}"))
        };
        ensure!(
            xs[1] as i128 == wants,
            Runtime,
            "Given {given}, weight of size {}, expected input{} to have {wants} channels, but got {} channels instead",
            show(ws),
            show(xs),
            xs[1]
        );
        if let Some(b) = bias {
            let prefix = if self.transposed { "Given transposed=1, weight of size" } else { "Given weight of size" };
            ensure!(
                b.ndim() == 1 && b.shape()[0] as i128 == outputs,
                Runtime,
                "{prefix} {}, expected bias to be 1-dimensional with {outputs} elements, but got bias of size {} instead",
                show(ws),
                show(b.shape())
            );
        }
        if !self.transposed {
            let padded: Vec<i128> = (0..k - 2).map(|d| xs[d + 2] as i128 + 2 * i128::from(self.padding[d])).collect();
            let reach: Vec<i128> = (0..k - 2).map(|d| i128::from(self.dilation[d]) * (ws[d + 2] as i128 - 1) + 1).collect();
            ensure!(
                padded.iter().zip(&reach).all(|(p, r)| p >= r),
                Runtime,
                "Calculated padded input size per channel: ({}). Kernel size: ({}). Kernel size can't be greater than actual input size",
                by(&padded),
                by(&reach)
            );
        }
        Ok(())
    }

    /// Checks that belong to the kernels.
    fn check_kernel(&self, x: &Tensor, w: &Tensor) -> Result<()> {
        let names = ["depth", "height", "width"];
        let dim = w.ndim() - 2;
        // One-dimensional convolutions are two-dimensional ones of height 1 in the messages.
        let named = |what: &str, v: &[i128], one: i128| -> String {
            let mut v = v.to_vec();
            if v.len() == 1 {
                v.insert(0, one);
            }
            let from = 3 - v.len().min(3);
            names[from..].iter().zip(&v).map(|(n, v)| format!("{what}_{n}: {v}")).collect::<Vec<_>>().join(" ")
        };
        let kernel: Vec<i128> = w.shape()[2..].iter().map(|&k| k as i128).collect();
        ensure!(
            kernel.iter().all(|&k| k > 0),
            Runtime,
            "kernel size should be greater than zero, but got {}",
            named("kernel", &kernel, 1)
        );
        if self.transposed {
            ensure!(w.shape()[1] > 0, Runtime, "non-empty 2D or 4D weight tensor expected, but got: {}", show(w.shape()));
            let wide = |v: &[i64]| v.iter().map(|&x| i128::from(x)).collect::<Vec<_>>();
            let (o, s, d) = (wide(&self.output_padding), wide(&self.stride), wide(&self.dilation));
            ensure!(
                (0..dim).all(|i| o[i] < s[i] || o[i] < d[i]),
                Runtime,
                "output padding must be smaller than either stride or dilation, but got {} {} {}",
                named("output_padding", &o, 0),
                named("stride", &s, 1),
                named("dilation", &d, 1)
            );
            let input: Vec<i128> = x.shape()[2..].iter().map(|&k| k as i128).collect();
            let out: Vec<i128> = (0..dim)
                .map(|i| {
                    let grown = (input[i] - 1).saturating_mul(s[i]).saturating_add(d[i].saturating_mul(kernel[i] - 1));
                    grown.saturating_sub(2 * i128::from(self.padding[i])).saturating_add(o[i] + 1)
                })
                .collect();
            ensure!(
                out.iter().all(|&n| n > 0),
                Runtime,
                "Given input size per channel: ({}). Calculated output size per channel: ({}). Output size is too small",
                by(&input),
                by(&out)
            );
        }
        Ok(())
    }

    fn plan(&self, x: &Tensor, w: &Tensor) -> Result<Plan> {
        let (xs, ws) = (x.shape(), w.shape());
        let dim = ws.len() - 2;
        ensure!(dim <= 3, NotImplemented, "convolution over {dim} spatial dimensions is not implemented");
        let spatial =
            |v: &[usize], lead: usize| -> [usize; 3] { std::array::from_fn(|d| if d + dim < 3 { lead } else { v[d + dim - 3] }) };
        let ints = |v: &[i64], lead: usize| spatial(&v.iter().map(|&n| n as usize).collect::<Dims>(), lead);
        let (input, kernel) = (spatial(&xs[2..], 1), spatial(&ws[2..], 1));
        let (stride, pad, dilation) = (ints(&self.stride, 1), ints(&self.padding, 0), ints(&self.dilation, 1));
        let groups = self.groups as usize;
        let shape = if self.transposed {
            ConvShape::transposed(
                xs[0],
                xs[1],
                ws[1] * groups,
                groups,
                input,
                kernel,
                stride,
                pad,
                ints(&self.output_padding, 0),
                dilation,
            )
        } else {
            ConvShape::new(xs[0], xs[1], ws[0], groups, input, kernel, stride, pad, dilation)
        };
        let shape = shape.map_err(|e| match e {
            ConvError::Overflow => {
                err!(Runtime, "convolution: the sizes overflow, with input {} and weight {}", show(xs), show(ws))
            }
            ConvError::Groups => err!(Runtime, "convolution: {groups} groups do not divide the channels"),
            ConvError::Zero => err!(Runtime, "non-positive stride is not supported"),
            ConvError::KernelTooLarge => err!(Runtime, "Kernel size can't be greater than actual input size"),
        })?;
        let dims = |channels: usize, sizes: &[usize; 3]| -> Dims {
            [shape.batch, channels].into_iter().chain(sizes[3 - dim..].iter().copied()).collect()
        };
        Ok(Plan { input: dims(shape.c_in, &shape.input), weight: ws.into(), output: dims(shape.c_out, &shape.output), shape })
    }
}

/// A convolution, transposed or not, of `[N, C, ...]` by `[C_out, C / groups, ...]` (transposed:
/// `[C, C_out / groups, ...]`).
pub fn convolution(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    [stride, padding, dilation, output_padding]: [&[i64]; 4],
    transposed: bool,
    groups: i64,
) -> Result<Tensor> {
    ensure!(w.ndim() > 2, Runtime, "weight should have at least three dimensions");
    let dim = w.ndim() - 2;
    ensure!(groups > 0, Runtime, "non-positive groups is not supported");
    let p = Params {
        stride: expand_param(stride, "stride", dim)?,
        padding: expand_param(padding, "padding", dim)?,
        dilation: expand_param(dilation, "dilation", dim)?,
        output_padding: expand_param(output_padding, "output_padding", dim)?,
        transposed,
        groups,
    };
    p.check(x, w, bias)?;
    check_types(x, w, bias)?;
    let (channels, batch) = (x.shape()[1], x.shape()[0]);
    ensure!(
        x.numel() > 0 || batch == 0 || channels == 0,
        Runtime,
        "Only zero batch or zero channel inputs are supported, but got input shape: {}",
        show(x.shape())
    );
    p.check_kernel(x, w)?;
    if channels == 0 {
        return empty_channels(&p, x, w, bias);
    }
    let plan = Arc::new(p.plan(x, w)?);
    if transposed {
        bilinear(Map::Input, &plan, w, x, bias, "ConvolutionBackward0")
    } else {
        bilinear(Map::Output, &plan, x, w, bias, "ConvolutionBackward0")
    }
}

/// No input channels: no output channels either, as PyTorch has it.
fn empty_channels(p: &Params, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let plan = p.plan(x, w)?;
    let mut dims = if p.transposed { plan.input } else { plan.output };
    dims[1] = 0;
    let out = Tensor::empty(&dims, x.dtype(), x.device())?;
    let mut inputs: SmallVec<[&Tensor; 3]> = smallvec![x, w];
    inputs.extend(bias);
    let shapes: Vec<Dims> = inputs.iter().map(|t| t.dims()).collect();
    let dtype = x.dtype();
    Ok(record("ConvolutionBackward0", &inputs, out, move |_, g| {
        shapes.iter().map(|s| Tensor::zeros(s, dtype, g.device()).map(Some)).collect()
    }))
}

/// Adds the batch dimension where it is missing; also whether it was there.
fn batched(x: &Tensor, dim: usize, name: &str) -> Result<(Tensor, bool)> {
    ensure!(
        x.ndim() == dim + 1 || x.ndim() == dim + 2,
        Runtime,
        "Expected {}D (unbatched) or {}D (batched) input to {name}, but got input of size: {}",
        dim + 1,
        dim + 2,
        show(x.shape())
    );
    if x.ndim() == dim + 2 { Ok((x.clone(), true)) } else { Ok((view::unsqueeze(x, 0)?, false)) }
}

fn unbatched(y: Tensor, was_batched: bool) -> Result<Tensor> {
    if was_batched { Ok(y) } else { view::squeeze(&y, Some(&[0])) }
}

const NAMES: [&str; 3] = ["conv1d", "conv2d", "conv3d"];
const TRANSPOSED_NAMES: [&str; 3] = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"];

fn check_bias(x: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    if let Some(b) = bias {
        ensure!(
            b.dtype() == x.dtype(),
            Runtime,
            "Input type ({}) and bias type ({}) should be the same",
            x.dtype().cpp_name(),
            b.dtype().cpp_name()
        );
    }
    Ok(())
}

/// A convolution over `dim` dimensions, of a batch or of one image.
pub fn conv(
    dim: usize,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    stride: &[i64],
    padding: &[i64],
    dilation: &[i64],
    groups: i64,
) -> Result<Tensor> {
    check_bias(x, bias)?;
    let (x, was) = batched(x, dim, NAMES[dim - 1])?;
    unbatched(convolution(&x, w, bias, [stride, padding, dilation, &[0]], false, groups)?, was)
}

/// [`conv`] with padding "same" or "valid".
pub fn conv_mode(
    dim: usize,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    stride: &[i64],
    padding: &str,
    dilation: &[i64],
    groups: i64,
) -> Result<Tensor> {
    check_bias(x, bias)?;
    let (x, was) = batched(x, dim, NAMES[dim - 1])?;
    match padding {
        "valid" => return unbatched(convolution(&x, w, bias, [stride, &[0], dilation, &[0]], false, groups)?, was),
        "same" => {}
        p => bail!(Runtime, "Invalid padding string: '{p}'"),
    }
    ensure!(w.ndim() > 2, Runtime, "weight should have at least three dimensions");
    let k = w.ndim();
    ensure!(
        k == x.ndim(),
        Runtime,
        "Expected {k}-dimensional input for {k}-dimensional weight {}, but got {}-dimensional input of size {} instead",
        show(w.shape()),
        x.ndim(),
        show(x.shape())
    );
    ensure!(stride.iter().all(|&s| s == 1), Runtime, "padding='same' is not supported for strided convolutions");
    let dilation = expand_param(dilation, "dilation", dim)?;
    let total: Vec<i64> = (0..dim).map(|d| (w.shape()[d + 2].max(1) as i64 - 1).saturating_mul(dilation[d])).collect();
    ensure!(total.iter().all(|&t| t < 1 << 40), Runtime, "padding='same': the dilated kernel is too large");
    let each: Vec<i64> = total.iter().map(|t| (t / 2).max(0)).collect();
    // What does not divide evenly goes to the end; the list of pads starts with the last dimension.
    let odd: Vec<i64> = total.iter().rev().flat_map(|t| [0, t % 2]).collect();
    let x = if odd.contains(&1) {
        super::warn(
            "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy of the input be created",
        );
        constant_pad_nd(&x, &odd, Scalar::Int(0))?
    } else {
        x
    };
    unbatched(convolution(&x, w, bias, [stride, &each, &dilation, &[0]], false, groups)?, was)
}

/// A transposed convolution over `dim` dimensions, of a batch or of one image.
pub fn conv_transpose(
    dim: usize,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    [stride, padding, output_padding, dilation]: [&[i64]; 4],
    groups: i64,
) -> Result<Tensor> {
    let (x, was) = batched(x, dim, TRANSPOSED_NAMES[dim - 1])?;
    unbatched(convolution(&x, w, bias, [stride, padding, dilation, output_padding], true, groups)?, was)
}

/// A convolution of `[T, B, C]` by `[K, C, O]`.
fn conv_tbc(x: &Tensor, w: &Tensor, bias: &Tensor, pad: i64) -> Result<Tensor> {
    ensure!(x.ndim() == 3, Runtime, "Input must have 3 dims: time, batch, in_channel");
    ensure!(w.ndim() == 3, Runtime, "Weight tensor must have 3 dims: kernel_width, in_channels, out_channels.");
    ensure!(bias.ndim() == 1, Runtime, "Bias must be 1-D");
    ensure!(x.shape()[2] == w.shape()[1], Runtime, "Input dim 2 (input channels) is not == dim 1 in the weight tensor");
    ensure!(w.shape()[2] == bias.shape()[0], Runtime, "Bias size must equal dim 2 in the weight tensor (output channels).");
    let y = convolution(
        &view::permute(x, &[1, 2, 0])?,
        &view::permute(w, &[2, 1, 0])?,
        Some(bias),
        [&[1], &[pad], &[1], &[0]],
        false,
        1,
    )?;
    view::permute(&y, &[2, 0, 1])
}

fn run(dim: usize, a: &Args) -> Result<Ret> {
    match a.os(4) {
        Some(mode) => conv_mode(dim, a.t(0), a.t(1), a.ot(2), a.ints(3), mode, a.ints(5), a.int(6)),
        None => conv(dim, a.t(0), a.t(1), a.ot(2), a.ints(3), a.ints(4), a.ints(5), a.int(6)),
    }
    .map(Ret::from)
}

fn run_transposed(dim: usize, a: &Args) -> Result<Ret> {
    conv_transpose(dim, a.t(0), a.t(1), a.ot(2), [a.ints(3), a.ints(4), a.ints(5), a.ints(7)], a.int(6)).map(Ret::from)
}

macro_rules! entries {
    ($r:ident, $dim:literal, $conv:literal, $transposed:literal, $doc:literal, $tdoc:literal) => {
        $r.op(
            "fn",
            concat!(
                $conv,
                "(Tensor input, Tensor weight, Tensor? bias=None, int[",
                $dim,
                "] stride=1, int[",
                $dim,
                "] padding=0, int[",
                $dim,
                "] dilation=1, int groups=1) -> Tensor"
            ),
            $doc,
            |a| run($dim, a),
        );
        $r.op(
            "fn",
            concat!(
                $conv,
                "(Tensor input, Tensor weight, Tensor? bias=None, int[",
                $dim,
                "] stride=1, str padding='valid', int[",
                $dim,
                "] dilation=1, int groups=1) -> Tensor"
            ),
            $doc,
            |a| run($dim, a),
        );
        $r.op(
            "fn",
            concat!(
                $transposed,
                "(Tensor input, Tensor weight, Tensor? bias=None, int[",
                $dim,
                "] stride=1, int[",
                $dim,
                "] padding=0, int[",
                $dim,
                "] output_padding=0, int groups=1, int[",
                $dim,
                "] dilation=1) -> Tensor"
            ),
            $tdoc,
            |a| run_transposed($dim, a),
        );
    };
}

pub(super) fn register(r: &mut Registry) {
    entries!(r, 1, "conv1d", "conv_transpose1d", "Convolution of signals.", "Transposed convolution of signals.");
    entries!(r, 2, "conv2d", "conv_transpose2d", "Convolution of images.", "Transposed convolution of images.");
    entries!(r, 3, "conv3d", "conv_transpose3d", "Convolution of volumes.", "Transposed convolution of volumes.");
    r.op(
        "f",
        "convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups) -> Tensor",
        "Convolution, transposed or not.",
        |a| convolution(a.t(0), a.t(1), a.ot(2), [a.ints(3), a.ints(4), a.ints(5), a.ints(7)], a.b(6), a.int(8)).map(Ret::from),
    );
    r.op(
        "fn",
        "conv_tbc(Tensor self, Tensor weight, Tensor bias, int pad=0) -> Tensor",
        "Convolution of signals laid out time, batch, channel.",
        |a| conv_tbc(a.t(0), a.t(1), a.t(2), a.int(3)).map(Ret::from),
    );
}
