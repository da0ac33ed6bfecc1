//! Products added to something: linear, addmm, addmv, addr, addbmm, baddbmm, bilinear.

use super::super::elementwise::{ADD, MUL, add};
use super::super::{Args, Registry, Ret, activation, copy, inplace, reduce, view};
use super::{
    Onto, activates, bmm, check_bmm, check_mm, check_mv, column, conj, flat, matmul, mm, mt, multiply, mv, outer_mul,
    product_raw, reshaped,
};
use crate::autograd::{needs_grad, record, save};
use crate::cpu::gemm::Activation;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::Dims;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;

fn times(t: &Tensor, s: Scalar) -> Result<Tensor> {
    if s.f64() == 1.0 && !matches!(s, Scalar::Complex(..)) {
        return Ok(t.clone());
    }
    MUL.call(&[Operand::T(t.clone()), Operand::S(s)], &[], None)
}

/// A row-major copy of `t`, stretched to `shape`, to be added to.
fn start(t: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let expanded = t.detach().alias(t.layout().expand(shape)?);
    let out = Tensor::empty(shape, t.dtype(), t.device())?;
    copy::copy_raw(&out, &expanded)?;
    Ok(out)
}

/// `t`, stretched to `shape`, to be added to: as it is where it is a bias for each column.
fn onto(t: &Tensor, shape: &[usize]) -> Result<Onto> {
    if t.ndim() == 1 && shape.len() == 2 && t.shape()[0] == shape[1] {
        return Ok(Onto::Bias(t.clone(), None));
    }
    Ok(Onto::Own(start(t, shape)?))
}

type Three = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// `beta * input + alpha * f(a, b)` for a bilinear `f`; `raw` computes f, onto memory if it is given some.
fn affine(
    name: &'static str,
    [input, a, b]: [&Tensor; 3],
    shape: &[usize],
    (beta, alpha): (Scalar, Scalar),
    raw: impl Fn(&Tensor, &Tensor, Option<Onto>) -> Result<Tensor>,
    ga: Three,
    gb: Three,
) -> Result<Tensor> {
    for s in [beta, alpha] {
        ensure!(
            !(s.is_float() && a.dtype().is_integral()),
            Runtime,
            "For integral input tensors, argument {} must not be a floating point number.",
            if s == beta && beta.is_float() { "beta" } else { "alpha" }
        );
    }
    let expanded = input.detach().alias(input.layout().expand(shape)?);
    let plain = beta.f64() == 1.0 && alpha.f64() == 1.0;
    let out = if plain {
        raw(&a.detach(), &b.detach(), Some(onto(input, shape)?))?
    } else {
        let p = times(&raw(&a.detach(), &b.detach(), None)?, alpha)?;
        // A factor of 0 hides what the input holds, NaN too.
        if beta.f64() == 0.0 {
            p
        } else {
            copy::contiguous(&ADD.call(&[Operand::T(times(&expanded, beta)?), Operand::T(p)], &[], None)?)?
        }
    };
    if !needs_grad(&[input, a, b]) {
        return Ok(out);
    }
    let (sa, sb) = (b.requires_grad().then(|| save(a)), a.requires_grad().then(|| save(b)));
    let dims: [Dims; 3] = [input.dims(), a.dims(), b.dims()];
    Ok(record(name, &[input, a, b], out, move |ctx, g| {
        let gi = if ctx.needs(0) { Some(reduce::sum_to(&times(g, beta)?, &dims[0])?) } else { None };
        let gs = if ctx.needs(1) || ctx.needs(2) { times(g, alpha)? } else { g.clone() };
        let x = match &sb {
            Some(b) if ctx.needs(1) => Some(reduce::sum_to(&ga(&gs, &conj(b.get(ctx)?)?)?, &dims[1])?),
            _ => None,
        };
        let y = match &sa {
            Some(a) if ctx.needs(2) => Some(reduce::sum_to(&gb(&gs, &conj(a.get(ctx)?)?)?, &dims[2])?),
            _ => None,
        };
        Ok(smallvec![gi, x, y])
    }))
}

fn left(g: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiply(g, &mt(b)?)
}
fn right(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    multiply(&mt(a)?, g)
}

/// `beta * input + alpha * (a @ b)`.
pub fn addmm(input: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
    ensure!(a.ndim() == 2, Runtime, "mat1 must be a matrix, got {}-D tensor", a.ndim());
    ensure!(b.ndim() == 2, Runtime, "mat2 must be a matrix, got {}-D tensor", b.ndim());
    let shapes_fit = a.shape()[1] == b.shape()[0];
    if shapes_fit {
        ensure!(
            input.dtype() == b.dtype(),
            Runtime,
            "self and mat2 must have the same dtype, but got {} and {}",
            input.dtype().scalar_name(),
            b.dtype().scalar_name()
        );
        ensure!(
            a.dtype() == b.dtype(),
            Runtime,
            "mat1 and mat2 must have the same dtype, but got {} and {}",
            a.dtype().scalar_name(),
            b.dtype().scalar_name()
        );
    }
    check_mm(a, b)?;
    let shape = [a.shape()[0], b.shape()[1]];
    affine(
        "AddmmBackward0",
        [input, a, b],
        &shape,
        (beta, alpha),
        |a, b, init| product_raw(a, b, &[], init, "addmm_impl_cpu_"),
        left,
        right,
    )
}

/// relu, or gelu, of `beta * input + alpha * (a @ b)`; in the product itself where no gradient is wanted and `input` is a
/// bias for each column.
fn addmm_activation(input: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar, gelu: bool) -> Result<Tensor> {
    let plain = beta.f64() == 1.0 && alpha.f64() == 1.0 && input.ndim() == 1 && a.ndim() == 2 && b.ndim() == 2;
    let fits = plain && a.shape()[1] == b.shape()[0] && input.shape() == &b.shape()[1..];
    let alike = [a, b].iter().all(|t| t.dtype() == input.dtype() && t.device() == input.device());
    if fits && alike && activates(a.dtype(), a.device()) && !needs_grad(&[input, a, b]) {
        let then = if gelu { Activation::Gelu } else { Activation::Relu };
        let onto = Onto::Bias(input.detach(), Some(then));
        return product_raw(&a.detach(), &b.detach(), &[], Some(onto), "addmm_impl_cpu_");
    }
    let sum = addmm(input, a, b, beta, alpha)?;
    if gelu { activation::gelu(&sum, "none") } else { activation::relu(&sum) }
}

fn addmv(input: &Tensor, a: &Tensor, v: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
    ensure!(
        a.ndim() == 2 && v.ndim() == 1 && input.ndim() <= 1,
        Runtime,
        "vector + matrix @ vector expected, got {}, {}, {}",
        input.ndim(),
        a.ndim(),
        v.ndim()
    );
    let (m, k) = (a.shape()[0], a.shape()[1]);
    ensure!(
        k == v.shape()[0] && (input.numel() == m || input.numel() == 1),
        Runtime,
        "size mismatch, got input ({}), mat ({m}x{k}), vec ({})",
        input.size(0),
        v.shape()[0]
    );
    ensure!(
        input.dtype() == a.dtype() && v.dtype() == a.dtype(),
        Runtime,
        "addmv input tensors must have the same dtype, but got {}, {}, and {}",
        input.dtype().scalar_name(),
        a.dtype().scalar_name(),
        v.dtype().scalar_name()
    );
    check_mv(a, v)?;
    let raw = |a: &Tensor, v: &Tensor, init: Option<Onto>| {
        let init = match init {
            Some(Onto::Own(t)) => Some(Onto::Own(reshaped(t, &[m, 1], "")?)),
            other => other,
        };
        reshaped(product_raw(a, &column(v)?, &[], init, "addmv_impl_cpu")?, &[m], "")
    };
    affine("AddmvBackward0", [input, a, v], &[m], (beta, alpha), raw, outer_mul, |g, a| mv(&mt(a)?, g))
}

fn addr(input: &Tensor, u: &Tensor, v: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
    ensure!(u.ndim() == 1, Runtime, "addr: Expected 1-D argument vec1, but got {}-D", u.ndim());
    ensure!(v.ndim() == 1, Runtime, "addr: Expected 1-D argument vec2, but got {}-D", v.ndim());
    let shape = [u.shape()[0], v.shape()[0]];
    // Factors take part in promotion only by their category; the tensors promote among themselves.
    let expanded = view::expand(input, &shape)?;
    let integral = expanded.dtype().is_integral() && u.dtype().is_integral() && v.dtype().is_integral();
    for (s, name) in [(beta, "beta"), (alpha, "alpha")] {
        ensure!(
            !(s.is_float() && integral),
            Runtime,
            "For integral input tensors, argument {name} must not be a floating point number."
        );
    }
    let uv = times(&outer_mul(u, v)?, alpha)?;
    let out = if beta.f64() == 0.0 { uv } else { add(&times(&expanded, beta)?, &uv)? };
    if !needs_grad(&[input, u, v]) {
        return Ok(out);
    }
    let shell = out.detach();
    Ok(record("AddrBackward0", &[&out], shell, |_, g| Ok(smallvec![Some(g.clone())])))
}

fn baddbmm(input: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
    // Where the input does not fit, that is said first.
    input.layout().expand(&[a.size(0), a.size(1), b.size(2)])?;
    check_bmm(a, b).map_err(|e| if input.dtype() == a.dtype() && a.dtype() != b.dtype() { dtypes(input, a, b) } else { e })?;
    ensure!(input.dtype() == a.dtype(), Runtime, "{}", dtypes(input, a, b).message());
    let shape = [a.shape()[0], a.shape()[1], b.shape()[2]];
    let raw = |a: &Tensor, b: &Tensor, init| product_raw(a, b, &a.shape()[..1], init, "baddbmm");
    affine("BaddbmmBackward0", [input, a, b], &shape, (beta, alpha), raw, left, right)
}

fn dtypes(input: &Tensor, a: &Tensor, b: &Tensor) -> crate::error::Error {
    crate::err!(
        Runtime,
        "Input dtypes must be the same, got: input {}, batch1: {}, batch2: {}",
        input.dtype().cpp_name(),
        a.dtype().cpp_name(),
        b.dtype().cpp_name()
    )
}

fn addbmm(input: &Tensor, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<Tensor> {
    input.layout().expand(&[a.size(1), b.size(2)])?;
    ensure!(a.ndim() == 3, Runtime, "batch1 must be a 3D tensor");
    ensure!(b.ndim() == 3, Runtime, "batch2 must be a 3D tensor");
    let (x, y) = (a.shape(), b.shape());
    ensure!(x[0] == y[0], Runtime, "batch1 and batch2 must have same number of batches, got {} and {}", x[0], y[0]);
    ensure!(x[2] == y[1], Runtime, "Incompatible matrix sizes for bmm ({}x{} and {}x{})", x[1], x[2], y[1], y[2]);
    check_bmm(a, b)?;
    ensure!(input.dtype() == a.dtype(), Runtime, "{}", dtypes(input, a, b).message());
    let shape = [x[1], y[2]];
    // The sum over the batch is one product with the batch as part of the summed dimension.
    let raw = |a: &Tensor, b: &Tensor, init: Option<Onto>| {
        let rows = view::reshape_to(&view::permute(a, &[1, 0, 2])?, &[a.shape()[1], a.shape()[0] * a.shape()[2]])?;
        let cols = view::reshape_to(b, &[b.shape()[0] * b.shape()[1], b.shape()[2]])?;
        product_raw(&rows.detach(), &cols.detach(), &[], init, "addbmm")
    };
    affine("AddbmmBackward0", [input, a, b], &shape, (beta, alpha), raw, left, right)
}

// ---- layers ----

/// `x @ weight.T + bias` over the last dimension of `x`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if x.ndim() == 0 || weight.ndim() == 0 {
        bail!(Runtime, "both arguments to linear need to be at least 1D, but they are {}D and {}D", x.ndim(), weight.ndim());
    }
    if weight.ndim() != 2 || x.device() != weight.device() {
        let wt = view::t(weight)?;
        return match bias {
            None => matmul(x, &wt),
            Some(_) if weight.ndim() == 1 => bail!(Runtime, "mat2 must be a matrix, got 1-D tensor"),
            Some(b) => add(&matmul(x, &wt)?, b),
        };
    }
    let (n, k) = (weight.shape()[0], weight.shape()[1]);
    let lead = &x.shape()[..x.ndim() - 1];
    let rows: usize = lead.iter().product();
    let kx = x.shape()[x.ndim() - 1];
    ensure!(k == kx, Runtime, "mat1 and mat2 shapes cannot be multiplied ({rows}x{kx} and {k}x{n})");
    let (xd, wd) = (x.dtype(), weight.dtype());
    match bias {
        Some(b) => {
            ensure!(
                b.dtype() == wd,
                Runtime,
                "self and mat2 must have the same dtype, but got {} and {}",
                b.dtype().scalar_name(),
                wd.scalar_name()
            );
            ensure!(
                xd == wd,
                Runtime,
                "mat1 and mat2 must have the same dtype, but got {} and {}",
                xd.scalar_name(),
                wd.scalar_name()
            );
        }
        None => ensure!(
            xd == wd,
            Runtime,
            "expected m1 and m2 to have the same dtype, but got: {} != {}",
            xd.cpp_name(),
            wd.cpp_name()
        ),
    }
    // Rows, without a copy where the strides allow it.
    let x2 = if x.ndim() == 2 {
        x.detach()
    } else {
        match x.layout().view(&[rows, kx])? {
            Some(l) => x.detach().alias(l),
            None => flat(&x.detach())?,
        }
    };
    let w = weight.detach();
    let wt = w.alias(crate::layout::Layout::strided(&[k, n], &[w.strides()[1], w.strides()[0]], w.layout().offset)?);
    let init = match bias {
        Some(b) => Some(onto(b, &[rows, n])?),
        None => None,
    };
    let out = product_raw(&x2, &wt, &[], init, "addmm_impl_cpu_")?;
    let shape: Option<Dims> = (x.ndim() != 2).then(|| {
        let mut s: Dims = lead.into();
        s.push(n);
        s
    });
    let tracked = needs_grad(&[x, weight]) || bias.is_some_and(|b| needs_grad(&[b]));
    let (inner, outer) = match (bias.is_some(), x.ndim()) {
        (true, _) => ("AddmmBackward0", "ViewBackward0"),
        (false, 1) => ("MmBackward0", "SqueezeBackward4"),
        (false, _) => ("MmBackward0", "UnsafeViewBackward0"),
    };
    if !tracked {
        return match &shape {
            Some(s) => reshaped(out, s, outer),
            None => Ok(out),
        };
    }
    let (sx, sw) = (weight.requires_grad().then(|| save(x)), x.requires_grad().then(|| save(weight)));
    let (dims, bias_dims) = (x.dims(), bias.map(Tensor::dims));
    let back = move |ctx: &crate::autograd::Ctx, g: &Tensor, at: usize| -> Result<crate::autograd::Grads> {
        let gx = match &sw {
            Some(w) if ctx.needs(at) => Some(view::reshape_to(&mm(g, &conj(w.get(ctx)?)?)?, &dims)?),
            _ => None,
        };
        let gw = match &sx {
            Some(x) if ctx.needs(at + 1) => Some(mm(&mt(g)?, &conj(flat(&x.get(ctx)?)?)?)?),
            _ => None,
        };
        Ok(match &bias_dims {
            None => smallvec![gx, gw],
            Some(d) => smallvec![if ctx.needs(0) { Some(reduce::sum_to(g, d)?) } else { None }, gx, gw],
        })
    };
    let out = match bias {
        Some(b) => record(inner, &[b, x, weight], out, move |ctx, g| back(ctx, g, 1)),
        None => record(inner, &[x, weight], out, move |ctx, g| back(ctx, g, 0)),
    };
    match &shape {
        Some(s) => reshaped(out, s, outer),
        None => Ok(out),
    }
}

/// `out[..., o] = x1 @ weight[o] @ x2 + bias[o]`.
fn bilinear(x1: &Tensor, x2: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    ensure!(x1.ndim() == x2.ndim(), Runtime, "bilinear(): input dimensions do not match: got {} and {}", x1.ndim(), x2.ndim());
    ensure!(x1.ndim() > 0, Runtime, "bilinear(): inputs must have at least one dimension");
    let last = x1.ndim() - 1;
    for i in 0..last {
        let (p, q) = (x1.shape()[i], x2.shape()[i]);
        ensure!(p == q, Runtime, "bilinear(): input batch dimensions do not match at dim {i}: got {p} and {q}");
    }
    for (name, x, d) in [("input1", x1, 1), ("input2", x2, 2)] {
        let (got, want) = (x.shape()[last], w.size(d));
        ensure!(got == want, Runtime, "bilinear(): {name} size does not match weight size: got {got} but expected {want}");
    }
    ensure!(w.ndim() == 3, Runtime, "bilinear(): weight must have 3 dimensions, got {}", w.ndim());
    let (o, p, q) = (w.shape()[0], w.shape()[1], w.shape()[2]);
    if let Some(b) = bias {
        ensure!(b.size(0) == o, Runtime, "bilinear(): bias size does not match weight size: got {} but expected {o}", b.size(0));
    }
    let (r1, r2) = (flat(x1)?, flat(x2)?);
    let rows = r1.shape()[0];
    // x1 against every weight at once: (rows, o, q), then with x2 as columns.
    let w2 = view::reshape_to(&view::permute(w, &[1, 0, 2])?, &[p, o * q])?;
    let t = view::reshape_to(&mm(&r1, &w2)?, &[rows, o, q])?;
    let out = bmm(&t, &view::unsqueeze(&r2, 2)?)?;
    let mut shape: Dims = x1.shape()[..last].into();
    shape.push(o);
    let out = view::reshape_to(&out, &shape)?;
    match bias {
        Some(b) => add(&out, b),
        None => Ok(out),
    }
}

/// An op of this file called with `beta` and `alpha` as arguments 3 and 4.
fn with_factors(a: &Args, f: fn(&Tensor, &Tensor, &Tensor, Scalar, Scalar) -> Result<Tensor>) -> Result<Tensor> {
    f(a.t(0), a.t(1), a.t(2), a.sc(3), a.sc(4))
}

macro_rules! factored {
    ($r:ident, $name:literal, $x:literal, $y:literal, $f:ident, $doc:literal) => {
        $r.op(
            "fm",
            concat!($name, "(Tensor self, Tensor ", $x, ", Tensor ", $y, ", *, Scalar beta=1, Scalar alpha=1) -> Tensor"),
            $doc,
            |a| with_factors(a, $f).map(Ret::from),
        );
        $r.op(
            "m",
            concat!($name, "_(Tensor self, Tensor ", $x, ", Tensor ", $y, ", *, Scalar beta=1, Scalar alpha=1) -> Tensor"),
            $doc,
            |a| {
                inplace::check_writable(a.t(0))?;
                inplace::assign(a.t(0), with_factors(a, $f)?)?;
                Ok(a.t(0).clone().into())
            },
        );
        $r.op(
            "f",
            concat!($name, "(Scalar beta, Tensor self, Scalar alpha, Tensor ", $x, ", Tensor ", $y, ") -> Tensor"),
            $doc,
            |a| $f(a.t(1), a.t(3), a.t(4), a.sc(0), a.sc(2)).map(Ret::from),
        );
        $r.op("f", concat!($name, "(Scalar beta, Tensor self, Tensor ", $x, ", Tensor ", $y, ") -> Tensor"), $doc, |a| {
            $f(a.t(1), a.t(2), a.t(3), a.sc(0), Scalar::Int(1)).map(Ret::from)
        });
    };
}

pub(super) fn register(r: &mut Registry) {
    factored!(r, "addmm", "mat1", "mat2", addmm, "beta * self + alpha * (mat1 @ mat2).");
    factored!(r, "addmv", "mat", "vec", addmv, "beta * self + alpha * (mat @ vec).");
    factored!(r, "addr", "vec1", "vec2", addr, "beta * self + alpha * outer(vec1, vec2).");
    factored!(r, "addbmm", "batch1", "batch2", addbmm, "beta * self + alpha * sum of the products of the batches.");
    factored!(r, "baddbmm", "batch1", "batch2", baddbmm, "beta * self + alpha * (batch1 @ batch2).");
    r.op(
        "f",
        "_addmm_activation(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1, bool use_gelu=False) -> Tensor",
        "relu, or gelu, of beta * self + alpha * (mat1 @ mat2), in one pass.",
        |a| addmm_activation(a.t(0), a.t(1), a.t(2), a.sc(3), a.sc(4), a.b(5)).map(Ret::from),
    );
    r.op("n", "linear(Tensor self, Tensor weight, Tensor? bias=None) -> Tensor", "self @ weight.T + bias.", |a| {
        linear(a.t(0), a.t(1), a.ot(2)).map(Ret::from)
    });
    for places in ["n", "f"] {
        r.op(
            places,
            "bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None) -> Tensor",
            "input1 @ weight[o] @ input2 + bias[o] for every o.",
            |a| bilinear(a.t(0), a.t(1), a.t(2), a.ot(3)).map(Ret::from),
        );
    }
}
