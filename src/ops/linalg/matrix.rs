//! The matrix exponential.

use super::super::matmul::matmul;
use super::super::{Registry, Ret};
use super::*;
use crate::autograd::{record, save};
use crate::cpu::gemm;
use crate::cpu::linalg::{self as kernel, View};
use smallvec::smallvec;

fn product(n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; n * n];
    let s = n as isize;
    // SAFETY: three (n, n) matrices, the last of its own.
    unsafe { gemm::gemm::<f64>(n, n, n, a.as_ptr(), s, 1, b.as_ptr(), s, 1, c.as_mut_ptr(), s, 1, false) };
    c
}

/// exp(a) by a Padé approximant of order 13 of a / 2^s, squared s times.
fn exponential(n: usize, a: &[f64]) -> Vec<f64> {
    const B: [f64; 14] = [
        64764752532480000.0,
        32382376266240000.0,
        7771770303897600.0,
        1187353796428800.0,
        129060195264000.0,
        10559470521600.0,
        670442572800.0,
        33522128640.0,
        1323241920.0,
        40840800.0,
        960960.0,
        16380.0,
        182.0,
        1.0,
    ];
    if a.iter().any(|v| !v.is_finite()) {
        return vec![f64::NAN; n * n];
    }
    let norm = (0..n).map(|j| (0..n).map(|i| a[i * n + j].abs()).sum::<f64>()).fold(0.0, f64::max);
    let steps = if norm > 5.37 { (norm / 5.37).log2().ceil().min(1100.0) as i32 } else { 0 };
    let factor = 0.5f64.powi(steps);
    let a: Vec<f64> = a.iter().map(|v| v * factor).collect();
    let a2 = product(n, &a, &a);
    let a4 = product(n, &a2, &a2);
    let a6 = product(n, &a2, &a4);
    let sum = |c6: f64, c4: f64, c2: f64, c0: f64| -> Vec<f64> {
        (0..n * n).map(|i| c6 * a6[i] + c4 * a4[i] + c2 * a2[i] + if i % (n + 1) == 0 { c0 } else { 0.0 }).collect()
    };
    let plus = |x: Vec<f64>, y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x + y).collect() };
    let odd = plus(product(n, &a6, &sum(B[13], B[11], B[9], 0.0)), &sum(B[7], B[5], B[3], B[1]));
    let odd = product(n, &a, &odd);
    let even = plus(product(n, &a6, &sum(B[12], B[10], B[8], 0.0)), &sum(B[6], B[4], B[2], B[0]));
    let mut q: Vec<f64> = even.iter().zip(&odd).map(|(e, o)| e - o).collect();
    let mut x: Vec<f64> = even.iter().zip(&odd).map(|(e, o)| e + o).collect();
    let mut pivots = vec![0; n];
    // SAFETY: (n, n) matrices.
    unsafe {
        kernel::lu(n, n, View::rows(&mut q, n), &mut pivots);
        for (i, &p) in pivots.iter().enumerate() {
            if i != p {
                for c in 0..n {
                    x.swap(i * n + c, p * n + c);
                }
            }
        }
        kernel::solve_triangular(n, n, View::rows(&mut q, n), false, true, View::rows(&mut x, n));
        kernel::solve_triangular(n, n, View::rows(&mut q, n), true, false, View::rows(&mut x, n));
    }
    for _ in 0..steps {
        x = product(n, &x, &x);
    }
    x
}

/// exp(a). Differentiable: the gradient is a corner of the exponential of a matrix twice as large.
pub fn matrix_exp(a: &Tensor) -> Result<Tensor> {
    check_float(a, "linalg.matrix_exp")?;
    check_square(a, "linalg.matrix_exp")?;
    let n = sizes(a).0;
    let wide = super::copy::to_dtype(&a.detach(), if a.dtype().size() == 2 { Dtype::F32 } else { a.dtype() })?;
    let mut data = load(&wide, "linalg_matrix_exp")?;
    if n > 0 {
        for m in each(&mut data, n * n) {
            let e = exponential(n, m);
            m.copy_from_slice(&e);
        }
    }
    let out = store(&data, a.shape(), a.dtype())?;
    let sa = save(a);
    Ok(record("LinalgMatrixExpBackward0", &[a], out, move |ctx, g| {
        let at = super::mt(&sa.get(ctx)?)?;
        // exp [[A^T, G], [0, A^T]] has the gradient in its upper right corner; corners by parts of the identity.
        let first = mask(2 * n, n, g, |i, j| (i == j) as u8 as f64)?;
        let second = mask(2 * n, n, g, |i, j| (i == j + n) as u8 as f64)?;
        let (ft, st) = (super::mt(&first)?, super::mt(&second)?);
        let block = add(&add(&mm3(&first, &at, &ft)?, &mm3(&second, &at, &st)?)?, &mm3(&first, g, &st)?)?;
        Ok(smallvec![Some(matmul(&matmul(&ft, &matrix_exp(&block)?)?, &second)?)])
    }))
}

pub(super) fn register(r: &mut Registry) {
    for places in ["fm", "l"] {
        r.op(places, "matrix_exp(Tensor self) -> Tensor", "The exponential of square matrices.", |a| {
            matrix_exp(a.t(0)).map(Ret::from)
        });
    }
}
