//! torch.fft: Fourier transforms and what belongs to them.

mod short_time;
mod transform;

use super::creation::{device_of, finish};
use super::join::arrange::roll;
use super::{Args, Registry, Ret, copy, view};
use crate::device::Device;
use crate::dtype::{Dtype, Scalar, default_dtype};
use crate::error::Result;
use crate::layout::wrap_dim;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;
pub use transform::{c2c, c2r, r2c};

/// The input in a dtype that has a transform: f32, f64 or complex.
fn promoted(x: &Tensor, to_complex: bool) -> Result<Tensor> {
    let d = match x.dtype() {
        d @ (Dtype::F16 | Dtype::BF16) => bail!(Runtime, "Unsupported dtype {}", d.scalar_name()),
        d if d.is_integral() => match default_dtype() {
            d @ (Dtype::F32 | Dtype::F64) => d,
            d => bail!(Runtime, "Unsupported dtype {}", d.scalar_name()),
        },
        d => d,
    };
    copy::to_dtype(x, if to_complex { d.to_complex() } else { d })
}

/// The factor of a normalization mode: `inverse` says whether the transform divides by default.
fn factor(norm: Option<&str>, inverse: bool, n: f64) -> Result<f64> {
    Ok(match norm {
        None | Some("backward") if inverse => 1.0 / n,
        None | Some("backward") => 1.0,
        Some("forward") if inverse => 1.0,
        Some("forward") => 1.0 / n,
        Some("ortho") => 1.0 / n.sqrt(),
        Some(m) => bail!(Runtime, "Invalid normalization mode: \"{m}\""),
    })
}

fn check_points(n: i64) -> Result<usize> {
    ensure!(n >= 1, Runtime, "Invalid number of data points ({n}) specified");
    Ok(n as usize)
}

/// Cuts a dimension, or fills it with zeros, to `n`.
fn resized(x: &Tensor, d: usize, n: usize) -> Result<Tensor> {
    let have = x.shape()[d];
    if have == n {
        return Ok(x.clone());
    }
    if have > n {
        return view::narrow(x, d as i64, 0, n as i64);
    }
    let mut pad = vec![0; 2 * (x.ndim() - d)];
    *pad.last_mut().expect("a dimension") = (n - have) as i64;
    super::join::constant_pad_nd(x, &pad, Scalar::Int(0))
}

/// What a transform makes of what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Complex,
    /// Real to the half of a Hermitian spectrum.
    FromReal,
    /// The half of a Hermitian spectrum to real.
    ToReal,
}

/// A transform along one dimension. `forward` is the sign of the exponent, `inverse` the default factor.
fn one(name: &str, x: &Tensor, n: Option<i64>, dim: i64, norm: Option<&str>, kind: Kind, forward: bool) -> Result<Tensor> {
    ensure!(
        kind != Kind::FromReal || !x.dtype().is_complex(),
        Runtime,
        "{name} expects a real input tensor, but got {}",
        x.dtype().scalar_name()
    );
    ensure!(x.ndim() > 0, Index, "Dimension specified as {dim} but tensor has no dimensions");
    let x = promoted(x, kind != Kind::FromReal)?;
    let d = wrap_dim(dim, x.ndim())?;
    let have = x.shape()[d] as i64;
    let n = check_points(n.unwrap_or(if kind == Kind::ToReal { have.saturating_sub(1).saturating_mul(2) } else { have }))?;
    let scale = factor(norm, !forward, n as f64)?;
    match kind {
        Kind::Complex => c2c(&resized(&x, d, n)?, &[d], scale, forward),
        Kind::FromReal => r2c(&resized(&x, d, n)?, &[d], scale, forward, true),
        Kind::ToReal => c2r(&resized(&x, d, n / 2 + 1)?, &[d], scale, forward, n),
    }
}

/// The dimensions of a transform over several, and their sizes as given (-1: the input's).
fn axes(x: &Tensor, s: Option<&[i64]>, dim: Option<&[i64]>) -> Result<(Vec<usize>, Option<Vec<i64>>)> {
    let dims = match (dim, s) {
        (Some(dim), _) => {
            let mut dims: Vec<usize> = Vec::new();
            for &d in dim {
                ensure!(x.ndim() > 0, Index, "Dimension specified as {d} but tensor has no dimensions");
                dims.push(wrap_dim(d, x.ndim())?);
            }
            let mut sorted = dims.clone();
            sorted.sort_unstable();
            ensure!(sorted.windows(2).all(|w| w[0] != w[1]), Runtime, "FFT dims must be unique");
            ensure!(
                s.is_none_or(|s| s.len() == dims.len()),
                Runtime,
                "When given, dim and shape arguments must have the same length"
            );
            dims
        }
        (None, Some(s)) => {
            ensure!(
                s.len() <= x.ndim(),
                Runtime,
                "Got shape with {} values but input tensor only has {} dimensions.",
                s.len(),
                x.ndim()
            );
            (x.ndim() - s.len()..x.ndim()).collect()
        }
        (None, None) => (0..x.ndim()).collect(),
    };
    Ok((dims, s.map(<[i64]>::to_vec)))
}

/// A transform along several dimensions.
fn many(
    name: &str,
    x: &Tensor,
    s: Option<&[i64]>,
    dim: Option<&[i64]>,
    norm: Option<&str>,
    kind: Kind,
    forward: bool,
) -> Result<Tensor> {
    if kind == Kind::FromReal && x.dtype().is_complex() {
        match name {
            "ihfftn" => bail!(Runtime, "Only supports floating-point dtypes, but found: {}", x.dtype().scalar_name()),
            _ => bail!(Runtime, "{name} expects a real-valued input tensor, but got {}", x.dtype().scalar_name()),
        }
    }
    let mut x = promoted(x, kind != Kind::FromReal)?;
    let (dims, given) = axes(&x, s, dim)?;
    ensure!(kind == Kind::Complex || !dims.is_empty(), Runtime, "{name} must transform at least one axis");
    let mut total = 1.0;
    let mut last = 0;
    for (i, &d) in dims.iter().enumerate() {
        let have = x.shape()[d] as i64;
        let half = kind == Kind::ToReal && i + 1 == dims.len();
        let wanted = match given.as_ref().map(|g| g[i]) {
            None | Some(-1) if half => have.saturating_sub(1).saturating_mul(2),
            None | Some(-1) => have,
            Some(n) => n,
        };
        let n = check_points(wanted)?;
        total *= n as f64;
        last = n;
        x = resized(&x, d, if half { n / 2 + 1 } else { n })?;
    }
    let scale = factor(norm, !forward, total)?;
    match kind {
        Kind::Complex => c2c(&x, &dims, scale, forward),
        Kind::FromReal => r2c(&x, &dims, scale, forward, true),
        Kind::ToReal => c2r(&x, &dims, scale, forward, last),
    }
}

/// Frequencies of a transform's points: `count` of them, the later half negative where `wraps`.
fn freq(n: i64, d: f64, wraps: bool, a: &Args) -> Result<Ret> {
    let dtype = a.dtype(2).unwrap_or(default_dtype());
    let name = if wraps { "fftfreq" } else { "rfftfreq" };
    ensure!(dtype.is_float() || dtype.is_complex(), Runtime, "{name} requires a floating point or complex dtype");
    let device = device_of(a.device(4))?;
    let count = if wraps { n } else { n / 2 + 1 };
    ensure!(count >= 0, Runtime, "Trying to create tensor with negative dimension {count}: [{count}]");
    let acc = if dtype == Dtype::F64 || dtype == Dtype::C128 { Dtype::F64 } else { Dtype::F32 };
    let here = if device == Device::Meta { device } else { Device::Cpu };
    let t = Tensor::empty(&[count as usize], acc, here)?;
    if here == Device::Cpu {
        let half = if wraps { (n + 1) / 2 } else { count };
        let step = 1.0 / (n as f64 * d);
        let at = |i: usize| if (i as i64) < half { i as i64 } else { i as i64 - n };
        match acc {
            Dtype::F64 => t.data_mut::<f64>().iter_mut().enumerate().for_each(|(i, v)| *v = at(i) as f64 * step),
            _ => t.data_mut::<f32>().iter_mut().enumerate().for_each(|(i, v)| *v = at(i) as f32 * step as f32),
        }
    }
    finish(copy::to_device(&copy::to_dtype(&t, dtype)?, device)?, a.ob(6))
}

/// Moves the point of frequency zero to the middle, or back.
fn shift(x: &Tensor, dim: Option<&[i64]>, back: bool) -> Result<Tensor> {
    let dims: SmallVec<[i64; 6]> = match dim {
        Some(d) => d.into(),
        None => (0..x.ndim() as i64).collect(),
    };
    let mut shifts: SmallVec<[i64; 6]> = SmallVec::new();
    for &d in &dims {
        let n = x.size(wrap_dim(d, x.ndim())?) as i64;
        shifts.push(if back { (n + 1) / 2 } else { n / 2 });
    }
    roll(x, &shifts, &dims)
}

pub(super) fn register(r: &mut Registry) {
    macro_rules! transforms {
        ($($name:literal $kind:ident $forward:literal $doc:literal;)*) => {$(
            r.op("t", concat!($name, "(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor"), concat!($doc, "."), |a| {
                one($name, a.t(0), a.oint(1), a.int(2), a.os(3), Kind::$kind, $forward).map(Ret::from)
            });
            r.op(
                "t",
                concat!($name, "2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor"),
                concat!($doc, ", over two dimensions."),
                |a| many(concat!($name, "n"), a.t(0), a.oints(1), Some(a.ints(2)), a.os(3), Kind::$kind, $forward).map(Ret::from),
            );
            r.op(
                "t",
                concat!($name, "n(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor"),
                concat!($doc, ", over several dimensions."),
                |a| many(concat!($name, "n"), a.t(0), a.oints(1), a.oints(2), a.os(3), Kind::$kind, $forward).map(Ret::from),
            );
        )*};
    }
    transforms! {
        "fft" Complex true "The Fourier transform";
        "ifft" Complex false "The inverse Fourier transform";
        "rfft" FromReal true "The Fourier transform of reals, without the half that follows from the rest";
        "irfft" ToReal false "The inverse of rfft";
        "hfft" ToReal true "The Fourier transform of a Hermitian signal given by its first half";
        "ihfft" FromReal false "The inverse of hfft";
    }
    r.op(
        "t",
        "fftfreq(int n, float d=1.0, *, ScalarType? dtype=None, Any layout=None, Device? device=None, Any pin_memory=None, bool? requires_grad=None) -> Tensor",
        "The frequencies of fft's points.",
        |a| freq(a.int(0), a.f(1), true, a),
    );
    r.op(
        "t",
        "rfftfreq(int n, float d=1.0, *, ScalarType? dtype=None, Any layout=None, Device? device=None, Any pin_memory=None, bool? requires_grad=None) -> Tensor",
        "The frequencies of rfft's points.",
        |a| freq(a.int(0), a.f(1), false, a),
    );
    r.op("t", "fftshift(Tensor self, int[1]? dim=None) -> Tensor", "Frequency zero to the middle.", |a| {
        shift(a.t(0), a.oints(1), false).map(Ret::from)
    });
    r.op("t", "ifftshift(Tensor self, int[1]? dim=None) -> Tensor", "The inverse of fftshift.", |a| {
        shift(a.t(0), a.oints(1), true).map(Ret::from)
    });
    short_time::register(r);
}
