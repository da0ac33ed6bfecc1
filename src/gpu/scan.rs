//! Running results along a dimension.

use super::{Call, of, refuse};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::tensor::Tensor;

/// Elements that a workgroup takes at a time.
const TILE: usize = 1024;
/// Rows that keep the device busy without being cut.
const MANY: usize = 512;

/// What a kernel does, as `shaders/scan.wgsl` numbers it.
#[derive(Clone, Copy)]
enum Mode {
    Whole,
    Totals,
    RunningTotals,
    AfterTotals,
    Columns,
}

/// A contiguous tensor as outer x len x inner, gone through along `len`, perhaps from its end.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
    pub reverse: bool,
}

/// Runs a section in as many steps as the sizes ask for. `totals` gives the dtypes of a state.
fn run(name: &'static str, choice: &[(&str, &str)], inputs: &[&Tensor], totals: &[Dtype], out: &Tensor, s: Shape) -> Result<()> {
    let gpu = of(out)?;
    if let Some(t) = inputs.iter().find(|t| !matches!(t.dtype(), Dtype::F32 | Dtype::I32 | Dtype::I64)) {
        return Err(refuse(crate::ops::current(), t.dtype(), gpu));
    }
    let rows = s.outer * s.inner;
    if rows == 0 || s.len == 0 {
        return Ok(());
    }
    // Short rows, where there are many, would leave most of a workgroup idle; neighbouring columns are read together, but not
    // in a loop that is longer than adapters let run.
    let columns = s.len <= 16 || (s.len <= 128 && rows >= 1 << 14) || (s.inner >= 32 && rows >= 1 << 12 && s.len <= 1 << 15);
    let cut = !columns && rows < MANY && s.len > TILE;
    // Few enough pieces that their totals are soon added up.
    let tiles = if cut { s.len.div_ceil(TILE).div_ceil(1 << 14) } else { s.len.div_ceil(TILE) };
    let pieces = s.len.div_ceil(tiles * TILE);
    let totals = totals
        .iter()
        .map(|&d| Tensor::empty(&[if cut { rows * pieces } else { 1 }], d, out.device()))
        .collect::<Result<Vec<_>>>()?;
    let tensors: Vec<&Tensor> = inputs.iter().copied().chain(&totals).chain([out]).collect();
    let step = |mode: Mode, n: usize| {
        let sizes = [rows, s.len, s.inner, pieces, tiles].map(|v| v as u32);
        let params = [mode as u32, sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], s.reverse as u32];
        Call { name, tensors: &tensors, params: &params, choice, n }.run()
    };
    if columns {
        return step(Mode::Columns, rows.div_ceil(super::wgsl::GROUP as usize));
    }
    if !cut {
        return step(Mode::Whole, rows);
    }
    step(Mode::Totals, rows * pieces)?;
    step(Mode::RunningTotals, rows)?;
    step(Mode::AfterTotals, rows * pieces)
}

/// Running sums (`sum`) or products (`prod`) of a contiguous tensor (float32 or int64), in its dtype.
pub fn scan(x: &Tensor, out: &Tensor, s: Shape, op: &'static str) -> Result<()> {
    run("scan", &[("OP", op)], &[x], &[x.dtype()], out, s)
}

/// Running logarithms of sums of exponentials, float32.
pub fn logcumsumexp(x: &Tensor, out: &Tensor, s: Shape) -> Result<()> {
    run("scan_logaddexp", &[], &[x], &[Dtype::F32], out, s)
}

/// Where the greatest so far is, int64, the last of equals; `keys` as [`super::sort::keys`] makes them.
pub fn greatest(keys: &Tensor, out: &Tensor, s: Shape) -> Result<()> {
    run("scan_greatest", &[], &[keys], &[keys.dtype(), Dtype::I32], out, s)
}

/// `out[i] = b[i] + a[i] * out[i - 1]`, float32.
pub fn linear(a: &Tensor, b: &Tensor, out: &Tensor, s: Shape) -> Result<()> {
    run("scan_linear", &[], &[a, b], &[Dtype::F32, Dtype::F32], out, s)
}
