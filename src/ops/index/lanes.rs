//! Where indexed elements lie in memory, and moving data to and from there.

use crate::cpu::threads::{self, SendPtr};
use crate::dispatch;
use crate::dtype::{B8, Cplx, Element};
use crate::error::Result;
use crate::tensor::Tensor;
use half::{bf16, f16};

/// Elements of work below which a second thread does not pay.
const GRAIN: usize = 1 << 15;

/// The positions (relative to element 0 of a tensor) of the elements an index names, in the order of the
/// result: every sum of a `before`, an `index` and an `after` offset.
pub struct Lanes {
    pub before: Vec<isize>,
    pub index: Vec<isize>,
    pub after: After,
}

/// The innermost offsets: `0..n`, or a list.
pub enum After {
    Run(usize),
    List(Vec<isize>),
}

impl After {
    /// The offsets of these dimensions; a run where they are contiguous.
    pub fn of(shape: &[usize], strides: &[isize]) -> After {
        let mut expect = 1isize;
        for (&s, &st) in shape.iter().zip(strides).rev() {
            if s != 1 && st != expect {
                return After::List(offsets(shape, strides));
            }
            expect = expect.saturating_mul(s as isize);
        }
        After::Run(shape.iter().product())
    }

    fn len(&self) -> usize {
        match self {
            After::Run(n) => *n,
            After::List(v) => v.len(),
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
    /// Single elements at these positions.
    pub fn at(index: Vec<isize>) -> Lanes {
        Lanes { before: vec![0], index, after: After::Run(1) }
    }

    pub fn numel(&self) -> usize {
        self.before.len() * self.index.len() * self.after.len()
    }

    /// Calls `f(position, place in the result)` for the start of every lane in `units`.
    #[inline]
    fn each(&self, units: std::ops::Range<usize>, mut f: impl FnMut(isize, usize)) {
        let (n, len) = (self.index.len(), self.after.len());
        if n == 0 {
            return;
        }
        let (mut b, mut i) = (units.start / n, units.start % n);
        for u in units {
            f(self.before[b] + self.index[i], u * len);
            i += 1;
            if i == n {
                (b, i) = (b + 1, 0);
            }
        }
    }
}

/// `out[k] = x[lane k]`; `out` is contiguous and has as many elements as the lanes.
pub fn read(x: &Tensor, lanes: &Lanes, out: &Tensor) -> Result<()> {
    x.check_data("index")?;
    assert_eq!(lanes.numel(), out.numel());
    if out.numel() == 0 {
        return Ok(());
    }
    dispatch!(bytes x.dtype(), T => {
        let src = SendPtr(x.ptr() as *mut T);
        let dst = SendPtr(out.ptr() as *mut T);
        let len = lanes.after.len();
        threads::parallel_for(lanes.before.len() * lanes.index.len(), (GRAIN / len).max(1), |units| {
            // SAFETY: lanes are positions inside the tensor (indices are checked when they are made), `out`
            // has an element for each of them, and pieces write disjoint parts of it.
            lanes.each(units, |pos, at| unsafe {
                let (s, d) = (src.get().offset(pos), dst.get().add(at));
                match &lanes.after {
                    After::Run(1) => *d = *s,
                    After::Run(n) => std::ptr::copy_nonoverlapping(s, d, *n),
                    After::List(v) => for (k, &o) in v.iter().enumerate() { *d.add(k) = *s.offset(o) },
                }
            });
        });
    });
    Ok(())
}

/// `out[lane k] = values[k]`, in order; values of the same dtype, contiguous, as many as the lanes, or one.
pub fn write(out: &Tensor, lanes: &Lanes, values: &Tensor) -> Result<()> {
    out.check_data("index_put")?;
    let single = values.numel() == 1;
    assert!(single || lanes.numel() == values.numel());
    assert_eq!(out.dtype(), values.dtype());
    dispatch!(bytes out.dtype(), T => {
        let dst = out.ptr() as *mut T;
        let src = values.data::<T>();
        // SAFETY: lanes are positions inside the tensor.
        lanes.each(0..lanes.before.len() * lanes.index.len(), |pos, at| unsafe {
            let d = dst.offset(pos);
            match &lanes.after {
                After::Run(n) if single => std::slice::from_raw_parts_mut(d, *n).fill(src[0]),
                After::Run(1) => *d = src[at],
                After::Run(n) => std::ptr::copy_nonoverlapping(src[at..at + n].as_ptr(), d, *n),
                After::List(v) => for (k, &o) in v.iter().enumerate() { *d.offset(o) = if single { src[0] } else { src[at + k] } },
            }
        });
    });
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
    out.check_data("index_put")?;
    assert!(values.numel() == 1 || lanes.numel() == values.numel());
    assert_eq!(out.dtype(), values.dtype());
    dispatch!(all out.dtype(), T => {
        let (dst, src) = (out.ptr() as *mut T, values.data::<T>());
        match op {
            Combine::Add => go(dst, lanes, src, T::plus),
            Combine::Mul => go(dst, lanes, src, T::times),
            Combine::Max => go(dst, lanes, src, T::larger as fn(T, T) -> T),
            Combine::Min => go(dst, lanes, src, T::smaller as fn(T, T) -> T),
        }
    });
    Ok(())
}

fn go<T: Arith>(dst: *mut T, lanes: &Lanes, src: &[T], f: impl Fn(T, T) -> T) {
    let single = src.len() == 1;
    // SAFETY: lanes are positions inside the tensor `dst` belongs to.
    lanes.each(0..lanes.before.len() * lanes.index.len(), |pos, at| unsafe {
        let d = dst.offset(pos);
        match &lanes.after {
            After::Run(n) if !single => {
                for (d, s) in std::slice::from_raw_parts_mut(d, *n).iter_mut().zip(&src[at..at + n]) {
                    *d = f(*d, *s);
                }
            }
            After::Run(n) => std::slice::from_raw_parts_mut(d, *n).iter_mut().for_each(|d| *d = f(*d, src[0])),
            After::List(v) => {
                for (k, &o) in v.iter().enumerate() {
                    let p = d.offset(o);
                    *p = f(*p, if single { src[0] } else { src[at + k] });
                }
            }
        }
    });
}
