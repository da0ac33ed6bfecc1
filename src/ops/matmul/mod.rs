//! Matrix products: matmul in all ranks, the BLAS-like family around it, einsum, distances.

mod affine;
mod distance;
mod einsum;
mod products;

pub use affine::{addmm, linear};
pub use einsum::{einsum, tensordot};
pub use products::{kron, matrix_power, multi_dot, stack};

use super::elementwise::mul;
use super::{Registry, Ret, copy, reduce, view};
use crate::autograd::{needs_grad, record, save};
use crate::cpu::gemm::{self, Activation};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, Layout, broadcast, show};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

// ---- bare products ----

/// A matrix of a product: address, row and column stride in elements.
type Mat = (*mut u8, isize, isize);

/// What a product is added to.
#[derive(Clone, Copy)]
enum Start {
    Nothing,
    /// What the result's memory holds.
    Result,
    /// A bias for each column, contiguous, and what follows; for a single product of floats.
    Bias(*const u8, Option<Activation>),
}

/// The tensor that a product is added to.
pub enum Onto {
    /// Of the result's shape and dtype, contiguous and the caller's own: it becomes the result.
    Own(Tensor),
    /// A bias for each column, of the result's dtype, and perhaps an activation of the sums: for a single product that
    /// [`activates`].
    Bias(Tensor, Option<Activation>),
}

/// Whether a product takes a bias and an activation with it.
fn activates(dtype: Dtype, device: Device) -> bool {
    device == Device::Cpu && matches!(dtype, Dtype::F32 | Dtype::F64)
}

/// `a @ b`, added to what `start` says.
///
/// # Safety
/// The three matrices lie inside live memory of that dtype; those of `c` overlap nothing.
unsafe fn product(
    dtype: Dtype,
    m: usize,
    n: usize,
    k: usize,
    a: Mat,
    b: Mat,
    c: Mat,
    batch: (usize, isize, isize, isize),
    start: Start,
) {
    let accumulate = matches!(start, Start::Result);
    macro_rules! go {
        ($one:ident, $many:ident, $t:ty) => {{
            let (p, q, r) = (a.0 as *const $t, b.0 as *const $t, c.0 as *mut $t);
            // SAFETY: by the caller.
            unsafe {
                if batch.0 == 1 {
                    gemm::$one::<$t>(m, n, k, p, a.1, a.2, q, b.1, b.2, r, c.1, c.2, accumulate)
                } else {
                    gemm::$many::<$t>(
                        batch.0, m, n, k, p, batch.1, a.1, a.2, q, batch.2, b.1, b.2, r, batch.3, c.1, c.2, accumulate,
                    )
                }
            }
        }};
    }
    // Half precision; the result is row-major.
    macro_rules! narrow {
        ($t:ty) => {{
            let (p, q, r) = (a.0 as *const $t, b.0 as *const $t, c.0 as *mut $t);
            // SAFETY: by the caller.
            unsafe { gemm::batched_gemm_narrow(batch.0, m, n, k, p, batch.1, a.1, a.2, q, batch.2, b.1, b.2, r, accumulate) }
        }};
    }
    macro_rules! float {
        ($t:ty) => {
            match start {
                // SAFETY: by the caller; a bias has `n` elements.
                Start::Bias(bias, activation) => unsafe {
                    let (p, q, r) = (a.0 as *const $t, b.0 as *const $t, c.0 as *mut $t);
                    gemm::gemm_bias::<$t>(m, n, k, p, a.1, a.2, q, b.1, b.2, r, c.1, c.2, bias.cast(), activation)
                },
                _ => go!(gemm, batched_gemm, $t),
            }
        };
    }
    match dtype {
        Dtype::F32 => float!(f32),
        Dtype::F64 => float!(f64),
        Dtype::U8 => go!(gemm_int, batched_gemm_int, u8),
        Dtype::I8 => go!(gemm_int, batched_gemm_int, i8),
        Dtype::I16 => go!(gemm_int, batched_gemm_int, i16),
        Dtype::I32 => go!(gemm_int, batched_gemm_int, i32),
        Dtype::I64 => go!(gemm_int, batched_gemm_int, i64),
        // SAFETY: by the caller.
        Dtype::C64 => unsafe { complex_product::<f32>(m, n, k, a, b, c, batch, accumulate) },
        // SAFETY: by the caller.
        Dtype::C128 => unsafe { complex_product::<f64>(m, n, k, a, b, c, batch, accumulate) },
        Dtype::F16 => narrow!(half::f16),
        Dtype::BF16 => narrow!(half::bf16),
        Dtype::Bool => unreachable!("refused before"),
    }
}

/// Complex matrices as two interleaved real ones: (ar + i ai)(br + i bi).
///
/// # Safety
/// As for [`product`], `T` being half of the element type.
unsafe fn complex_product<T: gemm::GemmScalar + std::ops::Neg<Output = T>>(
    m: usize,
    n: usize,
    k: usize,
    a: Mat,
    b: Mat,
    c: Mat,
    batch: (usize, isize, isize, isize),
    accumulate: bool,
) {
    for i in 0..batch.0 as isize {
        let at = |x: Mat, s: isize| ((x.0 as *mut T).wrapping_offset(2 * i * s), 2 * x.1, 2 * x.2);
        let ((a, ra, ca), (b, rb, cb), (c, rc, cc)) = (at(a, batch.1), at(b, batch.2), at(c, batch.3));
        let part = |p: *mut T, im: bool| p.wrapping_add(im as usize);
        let go = |ai: bool, bi: bool, ci: bool, acc: bool| {
            // SAFETY: the parts of the elements the caller vouches for.
            unsafe { gemm::gemm::<T>(m, n, k, part(a, ai), ra, ca, part(b, bi), rb, cb, part(c, ci), rc, cc, acc) }
        };
        let flip = || {
            for i in 0..m as isize {
                for j in 0..n as isize {
                    // SAFETY: an element of c.
                    unsafe {
                        let p = c.wrapping_offset(i * rc + j * cc);
                        *p = -*p;
                    }
                }
            }
        };
        if accumulate {
            flip();
        }
        go(true, true, false, accumulate);
        flip();
        go(false, false, false, true);
        go(false, true, true, accumulate);
        go(true, false, true, true);
    }
}

fn same_device(a: &Tensor, b: &Tensor) -> Result<Device> {
    a.device().check_same(b.device())?;
    Ok(a.device())
}

/// The product of the last two dimensions of `a` and `b`, whose leading ones broadcast to `batch`, onto `init`.
fn product_raw(a: &Tensor, b: &Tensor, batch: &[usize], init: Option<Onto>, op: &str) -> Result<Tensor> {
    let dtype = a.dtype();
    ensure!(dtype != Dtype::Bool, NotImplemented, "\"{op}\" not implemented for 'Bool'");
    let device = same_device(a, b)?;
    let (m, k) = (a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1]);
    let n = b.shape()[b.ndim() - 1];
    let make = |dtype| {
        let mut shape: Dims = batch.into();
        shape.extend_from_slice(&[m, n]);
        Tensor::empty(&shape, dtype, device)
    };
    if device == Device::Meta {
        return make(dtype);
    }
    if device != Device::Cpu {
        let (out, start) = match init {
            None => (make(dtype)?, gpu::matmul::Start::Nothing),
            Some(Onto::Own(t)) => (t, gpu::matmul::Start::Result),
            Some(Onto::Bias(t, _)) => (make(dtype)?, gpu::matmul::Start::Bias(t.detach())),
        };
        gpu::matmul::product(a, b, batch, &out, start)?;
        return Ok(out);
    }
    let mut bias = None;
    let (out, mut start) = match init {
        None => (make(dtype)?, Start::Nothing),
        Some(Onto::Own(t)) => (t, Start::Result),
        Some(Onto::Bias(t, activation)) => {
            let out = make(dtype)?;
            let fused = activates(dtype, device) && batch.is_empty();
            if fused {
                bias = Some((copy::contiguous(&t.detach())?, activation));
            } else {
                copy::copy_raw(&out, &t.detach().alias(t.layout().expand(out.shape())?))?;
            }
            (out, if fused { Start::Nothing } else { Start::Result })
        }
    };
    if let Some((bias, activation)) = &bias {
        start = Start::Bias(bias.ptr(), *activation);
    }
    if out.numel() == 0 {
        return Ok(out);
    }
    // Operands are only read; one type serves all three matrices.
    let mat = |t: &Tensor| (t.ptr().cast_mut(), t.strides()[t.ndim() - 2], t.strides()[t.ndim() - 1]);
    let (ma, mb, mc) = (mat(a), mat(b), (out.ptr_mut(), n as isize, 1));
    if batch.is_empty() {
        // SAFETY: whole operands, checked shapes; `out` is fresh or the caller's own.
        unsafe { product(dtype, m, n, k, ma, mb, mc, (1, 0, 0, 0), start) };
        return Ok(out);
    }
    // Batch dimensions as (size, stride in a, stride in b), neighbours joined where they form one.
    let mut axes: SmallVec<[(usize, isize, isize); 4]> = SmallVec::new();
    for d in 0..batch.len() {
        let stride = |t: &Tensor| {
            let lead = batch.len() + 2 - t.ndim();
            if d < lead || t.shape()[d - lead] == 1 { 0 } else { t.strides()[d - lead] }
        };
        let (size, sa, sb) = (batch[d], stride(a), stride(b));
        match axes.last_mut() {
            _ if size == 1 => {}
            Some((s, pa, pb)) if *pa == sa * size as isize && *pb == sb * size as isize => (*s, *pa, *pb) = (*s * size, sa, sb),
            _ => axes.push((size, sa, sb)),
        }
    }
    let (inner, ia, ib) = axes.pop().unwrap_or((1, 0, 0));
    let outer: usize = axes.iter().map(|a| a.0).product();
    let (size, step) = (dtype.size() as isize, (m * n) as isize);
    for o in 0..outer {
        let (mut pa, mut pb, mut rest) = (0, 0, o);
        for &(s, sa, sb) in axes.iter().rev() {
            let i = (rest % s) as isize;
            (pa, pb, rest) = (pa + i * sa, pb + i * sb, rest / s);
        }
        let at = |x: Mat, by: isize| (x.0.wrapping_offset(by * size), x.1, x.2);
        let c = at(mc, (o * inner) as isize * step);
        // SAFETY: as above, for one run of matrices.
        unsafe { product(dtype, m, n, k, at(ma, pa), at(mb, pb), c, (inner, ia, ib, step), start) };
    }
    Ok(out)
}

// ---- gradients of bilinear maps ----

/// The gradient of one operand from that of the result and the other operand.
type Back = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// The complex conjugate where there is one.
fn conj(t: Tensor) -> Result<Tensor> {
    if t.dtype().is_complex() { super::complex::conj_physical(&t) } else { Ok(t) }
}

/// Records a product, linear in `a` and in `b`.
fn record_bilinear(name: &'static str, a: &Tensor, b: &Tensor, out: Tensor, ga: Back, gb: Back) -> Tensor {
    if !needs_grad(&[a, b]) {
        return out;
    }
    let (sa, sb) = (b.requires_grad().then(|| save(a)), a.requires_grad().then(|| save(b)));
    let (da, db) = (a.dims(), b.dims());
    record(name, &[a, b], out, move |ctx, g| {
        let side = |i: usize, other: &Option<crate::autograd::Saved>, back: Back, dims: &Dims| -> Result<Option<Tensor>> {
            match other {
                Some(o) if ctx.needs(i) => Ok(Some(reduce::sum_to(&back(g, &conj(o.get(ctx)?)?)?, dims)?)),
                _ => Ok(None),
            }
        };
        Ok(smallvec![side(0, &sb, ga, &da)?, side(1, &sa, gb, &db)?])
    })
}

/// The last two dimensions exchanged.
pub fn mt(x: &Tensor) -> Result<Tensor> {
    view::transpose(x, -2, -1)
}

fn left(g: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiply(g, &mt(b)?)
}
fn right(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    multiply(&mt(a)?, g)
}
/// As [`right`], laid out by columns, as the operand was: the gradient of a weight used transposed.
fn right_by_columns(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    mt(&multiply(&mt(g)?, a)?)
}

/// `out` under another shape as the result of a node of its own; for fresh results only.
fn reshaped(out: Tensor, shape: &[usize], name: &'static str) -> Result<Tensor> {
    let same = Tensor::from_parts(out.storage().clone(), out.layout().view(shape)?.expect("contiguous"), out.dtype());
    if !needs_grad(&[&out]) {
        return Ok(same);
    }
    let back = out.dims();
    Ok(record(name, &[&out], same, move |_, g| Ok(smallvec![Some(view::reshape_to(g, &back)?)])))
}

// ---- products with autograd ----

fn check_mm(a: &Tensor, b: &Tensor) -> Result<()> {
    ensure!(
        a.shape()[1] == b.shape()[0],
        Runtime,
        "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
        a.shape()[0],
        a.shape()[1],
        b.shape()[0],
        b.shape()[1]
    );
    check_mm_dtype(a, b)
}

fn check_mm_dtype(a: &Tensor, b: &Tensor) -> Result<()> {
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "expected m1 and m2 to have the same dtype, but got: {} != {}",
        a.dtype().cpp_name(),
        b.dtype().cpp_name()
    );
    Ok(())
}

fn by_columns(b: &Tensor) -> bool {
    b.ndim() == 2 && b.strides()[0] == 1 && b.strides()[1] != 1
}

/// The product of two matrices.
pub fn mm(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    ensure!(a.ndim() == 2, Runtime, "self must be a matrix");
    ensure!(b.ndim() == 2, Runtime, "mat2 must be a matrix");
    check_mm(a, b)?;
    let out = product_raw(a, b, &[], None, "addmm_impl_cpu_")?;
    Ok(record_bilinear("MmBackward0", a, b, out, left, if by_columns(b) { right_by_columns } else { right }))
}

fn bmm_dtype(a: &Tensor, b: &Tensor) -> Result<()> {
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "expected scalar type {} but found {}",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    Ok(())
}

fn check_bmm(a: &Tensor, b: &Tensor) -> Result<()> {
    ensure!(a.ndim() == 3, Runtime, "batch1 must be a 3D tensor");
    ensure!(b.ndim() == 3, Runtime, "batch2 must be a 3D tensor");
    let (x, y) = (a.shape(), b.shape());
    ensure!(
        x[0] == y[0] && x[2] == y[1],
        Runtime,
        "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}].",
        x[0],
        x[2],
        y[0],
        y[1]
    );
    bmm_dtype(a, b)
}

/// Products of two batches of matrices.
pub fn bmm(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    check_bmm(a, b)?;
    let out = product_raw(a, b, &a.shape()[..1], None, "bmm")?;
    Ok(record_bilinear("BmmBackward0", a, b, out, left, right))
}

fn check_mv(a: &Tensor, v: &Tensor) -> Result<()> {
    ensure!(a.ndim() == 2 && v.ndim() == 1, Runtime, "vector + matrix @ vector expected, got 1, {}, {}", a.ndim(), v.ndim());
    let (m, k) = (a.shape()[0], a.shape()[1]);
    ensure!(k == v.shape()[0], Runtime, "size mismatch, got input ({m}), mat ({m}x{k}), vec ({})", v.shape()[0]);
    ensure!(
        a.dtype() == v.dtype(),
        Runtime,
        "addmv input tensors must have the same dtype, but got {}, {}, and {}",
        v.dtype().scalar_name(),
        a.dtype().scalar_name(),
        v.dtype().scalar_name()
    );
    Ok(())
}

/// A vector as a matrix with one column; no history.
fn column(v: &Tensor) -> Result<Tensor> {
    let (n, s) = (v.shape()[0], v.strides()[0]);
    Ok(v.detach().alias(Layout::strided(&[n, 1], &[s, 1], v.layout().offset)?))
}

/// A vector as a matrix with one row; no history.
fn row(v: &Tensor) -> Result<Tensor> {
    let (n, s) = (v.shape()[0], v.strides()[0]);
    Ok(v.detach().alias(Layout::strided(&[1, n], &[n as isize, s], v.layout().offset)?))
}

/// `u` as a column times `v` as a row; differentiable.
fn outer_mul(u: &Tensor, v: &Tensor) -> Result<Tensor> {
    mul(&view::unsqueeze(u, 1)?, v)
}
fn mv_right(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    mv(&mt(a)?, g)
}

/// A matrix times a vector.
pub fn mv(a: &Tensor, v: &Tensor) -> Result<Tensor> {
    check_mv(a, v)?;
    let out = product_raw(&a.detach(), &column(v)?, &[], None, "addmv_impl_cpu")?;
    let out = reshaped(out, &a.shape()[..1], "")?;
    Ok(record_bilinear("MvBackward0", a, v, out, outer_mul, mv_right))
}

fn check_dot(a: &Tensor, b: &Tensor, op: &str) -> Result<()> {
    ensure!(a.ndim() == 1 && b.ndim() == 1, Runtime, "1D tensors expected, but got {}D and {}D tensors", a.ndim(), b.ndim());
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "{op} : expected both vectors to have same dtype, but found {} and {}",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    ensure!(
        a.shape() == b.shape(),
        Runtime,
        "inconsistent tensor size, expected tensor [{}] and src [{}] to have the same number of elements, but got {} and {} elements respectively",
        a.numel(),
        b.numel(),
        a.numel(),
        b.numel()
    );
    Ok(())
}

fn dot_named(a: &Tensor, b: &Tensor, name: &'static str, op: &str) -> Result<Tensor> {
    check_dot(a, b, op)?;
    let out = product_raw(&row(a)?, &column(b)?, &[], None, op)?;
    Ok(record_bilinear(name, a, b, reshaped(out, &[], "")?, mul, mul))
}

/// The inner product of two vectors.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    dot_named(a, b, "DotBackward0", "dot")
}

/// [`dot`] with the first vector conjugated.
pub fn vdot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    check_dot(a, b, "vdot")?;
    dot_named(&conj(a.clone())?, b, "VdotBackward0", "vdot")
}

// ---- matmul ----

/// All leading dimensions as one; differentiable.
fn flat(x: &Tensor) -> Result<Tensor> {
    let last = x.size(x.ndim() - 1);
    view::reshape_to(x, &[x.shape()[..x.ndim() - 1].iter().product(), last])
}

/// `g` (..., m, n) and `b` (..., k, n) to (m, k), summed over the batch: one long product.
fn left_summed(g: &Tensor, b: &Tensor) -> Result<Tensor> {
    let long = |x: &Tensor| -> Result<Tensor> {
        let n = x.ndim() as i64;
        let order: SmallVec<[i64; 8]> = std::iter::once(n - 2).chain(0..n - 2).chain(std::iter::once(n - 1)).collect();
        let rows = x.shape()[x.ndim() - 2];
        let cols = x.shape()[..x.ndim() - 2].iter().product::<usize>() * x.size(x.ndim() - 1);
        view::reshape_to(&view::permute(x, &order)?, &[rows, cols])
    };
    let (g, b) = (long(g)?, long(b)?);
    mm(&g, &mt(&b)?)
}
fn right_flat(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    mm(&mt(&flat(a)?)?, &flat(g)?)
}
fn right_flat_by_columns(g: &Tensor, a: &Tensor) -> Result<Tensor> {
    mt(&mm(&mt(&flat(g)?)?, &flat(a)?)?)
}

/// The product over the last two dimensions of tensors that have them; leading ones broadcast.
fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.ndim() == 2 && b.ndim() == 2 {
        return mm(a, b);
    }
    let (m, k) = (a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1]);
    let (kb, n) = (b.shape()[b.ndim() - 2], b.shape()[b.ndim() - 1]);
    if b.ndim() == 2 {
        let rows: usize = a.shape()[..a.ndim() - 1].iter().product();
        ensure!(k == kb, Runtime, "mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and {kb}x{n})");
        check_mm_dtype(a, b)?;
        let mut shape: Dims = a.shape()[..a.ndim() - 1].into();
        shape.push(n);
        let out = match a.layout().view(&[rows, k])? {
            Some(l) => {
                let out = product_raw(&a.detach().alias(l), &b.detach(), &[], None, "addmm_impl_cpu_")?;
                let l = out.layout().view(&shape)?.expect("contiguous");
                Tensor::from_parts(out.storage().clone(), l, out.dtype())
            }
            None => product_raw(a, b, &a.shape()[..a.ndim() - 2], None, "addmm_impl_cpu_")?,
        };
        let gb = if by_columns(b) { right_flat_by_columns } else { right_flat };
        let out = record_bilinear("MmBackward0", a, b, out, left, gb);
        return reshaped(out, &shape, "UnsafeViewBackward0");
    }
    let batch = broadcast(&a.shape()[..a.ndim() - 2], &b.shape()[..b.ndim() - 2])?;
    let count: usize = batch.iter().product();
    ensure!(
        k == kb,
        Runtime,
        "Expected size for first two dimensions of batch2 tensor to be: [{count}, {k}] but got: [{count}, {kb}]."
    );
    bmm_dtype(a, b)?;
    let out = product_raw(a, b, &batch, None, "bmm")?;
    debug_assert!(out.shape()[out.ndim() - 2..] == [m, n]);
    let ga = if a.ndim() == 2 { left_summed } else { left };
    let out = record_bilinear("BmmBackward0", a, b, out, ga, right);
    let shape = out.dims();
    if needs_grad(&[&out]) { reshaped(out, &shape, "UnsafeViewBackward0") } else { Ok(out) }
}

/// `a @ b` in all rank combinations.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let without = |out: &Tensor, d: usize| {
        let mut shape = out.dims();
        shape.remove(d);
        shape
    };
    match (a.ndim(), b.ndim()) {
        (2, 2) => mm(a, b),
        (0, _) | (_, 0) => {
            bail!(Runtime, "both arguments to matmul need to be at least 1D, but they are {}D and {}D", a.ndim(), b.ndim())
        }
        (1, 1) => dot(a, b),
        (2, 1) => mv(a, b),
        (1, nb) => {
            let out = multiply(&view::unsqueeze(a, 0)?, b)?;
            let shape = without(&out, out.ndim() - 2);
            reshaped(out, &shape, if nb == 2 { "SqueezeBackward4" } else { "UnsafeViewBackward0" })
        }
        (_, 1) => {
            let (rows, k) = (a.shape()[..a.ndim() - 1].iter().product::<usize>(), a.size(a.ndim() - 1));
            ensure!(k == b.shape()[0], Runtime, "size mismatch, got input ({rows}), mat ({rows}x{k}), vec ({})", b.shape()[0]);
            let out = multiply(a, &view::unsqueeze(b, 1)?)?;
            let shape = without(&out, out.ndim() - 1);
            reshaped(out, &shape, "UnsafeViewBackward0")
        }
        _ => multiply(a, b),
    }
}

/// Products over the last dimensions of both.
pub fn inner(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.ndim() == 0 || b.ndim() == 0 {
        return mul(a, b);
    }
    ensure!(
        a.shape().last() == b.shape().last(),
        Runtime,
        "inner() the last dimension must match on both input tensors but got shapes {} and {}",
        show(a.shape()),
        show(b.shape())
    );
    einsum::contract(a, b, &[a.ndim() - 1], &[b.ndim() - 1])
}

/// The product of two vectors as a matrix.
pub fn outer(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    ensure!(a.ndim() == 1, Runtime, "outer: Expected 1-D argument self, but got {}-D", a.ndim());
    ensure!(b.ndim() == 1, Runtime, "outer: Expected 1-D argument vec2, but got {}-D", b.ndim());
    outer_mul(a, b)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "matmul(Tensor self, Tensor other) -> Tensor", "Matrix product; leading dimensions broadcast.", |a| {
        matmul(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("l", "matmul(Tensor self, Tensor other) -> Tensor", "Matrix product; leading dimensions broadcast.", |a| {
        matmul(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "mm(Tensor self, Tensor mat2) -> Tensor", "The product of two matrices.", |a| mm(a.t(0), a.t(1)).map(Ret::from));
    r.op("fm", "bmm(Tensor self, Tensor mat2) -> Tensor", "The products of two batches of matrices.", |a| {
        bmm(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "mv(Tensor self, Tensor vec) -> Tensor", "A matrix times a vector.", |a| mv(a.t(0), a.t(1)).map(Ret::from));
    r.op("fm", "dot(Tensor self, Tensor tensor) -> Tensor", "The inner product of two vectors.", |a| {
        dot(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "vdot(Tensor self, Tensor other) -> Tensor", "The inner product, the first vector conjugated.", |a| {
        vdot(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "inner(Tensor self, Tensor other) -> Tensor", "Products over the last dimensions.", |a| {
        inner(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "outer(Tensor self, Tensor vec2) -> Tensor", "The product of two vectors as a matrix.", |a| {
        outer(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "ger(Tensor self, Tensor vec2) -> Tensor", "outer.", |a| outer(a.t(0), a.t(1)).map(Ret::from));
    affine::register(r);
    distance::register(r);
    einsum::register(r);
    products::register(r);
}
