//! Products of matrices: which kernel takes which sizes.

use super::{Call, Gpu, check_dtype, of};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::{Dims, Layout};
use crate::ops::{complex, copy};
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// Workgroups below which a GPU is not busy, so that sums are cut into slices.
const BUSY: usize = 128;
/// Columns up to which a product is one of vectors.
const FEW: usize = 8;
/// Shared memory of the kernel with large tiles.
const LARGE_SHARED: usize = 2 * 528 * 16;

/// What a product is added to.
#[derive(Clone)]
pub enum Start {
    Nothing,
    /// What the result's memory holds.
    Result,
    /// One number for each column, of the result's dtype.
    Bias(Tensor),
}

/// A product in the kernels' terms: `a` is (batch, batch, batch, m, k), `b` (.., k, n), `y` (.., m, n).
#[derive(Clone)]
struct Product {
    a: Tensor,
    b: Tensor,
    y: Tensor,
    start: Start,
    negate: bool,
}

/// The dtype in which slices of a sum are kept.
pub(super) fn wide(d: Dtype) -> Dtype {
    match d {
        Dtype::F16 | Dtype::BF16 => Dtype::F32,
        d if d.is_integral() && d != Dtype::I64 => Dtype::I32,
        d => d,
    }
}

/// `a @ b` over the last two dimensions, the leading ones of both stretched to `batch`, onto `start`; written to `out`,
/// which is contiguous and no part of the operands.
pub fn product(a: &Tensor, b: &Tensor, batch: &[usize], out: &Tensor, start: Start) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let gpu = of(out)?;
    check_dtype("matmul", out.dtype(), gpu)?;
    let (m, k, n) = (a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1], b.shape()[b.ndim() - 1]);
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
    if axes.len() > 3 {
        let dense = |t: &Tensor| -> Result<Tensor> {
            let mut shape: Dims = batch.into();
            shape.extend_from_slice(&t.shape()[t.ndim() - 2..]);
            copy::contiguous(&t.detach().alias(t.layout().expand(&shape)?))
        };
        return product(&dense(a)?, &dense(b)?, batch, out, start);
    }
    while axes.len() < 3 {
        axes.insert(0, (1, 0, 0));
    }
    let lead = |f: fn(&(usize, isize, isize)) -> isize| -> SmallVec<[isize; 8]> { axes.iter().map(f).collect() };
    let make = |t: &Tensor, mut strides: SmallVec<[isize; 8]>, rows: usize, cols: usize| -> Result<Tensor> {
        strides.extend_from_slice(&t.strides()[t.ndim() - 2..]);
        let shape = [axes[0].0, axes[1].0, axes[2].0, rows, cols];
        Ok(t.detach().alias(Layout::strided(&shape, &strides, t.layout().offset)?))
    };
    let each = (m * n) as isize;
    let along = smallvec::smallvec![(axes[1].0 * axes[2].0) as isize * each, axes[2].0 as isize * each, each];
    let all = Product {
        a: make(a, lead(|x| x.1), m, k)?,
        b: make(b, lead(|x| x.2), k, n)?,
        y: make(out, along, m, n)?,
        start,
        negate: false,
    };
    if out.dtype().is_complex() { complex(all) } else { all.launch(gpu) }
}

/// (ar + i ai)(br + i bi) as four real products.
fn complex(p: Product) -> Result<()> {
    let gpu = of(&p.y)?;
    if let Start::Bias(bias) = &p.start {
        copy::copy_raw(&p.y, bias)?;
    }
    let fresh = matches!(p.start, Start::Nothing);
    for (im_a, im_b, im_y) in [(false, false, false), (true, true, false), (false, true, true), (true, false, true)] {
        let start = if fresh && !im_a { Start::Nothing } else { Start::Result };
        let (a, b, y) = (complex::part(&p.a, im_a)?, complex::part(&p.b, im_b)?, complex::part(&p.y, im_y)?);
        Product { a, b, y, start, negate: im_a && im_b }.launch(gpu)?;
    }
    Ok(())
}

impl Product {
    /// The same with rows and columns exchanged.
    fn transposed(&self) -> Result<Product> {
        let swap = |t: &Tensor| -> Result<Tensor> {
            let (mut shape, mut strides) = (t.layout().shape.clone(), t.layout().strides.clone());
            shape.swap(3, 4);
            strides.swap(3, 4);
            Ok(t.alias(Layout::strided(&shape, &strides, t.layout().offset)?))
        };
        Ok(Product { a: swap(&self.b)?, b: swap(&self.a)?, y: swap(&self.y)?, start: self.start.clone(), negate: self.negate })
    }

    fn launch(&self, gpu: &Gpu) -> Result<()> {
        let (m, k, n) = (self.y.shape()[3], self.a.shape()[4], self.y.shape()[4]);
        let batch: usize = self.y.shape()[..3].iter().product();
        if n <= FEW {
            return self.few(false);
        }
        if m <= FEW {
            return self.transposed()?.few(true);
        }
        let tiles = |side: usize| m.div_ceil(side) * n.div_ceil(side) * batch;
        // Large tiles where there are enough of them, or where slices of the sum make up for it.
        let narrow_enough = matches!(self.y.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16);
        let large = narrow_enough
            && gpu.info().shared_memory >= LARGE_SHARED
            && m >= 96
            && n >= 96
            && tiles(128) * (k / 1024).max(1) >= BUSY * 3 / 4;
        let side = if large { 128 } else { 64 };
        let groups = tiles(side);
        let (slices, chunk) = slices(groups, k, 256, 16);
        let whole = m.is_multiple_of(side) && n.is_multiple_of(side) && k.is_multiple_of(16);
        let choice: &[(&str, &str)] = match (large, whole) {
            (true, true) => &[("WHOLE", "true")],
            (true, false) => &[("WHOLE", "false")],
            _ => &[],
        };
        self.sliced(if large { "matmul_large" } else { "matmul" }, choice, groups, (slices, chunk), 0, false)
    }

    /// A product with few columns; `bias_by_row` where it stands transposed.
    fn few(&self, bias_by_row: bool) -> Result<()> {
        let (m, k, n) = (self.a.shape()[3], self.a.shape()[4], self.y.shape()[4]);
        let batch: usize = self.y.shape()[..3].iter().product();
        // Invocations along the sum for each row: many where few rows have much to add.
        let side = if self.a.strides()[4] != 1 {
            8
        } else if m * batch >= 2 * BUSY || k <= 64 {
            32
        } else {
            256
        };
        let groups = m.div_ceil(256 / side) * batch;
        let name = if n == 1 { "matvec" } else { "matfew" };
        self.sliced(name, &[], groups, slices(groups, k, 16 * side, 1), side, bias_by_row)
    }

    /// Launches a kernel for a product; in two passes where there is more than one slice.
    fn sliced(
        &self,
        name: &'static str,
        choice: &[(&str, &str)],
        groups: usize,
        (slices, chunk): (usize, usize),
        side: usize,
        bias_by_row: bool,
    ) -> Result<()> {
        let (sizes, dtype) = (self.y.dims(), self.y.dtype());
        let (m, n, k) = (sizes[3], sizes[4], self.a.shape()[4]);
        let batch: usize = sizes[..3].iter().product();
        let words = |y: &Tensor, start: &Start, negate: bool| -> [u32; 29] {
            let (a, b, y) = (self.a.strides(), self.b.strides(), y.strides());
            let mode = match start {
                Start::Nothing => 0,
                Start::Result => 1,
                Start::Bias(_) => 2,
            };
            let bias = match start {
                Start::Bias(t) => t.strides()[0] as usize,
                _ => 0,
            };
            let (ir, ic) = if bias_by_row { (bias, 0) } else { (0, bias) };
            // A stride of a dimension of size 1 may be anything.
            let one = |s: isize, size: usize| if size == 1 { 0 } else { s as usize };
            [
                m,
                n,
                k,
                one(a[3], m),
                if k == 1 { 1 } else { a[4] as usize },
                one(b[3], k),
                one(b[4], n),
                one(y[3], m),
                one(y[4], n),
                ir,
                ic,
                batch * m * n,
                sizes[1],
                sizes[2],
                a[0] as usize,
                a[1] as usize,
                a[2] as usize,
                b[0] as usize,
                b[1] as usize,
                b[2] as usize,
                y[0] as usize,
                y[1] as usize,
                y[2] as usize,
                batch,
                mode,
                usize::from(negate),
                chunk,
                slices,
                side,
            ]
            .map(|v| v as u32)
        };
        let bias = match &self.start {
            Start::Bias(t) => t,
            _ => &self.a,
        };
        if slices == 1 {
            let params = words(&self.y, &self.start, self.negate);
            return Call { name, tensors: &[&self.a, &self.b, bias, &self.y], params: &params, choice, n: groups }.run();
        }
        let mut shape: Dims = sizes.clone();
        shape[0] *= slices;
        let parts = Tensor::empty(&shape, wide(dtype), self.y.device())?;
        let params = words(&parts, &Start::Nothing, false);
        Call { name, tensors: &[&self.a, &self.b, &self.a, &parts], params: &params, choice, n: groups * slices }.run()?;
        let params = words(&self.y, &self.start, self.negate);
        Call { name: "matmul_join", tensors: &[&parts, bias, &self.y], params: &params, choice: &[], n: batch * m * n }.run()
    }
}

/// Into how many slices, of which length, a sum of `k` products is cut so that a GPU is busy; each has at least `least`,
/// and their lengths are multiples of `step`.
pub(crate) fn slices(groups: usize, k: usize, least: usize, step: usize) -> (usize, usize) {
    let wanted = if groups >= BUSY { 1 } else { (2 * BUSY / groups.max(1)).min(k / least) };
    let chunk = k.div_ceil(wanted.max(1)).next_multiple_of(step).max(step);
    (k.div_ceil(chunk).max(1), chunk)
}

/// Adds `slices` results that lie behind each other in `parts`, in their order; `out` is contiguous.
pub(super) fn join(parts: &Tensor, out: &Tensor, slices: usize) -> Result<()> {
    let n = out.numel();
    let mut params = [0u32; 29];
    // One row of contiguous columns, one batch.
    (params[0], params[1], params[2]) = (1, n as u32, 1);
    (params[8], params[12], params[13]) = (1, 1, 1);
    (params[23], params[27]) = (1, slices as u32);
    Call { name: "matmul_join", tensors: &[parts, parts, out], params: &params, choice: &[], n }.run()
}
