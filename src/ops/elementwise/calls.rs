//! Entries of elementwise ops whose arguments need more than a row: `alpha`, `rounding_mode`, bounds that may be missing.

use super::table::*;
use super::{Row, apply, pow, result_type, some_tensor};
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::ops::schema::Schema;
use crate::ops::{Args, Call, Op, Registry, Ret, copy};
use crate::{bail, ensure};

fn with_alpha(plain: &'static Row, scaled: &'static Row, a: &Args) -> Result<Ret> {
    let operands = [a.operand(0).unwrap(), a.operand(1).unwrap()];
    let alpha = a.sc(2);
    if alpha.f64() == 1.0 {
        return plain.call(&operands, &[], a.place()).map(Ret::from);
    }
    let common = result_type(&operands);
    ensure!(
        !(alpha.is_float() && common.is_integral()),
        Runtime,
        "For integral input tensors, argument alpha must not be a floating point number."
    );
    ensure!(
        !matches!(alpha, Scalar::Bool(_)) || common == Dtype::Bool,
        Runtime,
        "Boolean alpha only supported for Boolean results."
    );
    scaled.call(&operands, &[alpha], a.place()).map(Ret::from)
}

pub(in crate::ops) fn register(r: &mut Registry) {
    for row in ROWS.iter().filter(|row| !row.places.is_empty()) {
        r.ops.push(Op { places: row.places, schema: Schema::parse(row.schema), doc: row.doc, call: Call::Elementwise(row) });
    }
    for &(name, places, row) in ALIASES {
        // The registry lives as long as the process, and so may the text.
        let schema: &'static str = Box::leak(row.schema.replacen(row.name(), name, 1).into_boxed_str());
        r.ops.push(Op { places, schema: Schema::parse(schema), doc: row.doc, call: Call::Elementwise(row) });
    }
    r.op("fmi", "add(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "self + alpha * other.", |a| {
        with_alpha(&ADD, &ADD_ALPHA, a)
    });
    for schema in [
        "sub(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor",
        "subtract(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor",
    ] {
        r.op("fmi", schema, "self - alpha * other.", |a| with_alpha(&SUB, &SUB_ALPHA, a));
    }
    for schema in [
        "div(Tensor self, Operand other, *, str? rounding_mode=None) -> Tensor",
        "divide(Tensor self, Operand other, *, str? rounding_mode=None) -> Tensor",
    ] {
        r.op("fmi", schema, "The quotient; rounding_mode 'trunc' or 'floor' rounds it.", |a| {
            let row = match a.os(2) {
                None => &DIV,
                Some("trunc") => &DIV_TRUNC,
                Some("floor") => &FLOOR_DIVIDE,
                Some(m) => bail!(Runtime, "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{m}'"),
            };
            row.call(&[a.operand(0).unwrap(), a.operand(1).unwrap()], &[], a.place()).map(Ret::from)
        });
    }
    r.op("fmi", "true_divide(Tensor self, Operand other) -> Tensor", "The quotient.", |a| {
        DIV.call(&[a.operand(0).unwrap(), a.operand(1).unwrap()], &[], a.place()).map(Ret::from)
    });
    r.op("f", "rsub(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "other - alpha * self.", |a| {
        let scaled = if a.sc(2).f64() == 1.0 {
            a.operand(0).unwrap()
        } else {
            Operand::T(MUL.call(&[a.operand(0).unwrap(), Operand::S(a.sc(2))], &[], None)?)
        };
        RSUB.call(&[scaled, a.operand(1).unwrap()], &[], None).map(Ret::from)
    });
    r.op("fmi", "pow(Operand self, Operand exponent) -> Tensor", "self to the power of exponent.", |a| {
        some_tensor("pow", &[a.operand(0).unwrap(), a.operand(1).unwrap()])?;
        pow(a.operand(0).unwrap(), a.operand(1).unwrap()).map(Ret::from)
    });
    r.op("fmi", "float_power(Operand self, Operand exponent) -> Tensor", "pow in float64.", |a| {
        let wide = |o: Operand| -> Result<Operand> {
            Ok(match o {
                Operand::T(t) => Operand::T(copy::to_dtype(&t, Dtype::F64)?),
                s => s,
            })
        };
        some_tensor("float_power", &[a.operand(0).unwrap(), a.operand(1).unwrap()])?;
        pow(wide(a.operand(0).unwrap())?, wide(a.operand(1).unwrap())?).map(Ret::from)
    });
    r.op("fmi", "bitwise_not(Tensor self) -> Tensor", "Every bit flipped; logical for bool.", |a| {
        let row = if a.t(0).dtype() == Dtype::Bool { &LOGICAL_NOT } else { &BITWISE_NOT_INT };
        row.call(&[a.operand(0).unwrap()], &[], None).map(Ret::from)
    });
    r.op(
        "fmis",
        "round(Tensor self, *, int decimals=0) -> Tensor",
        "Rounded to the nearest, halves to even; to a number of decimals.",
        |a| {
            let x = a.operand(0).unwrap();
            if a.int(1) == 0 {
                return ROUND.call(&[x], &[], a.place()).map(Ret::from);
            }
            ensure!(
                a.t(0).dtype().is_float(),
                NotImplemented,
                "\"round_vml_cpu\" not implemented for '{}'",
                a.t(0).dtype().scalar_name()
            );
            let p = 10f64.powi(a.int(1).unsigned_abs().min(400) as i32);
            let (there, back) = if a.int(1) > 0 { (&MUL, &DIV) } else { (&DIV, &MUL) };
            let scaled = there.call(&[x, Operand::S(p.into())], &[], None)?;
            let r = ROUND.call(&[Operand::T(scaled)], &[], None)?;
            back.call(&[Operand::T(r), Operand::S(p.into())], &[], None).map(Ret::from)
        },
    );
    for schema in [
        "clamp(Tensor self, Operand? min=None, Operand? max=None) -> Tensor",
        "clip(Tensor self, Operand? min=None, Operand? max=None) -> Tensor",
    ] {
        r.op("fmi", schema, "Limited to [min, max].", |a| {
            let x = a.operand(0).unwrap();
            match (a.operand(1), a.operand(2)) {
                (Some(lo), Some(hi)) => CLAMP_ROW.call(&[x, lo, hi], &[], a.place()),
                (Some(lo), None) => CLAMP_MIN.call(&[x, lo], &[], a.place()),
                (None, Some(hi)) => CLAMP_MAX.call(&[x, hi], &[], a.place()),
                (None, None) => bail!(Runtime, "torch.clamp: At least one of 'min' or 'max' must not be None"),
            }
            .map(Ret::from)
        });
    }
    r.op("fm", "polygamma(int n, Tensor self) -> Tensor", "The n-th derivative of digamma.", |a| {
        ensure!(a.int(0) >= 0, Runtime, "polygamma(n, x) does not support negative n.");
        POLYGAMMA_ROW.call(&[a.operand(1).unwrap()], &[a.sc(0)], None).map(Ret::from)
    });
    r.op(
        "fm",
        "where(Tensor condition, Operand self, Operand other) -> Tensor",
        "Elements of self where condition, else of other.",
        |a| {
            let (x, y) = (a.operand(1).unwrap(), a.operand(2).unwrap());
            let cond = a.t(0).clone();
            ensure!(
                cond.dtype() == Dtype::Bool || cond.dtype() == Dtype::U8,
                Runtime,
                "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
                cond.dtype().scalar_name()
            );
            let d = result_type(&[x.clone(), y.clone()]);
            if d.is_complex() {
                return crate::ops::complex::choose_complex(&cond, &x, &y).map(Ret::from);
            }
            apply(WHERE.compiled(), &[Operand::T(cond), x, y], &[], d, d, a.target.as_ref()).map(Ret::from)
        },
    );
}
