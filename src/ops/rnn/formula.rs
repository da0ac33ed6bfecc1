//! Recurrent steps in tensor ops: for what the kernel does not take, and for second derivatives.

use super::{Cell, Operands, Result, Tensor, add, matmul, mul, sub, view};
use crate::ops::elementwise::Row;
use crate::ops::elementwise::{RELU_ROW, SIGMOID, TANH};
use crate::ops::join::stack;
use crate::ops::norm::num::op1;

/// The output and the last states.
pub(super) fn steps(ops: &Operands) -> Result<Vec<Tensor>> {
    let t = ops.x.shape()[0];
    let turned = view::transpose(&ops.w, 0, 1)?;
    let (mut h, mut c) = (ops.h.clone(), ops.c.clone());
    let mut outs = Vec::with_capacity(t);
    for i in 0..t {
        let x = view::select(&ops.x, 0, if ops.reverse { t - 1 - i } else { i } as i64)?;
        let mut hidden = matmul(&h, &turned)?;
        if let Some(b) = &ops.bias {
            hidden = add(&hidden, b)?;
        }
        let of = |row: &'static Row, v: &Tensor| op1(row, v);
        match (ops.cell, &c) {
            (Cell::Relu, _) => h = of(&RELU_ROW, &add(&x, &hidden)?)?,
            (Cell::Tanh, _) => h = of(&TANH, &add(&x, &hidden)?)?,
            (Cell::Lstm, Some(before)) => {
                let gates = view::chunk(&add(&x, &hidden)?, 4, 1)?;
                let kept = mul(&of(&SIGMOID, &gates[1])?, before)?;
                let new = mul(&of(&SIGMOID, &gates[0])?, &of(&TANH, &gates[2])?)?;
                let after = add(&kept, &new)?;
                h = mul(&of(&SIGMOID, &gates[3])?, &of(&TANH, &after)?)?;
                c = Some(after);
            }
            _ => {
                let (xs, hs) = (view::chunk(&x, 3, 1)?, view::chunk(&hidden, 3, 1)?);
                let r = of(&SIGMOID, &add(&xs[0], &hs[0])?)?;
                let z = of(&SIGMOID, &add(&xs[1], &hs[1])?)?;
                let n = of(&TANH, &add(&xs[2], &mul(&r, &hs[2])?)?)?;
                h = add(&n, &mul(&z, &sub(&h, &n)?)?)?;
            }
        }
        outs.push(h.clone());
    }
    if ops.reverse {
        outs.reverse();
    }
    let mut all = vec![stack(&outs, 0)?, h];
    all.extend(c);
    Ok(all)
}
