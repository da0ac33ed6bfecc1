//! Elementwise ops that are no rows of the table: several results, parameters that shape the formula.

use super::elementwise as ew;
use super::{Registry, Ret, copy, reduce};
use crate::autograd::{record, save};
use crate::device::Device;
use crate::dtype::{Dtype, Scalar};
use crate::ensure;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Dims, show, sizes};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// Mantissa in [0.5, 1) and exponent of each element: x = mantissa * 2^exponent.
pub fn frexp(x: &Tensor) -> Result<(Tensor, Tensor)> {
    ensure!(x.dtype().is_float(), Runtime, "torch.frexp() only supports floating-point dtypes");
    let (m, e) = if gpu::holds(x) { gpu::numeric::frexp(&x.detach())? } else { frexp_on_host(x)? };
    let saved = save(&e);
    let m = record("FrexpBackward0", &[x], m, move |c, g| {
        let scale = ew::EXP2.call(&[Operand::T(copy::to_dtype(&saved.get(c)?, g.dtype())?)], &[], None)?;
        Ok(smallvec![Some(ew::div(g, &scale)?)])
    });
    Ok((m, e))
}

fn frexp_on_host(x: &Tensor) -> Result<(Tensor, Tensor)> {
    x.check_data("frexp")?;
    let wide = copy::contiguous(&copy::to_dtype(&x.detach(), Dtype::F64)?)?;
    let (m, e) = (wide.empty_like()?, Tensor::empty(x.shape(), Dtype::I32, Device::Cpu)?);
    for ((m, e), &v) in m.data_mut::<f64>().iter_mut().zip(e.data_mut::<i32>()).zip(wide.data::<f64>()) {
        (*m, *e) = split(v);
    }
    Ok((copy::to_dtype(&m, x.dtype())?, e))
}

fn split(v: f64) -> (f64, i32) {
    if v == 0.0 || !v.is_finite() {
        return (v, 0);
    }
    // Subnormal numbers are scaled up first.
    let (v, shift) = if v.abs() < f64::MIN_POSITIVE { (v * 2f64.powi(54), 54) } else { (v, 0) };
    let bits = v.to_bits();
    let e = ((bits >> 52) & 0x7ff) as i32 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), e - shift)
}

/// The logarithm of the multivariate gamma function: log(pi) p (p - 1) / 4 + sum over j < p of lgamma(x - j / 2).
pub fn mvlgamma(x: &Tensor, p: i64) -> Result<Tensor> {
    ensure!(p >= 1, Runtime, "p has to be greater than or equal to 1");
    ensure!(p < 1 << 20, Runtime, "mvlgamma: p = {p} is too large");
    ensure!(
        !matches!(x.dtype(), Dtype::Bool) && !x.dtype().is_complex(),
        Runtime,
        "mvlgamma(): not implemented for '{}'",
        x.dtype().scalar_name()
    );
    let x = if x.dtype().is_integral() { copy::to_dtype(x, crate::dtype::default_dtype())? } else { x.clone() };
    let mut sum: Option<Tensor> = None;
    for j in 0..p {
        let shifted = ew::ADD.call(&[Operand::T(x.clone()), Operand::S(Scalar::Float(-(j as f64) / 2.0))], &[], None)?;
        let term = ew::LGAMMA.call(&[Operand::T(shifted)], &[], None)?;
        sum = Some(match sum {
            Some(s) => ew::add(&s, &term)?,
            None => term,
        });
    }
    let constant = std::f64::consts::PI.ln() * (p * (p - 1)) as f64 / 4.0;
    ew::ADD.call(&[Operand::T(sum.expect("p is positive")), Operand::S(Scalar::Float(constant))], &[], None)
}

/// Writes `value` along the main diagonal; with `wrap` the diagonal of a tall matrix begins anew after each block.
fn fill_diagonal(x: &Tensor, value: Scalar, wrap: bool) -> Result<()> {
    ensure!(x.ndim() >= 2, Runtime, "dimensions must larger than 1");
    let (rows, cols) = (x.shape()[0], x.shape()[1]);
    ensure!(x.ndim() == 2 || x.shape().iter().all(|&s| s == rows), Runtime, "all dimensions of input must be of equal length");
    let write = |shape: &[usize], strides: &[isize], at: usize| -> Result<()> {
        let part = super::view::as_view_of(x, crate::layout::Layout::strided(shape, strides, at)?)?;
        copy::copy_(&part, &Tensor::full(&[], value, x.dtype(), x.device())?)
    };
    let step: isize = x.strides().iter().sum();
    let count = x.shape().iter().copied().min().unwrap_or(0);
    write(&[count], &[step], x.layout().offset)?;
    if wrap && x.ndim() == 2 {
        for start in (cols + 1..rows).step_by(cols + 1) {
            let at = x.layout().offset + start * x.strides()[0] as usize;
            write(&[cols.min(rows - start)], &[step], at)?;
        }
    }
    Ok(())
}

pub(super) fn register(r: &mut Registry) {
    r.op("m", "polygamma_(int n, Tensor self) -> Tensor", "polygamma in place.", |a| {
        ensure!(a.int(0) >= 0, Runtime, "polygamma(n, x) does not support negative n.");
        let r = ew::POLYGAMMA_ROW.call(&[a.operand(1).unwrap()], &[a.sc(0)], None)?;
        super::inplace::assign(a.t(1), r)?;
        Ok(a.t(1).clone().into())
    });
    r.op(
        "m",
        "fill_diagonal_(Tensor self, Scalar fill_value, bool wrap=False) -> Tensor",
        "Writes a value along the main diagonal.",
        |a| {
            fill_diagonal(a.t(0), a.sc(1), a.b(2))?;
            Ok(a.t(0).clone().into())
        },
    );
    r.op(
        "fm",
        "frexp(Tensor self) -> (Tensor mantissa, Tensor exponent)",
        "Mantissa in [0.5, 1) and exponent of each element.",
        |a| frexp(a.t(0)).map(Ret::from),
    );
    r.op(
        "fmi",
        "mvlgamma(Tensor self, int p) -> Tensor",
        "The logarithm of the multivariate gamma function of dimension p.",
        |a| mvlgamma(a.t(0), a.int(1)).map(Ret::from),
    );
    r.op(
        "s",
        "multigammaln(Tensor self, int p) -> Tensor",
        "The logarithm of the multivariate gamma function of dimension p.",
        |a| mvlgamma(a.t(0), a.int(1)).map(Ret::from),
    );
    r.op("s", "polygamma(int n, Tensor self) -> Tensor", "The n-th derivative of digamma.", |a| {
        ensure!(a.int(0) >= 0, Runtime, "polygamma(n, x) does not support negative n.");
        ew::POLYGAMMA_ROW.call(&[a.operand(1).unwrap()], &[a.sc(0)], None).map(Ret::from)
    });
    r.op(
        "m",
        "sum_to_size(Tensor self, int[] size) -> Tensor",
        "Summed over the dimensions that broadcasting would stretch.",
        |a| {
            let (x, size) = (a.t(0), sizes(a.ints(1))?);
            let lead = x.ndim().checked_sub(size.len());
            let fits = lead.is_some_and(|l| size.iter().zip(&x.shape()[l..]).all(|(&s, &n)| s == n || s == 1));
            ensure!(fits, Runtime, "size {{{}}} is not expandable to size {{{}}}.", show(&size), show(x.shape()));
            let size: Dims = size;
            reduce::sum_to(x, &size).map(Ret::from)
        },
    );
}
