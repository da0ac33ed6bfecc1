//! Complex numbers: parts, views, conjugates, and elementwise ops.
//!
//! Complex elementwise ops are made of real ones over the two parts, so that gradients come for free: the
//! gradient of a complex tensor has those of its parts as parts.

use super::elementwise::{self as ew, Row, mul};
use super::{Registry, Ret, copy, view};
use crate::autograd::{record, save};
use crate::device::Device;
use crate::dtype::{Dtype, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::{Layout, Strides, broadcast};
use crate::tensor::{Impl, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;
use std::sync::Arc;

/// Another look into the same memory with another dtype. Not a view as far as autograd is concerned.
fn look(x: &Tensor, layout: Layout, dtype: Dtype) -> Tensor {
    Tensor(Arc::new(Impl { storage: x.storage().clone(), layout, dtype, view_of: None, meta: Default::default() }))
}

/// The real or imaginary numbers of a complex tensor, in its memory. No history.
pub fn part(x: &Tensor, im: bool) -> Result<Tensor> {
    let l = x.layout();
    let strides: Strides = l.strides.iter().map(|s| 2 * s).collect();
    Ok(look(x, Layout::strided(&l.shape, &strides, 2 * l.offset + im as usize)?, x.dtype().to_real()))
}

/// A complex tensor as real numbers, in its memory, with a last dimension of 2. No history.
pub fn pairs(x: &Tensor) -> Result<Tensor> {
    let re = part(x, false)?;
    let (mut shape, mut strides) = (re.layout().shape.clone(), re.layout().strides.clone());
    shape.push(2);
    strides.push(1);
    Ok(look(x, Layout::strided(&shape, &strides, re.layout().offset)?, re.dtype()))
}

/// A (..., 2) tensor of reals over the memory of a complex one.
pub fn view_as_real(x: &Tensor) -> Result<Tensor> {
    ensure!(x.dtype().is_complex(), Runtime, "view_as_real is only supported for complex tensors");
    let out = pairs(x)?;
    Ok(record("ViewAsRealBackward0", &[x], out, |_, g| Ok(smallvec![Some(view_as_complex(&copy::contiguous(g)?)?)])))
}

/// A complex tensor over the memory of a (..., 2) tensor of reals.
pub fn view_as_complex(x: &Tensor) -> Result<Tensor> {
    ensure!(
        matches!(x.dtype(), Dtype::F32 | Dtype::F64),
        Runtime,
        "view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {}",
        x.dtype().scalar_name()
    );
    ensure!(x.ndim() > 0, Runtime, "Input tensor must have one or more dimensions");
    let last = x.ndim() - 1;
    ensure!(x.shape()[last] == 2, Runtime, "Tensor must have a last dimension of size 2");
    ensure!(x.strides()[last] == 1, Runtime, "Tensor must have a last dimension with stride 1");
    let even = x.strides()[..last].iter().zip(x.shape()).all(|(s, &n)| s % 2 == 0 || n <= 1);
    ensure!(even, Runtime, "Tensor must have a stride divisible by 2 for all but last dimension");
    ensure!(x.layout().offset.is_multiple_of(2), Runtime, "Tensor must have a storage_offset divisible by 2");
    let strides: Vec<isize> = x.strides()[..last].iter().map(|s| s / 2).collect();
    let out = look(x, Layout::strided(&x.shape()[..last], &strides, x.layout().offset / 2)?, x.dtype().to_complex());
    Ok(record("ViewAsComplexBackward0", &[x], out, |_, g| Ok(smallvec![Some(view_as_real(&copy::contiguous(g)?)?)])))
}

fn zeros_like(x: &Tensor) -> Result<Tensor> {
    Tensor::zeros(x.shape(), x.dtype(), x.device())
}

/// The real part, as a view; reals are their own.
pub fn real(x: &Tensor) -> Result<Tensor> {
    if !x.dtype().is_complex() {
        return Ok(x.clone());
    }
    let out = part(x, false)?;
    Ok(record("RealBackward0", &[x], out, |_, g| Ok(smallvec![Some(complex(g, &zeros_like(g)?)?)])))
}

/// The imaginary part, as a view.
pub fn imag(x: &Tensor) -> Result<Tensor> {
    ensure!(x.dtype().is_complex(), Runtime, "imag is not implemented for tensors with non-complex dtypes.");
    let out = part(x, true)?;
    Ok(record("ImagBackward0", &[x], out, |_, g| Ok(smallvec![Some(complex(&zeros_like(g)?, g)?)])))
}

/// re + i im.
pub fn complex(re: &Tensor, im: &Tensor) -> Result<Tensor> {
    let float = |t: &Tensor| matches!(t.dtype(), Dtype::F32 | Dtype::F64);
    ensure!(
        float(re) && float(im),
        Runtime,
        "Expected both inputs to be Half, Float or Double tensors but got {} and {}",
        re.dtype().scalar_name(),
        im.dtype().scalar_name()
    );
    ensure!(
        re.dtype() == im.dtype(),
        Runtime,
        "Expected object of scalar type {} but got scalar type {} for second argument",
        re.dtype().scalar_name(),
        im.dtype().scalar_name()
    );
    let shape = broadcast(re.shape(), im.shape())?;
    let out = Tensor::empty(&shape, re.dtype().to_complex(), re.device())?;
    if re.device() != Device::Meta {
        copy::copy_raw(&part(&out, false)?, &re.detach())?;
        copy::copy_raw(&part(&out, true)?, &im.detach())?;
    }
    let (dr, di) = (re.dims(), im.dims());
    Ok(record("ComplexBackward0", &[re, im], out, move |_, g| {
        Ok(smallvec![Some(super::reduce::sum_to(&real(g)?, &dr)?), Some(super::reduce::sum_to(&imag(g)?, &di)?)])
    }))
}

fn call1(row: &'static Row, x: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(x.clone())], &[], None)
}
fn call2(row: &'static Row, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(x.clone()), Operand::T(y.clone())], &[], None)
}
fn number(row: &'static Row, x: &Tensor, s: f64) -> Result<Tensor> {
    row.call(&[Operand::T(x.clone()), Operand::S(Scalar::Float(s))], &[], None)
}
fn choose(c: &Tensor, x: Operand, y: Operand) -> Result<Tensor> {
    ew::WHERE.call(&[Operand::T(c.clone()), x, y], &[], None)
}

/// The conjugate; reals are their own.
pub fn conj_physical(x: &Tensor) -> Result<Tensor> {
    if !x.dtype().is_complex() {
        return Ok(x.clone());
    }
    let out = crate::autograd::no_grad(|| complex(&real(x)?, &call1(&ew::NEG, &imag(x)?)?))?;
    Ok(record("ConjBackward0", &[x], out, |_, g| Ok(smallvec![Some(conj_physical(g)?)])))
}

/// The absolute value of a complex tensor; its gradient at 0 is 0.
fn abs(x: &Tensor) -> Result<Tensor> {
    let out = crate::autograd::no_grad(|| call2(&ew::HYPOT, &real(x)?, &imag(x)?))?;
    let sx = save(x);
    Ok(record("AbsBackward0", &[x], out, move |ctx, g| {
        let s = sign(&sx.get(ctx)?)?;
        Ok(smallvec![Some(mul(&s, g)?)])
    }))
}

/// x / |x|, and 0 for 0.
fn sign(x: &Tensor) -> Result<Tensor> {
    let (re, im) = (real(x)?, imag(x)?);
    let r = crate::autograd::no_grad(|| call2(&ew::HYPOT, &re, &im))?;
    let r = if crate::autograd::needs_grad(&[x]) { abs(x)? } else { r };
    let zero = number(&ew::EQ, &r, 0.0)?;
    let safe = copy::to_dtype(&choose(&zero, Operand::S(Scalar::Float(1.0)), Operand::T(r))?, re.dtype())?;
    let there = copy::to_dtype(&call1(&ew::LOGICAL_NOT, &zero)?, re.dtype())?;
    let part = |x: &Tensor| mul(&ew::div(x, &safe)?, &there);
    complex(&part(&re)?, &part(&im)?)
}

/// abs (cos angle + i sin angle).
pub fn polar(abs: &Tensor, angle: &Tensor) -> Result<Tensor> {
    let float = |t: &Tensor| matches!(t.dtype(), Dtype::F32 | Dtype::F64);
    ensure!(
        float(abs) && float(angle),
        Runtime,
        "Expected both inputs to be Half, Float or Double tensors but got {} and {}",
        abs.dtype().scalar_name(),
        angle.dtype().scalar_name()
    );
    ensure!(
        abs.dtype() == angle.dtype(),
        Runtime,
        "Expected object of scalar type {} but got scalar type {} for second argument",
        abs.dtype().scalar_name(),
        angle.dtype().scalar_name()
    );
    complex(&mul(abs, &call1(&ew::COS, angle)?)?, &mul(abs, &call1(&ew::SIN, angle)?)?)
}

fn angle(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_complex() {
        return call2(&ew::ATAN2, &imag(x)?, &real(x)?);
    }
    let d = if x.dtype().is_integral() { default_dtype() } else { x.dtype() };
    let x = copy::to_dtype(x, d)?;
    // pi for negative numbers; NaN stays, and the gradient is 0.
    let negative = number(&ew::LT, &x.detach(), 0.0)?;
    let finite = call1(&ew::ISNAN, &x.detach())?;
    let base = choose(&finite, Operand::T(x.clone()), Operand::S(Scalar::Float(0.0)))?;
    let out = choose(&negative, Operand::S(Scalar::Float(std::f64::consts::PI)), Operand::T(base))?;
    let out = copy::to_dtype(&out.detach(), d)?;
    Ok(record("AngleBackward0", &[&x], out, |_, g| Ok(smallvec![Some(ew::scale(g, 0.0)?)])))
}

/// The two parts of an operand in dtype `d`.
fn parts(o: &Operand, d: Dtype) -> Result<(Operand, Operand)> {
    Ok(match o {
        Operand::T(t) if t.dtype().is_complex() => {
            (Operand::T(copy::to_dtype(&real(t)?, d)?), Operand::T(copy::to_dtype(&imag(t)?, d)?))
        }
        Operand::T(t) => (Operand::T(copy::to_dtype(t, d)?), Operand::S(Scalar::Float(0.0))),
        Operand::S(Scalar::Complex(re, im)) => (Operand::S(Scalar::Float(*re)), Operand::S(Scalar::Float(*im))),
        Operand::S(s) => (Operand::S(Scalar::Float(s.f64())), Operand::S(Scalar::Float(0.0))),
    })
}

/// A complex number as two operands.
#[derive(Clone)]
struct Z(Operand, Operand);

fn op2(row: &'static Row, f: fn(f64, f64) -> f64, x: &Operand, y: &Operand) -> Result<Operand> {
    if let (Operand::S(a), Operand::S(b)) = (x, y) {
        return Ok(Operand::S(Scalar::Float(f(a.f64(), b.f64()))));
    }
    Ok(Operand::T(row.call(&[x.clone(), y.clone()], &[], None)?))
}
fn op1(row: &'static Row, f: fn(f64) -> f64, x: &Operand) -> Result<Operand> {
    match x {
        Operand::S(a) => Ok(Operand::S(Scalar::Float(f(a.f64())))),
        x => Ok(Operand::T(row.call(std::slice::from_ref(x), &[], None)?)),
    }
}
fn plus(x: &Operand, y: &Operand) -> Result<Operand> {
    op2(&ew::ADD, |a, b| a + b, x, y)
}
fn minus(x: &Operand, y: &Operand) -> Result<Operand> {
    op2(&ew::SUB, |a, b| a - b, x, y)
}
fn times(x: &Operand, y: &Operand) -> Result<Operand> {
    op2(&ew::MUL, |a, b| a * b, x, y)
}
fn over(x: &Operand, y: &Operand) -> Result<Operand> {
    op2(&ew::DIV, |a, b| a / b, x, y)
}
fn minus1(x: &Operand) -> Result<Operand> {
    op1(&ew::NEG, |a| -a, x)
}
fn constant(v: f64) -> Operand {
    Operand::S(Scalar::Float(v))
}

impl Z {
    fn number(v: f64) -> Z {
        Z(constant(v), constant(0.0))
    }
    fn add(&self, y: &Z) -> Result<Z> {
        Ok(Z(plus(&self.0, &y.0)?, plus(&self.1, &y.1)?))
    }
    fn sub(&self, y: &Z) -> Result<Z> {
        Ok(Z(minus(&self.0, &y.0)?, minus(&self.1, &y.1)?))
    }
    fn neg(&self) -> Result<Z> {
        Ok(Z(minus1(&self.0)?, minus1(&self.1)?))
    }
    fn mul(&self, y: &Z) -> Result<Z> {
        Ok(Z(minus(&times(&self.0, &y.0)?, &times(&self.1, &y.1)?)?, plus(&times(&self.0, &y.1)?, &times(&self.1, &y.0)?)?))
    }
    fn div(&self, y: &Z) -> Result<Z> {
        let n = plus(&times(&y.0, &y.0)?, &times(&y.1, &y.1)?)?;
        let z = self.mul(&Z(y.0.clone(), minus1(&y.1)?))?;
        Ok(Z(over(&z.0, &n)?, over(&z.1, &n)?))
    }
    /// A real factor, which keeps infinite parts apart from the others.
    fn scaled(&self, f: f64) -> Result<Z> {
        Ok(Z(times(&self.0, &constant(f))?, times(&self.1, &constant(f))?))
    }
    /// i z.
    fn turned(&self) -> Result<Z> {
        Ok(Z(minus1(&self.1)?, self.0.clone()))
    }
    fn exp(&self) -> Result<Z> {
        let r = op1(&ew::EXP, f64::exp, &self.0)?;
        Ok(Z(times(&r, &op1(&ew::COS, f64::cos, &self.1)?)?, times(&r, &op1(&ew::SIN, f64::sin, &self.1)?)?))
    }
    fn log(&self) -> Result<Z> {
        let r = op2(&ew::HYPOT, f64::hypot, &self.0, &self.1)?;
        Ok(Z(op1(&ew::LOG, f64::ln, &r)?, op2(&ew::ATAN2, f64::atan2, &self.1, &self.0)?))
    }
    fn sinh_cosh(&self, cosh: bool) -> Result<Z> {
        let (s, c) = (op1(&ew::SINH, f64::sinh, &self.0)?, op1(&ew::COSH, f64::cosh, &self.0)?);
        let (sin, cos) = (op1(&ew::SIN, f64::sin, &self.1)?, op1(&ew::COS, f64::cos, &self.1)?);
        Ok(if cosh { Z(times(&c, &cos)?, times(&s, &sin)?) } else { Z(times(&s, &cos)?, times(&c, &sin)?) })
    }
    /// exp(w log z), and 0 (or 1 for w = 0) at z = 0.
    fn pow(&self, w: &Z) -> Result<Z> {
        if let (Operand::S(re), Operand::S(im)) = (&w.0, &w.1)
            && im.f64() == 0.0
        {
            let n = re.f64();
            if n == 0.0 {
                return self.mul(&Z::number(0.0))?.add(&Z::number(1.0));
            }
            if n == 1.0 {
                return Ok(self.clone());
            }
            if n == 0.5 {
                return self.sqrt();
            }
            // Small whole powers by multiplication: exact at 0 and on the axes.
            if n.fract() == 0.0 && n.abs() <= 16.0 {
                let mut out = self.clone();
                for _ in 1..n.abs() as usize {
                    out = out.mul(self)?;
                }
                return if n > 0.0 { Ok(out) } else { Z::number(1.0).div(&out) };
            }
        }
        let out = self.log()?.mul(w)?.exp()?;
        // 0 to a power whose real part is positive.
        let zero = |o: &Operand, row: &'static Row| op2(row, |_, _| 0.0, o, &constant(0.0));
        let (Operand::T(re), Operand::T(im)) = (zero(&self.0, &ew::EQ)?, zero(&self.1, &ew::EQ)?) else { return Ok(out) };
        let mut at = call2(&ew::LOGICAL_AND, &re, &im)?;
        match &w.0 {
            Operand::S(s) if s.f64() <= 0.0 => return Ok(out),
            Operand::S(_) => {}
            Operand::T(t) => at = call2(&ew::LOGICAL_AND, &at, &number(&ew::GT, t, 0.0)?)?,
        }
        Ok(Z(Operand::T(choose(&at, constant(0.0), out.0)?), Operand::T(choose(&at, constant(0.0), out.1)?)))
    }
    /// The principal square root.
    fn sqrt(&self) -> Result<Z> {
        let r = op2(&ew::HYPOT, f64::hypot, &self.0, &self.1)?;
        let part = |sum: Operand| -> Result<Operand> {
            op1(&ew::SQRT, f64::sqrt, &times(&op1(&ew::RELU_ROW, |a| a.max(0.0), &sum)?, &constant(0.5))?)
        };
        let (re, im) = (part(plus(&r, &self.0)?)?, part(minus(&r, &self.0)?)?);
        Ok(Z(re, op2(&ew::COPYSIGN, f64::copysign, &im, &self.1)?))
    }
    fn tensor(self, d: Dtype) -> Result<Tensor> {
        let real = |o: Operand| match o {
            Operand::T(t) => copy::to_dtype(&t, d),
            Operand::S(s) => Ok(Tensor::scalar(s, d)),
        };
        complex(&real(self.0)?, &real(self.1)?)
    }
}

/// `self ** exponent` where either is complex.
pub fn pow(a: &Operand, b: &Operand) -> Result<Tensor> {
    let d = ew::result_type(&[a.clone(), b.clone()]).to_real();
    let z = |o: &Operand| parts(o, d).map(|(re, im)| Z(re, im));
    z(a)?.pow(&z(b)?)?.tensor(d)
}

/// Elements of x where the condition holds, else of y.
pub fn choose_complex(cond: &Tensor, x: &Operand, y: &Operand) -> Result<Tensor> {
    let d = ew::result_type(&[x.clone(), y.clone()]).to_real();
    let ((xr, xi), (yr, yi)) = (parts(x, d)?, parts(y, d)?);
    Z(Operand::T(choose(cond, xr, yr)?), Operand::T(choose(cond, xi, yi)?)).tensor(d)
}

/// A row of the elementwise table over operands of which at least one is complex.
pub fn elementwise(name: &str, operands: &[Operand], params: &[Scalar]) -> Result<Tensor> {
    let common = ew::result_type(operands);
    let d = common.to_real();
    if let [Operand::T(x)] = operands {
        match name {
            "abs" | "absolute" => return abs(x),
            "sgn" => return sign(x),
            "positive" => return Ok(view::alias(x)),
            _ => {}
        }
    }
    let mut z = Vec::with_capacity(operands.len());
    for o in operands {
        let (re, im) = parts(o, d)?;
        z.push(Z(re, im));
    }
    let param = |i: usize| -> Z {
        match params.get(i) {
            Some(Scalar::Complex(re, im)) => Z(constant(*re), constant(*im)),
            Some(s) => Z::number(s.f64()),
            None => Z::number(1.0),
        }
    };
    let bools = |row: &'static Row, join: &'static Row| -> Result<Tensor> {
        let f = |k: usize| -> Result<Tensor> {
            let list: Vec<Operand> = z.iter().map(|z| if k == 0 { z.0.clone() } else { z.1.clone() }).collect();
            // Two numbers compare as tensors.
            let list: Vec<Operand> = if list.iter().all(|o| matches!(o, Operand::S(_))) {
                list.into_iter().map(|o| if let Operand::S(s) = o { Operand::T(Tensor::scalar(s, d)) } else { o }).collect()
            } else {
                list
            };
            row.call(&list, &[], None)
        };
        call2(join, &f(0)?, &f(1)?)
    };
    let one = Z::number(1.0);
    let out = match name {
        "eq" => return bools(&ew::EQ, &ew::LOGICAL_AND),
        "ne" | "not_equal" => return bools(&ew::NE, &ew::LOGICAL_OR),
        "isnan" => return bools(&ew::ISNAN, &ew::LOGICAL_OR),
        "isinf" => return bools(&ew::ISINF, &ew::LOGICAL_OR),
        "isfinite" => return bools(&ew::ISFINITE, &ew::LOGICAL_AND),
        "logical_not" => return bools(&ew::LOGICAL_NOT, &ew::LOGICAL_AND),
        "logical_and" | "logical_or" | "logical_xor" => {
            let truth = |z: &Z| -> Result<Operand> {
                let t = z.clone().tensor(d)?;
                let zero = elementwise("logical_not", &[Operand::T(t)], &[])?;
                Ok(Operand::T(call1(&ew::LOGICAL_NOT, &zero)?))
            };
            let row: &'static Row = match name {
                "logical_and" => &ew::LOGICAL_AND,
                "logical_or" => &ew::LOGICAL_OR,
                _ => &ew::LOGICAL_XOR,
            };
            return row.call(&[truth(&z[0])?, truth(&z[1])?], &[], None);
        }
        "neg" | "negative" => z[0].neg()?,
        "add" => z[0].add(&if params.is_empty() { z[1].clone() } else { param(0).mul(&z[1])? })?,
        "sub" => z[0].sub(&if params.is_empty() { z[1].clone() } else { param(0).mul(&z[1])? })?,
        "rsub" => z[1].sub(&z[0])?,
        "mul" | "multiply" => z[0].mul(&z[1])?,
        "div" => z[0].div(&z[1])?,
        "reciprocal" => one.div(&z[0])?,
        "square" => z[0].mul(&z[0])?,
        "pow" => match (z.len(), params.len()) {
            (1, 0) => z[0].sqrt()?,
            (1, _) => z[0].pow(&param(0))?,
            _ => z[0].pow(&z[1])?,
        },
        "sqrt" => z[0].sqrt()?,
        "rsqrt" => one.div(&z[0].sqrt()?)?,
        "exp" => z[0].exp()?,
        "exp2" => z[0].scaled(std::f64::consts::LN_2)?.exp()?,
        "expm1" => z[0].exp()?.sub(&one)?,
        "log" => z[0].log()?,
        "log2" => z[0].log()?.scaled(1.0 / std::f64::consts::LN_2)?,
        "log10" => z[0].log()?.scaled(1.0 / std::f64::consts::LN_10)?,
        "log1p" => z[0].add(&one)?.log()?,
        "sinh" => z[0].sinh_cosh(false)?,
        "cosh" => z[0].sinh_cosh(true)?,
        "tanh" => z[0].sinh_cosh(false)?.div(&z[0].sinh_cosh(true)?)?,
        // sin z = -i sinh(i z), cos z = cosh(i z)
        "sin" => z[0].turned()?.sinh_cosh(false)?.turned()?.neg()?,
        "cos" => z[0].turned()?.sinh_cosh(true)?,
        "tan" => z[0].turned()?.sinh_cosh(false)?.turned()?.neg()?.div(&z[0].turned()?.sinh_cosh(true)?)?,
        "sigmoid" => one.div(&z[0].neg()?.exp()?.add(&one)?)?,
        "sinc" => bail!(NotImplemented, "\"sinc\" not implemented for '{}'", common.scalar_name()),
        "addcmul" => z[0].add(&param(0).mul(&z[1])?.mul(&z[2])?)?,
        "addcdiv" => z[0].add(&param(0).mul(&z[1].div(&z[2])?)?)?,
        "lerp" => z[0].add(&z[2].mul(&z[1].sub(&z[0])?)?)?,
        _ => bail!(NotImplemented, "\"{name}\" not implemented for '{}'", common.scalar_name()),
    };
    out.tensor(d)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "view_as_real(Tensor self) -> Tensor", "The parts of a complex tensor in a new last dimension, as a view.", |a| {
        view_as_real(a.t(0)).map(Ret::from)
    });
    r.op("fm", "view_as_complex(Tensor self) -> Tensor", "A complex tensor over pairs of reals, as a view.", |a| {
        view_as_complex(a.t(0)).map(Ret::from)
    });
    r.op("f", "real(Tensor self) -> Tensor", "The real part, as a view.", |a| real(a.t(0)).map(Ret::from));
    r.op("f", "imag(Tensor self) -> Tensor", "The imaginary part, as a view.", |a| imag(a.t(0)).map(Ret::from));
    r.op("p", "real(Tensor self) -> Tensor", "The real part, as a view.", |a| real(a.t(0)).map(Ret::from));
    r.op("p", "imag(Tensor self) -> Tensor", "The imaginary part, as a view.", |a| imag(a.t(0)).map(Ret::from));
    r.op("f", "complex(Tensor real, Tensor imag) -> Tensor", "real + i imag.", |a| complex(a.t(0), a.t(1)).map(Ret::from));
    r.op("f", "polar(Tensor abs, Tensor angle) -> Tensor", "Complex numbers from size and angle.", |a| {
        polar(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "conj(Tensor self) -> Tensor", "The conjugate.", |a| conj_physical(a.t(0)).map(Ret::from));
    r.op("fmi", "conj_physical(Tensor self) -> Tensor", "The conjugate.", |a| conj_physical(a.t(0)).map(Ret::from));
    r.op("fm", "resolve_conj(Tensor self) -> Tensor", "The tensor itself.", |a| Ok(a.t(0).clone().into()));
    r.op("fm", "resolve_neg(Tensor self) -> Tensor", "The tensor itself.", |a| Ok(a.t(0).clone().into()));
    r.op("fm", "is_conj(Tensor self) -> bool", "Whether a conjugation is pending: never.", |_| Ok(false.into()));
    r.op("fm", "is_neg(Tensor self) -> bool", "Whether a negation is pending: never.", |_| Ok(false.into()));
    r.op("fm", "angle(Tensor self) -> Tensor", "The angle of complex numbers.", |a| angle(a.t(0)).map(Ret::from));
    r.op("fm", "isreal(Tensor self) -> Tensor", "Whether the imaginary part is 0.", |a| {
        let x = a.t(0);
        if x.dtype().is_complex() {
            number(&ew::EQ, &imag(&x.detach())?, 0.0).map(Ret::from)
        } else {
            Ok(Tensor::full(x.shape(), true, Dtype::Bool, x.device())?.into())
        }
    });
}
