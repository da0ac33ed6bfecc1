//! Short-time Fourier transforms: spectra of overlapping frames, and back.

use super::super::elementwise::{div, mul};
use super::super::join::constant_pad_nd;
use super::super::join::pad::pad;
use super::super::{Args, Registry, Ret, complex, copy, resample, view};
use super::{c2c, c2r, r2c};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::layout::show;
use crate::tensor::Tensor;
use crate::{bail, ensure};

fn show_bool(v: Option<bool>) -> String {
    v.map_or("None".into(), |b| i32::from(b).to_string())
}

fn type_string(x: &Tensor) -> String {
    if x.dtype().is_complex() { format!("CPU{}Type", x.dtype().scalar_name()) } else { x.type_name() }
}

fn show_window(w: Option<&Tensor>) -> String {
    w.map_or("None".into(), |w| format!("{}{{{}}}", type_string(w), show(w.shape())))
}

/// The window in the middle of `n` points; none is all ones.
fn centered(window: Option<&Tensor>, x: &Tensor, win: i64, n: i64) -> Result<Option<Tensor>> {
    if window.is_none() && win == n {
        return Ok(None);
    }
    let w = match window {
        Some(w) => w.clone(),
        None => Tensor::full(&[win as usize], 1.0, x.dtype().to_real(), x.device())?,
    };
    let left = (n - win) / 2;
    Ok(Some(if win == n { w } else { constant_pad_nd(&w, &[left, n - win - left], Scalar::Int(0))? }))
}

fn stft(a: &Args) -> Result<Tensor> {
    let (x, n_fft) = (a.t(0), a.int(1));
    let hop = a.oint(2).unwrap_or(n_fft / 4);
    let win = a.oint(3).unwrap_or(n_fft);
    let (window, center, mode, normalized) = (a.ot(4), a.b(5), a.s(6), a.b(7));
    let (onesided, return_complex, align) = (a.ob(8), a.ob(9), a.ob(10));
    let is_complex = x.dtype().is_complex() || window.is_some_and(|w| w.dtype().is_complex());
    ensure!(!(center && align.is_some()), Runtime, "stft align_to_window should only be set when center = false");
    if return_complex.is_none() && !is_complex {
        bail!(
            Runtime,
            "stft requires the return_complex parameter be given for real inputs, and will further require that return_complex=True in a future PyTorch release."
        );
    }
    let mut x = x.clone();
    if center {
        let shape = x.dims();
        let lead = 3usize.saturating_sub(shape.len());
        let wide: Vec<usize> = std::iter::repeat_n(1, lead).chain(shape.iter().copied()).collect();
        let side = n_fft.checked_div(2).unwrap_or(0);
        let padded = pad(&view::reshape_to(&x, &wide)?, &[side, side], mode, None)?;
        let back: Vec<usize> = padded.shape()[lead..].to_vec();
        x = view::reshape_to(&padded, &back)?;
    }
    let head = || {
        format!(
            "stft({}{}, n_fft={n_fft}, hop_length={hop}, win_length={win}, window={}, normalized={}, onesided={}, return_complex={}, align_to_window={}) : ",
            type_string(&x),
            show(x.shape()),
            show_window(window),
            i32::from(normalized),
            show_bool(onesided),
            show_bool(return_complex),
            show_bool(align)
        )
    };
    ensure!(
        x.dtype().is_float() || x.dtype().is_complex(),
        Runtime,
        "{}expected a tensor of floating point or complex values",
        head()
    );
    ensure!(x.ndim() == 1 || x.ndim() == 2, Runtime, "{}expected a 1D or 2D tensor", head());
    let batched = x.ndim() == 2;
    let len = x.shape()[x.ndim() - 1] as i64;
    ensure!(n_fft > 0 && n_fft <= len, Runtime, "{}expected 0 < n_fft < {len}, but got n_fft={n_fft}", head());
    ensure!(hop > 0, Runtime, "{}expected hop_length > 0, but got hop_length={hop}", head());
    ensure!(win > 0 && win <= n_fft, Runtime, "{}expected 0 < win_length <= n_fft, but got win_length={win}", head());
    if let Some(w) = window {
        ensure!(
            w.ndim() == 1 && w.shape()[0] as i64 == win,
            Runtime,
            "{}expected a 1D window tensor of size equal to win_length={win}, but got window with size {}",
            head(),
            show(w.shape())
        );
    }
    let half = onesided.unwrap_or(!is_complex);
    ensure!(!(half && is_complex), Runtime, "Cannot have onesided output if window or input is complex");
    let align = align.unwrap_or(false) && win < n_fft;
    let window = centered(window, &x, win, n_fft)?;
    let mut x = if batched { x.clone() } else { view::unsqueeze(&x, 0)? };
    if align {
        // Frames start where the window does: zeros stand beside it.
        let left = (n_fft - win) / 2;
        x = constant_pad_nd(&x, &[left, n_fft - win - left], Scalar::Int(0))?;
    }
    let mut frames = view::unfold(&x, 1, n_fft, hop)?;
    if let Some(w) = &window {
        frames = mul(&frames, w)?;
    }
    let scale = if normalized { 1.0 / (n_fft as f64).sqrt() } else { 1.0 };
    let spectra = if is_complex {
        let frames = super::promoted(&frames, true)?;
        c2c(&frames, &[2], scale, true)?
    } else {
        r2c(&super::promoted(&frames, false)?, &[2], scale, true, half)?
    };
    let mut out = view::transpose(&spectra, 1, 2)?;
    if !batched {
        out = view::squeeze(&out, Some(&[0]))?;
    }
    if return_complex.unwrap_or(is_complex) { Ok(out) } else { complex::view_as_real(&out) }
}

/// Frames added up where they overlap: `[batch, frames, n]` to `[batch, length]`.
fn overlapped(frames: &Tensor, hop: i64, length: i64) -> Result<Tensor> {
    let n = frames.shape()[2] as i64;
    let columns = view::transpose(frames, 1, 2)?;
    let sum = resample::fold::fold(&columns, &[1, length], [&[1, n], &[1, 1], &[0, 0], &[1, hop]])?;
    view::reshape_to(&sum, &[frames.shape()[0], length as usize])
}

fn istft(a: &Args) -> Result<Tensor> {
    let (x, n_fft) = (a.t(0), a.int(1));
    let hop = a.oint(2).unwrap_or(n_fft / 4);
    let win = a.oint(3).unwrap_or(n_fft);
    let (window, center, normalized) = (a.ot(4), a.b(5), a.b(6));
    let (onesided, length, return_complex) = (a.ob(7), a.oint(8), a.b(9));
    ensure!(
        x.dtype().is_complex(),
        Runtime,
        "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
    );
    let head = || {
        format!(
            "istft({}{}, n_fft={n_fft}, hop_length={hop}, win_length={win}, window={}, center={}, normalized={}, onesided={}, length={}, return_complex={})",
            type_string(x),
            show(x.shape()),
            show_window(window),
            i32::from(center),
            i32::from(normalized),
            show_bool(onesided),
            length.map_or("None".into(), |l| l.to_string()),
            i32::from(return_complex)
        )
    };
    ensure!(x.numel() > 0, Runtime, "{} : input tensor cannot be empty.", head());
    ensure!(
        x.ndim() == 2 || x.ndim() == 3,
        Runtime,
        "{} : expected a tensor with 3 or 4 dimensions, but got {}",
        head(),
        x.ndim() + 1
    );
    let batched = x.ndim() == 3;
    let (bins, count) = (x.shape()[x.ndim() - 2] as i64, x.shape()[x.ndim() - 1] as i64);
    let half = onesided.unwrap_or(bins != n_fft);
    if half {
        ensure!(
            n_fft / 2 + 1 == bins,
            Runtime,
            "{} : expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 when onesided=True, but got {bins}",
            head()
        );
    } else {
        ensure!(
            n_fft == bins,
            Runtime,
            "{} : expected the frequency dimension (3rd to the last) of the input tensor to match n_fft when onesided=False, but got {bins}",
            head()
        );
    }
    ensure!(0 < hop && hop <= win, Runtime, "{} : expected 0 < hop_length <= win_length", head());
    ensure!(0 < win && win <= n_fft, Runtime, "{} : expected 0 < win_length <= n_fft", head());
    if let Some(w) = window {
        ensure!(
            w.ndim() == 1 && w.shape()[0] as i64 == win,
            Runtime,
            "{} : Invalid window shape. window has to be 1D and length of `win_length`",
            head()
        );
    }
    let complex_window = window.is_some_and(|w| w.dtype().is_complex());
    ensure!(!(half && (return_complex || complex_window)), Runtime, "Cannot have onesided output if window or input is complex");
    let x = if batched { x.clone() } else { view::unsqueeze(x, 0)? };
    let frames = view::transpose(&x, 1, 2)?;
    let scale = if normalized { 1.0 / (n_fft as f64).sqrt() } else { 1.0 / n_fft as f64 };
    let frames = if half {
        c2r(&frames, &[2], scale, false, n_fft as usize)?
    } else {
        let full = c2c(&frames, &[2], scale, false)?;
        if return_complex { full } else { copy::contiguous(&complex::real(&full)?)? }
    };
    let ones = Tensor::full(&[n_fft as usize], 1.0, x.dtype().to_real(), x.device())?;
    let w = centered(window, &x, win, n_fft)?.unwrap_or(ones);
    let total = hop
        .checked_mul(count - 1)
        .and_then(|t| t.checked_add(n_fft))
        .ok_or_else(|| crate::err!(Runtime, "istft: the length of the signal overflows"))?;
    let signal = overlapped(&mul(&frames, &w)?, hop, total)?;
    let squares = view::expand(&view::reshape_to(&mul(&w, &w)?, &[1, 1, n_fft as usize])?, &[1, count as usize, n_fft as usize])?;
    let envelope = overlapped(&squares, hop, total)?;
    let start = if center { n_fft / 2 } else { 0 };
    let end = match length {
        Some(l) => start.saturating_add(l),
        None if center => total - n_fft / 2,
        None => total,
    };
    let signal = view::slice(&signal, 1, Some(start), Some(end), 1)?;
    let envelope = view::slice(&envelope, 1, Some(start), Some(end), 1)?;
    let flat = copy::to_dtype(&copy::contiguous(&complex::real(&envelope)?.detach())?, crate::dtype::Dtype::F64)?;
    ensure!(flat.data::<f64>().iter().all(|v| v.abs() > 1e-11), Runtime, "{} window overlap add min: 1", head());
    let mut out = div(&signal, &envelope)?;
    let missing = end - start - out.shape()[1] as i64;
    if missing > 0 {
        out = constant_pad_nd(&out, &[0, missing], Scalar::Int(0))?;
    }
    if batched { Ok(out) } else { view::squeeze(&out, Some(&[0])) }
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "fm",
        "stft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, str pad_mode='reflect', bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Tensor",
        "Spectra of overlapping frames.",
        |a| stft(a).map(Ret::from),
    );
    r.op(
        "fm",
        "istft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, bool normalized=False, bool? onesided=None, int? length=None, bool return_complex=False) -> Tensor",
        "The signal that has these spectra.",
        |a| istft(a).map(Ret::from),
    );
}
