//! Running a formula on the CPU: tiles of 1,024 elements, one kernel per primitive, results that stay in L1.
//!
//! Operands are converted to one compute type (f32, f64 or i64) while a tile is loaded, and from it while
//! the result is stored; dtypes, strides and broadcasting are known to the loader and the storer alone.

use super::builder::{Formula, Node};
use super::convert::{cut_tile, load_one, load_run, store_run};
use super::prim::{Info, Kernel};
use crate::cpu::threads;
use crate::dtype::{Dtype, Element, Scalar};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::cell::Cell;

pub const TILE: usize = 1024;
/// Elements below which a second thread does not pay.
const GRAIN: usize = 32 * TILE;
/// Inputs of a formula at most.
pub const MAX_INPUTS: usize = 8;

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
macro_rules! compute {
    ($($t:ident)*) => {$(
        impl Compute for $t {
            #[inline]
            fn kernel(i: &Info) -> Option<Kernel<$t>> {
                i.$t.as_ref().map(|v| v.pick())
            }
        }
    )*};
}
compute!(f32 f64 i64);

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
    if n == 0 || single_op::<T>(f, inputs, out) || short::<T>(f, inputs, params, out) {
        return;
    }
    Plan::<T>::new(f, inputs, params, common, out.shape(), Some(out)).run(n);
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
    let mut numbers = [T::default(); 3];
    let mut splat = 0;
    for k in 0..arity {
        let Node::In(i) = f.nodes[args[k] as usize] else { return false };
        match &inputs[i as usize] {
            Operand::T(t) => {
                if t.dtype() != T::DTYPE || t.numel() != n || !t.is_contiguous() {
                    return false;
                }
                ptr[k] = t.ptr() as *const T;
            }
            Operand::S(s) => {
                numbers[k] = T::from_scalar(*s);
                splat |= 1 << k;
            }
        }
    }
    for k in 0..3 {
        if splat >> k & 1 != 0 {
            ptr[k] = &numbers[k];
        }
    }
    let Some(kernel) = T::kernel(p.info()) else { return false };
    let to = out.ptr_mut() as *mut T;
    if n > 64 && ptr[..arity].contains(&to.cast_const()) {
        return false; // in place: through a scratch tile
    }
    // SAFETY: every pointer has `n` elements of `T` (or one number); kernels read element k before they write it, so a
    // short result may be one of the operands.
    unsafe { kernel(ptr[0], ptr[1], ptr[2], to, n, splat) };
    true
}

/// Nodes of a formula, and elements of all of them together, up to which [`short`] is taken.
const SHORT_NODES: usize = 16;
const SHORT_ROOM: usize = 1024;

/// A formula over so few contiguous elements of the compute dtype that making a plan would take longer than running it.
fn short<T: Compute>(f: &Formula, inputs: &[Operand], params: &[Scalar], out: &Tensor) -> bool {
    let (n, root) = (out.numel(), f.root as usize);
    let fits = f.nodes.len() <= SHORT_NODES && n * f.nodes.len() <= SHORT_ROOM;
    if !fits || out.dtype() != T::DTYPE || !out.is_contiguous() || !matches!(f.nodes[root], Node::Op(..)) {
        return false;
    }
    let mut room = std::mem::MaybeUninit::<[T; SHORT_ROOM]>::uninit();
    let room = room.as_mut_ptr() as *mut T;
    // Where each node's values are, and whether they are one number.
    let mut at = [(std::ptr::null::<T>(), false); SHORT_NODES];
    let to = out.ptr_mut() as *mut T;
    for (i, node) in f.nodes.iter().enumerate() {
        let own = room.wrapping_add(i * n);
        let number = |v: T| {
            // SAFETY: every node has room for `n` elements, and `n` is not 0.
            unsafe { own.write(v) };
            (own.cast_const(), true)
        };
        at[i] = match *node {
            Node::Const(v) => number(T::from_f64(v)),
            Node::Par(k) => number(T::from_scalar(params[k as usize])),
            Node::In(k) => match &inputs[k as usize] {
                Operand::S(s) => number(T::from_scalar(*s)),
                Operand::T(t) => {
                    let p = t.ptr() as *const T;
                    // A result over an operand is left to the plan, which has a tile for it.
                    if t.dtype() != T::DTYPE || t.numel() != n || !t.is_contiguous() || p == to.cast_const() {
                        return false;
                    }
                    (p, false)
                }
            },
            Node::Op(p, args) => {
                let Some(kernel) = T::kernel(p.info()) else { return false };
                let mut arg = [std::ptr::null(); 3];
                let mut splat = 0;
                let arity = p.info().arity;
                for j in 0..arity {
                    let (p, number) = at[args[j] as usize];
                    arg[j] = p;
                    splat |= (number as u32) << j;
                }
                let numbers = splat == (1 << arity) - 1;
                let target = if i == root { to } else { own };
                // SAFETY: operands precede `i` and hold `n` elements, or one number; `target` has room and is no operand.
                unsafe { kernel(arg[0], arg[1], arg[2], target, if numbers && i != root { 1 } else { n }, splat) };
                (target.cast_const(), numbers && i != root)
            }
        };
    }
    true
}

/// Where a node's values come from.
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
    /// Kernel, arguments, number of arguments.
    Op(Kernel<T>, [u32; 3], usize),
}

/// No scratch tile: the values are elsewhere.
const NOWHERE: u32 = u32::MAX;

/// A size of the iteration and the stride of every input along it.
pub(crate) type Axis = (usize, [isize; MAX_INPUTS]);

/// A formula made ready to run over given memory.
pub struct Plan<T> {
    sources: SmallVec<[Source<T>; 16]>,
    /// The scratch tile of every node; tiles are used again when no later node reads them.
    slots: SmallVec<[u32; 16]>,
    tiles: usize,
    root: usize,
    axes: SmallVec<[Axis; 6]>,
    out_strides: SmallVec<[isize; 6]>,
    out: *mut u8,
    out_dtype: Dtype,
    out_contiguous: bool,
    /// There is one operation, on memory and numbers.
    direct: bool,
    /// The root's kernel may write the result where it belongs.
    in_place: bool,
    /// Integer results are cut to the promoted dtype before they are stored in another one.
    cut: Option<Dtype>,
}

// SAFETY: the pointers are to tensors that outlive the plan (its makers hold them); threads write disjoint ranges of the output.
unsafe impl<T> Sync for Plan<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Plan<T> {}

impl<T: Compute> Plan<T> {
    /// Reads the inputs' addresses: pending ones are computed. Without `out` the plan is for [`Plan::read`] only.
    pub fn new(f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, shape: &[usize], out: Option<&Tensor>) -> Self {
        assert!(inputs.len() <= MAX_INPUTS);
        let (axes, out_strides) = axes(inputs, shape, out);
        let dense = |of: &dyn Fn(usize) -> isize| {
            let mut expect = 1;
            (0..axes.len()).rev().all(|a| {
                let ok = of(a) == expect;
                expect *= axes[a].0 as isize;
                ok
            })
        };
        let mut sources: SmallVec<[Source<T>; 16]> = SmallVec::new();
        for n in &f.nodes {
            let source = match *n {
                Node::Const(v) => Source::Splat(T::from_f64(v)),
                Node::Par(i) => Source::Splat(T::from_scalar(params[i as usize])),
                Node::In(i) => match &inputs[i as usize] {
                    Operand::S(s) => Source::Splat(T::from_scalar(*s)),
                    Operand::T(t) => {
                        let i = i as usize;
                        if axes.iter().all(|(_, st)| st[i] == 0) {
                            // SAFETY: element 0 exists, as the output is not empty.
                            Source::Splat(unsafe { load_one::<T>(t.dtype(), t.ptr()) })
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
                Node::Op(p, args) => {
                    let kernel = T::kernel(p.info()).expect("checked by supports()");
                    let arity = p.info().arity;
                    fold(kernel, &args, arity, &sources).map_or(Source::Op(kernel, args, arity), Source::Splat)
                }
            };
            sources.push(source);
        }
        let root = f.root as usize;
        let (slots, tiles) = assign(&sources, root);
        let out_contiguous = dense(&|a| out_strides[a]);
        let out_dtype = out.map_or(T::DTYPE, Tensor::dtype);
        let base = out.map_or(std::ptr::null_mut(), Tensor::ptr_mut);
        let overlaps = sources.iter().any(|s| matches!(s, Source::Direct(p) if *p == base as *const T));
        let operations = sources.iter().filter(|s| matches!(s, Source::Op(..))).count();
        Plan {
            direct: operations == 1 && !sources.iter().any(|s| matches!(s, Source::Load { .. })),
            in_place: out_contiguous && out_dtype == T::DTYPE && !overlaps && matches!(sources[root], Source::Op(..)),
            cut: (T::DTYPE == Dtype::I64 && common != Dtype::I64 && out_dtype != common).then_some(common),
            out: base,
            sources,
            slots,
            tiles,
            root,
            axes,
            out_strides,
            out_dtype,
            out_contiguous,
        }
    }

    /// All `n` elements, on as many threads as pay.
    pub fn run(&self, n: usize) {
        if n <= GRAIN {
            self.write(0, n);
        } else {
            threads::parallel_for(n.div_ceil(TILE), GRAIN / TILE, |r| self.write(r.start * TILE, (r.end * TILE).min(n)));
        }
    }

    /// Computes the elements `start..end` into the output.
    fn write(&self, start: usize, end: usize) {
        // One operation between memory and memory needs no tiles.
        let tile = if self.in_place && self.direct { end - start } else { TILE };
        with_scratch(self.tiles.max(1) * TILE, |scratch: *mut T| {
            let mut at = start;
            while at < end {
                let len = tile.min(end - at);
                let to = if self.in_place { (self.out as *mut T).wrapping_add(at) } else { std::ptr::null_mut() };
                let from = self.tile(at, len, scratch, to);
                if !self.in_place {
                    // SAFETY: positions come from the layout of the output; ranges of different tiles are disjoint.
                    unsafe { self.store(at, len, from) };
                }
                at += len;
            }
        });
    }

    /// Computes the elements `start..start + len` of the contiguous result into `to`.
    ///
    /// # Safety
    /// `to` has room for them and is none of the inputs.
    pub unsafe fn read(&self, start: usize, len: usize, to: *mut T) {
        with_scratch(self.tiles.max(1) * TILE, |scratch: *mut T| {
            let mut done = 0;
            while done < len {
                let l = TILE.min(len - done);
                let target = to.wrapping_add(done);
                let from = self.tile(start + done, l, scratch, target);
                if !std::ptr::eq(from, target) {
                    // SAFETY: `l` elements in both; a scratch tile or an input is not the target.
                    unsafe { std::ptr::copy_nonoverlapping(from, target, l) };
                }
                done += l;
            }
        });
    }

    /// Computes one tile, into `to` unless that is null or the root is no operation; answers where the values are.
    fn tile(&self, start: usize, len: usize, scratch: *mut T, to: *mut T) -> *const T {
        // Where the values are, and whether they are one number.
        let mut at: SmallVec<[(*const T, bool); 24]> = SmallVec::with_capacity(self.sources.len());
        for (i, s) in self.sources.iter().enumerate() {
            // NOWHERE times the size of a tile is never used as an address.
            let slot = scratch.wrapping_add((self.slots[i] as usize).wrapping_mul(TILE));
            at.push(match s {
                Source::Splat(v) => (v, true),
                Source::Direct(p) => (p.wrapping_add(start), false),
                // SAFETY: positions come from the layout of a tensor that covers the iteration.
                Source::Load { dtype, base, input, contiguous } => unsafe {
                    self.load(start, len, *dtype, *base, *input, *contiguous, slot)
                },
                Source::Op(k, args, arity) => {
                    let mut arg = [std::ptr::null(); 3];
                    let mut splat = 0;
                    for j in 0..*arity {
                        let (p, number) = at[args[j] as usize];
                        arg[j] = p;
                        splat |= (number as u32) << j;
                    }
                    let target = if i == self.root && !to.is_null() { to } else { slot };
                    // SAFETY: operands precede `i` and hold `len` elements, or one number; `target` has room and is no operand.
                    unsafe { k(arg[0], arg[1], arg[2], target, len, splat) };
                    (target, false)
                }
            });
        }
        match at[self.root] {
            (p, true) => {
                let slot = if to.is_null() { scratch.wrapping_add((self.tiles.max(1) - 1) * TILE) } else { to };
                // SAFETY: a tile of room, or `len` elements at `to`; the number is copied first.
                unsafe {
                    let v = *p;
                    std::slice::from_raw_parts_mut(slot, len).fill(v);
                }
                slot
            }
            (p, false) => p,
        }
    }

    /// An operand's part of a tile: where it is, if that is one run of memory, or copied to `slot`.
    ///
    /// # Safety
    /// The operand covers the iteration; `slot` has room for `len`.
    unsafe fn load(
        &self,
        start: usize,
        len: usize,
        dtype: Dtype,
        base: *const u8,
        input: usize,
        contiguous: bool,
        slot: *mut T,
    ) -> (*const T, bool) {
        // SAFETY: by the caller.
        unsafe {
            if contiguous {
                load_run::<T>(dtype, base, start as isize, 1, slot, len);
                return (slot, false);
            }
            if let [(_, outer), (n, inner)] = &self.axes[..] {
                // Rows: the tile is often inside of one.
                let (row, at) = (start / n, start % n);
                let pos = row as isize * outer[input] + at as isize * inner[input];
                if at + len <= *n && inner[input] == 1 && dtype == T::DTYPE {
                    return ((base as *const T).wrapping_offset(pos), false);
                }
            }
            let mut whole = None;
            self.each_run(
                start,
                len,
                |a| self.axes[a].1[input],
                |at, pos, st, l| match st {
                    0 if l == len => {
                        load_run::<T>(dtype, base, pos, 1, slot, 1);
                        whole = Some((slot as *const T, true));
                    }
                    1 if l == len && dtype == T::DTYPE => whole = Some(((base as *const T).wrapping_offset(pos), false)),
                    _ => load_run::<T>(dtype, base, pos, st, slot.add(at), l),
                },
            );
            whole.unwrap_or((slot, false))
        }
    }

    /// # Safety
    /// `from` has `len` elements; the output is not written by others there.
    unsafe fn store(&self, start: usize, len: usize, from: *const T) {
        // SAFETY: by the caller.
        unsafe {
            if let Some(d) = self.cut {
                // Only computed values need it, and they are in a scratch tile.
                if matches!(self.sources[self.root], Source::Op(..)) {
                    cut_tile::<T>(d, from.cast_mut(), len);
                }
            }
            if self.out_contiguous {
                store_run::<T>(self.out_dtype, self.out, start as isize, 1, from, len);
            } else {
                self.each_run(
                    start,
                    len,
                    |a| self.out_strides[a],
                    |at, pos, st, l| store_run::<T>(self.out_dtype, self.out, pos, st, from.add(at), l),
                );
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

/// Dimensions in the order of the output's strides (row-major without an output), merged where every operand allows it.
pub(crate) fn axes(inputs: &[Operand], shape: &[usize], out: Option<&Tensor>) -> (SmallVec<[Axis; 6]>, SmallVec<[isize; 6]>) {
    let nd = shape.len();
    let row_major;
    let strides = match out {
        Some(t) => t.strides(),
        None => {
            row_major = crate::layout::contiguous_strides(shape);
            &row_major[..]
        }
    };
    let mut order: SmallVec<[usize; 8]> = (0..nd).filter(|&d| shape[d] != 1).collect();
    order.sort_by_key(|&d| std::cmp::Reverse(strides[d]));
    let mut axes: SmallVec<[Axis; 6]> = SmallVec::new();
    let mut out_strides: SmallVec<[isize; 6]> = SmallVec::new();
    for d in order {
        let size = shape[d];
        let mut st = [0isize; MAX_INPUTS];
        for (k, op) in inputs.iter().enumerate() {
            if let Operand::T(t) = op {
                let lead = nd - t.ndim();
                st[k] = if d < lead || t.shape()[d - lead] == 1 { 0 } else { t.strides()[d - lead] };
            }
        }
        let os = strides[d];
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
        axes.push((1, [0; MAX_INPUTS]));
        out_strides.push(1);
    }
    (axes, out_strides)
}

/// The value of an operation on numbers alone, by its own kernel.
fn fold<T: Compute>(kernel: Kernel<T>, args: &[u32; 3], arity: usize, sources: &[Source<T>]) -> Option<T> {
    let mut arg = [std::ptr::null::<T>(); 3];
    for j in 0..arity {
        let Source::Splat(v) = &sources[args[j] as usize] else { return None };
        arg[j] = v;
    }
    let mut r = T::default();
    // SAFETY: one element each.
    unsafe { kernel(arg[0], arg[1], arg[2], &mut r, 1, 0) };
    Some(r)
}

/// Scratch tiles for the nodes that need one: a tile is free again after its last reader.
fn assign<T>(sources: &[Source<T>], root: usize) -> (SmallVec<[u32; 16]>, usize) {
    let mut last: SmallVec<[usize; 16]> = SmallVec::from_elem(0, sources.len());
    for (i, s) in sources.iter().enumerate() {
        if let Source::Op(_, args, arity) = s {
            for &a in &args[..*arity] {
                last[a as usize] = i;
            }
        }
    }
    last[root] = usize::MAX;
    let mut free: SmallVec<[u32; 8]> = SmallVec::new();
    let mut slots: SmallVec<[u32; 16]> = SmallVec::new();
    let mut next = 0;
    for (i, s) in sources.iter().enumerate() {
        let slot = match s {
            Source::Direct(_) | Source::Splat(_) => NOWHERE,
            _ => free.pop().unwrap_or_else(|| {
                next += 1;
                next - 1
            }),
        };
        slots.push(slot);
        // A kernel may not write over an operand, so tiles are given back after the new one was taken.
        if let Source::Op(_, args, arity) = s {
            for (j, &a) in args[..*arity].iter().enumerate() {
                if last[a as usize] == i && slots[a as usize] != NOWHERE && !args[..j].contains(&a) {
                    free.push(slots[a as usize]);
                }
            }
        }
    }
    (slots, next as usize)
}

/// A cache line, so that scratch is aligned to one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with room for `n` elements of unspecified value that stays this thread's between calls.
fn with_scratch<T: Compute>(n: usize, f: impl FnOnce(*mut T)) {
    let mut lines = SCRATCH.take();
    let need = (n * std::mem::size_of::<T>()).div_ceil(64);
    if lines.len() < need {
        lines.resize(need, Line([0; 64]));
    }
    // Every bit pattern is a value of the compute types.
    f(lines.as_mut_ptr() as *mut T);
    SCRATCH.set(lines);
}
