//! Where indexed elements lie in memory, and moving data to and from there.

use crate::cpu::threads::{self, SendPtr};
use crate::dtype::{B8, Cplx, Element};
use crate::error::Result;
use crate::gpu;
use crate::tensor::Tensor;
use crate::{bail, dispatch};
use half::{bf16, f16};

/// Elements of work below which a second thread does not pay.
const GRAIN: usize = 1 << 15;

/// The positions (relative to element 0 of a tensor) of the elements an index names, in the order of the result.
pub enum Lanes {
    Host(Places),
    Gpu(Box<gpu::index::Lanes>),
}

/// Positions in host memory: every sum of a `before`, an `index` and an `after` offset.
pub struct Places {
    pub before: Vec<isize>,
    pub index: Vec<isize>,
    pub after: After,
}

/// The innermost offsets: `0..n`, or evenly spaced pieces (first offset, length, step).
pub enum After {
    Run(usize),
    Pieces(usize, Vec<(isize, usize, isize)>),
}

impl After {
    /// The offsets of these dimensions; a run where they are contiguous.
    pub fn of(shape: &[usize], strides: &[isize]) -> After {
        let mut expect = 1isize;
        for (&s, &st) in shape.iter().zip(strides).rev() {
            if s != 1 && st != expect {
                return After::list(&offsets(shape, strides));
            }
            expect = expect.saturating_mul(s as isize);
        }
        After::Run(shape.iter().product())
    }

    /// Any offsets.
    pub fn list(all: &[isize]) -> After {
        let mut pieces: Vec<(isize, usize, isize)> = Vec::new();
        for &o in all {
            match pieces.last_mut() {
                Some((start, n @ 1, step)) => {
                    *step = o - *start;
                    *n = 2;
                }
                Some((start, n, step)) if o == *start + *n as isize * *step => *n += 1,
                _ => pieces.push((o, 1, 0)),
            }
        }
        After::Pieces(all.len(), pieces)
    }

    fn len(&self) -> usize {
        match self {
            After::Run(n) | After::Pieces(n, _) => *n,
        }
    }
}

/// The offset of every element of a strided block, row-major.
pub fn offsets(shape: &[usize], strides: &[isize]) -> Vec<isize> {
    let n: usize = shape.iter().product();
    let mut out = Vec::with_capacity(n);
    if n == 0 {
        return out;
    }
    out.push(0);
    for (&s, &st) in shape.iter().zip(strides) {
        let old = out.len();
        if s == 1 {
            continue;
        }
        let mut next = Vec::with_capacity(old * s);
        for &o in &out {
            next.extend((0..s as isize).map(|k| o + k * st));
        }
        out = next;
    }
    out
}

impl Lanes {
    /// For memory of a GPU.
    pub fn on_gpu(lanes: gpu::index::Lanes) -> Lanes {
        Lanes::Gpu(Box::new(lanes))
    }

    /// Single elements at these positions.
    pub fn at(index: Vec<isize>) -> Lanes {
        Lanes::Host(Places { before: vec![0], index, after: After::Run(1) })
    }

    pub fn numel(&self) -> usize {
        match self {
            Lanes::Host(p) => p.numel(),
            Lanes::Gpu(l) => l.numel(),
        }
    }

    /// Positions for memory of the CPU.
    fn places(&self, t: &Tensor, op: &str) -> Result<&Places> {
        t.check_data(op)?;
        match self {
            Lanes::Host(p) => Ok(p),
            Lanes::Gpu(_) => {
                bail!(Runtime, "indices should be either on cpu or on the same device as the indexed tensor ({})", t.device())
            }
        }
    }
}

impl Places {
    pub fn numel(&self) -> usize {
        self.before.len() * self.index.len() * self.after.len()
    }

    fn units(&self) -> usize {
        self.before.len() * self.index.len()
    }

    /// Calls `f(before, some of the index, place in the result)` for the units in a range, in order.
    #[inline]
    fn spans(&self, units: std::ops::Range<usize>, mut f: impl FnMut(isize, &[isize], usize)) {
        let (n, len) = (self.index.len(), self.after.len());
        let mut u = units.start;
        while u < units.end {
            let (b, i) = (u / n, u % n);
            let stop = (n - i).min(units.end - u);
            f(self.before[b], &self.index[i..i + stop], u * len);
            u += stop;
        }
    }
}

/// `out[k] = x[lane k]`; `out` is contiguous and has as many elements as the lanes.
pub fn read(x: &Tensor, lanes: &Lanes, out: &Tensor) -> Result<()> {
    if let (Lanes::Gpu(l), true) = (lanes, gpu::holds(x)) {
        return gpu::index::read(&x.detach(), l, out);
    }
    let lanes = lanes.places(x, "index")?;
    assert_eq!(lanes.numel(), out.numel());
    if out.numel() == 0 {
        return Ok(());
    }
    dispatch!(bytes x.dtype(), T => {
        let src = SendPtr(x.ptr() as *mut T);
        let dst = SendPtr(out.ptr_mut() as *mut T);
        let len = lanes.after.len();
        threads::parallel_for(lanes.units(), (GRAIN / len).max(1), |units| {
            // SAFETY: lanes are positions inside the tensor (indices are checked when they are made), `out`
            // has an element for each of them, and pieces write disjoint parts of it.
            lanes.spans(units, |base, index, at| unsafe {
                let (s, mut d) = (src.get().offset(base), dst.get().add(at));
                match &lanes.after {
                    After::Run(1) => {
                        for (o, &p) in std::slice::from_raw_parts_mut(d, index.len()).iter_mut().zip(index) {
                            *o = *s.offset(p);
                        }
                    }
                    After::Run(n) => {
                        for &p in index {
                            std::ptr::copy_nonoverlapping(s.offset(p), d, *n);
                            d = d.add(*n);
                        }
                    }
                    After::Pieces(_, pieces) => {
                        for &p in index {
                            for &(start, n, step) in pieces {
                                let s = s.offset(p + start);
                                if step == 1 {
                                    std::ptr::copy_nonoverlapping(s, d, n);
                                } else if step == -1 {
                                    let from = std::slice::from_raw_parts(s.offset(1 - n as isize), n);
                                    let part = std::slice::from_raw_parts_mut(d, n);
                                    part.iter_mut().zip(from.iter().rev()).for_each(|(o, v)| *o = *v);
                                } else {
                                    let part = std::slice::from_raw_parts_mut(d, n);
                                    part.iter_mut().enumerate().for_each(|(k, o)| *o = *s.offset(k as isize * step));
                                }
                                d = d.add(n);
                            }
                        }
                    }
                }
            });
        });
    });
    Ok(())
}

/// `out[lane k] = values[k]`, in order; values of the same dtype, contiguous, as many as the lanes, or one.
pub fn write(out: &Tensor, lanes: &Lanes, values: &Tensor) -> Result<()> {
    if let (Lanes::Gpu(l), true) = (lanes, gpu::holds(out)) {
        return gpu::index::write(out, l, &super::beside(values, out)?);
    }
    let lanes = lanes.places(out, "index_put")?;
    assert!(values.numel() == 1 || lanes.numel() == values.numel());
    assert_eq!(out.dtype(), values.dtype());
    if lanes.numel() == 0 {
        return Ok(());
    }
    dispatch!(bytes out.dtype(), T => update(out.ptr_mut() as *mut T, lanes, values.data::<T>(), |_, v| v));
    Ok(())
}

/// How an element that is there and one that arrives become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    Add,
    Mul,
    Max,
    Min,
}

impl Combine {
    fn name(self) -> &'static str {
        match self {
            Combine::Add => "add",
            Combine::Mul => "mul",
            Combine::Max => "max",
            Combine::Min => "min",
        }
    }
}

/// Arithmetic of element types: integers wrap, NaN wins in `max` and `min`.
pub trait Arith: Element {
    fn plus(self, o: Self) -> Self;
    fn times(self, o: Self) -> Self;
    fn larger(self, o: Self) -> Self;
    fn smaller(self, o: Self) -> Self;
}
macro_rules! arith {
    (int $($t:ty)*) => {$(
        impl Arith for $t {
            #[inline(always)] fn plus(self, o: Self) -> Self { self.wrapping_add(o) }
            #[inline(always)] fn times(self, o: Self) -> Self { self.wrapping_mul(o) }
            fn larger(self, o: Self) -> Self { self.max(o) }
            fn smaller(self, o: Self) -> Self { self.min(o) }
        }
    )*};
    (float $($t:ty)*) => {$(
        impl Arith for $t {
            #[inline(always)] fn plus(self, o: Self) -> Self { self + o }
            #[inline(always)] fn times(self, o: Self) -> Self { self * o }
            fn larger(self, o: Self) -> Self { if self.is_nan() || self >= o { self } else { o } }
            fn smaller(self, o: Self) -> Self { if self.is_nan() || self <= o { self } else { o } }
        }
    )*};
    (complex $($t:ty)*) => {$(
        impl Arith for Cplx<$t> {
            fn plus(self, o: Self) -> Self { Cplx { re: self.re + o.re, im: self.im + o.im } }
            fn times(self, o: Self) -> Self { Cplx { re: self.re * o.re - self.im * o.im, im: self.re * o.im + self.im * o.re } }
            fn larger(self, _: Self) -> Self { self }
            fn smaller(self, _: Self) -> Self { self }
        }
    )*};
}
arith!(int u8 i8 i16 i32 i64);
arith!(float f32 f64 f16 bf16);
arith!(complex f32 f64);
impl Arith for B8 {
    fn plus(self, o: Self) -> Self {
        B8((self.0 != 0 || o.0 != 0) as u8)
    }
    fn times(self, o: Self) -> Self {
        B8((self.0 != 0 && o.0 != 0) as u8)
    }
    fn larger(self, o: Self) -> Self {
        self.plus(o)
    }
    fn smaller(self, o: Self) -> Self {
        self.times(o)
    }
}

/// `out[lane k] = op(out[lane k], values[k])`, in order, so that equal positions give the same bits always.
pub fn combine(out: &Tensor, lanes: &Lanes, values: &Tensor, op: Combine) -> Result<()> {
    if let (Lanes::Gpu(l), true) = (lanes, gpu::holds(out)) {
        return gpu::index::combine(out, l, &super::beside(values, out)?, op.name());
    }
    let lanes = lanes.places(out, "index_put")?;
    assert!(values.numel() == 1 || lanes.numel() == values.numel());
    assert_eq!(out.dtype(), values.dtype());
    if lanes.numel() == 0 {
        return Ok(());
    }
    dispatch!(all out.dtype(), T => {
        let (dst, src) = (out.ptr_mut() as *mut T, values.data::<T>());
        match op {
            Combine::Add => update(dst, lanes, src, T::plus),
            Combine::Mul => update(dst, lanes, src, T::times),
            Combine::Max => update(dst, lanes, src, T::larger as fn(T, T) -> T),
            Combine::Min => update(dst, lanes, src, T::smaller as fn(T, T) -> T),
        }
    });
    Ok(())
}

/// Every lane in order: `dst[lane] = f(dst[lane], value)`.
fn update<T: Copy>(dst: *mut T, lanes: &Places, src: &[T], f: impl Fn(T, T) -> T) {
    let single = src.len() == 1;
    let units = lanes.units();
    // SAFETY: lanes are positions inside the tensor `dst` belongs to; there is a value for each, or one.
    lanes.spans(0..units, |base, index, mut at| unsafe {
        let d = dst.offset(base);
        match &lanes.after {
            After::Run(1) if single => index.iter().for_each(|&p| *d.offset(p) = f(*d.offset(p), src[0])),
            After::Run(1) => {
                for (&p, &v) in index.iter().zip(&src[at..at + index.len()]) {
                    *d.offset(p) = f(*d.offset(p), v);
                }
            }
            After::Run(n) => {
                for &p in index {
                    let row = std::slice::from_raw_parts_mut(d.offset(p), *n);
                    if single {
                        row.iter_mut().for_each(|o| *o = f(*o, src[0]));
                    } else {
                        row.iter_mut().zip(&src[at..at + n]).for_each(|(o, v)| *o = f(*o, *v));
                        at += n;
                    }
                }
            }
            After::Pieces(_, pieces) => {
                for &p in index {
                    for &(start, n, step) in pieces {
                        let d = d.offset(p + start);
                        for k in 0..n {
                            let o = d.offset(k as isize * step);
                            *o = f(*o, if single { src[0] } else { src[at + k] });
                        }
                        at += if single { 0 } else { n };
                    }
                }
            }
        }
    });
}

/// Every element of `out` becomes `value` (0-d, same dtype).
pub fn fill(out: &Tensor, value: &Tensor) -> Result<()> {
    if !out.is_contiguous() || out.device() != crate::device::Device::Cpu {
        return crate::ops::copy::copy_raw(out, value);
    }
    dispatch!(bytes out.dtype(), T => {
        let (v, dst) = (value.data::<T>()[0], SendPtr(out.ptr_mut() as *mut T));
        // SAFETY: pieces are disjoint parts of a contiguous tensor.
        threads::parallel_for(out.numel(), 4 * GRAIN, |r| unsafe { dst.slice(r.start, r.len()).fill(v) });
    });
    Ok(())
}
