//! From tensors to the reduction kernels: any dtype, any dense order of dimensions, any set of reduced ones.

use crate::cpu::reduce::extreme::{Extreme, extreme};
use crate::cpu::reduce::moments::{Moments, Spread, moments};
use crate::cpu::reduce::ops::{Fold, Value};
use crate::cpu::reduce::source::{Converted, Source};
use crate::cpu::reduce::{Shape, fold};
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::expr::eval::Compute;
use crate::expr::pending::Tiles;
use crate::gpu;
use crate::layout::Dims;
use crate::ops::{copy, view};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::marker::PhantomData;

/// What is to be done with the elements of a tensor.
trait Visit<T> {
    fn on<S: Source<T>>(self, source: &S);
}

/// A kernel type, and how tensors are read as it: `T::DTYPE` itself and what converts to it exactly.
pub trait Kernel: Value + Element {
    #[allow(private_bounds)]
    fn visit(x: &Tensor, v: impl Visit<Self>);
    /// Folds a pending tensor while it is computed; false if it has to be read from memory.
    fn fold_pending<O: Fold<Self>>(_x: &Tensor, _shape: Shape, _out: &mut [Self]) -> bool {
        false
    }
}

impl<T: Compute + Value> Source<T> for Tiles<T> {
    const BUFFERED: bool = true;
    fn len(&self) -> usize {
        self.numel()
    }
    unsafe fn read(&self, at: usize, n: usize, buffer: *mut T) -> *const T {
        // SAFETY: by the caller.
        unsafe { Tiles::read(self, at, n, buffer) };
        buffer
    }
}

macro_rules! kernels {
    ($($t:ty $([pending $p:ident])?: $($d:ident = $s:ty),*;)*) => {$(
        impl Kernel for $t {
            #[allow(private_bounds)]
            fn visit(x: &Tensor, v: impl Visit<$t>) {
                match x.dtype() {
                    $(Dtype::$d => v.on(&Converted::<$s, $t>::new(x.data::<$s>())),)*
                    _ => v.on(&x.data::<$t>()),
                }
            }
            $(
                fn fold_pending<$p: Fold<$t>>(x: &Tensor, shape: Shape, out: &mut [$t]) -> bool {
                    Tiles::<$t>::of(x).map(|t| fold::<$t, $p, _>(&t, shape, out)).is_some()
                }
            )?
        }
    )*};
}
kernels! {
    f32 [pending O]: F16 = half::f16, BF16 = half::bf16;
    f64 [pending O]: F32 = f32;
    i64 [pending O]: I32 = i32, I16 = i16, I8 = i8, U8 = u8, Bool = u8;
    u8: ;
}

/// The tensor without history, dense in memory, its dimensions in the order in which they lie there.
struct Ordered {
    x: Tensor,
    /// The dimension that lies at each place; None if they are in order.
    order: Option<SmallVec<[usize; 8]>>,
}

impl Ordered {
    fn new(x: &Tensor) -> Result<Ordered> {
        let x = x.detach();
        if x.is_contiguous() || !x.layout().is_dense() {
            return Ok(Ordered { x: copy::contiguous(&x)?, order: None });
        }
        let mut order: SmallVec<[usize; 8]> = (0..x.ndim()).collect();
        order.sort_by_key(|&d| std::cmp::Reverse((x.strides()[d], x.shape()[d])));
        let dims: Vec<i64> = order.iter().map(|&d| d as i64).collect();
        let x = view::permute(&x, &dims)?.detach();
        // Dimensions of size 1 may have any stride.
        if x.is_contiguous() {
            Ok(Ordered { x, order: Some(order) })
        } else {
            Ok(Ordered { x: copy::contiguous(&x)?, order: Some(order) })
        }
    }

    /// A flag for every dimension, in the order of memory.
    fn flags(&self, gone: &[bool]) -> SmallVec<[bool; 8]> {
        match &self.order {
            None => gone.into(),
            Some(order) => order.iter().map(|&d| gone[d]).collect(),
        }
    }

    /// The shape of a result that keeps reduced dimensions, in the order of memory.
    fn kept(&self, gone: &[bool]) -> Dims {
        self.x.shape().iter().zip(gone).map(|(&s, &g)| if g { 1 } else { s }).collect()
    }

    /// A result of shape [`Ordered::kept`] in the order of the tensor, contiguous.
    fn restore(&self, y: Tensor) -> Result<Tensor> {
        let Some(order) = &self.order else { return Ok(y) };
        let mut back: Vec<i64> = vec![0; order.len()];
        for (place, &d) in order.iter().enumerate() {
            back[d] = place as i64;
        }
        Ok(copy::contiguous(&view::permute(&y, &back)?)?.detach())
    }
}

/// Neighbouring dimensions that are reduced or kept alike, as one.
fn groups(shape: &[usize], gone: &[bool]) -> SmallVec<[(usize, bool); 8]> {
    let mut all: SmallVec<[(usize, bool); 8]> = SmallVec::new();
    for (&s, &g) in shape.iter().zip(gone).filter(|(s, _)| **s != 1) {
        match all.last_mut() {
            Some((size, last)) if *last == g => *size *= s,
            _ => all.push((s, g)),
        }
    }
    all
}

/// The last reduced group as the middle of outer x len x inner.
fn stage(groups: &[(usize, bool)]) -> Option<(usize, Shape)> {
    let at = groups.iter().rposition(|g| g.1)?;
    let product = |g: &[(usize, bool)]| g.iter().map(|g| g.0).product();
    Some((at, Shape { outer: product(&groups[..at]), len: groups[at].0, inner: product(&groups[at + 1..]) }))
}

struct Folding<'a, T, O> {
    shape: Shape,
    out: &'a mut [T],
    op: PhantomData<O>,
}
impl<T: Value, O: Fold<T>> Visit<T> for Folding<'_, T, O> {
    fn on<S: Source<T>>(self, source: &S) {
        fold::<T, O, S>(source, self.shape, self.out);
    }
}

/// `x` reduced by `O` over the dimensions that `gone` marks, which stay with size 1; dtype `T`. Reduced dimensions
/// that do not lie side by side are taken one after the other, the last first.
pub fn folded<T: Kernel, O: Fold<T>>(x: &Tensor, gone: &[bool]) -> Result<Tensor> {
    let x = Ordered::new(x)?;
    let gone = x.flags(gone);
    let mut left = groups(x.x.shape(), &gone);
    if gpu::holds(&x.x) {
        return folded_on_gpu::<T, O>(&x, &gone, left);
    }
    let out = Tensor::empty(&x.kept(&gone), T::DTYPE, x.x.device())?;
    let to = out.data_mut::<T>();
    let Some((mut at, mut shape)) = stage(&left) else {
        T::visit(&x.x, Folding { shape: Shape { outer: to.len(), len: 1, inner: 1 }, out: to, op: PhantomData::<O> });
        return x.restore(out);
    };
    let mut parts: Option<Vec<T>> = None;
    loop {
        left.remove(at);
        let next = stage(&left);
        let mut result = Vec::new();
        let target: &mut [T] = if next.is_none() {
            &mut *to
        } else {
            result.resize(shape.outer * shape.inner, O::START);
            &mut result
        };
        match &parts {
            None if T::fold_pending::<O>(&x.x, shape, target) => {}
            None => T::visit(&x.x, Folding { shape, out: target, op: PhantomData::<O> }),
            Some(p) => fold::<T, O::Merge, _>(&&p[..], shape, target),
        }
        match next {
            None => return x.restore(out),
            Some(n) => ((at, shape), parts) = (n, Some(result)),
        }
    }
}

/// [`folded`] by kernels of the GPU, the same stages.
fn folded_on_gpu<T: Kernel, O: Fold<T>>(x: &Ordered, gone: &[bool], mut left: SmallVec<[(usize, bool); 8]>) -> Result<Tensor> {
    let (name, merge) = (O::NAME, <O::Merge as Fold<T>>::NAME);
    let start = O::START.to_scalar();
    let mut part = match stage(&left) {
        None => {
            let n = x.x.numel();
            gpu::reduce::fold(&x.x, Shape { outer: n, len: 1, inner: 1 }, name, merge, T::DTYPE, start)?
        }
        Some((at, s)) => {
            left.remove(at);
            gpu::reduce::fold(&x.x, s, name, merge, T::DTYPE, start)?
        }
    };
    while let Some((at, s)) = stage(&left) {
        left.remove(at);
        part = gpu::reduce::fold(&part, s, merge, merge, T::DTYPE, start)?;
    }
    x.restore(super::reshaped(&part, &x.kept(gone))?)
}

struct Finding<'a, T, O> {
    shape: Shape,
    best: &'a mut [T],
    index: &'a mut [i64],
    op: PhantomData<O>,
}
impl<T: Value, O: Extreme<T>> Visit<T> for Finding<'_, T, O> {
    fn on<S: Source<T>>(self, source: &S) {
        extreme::<T, O, S>(source, self.shape, self.best, self.index);
    }
}

/// The extreme along dimension `d` (dtype `T`), and where it is; the dimension stays with size 1.
pub fn extreme_along<T: Kernel, O: Extreme<T>>(x: &Tensor, d: usize) -> Result<(Tensor, Tensor)> {
    let x = Ordered::new(x)?;
    let gone: SmallVec<[bool; 8]> = x.flags(&(0..x.x.ndim()).map(|k| k == d).collect::<SmallVec<[bool; 8]>>());
    let place = gone.iter().position(|g| *g).unwrap_or(0);
    let s = x.x.shape();
    let shape = Shape {
        outer: s[..place.min(s.len())].iter().product(),
        len: x.x.size(place),
        inner: s.iter().skip(place + 1).product(),
    };
    let kept = x.kept(&gone);
    if gpu::holds(&x.x) {
        let (best, index) = gpu::reduce::extreme(&x.x, shape, O::NAME)?;
        return Ok((x.restore(super::reshaped(&best, &kept)?)?, x.restore(super::reshaped(&index, &kept)?)?));
    }
    let best = Tensor::empty(&kept, T::DTYPE, x.x.device())?;
    let index = Tensor::empty(&kept, Dtype::I64, x.x.device())?;
    T::visit(&x.x, Finding { shape, best: best.data_mut::<T>(), index: index.data_mut::<i64>(), op: PhantomData::<O> });
    Ok((x.restore(best)?, x.restore(index)?))
}

struct Measuring<'a> {
    shape: Shape,
    out: &'a mut [Moments],
}
impl<T: Spread> Visit<T> for Measuring<'_> {
    fn on<S: Source<T>>(self, source: &S) {
        moments::<T, S>(source, self.shape, self.out);
    }
}

/// Mean, and sum of squared distances from it, on a GPU: float32, in row-major order of what is kept.
pub fn moments_on_gpu(x: &Tensor, gone: &[bool]) -> Result<(Tensor, Tensor)> {
    let mut x = x.detach();
    let mut left = groups(x.shape(), gone);
    if left.iter().filter(|g| g.1).count() > 1 {
        let (rows, outer, len) = super::rows(&x, gone)?;
        (x, left) = (rows, SmallVec::from_slice(&[(outer, false), (len, true)]));
    }
    let x = copy::contiguous(&x)?;
    let s = stage(&left).map_or(Shape { outer: x.numel(), len: 1, inner: 1 }, |s| s.1);
    gpu::reduce::moments(&x, s)
}

/// Moments over the dimensions that `gone` marks, one for each result in row-major order.
pub fn moments_over<T: Kernel + Spread>(x: &Tensor, gone: &[bool]) -> Result<Vec<Moments>> {
    let mut x = x.detach();
    let mut left = groups(x.shape(), gone);
    if left.iter().filter(|g| g.1).count() > 1 {
        // Several groups: brought together by a copy.
        let (rows, outer, len) = super::rows(&x, gone)?;
        (x, left) = (rows, SmallVec::from_slice(&[(outer, false), (len, true)]));
    }
    let x = copy::contiguous(&x)?;
    let shape = stage(&left).map_or(Shape { outer: x.numel(), len: 1, inner: 1 }, |s| s.1);
    let mut out = vec![Moments::default(); shape.outer * shape.inner];
    if shape.len > 0 {
        T::visit(&x, Measuring { shape, out: &mut out });
    }
    Ok(out)
}
