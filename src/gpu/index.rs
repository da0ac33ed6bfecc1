//! Elements that an index names, on a GPU: reading, writing, combining; the places of flags.
//!
//! Nothing here depends on which invocation comes first. Where several values have one target, a single invocation goes over
//! them in order, or they are sorted by target and added up by chunks of fixed length; of values that are written the last
//! one stays.

use super::{Call, call, flat, of, refuse};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::layout::{Layout, contiguous_strides};
use crate::ops::{complex, copy};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};

/// A dimension of what is read or written: its size, and strides of the indexed tensor, of the index and of values.
#[derive(Clone, Copy, Debug)]
struct Axis {
    n: usize,
    a: isize,
    b: isize,
    c: isize,
}

/// How the index lies among the axes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A row of indices, at this axis; the others say nothing of it.
    Row(usize),
    /// An index for every element, along this axis.
    Along(usize),
    /// No index: the axes alone say where, and may say the same several times.
    Anywhere,
}

/// The elements an index names, in the order of the result.
pub struct Lanes {
    axes: SmallVec<[Axis; 6]>,
    way: Way,
    index: Tensor,
    /// How many targets the index chooses from, and how far apart they are.
    size: usize,
    step: isize,
    /// Whether negative indices count from the end.
    wrap: bool,
    /// What to say of an index out of range, `{}` in its place.
    message: String,
    /// No target occurs twice.
    unique: bool,
}

/// Merged axes as parameters, and how many of them the kernel is to expect.
fn walk(axes: &[Axis]) -> Result<(&'static str, SmallVec<[u32; 32]>)> {
    let mut merged: SmallVec<[Axis; 6]> = SmallVec::new();
    for x in axes.iter().filter(|x| x.n != 1) {
        let n = x.n as isize;
        match merged.last_mut() {
            Some(o) if o.a == x.a * n && o.b == x.b * n && o.c == x.c * n => *o = Axis { n: o.n * x.n, ..*x },
            _ => merged.push(*x),
        }
    }
    ensure!(merged.len() <= 6, NotImplemented, "{}: too many dimensions for the GPU", crate::ops::current());
    let rank = match merged.len() {
        0..=2 => 2,
        3 => 3,
        _ => 6,
    };
    merged.insert_many(0, std::iter::repeat_n(Axis { n: 1, a: 0, b: 0, c: 0 }, rank - merged.len()));
    merged.reverse();
    // The outermost one is the sixth to the kernel.
    let at = |k: usize| if k == 5 { Some(rank - 1) } else { (k + 1 < rank).then_some(k) };
    let mut words: SmallVec<[u32; 32]> = (0..5).map(|k| at(k).map_or(1, |k| merged[k].n as u32)).collect();
    for k in 0..6 {
        let x = at(k).map_or([0; 3], |k| [merged[k].a as u32, merged[k].b as u32, merged[k].c as u32]);
        words.extend_from_slice(&x);
    }
    let rank = match rank {
        2 => "2",
        3 => "3",
        _ => "6",
    };
    Ok((rank, words))
}

fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|x| x.n).product()
}

/// The dtype in which values with the same target become one.
fn sum_dtype(d: Dtype) -> Dtype {
    match d {
        Dtype::F64 | Dtype::I64 => d,
        d if d.is_float() => Dtype::F32,
        _ => Dtype::I32,
    }
}

impl Lanes {
    /// Slices: what `before` and `after` (sizes and strides) span, for every index of a contiguous tensor.
    pub fn slices(
        before: (&[usize], &[isize]),
        index: &Tensor,
        after: (&[usize], &[isize]),
        (size, step): (usize, isize),
        wrap: bool,
        message: String,
    ) -> Lanes {
        let other = |(shape, strides): (&[usize], &[isize])| -> SmallVec<[Axis; 6]> {
            shape.iter().zip(strides).map(|(&n, &a)| Axis { n, a, b: 0, c: 0 }).collect()
        };
        let mut axes = other(before);
        let way = Way::Row(axes.len());
        axes.push(Axis { n: index.numel(), a: 0, b: 1, c: 0 });
        axes.extend(other(after));
        Lanes { axes, way, index: index.clone(), size, step, wrap, message, unique: false }
    }

    /// Single elements by contiguous indices.
    pub fn at(index: &Tensor, size: usize, step: isize, message: String) -> Lanes {
        Lanes::slices((&[], &[]), index, (&[], &[]), (size, step), true, message)
    }

    /// For every element of the index (of any strides) the one it names along a dimension of the layout.
    pub fn along(l: &Layout, dim: usize, index: &Tensor, message: String) -> Lanes {
        let axis =
            |d: usize| Axis { n: index.shape()[d], a: if d == dim { 0 } else { l.strides[d] }, b: index.strides()[d], c: 0 };
        let (size, step) = (l.shape[dim], l.strides[dim]);
        let axes = (0..index.ndim()).map(axis).collect();
        Lanes { axes, way: Way::Along(dim), index: index.clone(), size, step, wrap: false, message, unique: false }
    }

    /// The elements of a layout, which may share memory.
    pub fn places(l: &Layout, device: Device) -> Result<Lanes> {
        let axes = l.shape.iter().zip(&l.strides).map(|(&n, &a)| Axis { n, a, b: 0, c: 0 }).collect();
        let index = Tensor::zeros(&[1], Dtype::I32, device)?;
        let message = String::new();
        Ok(Lanes { axes, way: Way::Anywhere, index, size: 1, step: 0, wrap: false, message, unique: false })
    }

    /// Promises that no index occurs twice.
    pub fn unique(self) -> Lanes {
        Lanes { unique: true, ..self }
    }

    pub fn numel(&self) -> usize {
        count(&self.axes)
    }

    /// The lanes with a row-major index and with the strides of values: row-major ones, or one value for all.
    fn ready(&self, values: usize) -> Result<Lanes> {
        let mut axes = self.axes.clone();
        let shape: SmallVec<[usize; 6]> = axes.iter().map(|x| x.n).collect();
        let dense = contiguous_strides(&shape);
        let index = copy::contiguous(&self.index)?;
        for (x, s) in axes.iter_mut().zip(dense) {
            x.c = if values == 1 { 0 } else { s };
            if let Way::Along(_) = self.way {
                x.b = s;
            }
        }
        Ok(Lanes { axes, index, message: self.message.clone(), ..*self })
    }

    /// The same lanes over pairs of numbers instead of complex ones.
    fn of_pairs(&self) -> Lanes {
        let twice = |x: &Axis| Axis { a: 2 * x.a, c: 2 * x.c, ..*x };
        let mut axes: SmallVec<[Axis; 6]> = self.axes.iter().map(twice).collect();
        axes.push(Axis { n: 2, a: 1, b: 0, c: 1 });
        Lanes { axes, index: self.index.clone(), message: self.message.clone(), step: 2 * self.step, ..*self }
    }

    /// The parameters that every kernel begins with.
    fn params(&self, axes: &[Axis], step: isize, y: &Tensor) -> Result<(&'static str, SmallVec<[u32; 32]>)> {
        ensure!(self.size <= i32::MAX as usize, NotImplemented, "{}: a tensor is too large for the GPU", crate::ops::current());
        let (rank, mut words) = walk(axes)?;
        let code = of(y)?.fault(self.message.clone());
        words.extend_from_slice(&[self.size as u32, step as u32, self.wrap as u32, code]);
        Ok((rank, words))
    }

    /// Axes on which an invocation can stand for a row of targets of its own, the axis of its loop, and the loop's length.
    fn rows(&self) -> (SmallVec<[Axis; 6]>, Axis) {
        let (Way::Row(k) | Way::Along(k)) = self.way else { unreachable!("no index") };
        let mut rest = self.axes.clone();
        let axis = rest.remove(k);
        (rest, axis)
    }

    /// Whether going over the indices of a row one by one is better than more steps with more invocations.
    fn loops(&self) -> bool {
        if let Way::Anywhere = self.way {
            return false;
        }
        let (rest, axis) = self.rows();
        axis.n <= 32 || (axis.n <= 128 && count(&rest) >= 8192)
    }

    fn each(&self, out: &Tensor, v: &Tensor, op: &str) -> Result<()> {
        let (rest, axis) = self.rows();
        let (rank, mut words) = self.params(&rest, self.step, out)?;
        words.extend_from_slice(&[axis.n as u32, axis.b as u32, axis.c as u32]);
        Call {
            name: "index_each",
            tensors: &[&self.index, v, out],
            params: &words,
            choice: &[("RANK", rank), ("OP", op)],
            n: count(&rest),
        }
        .run()
    }

    /// Axes and step under which an index becomes the number of its target, and how many such numbers there are.
    fn targets(&self, out: &Tensor) -> (SmallVec<[Axis; 6]>, isize, usize) {
        match self.way {
            Way::Row(k) => (smallvec![self.axes[k]], 1, self.size),
            Way::Along(_) | Way::Anywhere => {
                let span: isize = out.shape().iter().zip(out.strides()).map(|(&n, &s)| (n as isize - 1) * s).sum();
                (self.axes.clone(), self.step, span as usize + 1)
            }
        }
    }
}

/// `out[k] = x[lane k]`; `out` is contiguous with as many elements.
pub fn read(x: &Tensor, lanes: &Lanes, out: &Tensor) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    if x.dtype().is_complex() {
        return read(&complex::pairs(x)?, &lanes.of_pairs(), &complex::pairs(out)?);
    }
    let mut lanes = Lanes { axes: lanes.axes.clone(), index: lanes.index.clone(), message: lanes.message.clone(), ..*lanes };
    let shape: SmallVec<[usize; 6]> = lanes.axes.iter().map(|x| x.n).collect();
    lanes.axes.iter_mut().zip(contiguous_strides(&shape)).for_each(|(x, s)| x.c = s);
    let (rank, words) = lanes.params(&lanes.axes, lanes.step, x)?;
    let (tensors, choice) = (&[x, &lanes.index, out], &[("RANK", rank)]);
    Call { name: "index_read", tensors, params: &words, choice, n: lanes.numel() }.run()
}

/// `out[lane k] = values[k]`, the last one where there are several; values are contiguous, as many as the lanes, or one.
pub fn write(out: &Tensor, lanes: &Lanes, values: &Tensor) -> Result<()> {
    let mut lanes = lanes.ready(values.numel())?;
    let single = values.numel() == 1;
    let (mut out, mut values) = (out.detach(), values.detach());
    if out.dtype().is_complex() {
        (lanes, out, values) = (lanes.of_pairs(), complex::pairs(&out)?, complex::pairs(&values)?);
    }
    if lanes.unique || single {
        let (rank, words) = lanes.params(&lanes.axes, lanes.step, &out)?;
        let (tensors, choice) = (&[&lanes.index, &values, &out], &[("RANK", rank)]);
        return Call { name: "index_write", tensors, params: &words, choice, n: lanes.numel() }.run();
    }
    if lanes.loops() {
        return lanes.each(&out, &values, "set");
    }
    let (axes, step, range) = lanes.targets(&out);
    let winner = Tensor::zeros(&[range], Dtype::I32, out.device())?;
    let (rank, words) = lanes.params(&axes, step, &out)?;
    let n = count(&axes);
    Call { name: "index_claim", tensors: &[&lanes.index, &winner], params: &words, choice: &[("RANK", rank)], n }.run()?;
    let mut axes = lanes.axes.clone();
    for x in &mut axes {
        x.c = if let Way::Along(_) = lanes.way { x.a } else { 0 };
    }
    let (rank, mut words) = lanes.params(&axes, lanes.step, &out)?;
    words.push(step as u32);
    Call {
        name: "index_win",
        tensors: &[&lanes.index, &values, &winner, &out],
        params: &words,
        choice: &[("RANK", rank)],
        n: lanes.numel(),
    }
    .run()
}

/// `out[lane k] = op(out[lane k], values[k])` in a fixed order; values as in [`write`]. `op`: add, mul, max, min.
pub fn combine(out: &Tensor, lanes: &Lanes, values: &Tensor, op: &str) -> Result<()> {
    if lanes.numel() == 0 {
        return Ok(());
    }
    let mut lanes = lanes.ready(values.numel())?;
    let (mut out, mut values) = (out.detach(), values.detach());
    if out.dtype().is_complex() {
        if op != "add" {
            return Err(refuse(crate::ops::current(), out.dtype(), of(&out)?));
        }
        (lanes, out, values) = (lanes.of_pairs(), complex::pairs(&out)?, complex::pairs(&values)?);
    }
    if lanes.loops() {
        return lanes.each(&out, &values, op);
    }
    let (axes, step, range) = lanes.targets(&out);
    let n = count(&axes);
    ensure!(range <= i32::MAX as usize, NotImplemented, "{}: a tensor is too large for the GPU", crate::ops::current());
    let keys = Tensor::empty(&[n], Dtype::I32, out.device())?;
    let (rank, words) = lanes.params(&axes, step, &out)?;
    Call { name: "index_keys", tensors: &[&lanes.index, &keys], params: &words, choice: &[("RANK", rank)], n }.run()?;
    let (keys, order) = sort(keys, range)?;
    // What lies beside the index; where every element has its own, nothing does.
    let (rest, axis, step) = match lanes.way {
        Way::Row(_) => {
            let (rest, axis) = lanes.rows();
            (rest, axis.c, lanes.step)
        }
        Way::Along(_) | Way::Anywhere => (SmallVec::new(), if values.numel() == 1 { 0 } else { 1 }, 1),
    };
    let others = count(&rest);
    let n = keys.numel().div_ceil(64) * others;
    let dtype = sum_dtype(out.dtype());
    let (head, tail) = (Tensor::empty(&[n], dtype, out.device())?, Tensor::empty(&[n], dtype, out.device())?);
    let sorted = Lanes { index: keys.clone(), size: range, wrap: false, ..lanes };
    let (rank, mut words) = sorted.params(&rest, step, &out)?;
    words.extend_from_slice(&[keys.numel() as u32, others as u32]);
    let choice = &[("RANK", rank), ("OP", op)];
    let join = words.clone();
    words.push(axis as u32);
    Call { name: "index_runs", tensors: &[&keys, &order, &values, &out, &head, &tail], params: &words, choice, n }.run()?;
    if keys.numel() > 64 {
        Call { name: "index_join", tensors: &[&keys, &head, &tail, &out], params: &join, choice, n }.run()?;
    }
    Ok(())
}

/// Keys below `range` in ascending order, and where they were; equal ones stay in order.
pub fn sort(keys: Tensor, range: usize) -> Result<(Tensor, Tensor)> {
    let n = keys.numel();
    let blocks = n.div_ceil(2048);
    let bits = (usize::BITS - range.saturating_sub(1).leading_zeros()).max(1);
    let device = keys.device();
    let fresh = || Tensor::empty(&[n], Dtype::I32, device);
    let counts = Tensor::empty(&[16 * blocks + 1], Dtype::I32, device)?;
    let (mut from, mut order, mut to, mut order_to) = (keys, fresh()?, fresh()?, fresh()?);
    for shift in (0..bits).step_by(4) {
        call("radix_count", &[&from, &counts], &[n as u32, shift, blocks as u32], blocks)?;
        call("count_scan", &[&counts], &[16 * blocks as u32], 1)?;
        let first = (shift == 0) as u32;
        let params = [n as u32, shift, blocks as u32, first];
        call("radix_move", &[&from, &order, &counts, &to, &order_to], &params, blocks)?;
        std::mem::swap(&mut from, &mut to);
        std::mem::swap(&mut order, &mut order_to);
    }
    Ok((from, order))
}

/// Row-major positions of the elements of a bool or uint8 tensor that are not 0. Waits for their number.
pub fn flags(mask: &Tensor) -> Result<Tensor> {
    let m = copy::contiguous(&mask.detach())?;
    let n = m.numel();
    if n == 0 {
        return Tensor::empty(&[0], Dtype::I64, m.device());
    }
    ensure!(n <= i32::MAX as usize, NotImplemented, "{}: a tensor is too large for the GPU", crate::ops::current());
    let blocks = n.div_ceil(2048);
    let counts = Tensor::empty(&[blocks + 1], Dtype::I32, m.device())?;
    call("flag_count", &[&m, &counts], &[n as u32], blocks)?;
    call("count_scan", &[&counts], &[blocks as u32], 1)?;
    let total = flat(&counts, blocks, 1)?.item()?.i64() as usize;
    let out = Tensor::empty(&[total], Dtype::I64, m.device())?;
    if total > 0 {
        call("flag_places", &[&m, &counts, &out], &[n as u32], blocks)?;
    }
    Ok(out)
}

/// Row-major positions as rows of indices of a shape.
pub fn unravel(at: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let at = copy::contiguous(&at.detach())?;
    let out = Tensor::empty(&[at.numel(), shape.len()], Dtype::I64, at.device())?;
    for (d, (&n, &inner)) in shape.iter().zip(&contiguous_strides(shape)).enumerate() {
        let params = [inner as u32, n as u32, shape.len() as u32, d as u32];
        call("unravel", &[&at, &out], &params, at.numel())?;
    }
    Ok(out)
}

/// Several indices of one shape as one: the sum of each times its step. Every one has its size and its message.
pub fn sum(parts: &[(Tensor, usize, isize, String)]) -> Result<Tensor> {
    let first = &parts[0].0;
    let out = Tensor::empty(first.shape(), Dtype::I32, first.device())?;
    let gpu = of(first)?;
    for (k, (index, size, step, message)) in parts.iter().enumerate() {
        ensure!(*size <= i32::MAX as usize, NotImplemented, "{}: a tensor is too large for the GPU", crate::ops::current());
        let index = copy::contiguous(&index.detach())?;
        let code = gpu.fault(message.clone());
        call("index_sum", &[&index, &out], &[*size as u32, *step as u32, (k == 0) as u32, code], index.numel())?;
    }
    Ok(out)
}
