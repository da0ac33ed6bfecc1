//! Running a formula on the CPU: tiles of 1,024 elements, one kernel per primitive, results that stay in L1.
//!
//! Operands are converted to one compute type (f32, f64 or i64) while a tile is loaded, and from it while
//! the result is stored; dtypes, strides and broadcasting are known to the loader and the storer alone.

use super::builder::{Formula, Node};
use super::prim::{Info, Kernel};
use crate::cpu::threads;
use crate::dispatch;
use crate::dtype::{Dtype, Element, Scalar};
use crate::tensor::Tensor;
use smallvec::SmallVec;

const TILE: usize = 1024;
/// Elements below which a second thread does not pay.
const GRAIN: usize = 32 * TILE;

/// An operand of an elementwise op.
#[derive(Clone)]
pub enum Operand {
    T(Tensor),
    S(Scalar),
}

/// A type that kernels compute in.
pub trait Compute: Element + Default {
    fn kernel(i: &Info) -> Option<Kernel<Self>>;
}
impl Compute for f32 {
    fn kernel(i: &Info) -> Option<Kernel<f32>> {
        i.f32
    }
}
impl Compute for f64 {
    fn kernel(i: &Info) -> Option<Kernel<f64>> {
        i.f64
    }
}
impl Compute for i64 {
    fn kernel(i: &Info) -> Option<Kernel<i64>> {
        i.i64
    }
}

/// The dtype in which operands of dtype `d` are computed.
pub fn compute_dtype(d: Dtype) -> Dtype {
    match d {
        Dtype::F16 | Dtype::BF16 | Dtype::F32 => Dtype::F32,
        Dtype::F64 => Dtype::F64,
        _ => Dtype::I64,
    }
}

/// Whether every primitive of the formula exists in the compute type of `d`.
pub fn supports(f: &Formula, d: Dtype) -> bool {
    f.nodes.iter().all(|n| match n {
        Node::Op(p, _) => match compute_dtype(d) {
            Dtype::F32 | Dtype::F64 => p.info().f64.is_some(),
            _ => p.info().i64.is_some(),
        },
        _ => true,
    })
}

type Axes = SmallVec<[(usize, [isize; 8]); 6]>;

/// Evaluates the formula into `out` (any dtype, any strides; the inputs broadcast to its shape).
/// `common` is the promoted dtype of the inputs.
pub fn run(f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, out: &Tensor) {
    match compute_dtype(common) {
        Dtype::F32 => run_in::<f32>(f, inputs, params, common, out),
        Dtype::F64 => run_in::<f64>(f, inputs, params, common, out),
        _ => run_in::<i64>(f, inputs, params, common, out),
    }
}

fn run_in<T: Compute>(f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, out: &Tensor) {
    let n = out.numel();
    if n == 0 {
        return;
    }
    if single_op::<T>(f, inputs, out) {
        return;
    }
    assert!(inputs.len() <= 8);
    // Dimensions in the order of the output's strides, merged where every operand allows it.
    let nd = out.ndim();
    let mut order: SmallVec<[usize; 8]> = (0..nd).filter(|&d| out.shape()[d] != 1).collect();
    order.sort_by_key(|&d| std::cmp::Reverse(out.strides()[d]));
    let stride = |t: &Tensor, d: usize| -> isize {
        let lead = nd - t.ndim();
        if d < lead || t.shape()[d - lead] == 1 { 0 } else { t.strides()[d - lead] }
    };
    let mut axes: Axes = SmallVec::new();
    let mut out_strides: SmallVec<[isize; 6]> = SmallVec::new();
    for d in order {
        let size = out.shape()[d];
        let mut st = [0isize; 8];
        for (k, op) in inputs.iter().enumerate() {
            if let Operand::T(t) = op {
                st[k] = stride(t, d);
            }
        }
        let os = out.strides()[d];
        if let (Some((ps, pst)), Some(pos)) = (axes.last_mut(), out_strides.last_mut()) {
            let merges = *pos == os * size as isize && (0..inputs.len()).all(|k| pst[k] == st[k] * size as isize);
            if merges {
                *ps *= size;
                *pst = st;
                *pos = os;
                continue;
            }
        }
        axes.push((size, st));
        out_strides.push(os);
    }
    if axes.is_empty() {
        axes.push((1, [0; 8]));
        out_strides.push(1);
    }
    let plan = Plan::<T>::new(f, inputs, params, common, &axes, &out_strides, out);
    let tiles = n.div_ceil(TILE);
    if n <= GRAIN {
        plan.tiles(0, tiles, n);
    } else {
        threads::parallel_for(tiles, GRAIN / TILE, |r| plan.tiles(r.start, r.end, n));
    }
}

/// The most frequent case without any set-up: one primitive, operands of the compute dtype, all contiguous.
fn single_op<T: Compute>(f: &Formula, inputs: &[Operand], out: &Tensor) -> bool {
    let Some(Node::Op(p, args)) = f.nodes.last() else { return false };
    let arity = p.info().arity;
    let n = out.numel();
    if f.nodes.len() != arity + 1 || n > GRAIN || out.dtype() != T::DTYPE || !out.is_contiguous() {
        return false;
    }
    let mut ptr = [std::ptr::null::<T>(); 3];
    for k in 0..arity {
        let Node::In(i) = f.nodes[args[k] as usize] else { return false };
        let Operand::T(t) = &inputs[i as usize] else { return false };
        if t.dtype() != T::DTYPE || t.numel() != n || !t.is_contiguous() {
            return false;
        }
        ptr[k] = t.ptr() as *const T;
    }
    let Some(kernel) = T::kernel(p.info()) else { return false };
    // SAFETY: every pointer has `n` elements of `T`; kernels read element k before they write element k,
    // so the result may be one of the operands.
    unsafe { kernel(ptr[0], ptr[1], ptr[2], out.ptr_mut() as *mut T, n) };
    true
}

enum Source<T> {
    /// Contiguous and of the compute dtype: used in place.
    Direct(*const T),
    Load {
        dtype: Dtype,
        base: *const u8,
        input: usize,
        contiguous: bool,
    },
    /// One value for all elements.
    Splat(T),
    Op(Kernel<T>, [u32; 3]),
}

struct Plan<'a, T> {
    sources: SmallVec<[Source<T>; 16]>,
    root: usize,
    axes: &'a Axes,
    out_strides: &'a [isize],
    out: *mut u8,
    out_dtype: Dtype,
    out_contiguous: bool,
    /// Integer results are cut to the promoted dtype before they are stored in another one.
    cut: Option<Dtype>,
}

// SAFETY: the pointers are to tensors that outlive the call; threads write disjoint ranges of the output.
unsafe impl<T> Sync for Plan<'_, T> {}

impl<'a, T: Compute> Plan<'a, T> {
    fn new(
        f: &Formula,
        inputs: &[Operand],
        params: &[Scalar],
        common: Dtype,
        axes: &'a Axes,
        out_strides: &'a [isize],
        out: &Tensor,
    ) -> Self {
        let dense = |of: &dyn Fn(usize) -> isize| {
            let mut expect = 1;
            (0..axes.len()).rev().all(|a| {
                let ok = of(a) == expect;
                expect *= axes[a].0 as isize;
                ok
            })
        };
        let sources = f
            .nodes
            .iter()
            .map(|n| match *n {
                Node::Const(v) => Source::Splat(T::from_f64(v)),
                Node::Par(i) => Source::Splat(T::from_scalar(params[i as usize])),
                Node::In(i) => match &inputs[i as usize] {
                    Operand::S(s) => Source::Splat(T::from_scalar(*s)),
                    Operand::T(t) => {
                        let i = i as usize;
                        if axes.iter().all(|(_, st)| st[i] == 0) {
                            // SAFETY: element 0 exists, as the output is not empty.
                            let v = unsafe { load_one::<T>(t.dtype(), t.ptr()) };
                            Source::Splat(v)
                        } else {
                            let contiguous = dense(&|a| axes[a].1[i]);
                            if contiguous && t.dtype() == T::DTYPE {
                                Source::Direct(t.ptr() as *const T)
                            } else {
                                Source::Load { dtype: t.dtype(), base: t.ptr(), input: i, contiguous }
                            }
                        }
                    }
                },
                Node::Op(p, args) => Source::Op(T::kernel(p.info()).expect("checked by supports()"), args),
            })
            .collect();
        let cut = (T::DTYPE == Dtype::I64 && common != Dtype::I64 && out.dtype() != common).then_some(common);
        Plan {
            sources,
            root: f.root as usize,
            axes,
            out_strides,
            out: out.ptr_mut(),
            out_dtype: out.dtype(),
            out_contiguous: dense(&|a| out_strides[a]),
            cut,
        }
    }

    fn tiles(&self, first: usize, last: usize, n: usize) {
        // One scratch tile for every node that is computed or converted; the result goes straight to the
        // output where it can.
        let direct_out = self.out_contiguous && self.out_dtype == T::DTYPE;
        let slots: SmallVec<[usize; 16]> = {
            let mut next = 0;
            self.sources
                .iter()
                .map(|s| match s {
                    Source::Direct(_) => usize::MAX,
                    _ => {
                        next += 1;
                        next - 1
                    }
                })
                .collect()
        };
        let width = TILE.min(n - first * TILE);
        let count = slots.iter().filter(|&&s| s != usize::MAX).count();
        let mut scratch: Vec<T> = vec![T::default(); count * width];
        let base = scratch.as_mut_ptr();
        let mut ptrs: SmallVec<[*mut T; 16]> =
            slots.iter().map(|&s| if s == usize::MAX { std::ptr::null_mut() } else { base.wrapping_add(s * width) }).collect();
        for (i, s) in self.sources.iter().enumerate() {
            if let Source::Splat(v) = s {
                // SAFETY: the slot has `width` elements.
                unsafe { std::slice::from_raw_parts_mut(ptrs[i], width) }.fill(*v);
            }
        }
        for tile in first..last {
            let start = tile * TILE;
            let len = TILE.min(n - start);
            for (i, s) in self.sources.iter().enumerate() {
                match s {
                    Source::Splat(_) => {}
                    Source::Direct(p) => ptrs[i] = p.wrapping_add(start) as *mut T,
                    Source::Load { dtype, base, input, contiguous } => {
                        // SAFETY: positions come from the layout of a tensor that covers the iteration.
                        unsafe {
                            if *contiguous {
                                load_run::<T>(*dtype, *base, start as isize, 1, ptrs[i], len);
                            } else {
                                self.each_run(
                                    start,
                                    len,
                                    |a| self.axes[a].1[*input],
                                    |at, pos, st, l| load_run::<T>(*dtype, *base, pos, st, ptrs[i].add(at), l),
                                );
                            }
                        }
                    }
                    Source::Op(k, args) => {
                        let arg = |j: usize| ptrs.get(args[j] as usize).map_or(std::ptr::null(), |p| *p as *const T);
                        let to = if i == self.root && direct_out { (self.out as *mut T).wrapping_add(start) } else { ptrs[i] };
                        // SAFETY: operands precede `i` and hold `len` elements; `to` has room for them.
                        unsafe { k(arg(0), arg(1), arg(2), to, len) };
                    }
                }
            }
            let done = direct_out && matches!(self.sources[self.root], Source::Op(..));
            if !done {
                let from = ptrs[self.root];
                // SAFETY: as for loading; ranges of different tiles are disjoint.
                unsafe {
                    if let Some(d) = self.cut {
                        cut_tile::<T>(d, from, len);
                    }
                    self.each_run(
                        start,
                        len,
                        |a| self.out_strides[a],
                        |at, pos, st, l| store_run::<T>(self.out_dtype, self.out, pos, st, from.add(at), l),
                    );
                }
            }
        }
    }

    /// Splits the linear range into runs along the innermost axis: `f(offset in tile, position, stride, length)`.
    fn each_run(&self, start: usize, len: usize, stride: impl Fn(usize) -> isize, mut f: impl FnMut(usize, isize, isize, usize)) {
        let last = self.axes.len() - 1;
        let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, self.axes.len());
        let mut rest = start;
        let mut pos = 0isize;
        for a in (0..=last).rev() {
            index[a] = rest % self.axes[a].0;
            rest /= self.axes[a].0;
            pos += index[a] as isize * stride(a);
        }
        let inner = stride(last);
        let mut at = 0;
        while at < len {
            let run = (self.axes[last].0 - index[last]).min(len - at);
            f(at, pos, inner, run);
            at += run;
            index[last] += run;
            pos += run as isize * inner;
            let mut a = last;
            while index[a] == self.axes[a].0 && a > 0 {
                pos -= index[a] as isize * stride(a);
                index[a] = 0;
                a -= 1;
                index[a] += 1;
                pos += stride(a);
            }
        }
    }
}

trait Convert<T>: Element {
    fn conv(self) -> T;
    fn back(v: T) -> Self;
}
impl<S: Element, T: Compute> Convert<T> for S {
    #[inline(always)]
    fn conv(self) -> T {
        if T::DTYPE == Dtype::I64 { T::from_i64(self.to_i64()) } else { T::from_f64(self.to_f64()) }
    }
    #[inline(always)]
    fn back(v: T) -> S {
        if T::DTYPE == Dtype::I64 { S::from_i64(v.to_i64()) } else { S::from_f64(v.to_f64()) }
    }
}

/// # Safety
/// `base` points at an element of dtype `d`.
unsafe fn load_one<T: Compute>(d: Dtype, base: *const u8) -> T {
    // SAFETY: by the caller.
    dispatch!(all d, S => unsafe { <S as Convert<T>>::conv(*(base as *const S)) })
}

/// # Safety
/// `len` elements of dtype `d` exist from position `pos` in steps of `stride`; `to` has room for `len`.
unsafe fn load_run<T: Compute>(d: Dtype, base: *const u8, pos: isize, stride: isize, to: *mut T, len: usize) {
    dispatch!(all d, S => {
        let from = (base as *const S).wrapping_offset(pos);
        // SAFETY: by the caller.
        unsafe {
            if stride == 1 {
                for k in 0..len { *to.add(k) = (*from.add(k)).conv(); }
            } else if stride == 0 {
                let v = (*from).conv();
                for k in 0..len { *to.add(k) = v; }
            } else {
                for k in 0..len { *to.add(k) = (*from.wrapping_offset(k as isize * stride)).conv(); }
            }
        }
    })
}

/// # Safety
/// As [`load_run`], with the roles exchanged.
unsafe fn store_run<T: Compute>(d: Dtype, base: *mut u8, pos: isize, stride: isize, from: *const T, len: usize) {
    dispatch!(all d, S => {
        let to = (base as *mut S).wrapping_offset(pos);
        // SAFETY: by the caller.
        unsafe {
            if stride == 1 {
                for k in 0..len { *to.add(k) = <S as Convert<T>>::back(*from.add(k)); }
            } else {
                for k in 0..len { *to.wrapping_offset(k as isize * stride) = <S as Convert<T>>::back(*from.add(k)); }
            }
        }
    })
}

/// # Safety
/// `p` has `len` elements.
unsafe fn cut_tile<T: Compute>(d: Dtype, p: *mut T, len: usize) {
    dispatch!(all d, S => for k in 0..len {
        // SAFETY: by the caller.
        unsafe { *p.add(k) = <S as Convert<T>>::back(*p.add(k)).conv(); }
    })
}
