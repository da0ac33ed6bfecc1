//! Sums, means and maxima of bags of rows.

use super::rows::{Lookup, frequencies, gather, padding, renorm, scatter};
use crate::autograd::{Grads, record, save};
use crate::cpu::float::Float;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::show;
use crate::ops::elementwise::mul;
use crate::ops::norm::num::{dense, dense_as};
use crate::ops::{Args, Registry, Ret, copy, elementwise as ew, index, reduce, view, warn};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sum,
    Mean,
    Max,
}

/// What [`embedding_bag`] is asked for.
struct Bag<'a> {
    table: &'a Tensor,
    index: &'a Tensor,
    offsets: &'a Tensor,
    by_freq: bool,
    mode: Mode,
    /// A factor for each index.
    factors: Option<&'a Tensor>,
    last_offset: bool,
    padding: Option<i64>,
}

/// Indices and offsets, checked: rows as i64, the bag of each index, the size of each bag without padding.
struct Plan {
    lookup: Lookup,
    bag_of: Tensor,
    sizes: Tensor,
    starts: Vec<usize>,
}

fn whole(t: &Tensor, what: &str) -> Result<Tensor> {
    ensure!(
        matches!(t.dtype(), Dtype::I64 | Dtype::I32),
        Runtime,
        "Expected tensor for argument #1 '{what}' to have one of the following scalar types: Long, Int; but got {} instead (while checking arguments for embedding_bag)",
        t.type_name()
    );
    ensure!(t.ndim() == 1, Runtime, "embedding_bag: {what} has to be a 1D Tensor, got {} dimensions", t.ndim());
    t.check_memory("embedding_bag")?;
    copy::contiguous(&copy::to_dtype(&t.detach(), Dtype::I64)?)
}

impl Bag<'_> {
    fn pad(&self, rows: usize) -> Result<Option<usize>> {
        match self.padding {
            None => Ok(None),
            Some(p) => match padding(Some(p), rows) {
                Ok(p) => Ok(p),
                Err(_) => bail!(
                    Runtime,
                    "padding_idx must be within the number of embeddings, -{rows} through {}, but got {p}",
                    rows as i64 - 1
                ),
            },
        }
    }

    fn plan(&self) -> Result<Plan> {
        ensure!(
            self.table.ndim() == 2,
            Runtime,
            "embedding_bag: weight has to be a 2D Tensor, got {} dimensions",
            self.table.ndim()
        );
        ensure!(
            self.table.dtype().is_float(),
            Runtime,
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: Half, BFloat16, Float, Double; but got {} instead (while checking arguments for embedding_bag)",
            self.table.type_name()
        );
        self.table.check_memory("embedding_bag")?;
        let index = whole(self.index, "indices")?;
        let offsets = whole(self.offsets, "offsets")?;
        let (n, rows) = (index.numel(), self.table.shape()[0]);
        if let Some(f) = self.factors {
            ensure!(
                f.dtype() == self.table.dtype(),
                Runtime,
                "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 'per_sample_weights'; but type {} does not equal {} (while checking arguments for embedding_bag)",
                self.table.type_name(),
                f.type_name()
            );
            ensure!(
                f.ndim() == 1 && f.numel() == n,
                Runtime,
                "expected per_sample_weights to have the same shape as the indices: {}",
                show(f.shape())
            );
        }
        ensure!(!self.last_offset || offsets.numel() > 0, Runtime, "include_last_offset: number of offset should be at least 1");
        if gpu::holds(self.table) {
            // Kernels check the values.
            let scale = self.by_freq.then(|| frequencies(&index, rows)).transpose()?;
            // Bags and sizes are known when they have run.
            let lookup = Lookup { index, padding: self.pad(rows)?, scale, rows };
            return Ok(Plan { lookup, bag_of: offsets.clone(), sizes: offsets, starts: Vec::new() });
        }
        let o = offsets.data::<i64>();
        if let Some(&first) = o.first() {
            ensure!(
                first == 0,
                Runtime,
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got {first}"
            );
        }
        if let Some(&last) = o.last() {
            ensure!(
                last <= n as i64,
                Runtime,
                "offsets[-1] can not be greater than input's length {n} but got offsets[-1] of {last}"
            );
        }
        ensure!(o.windows(2).all(|w| w[0] <= w[1]), Runtime, "embedding_bag: offsets have to be in ascending order");
        if let Some(&bad) = index.data::<i64>().iter().find(|&&i| !(0..rows as i64).contains(&i)) {
            bail!(Runtime, "embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {bad}");
        }
        let pad = self.pad(rows)?;
        // The end of each bag is the start of the next; the last ends with the indices.
        let mut starts: Vec<usize> = o.iter().map(|&v| v as usize).collect();
        if !self.last_offset {
            starts.push(n);
        }
        let bags = starts.len() - 1;
        let bag_of = Tensor::zeros(&[n], Dtype::I64, index.device())?;
        let sizes = Tensor::zeros(&[bags], Dtype::I64, index.device())?;
        for b in 0..bags {
            let range = starts[b]..starts[b + 1];
            bag_of.data_mut::<i64>()[range.clone()].fill(b as i64);
            sizes.data_mut::<i64>()[b] = index.data::<i64>()[range].iter().filter(|&&i| pad != Some(i as usize)).count() as i64;
        }
        let scale = self.by_freq.then(|| frequencies(&index, rows)).transpose()?;
        Ok(Plan { lookup: Lookup { index, padding: pad, scale, rows }, bag_of, sizes, starts })
    }
}

/// One row into the accumulator of its bag.
fn take<T: Float>(to: &mut [T], row: &[T], factor: T) {
    to.iter_mut().zip(row).for_each(|(t, &v)| *t += v * factor);
}

/// The largest values, and which row each came from.
fn take_max<T: Float>(to: &mut [T], from: &mut [i64], row: &[T], i: i64, first: bool) {
    for (k, &v) in row.iter().enumerate() {
        if first || v > to[k] {
            (to[k], from[k]) = (v, i);
        }
    }
}

/// The result, and for maxima the row of each element (-1 in empty bags).
fn forward(b: &Bag, p: &Plan) -> Result<(Tensor, Option<Tensor>)> {
    let table = dense(b.table)?;
    let factors = dense_as(b.factors, table.dtype())?;
    let (bags, width) = (p.sizes.numel(), b.table.shape()[1]);
    let out = Tensor::zeros(&[bags, width], table.dtype(), b.table.device())?;
    let chosen = if b.mode == Mode::Max { Some(Tensor::full(&[bags, width], -1i64, Dtype::I64, out.device())?) } else { None };
    if width > 0 {
        let (ids, sizes) = (p.lookup.index.data::<i64>(), p.sizes.data::<i64>());
        dispatch!(float "embedding_bag", table.dtype(), T => {
            let data = table.data::<T>();
            let factors = factors.as_ref().map(|f| f.data::<T>());
            for (bag, to) in out.data_mut::<T>().chunks_exact_mut(width).enumerate() {
                let mut first = true;
                for k in p.starts[bag]..p.starts[bag + 1] {
                    let i = ids[k] as usize;
                    if p.lookup.padding == Some(i) {
                        continue;
                    }
                    let row = &data[i * width..(i + 1) * width];
                    match &chosen {
                        Some(c) => take_max(to, &mut c.data_mut::<i64>()[bag * width..(bag + 1) * width], row, ids[k], first),
                        None => take(to, row, factors.map_or(T::ONE, |f| f[k])),
                    }
                    first = false;
                }
                if b.mode == Mode::Mean && sizes[bag] > 0 {
                    let n = T::of(sizes[bag] as f64);
                    to.iter_mut().for_each(|v| *v /= n);
                }
            }
        });
    }
    Ok((copy::to_dtype(&out, b.table.dtype())?, chosen))
}

/// [`forward`] on a GPU, where the plan has the offsets only; answers the bag of each index and the sizes as well.
fn forward_on_gpu(b: &Bag, p: Plan) -> Result<(Tensor, Option<Tensor>, Plan)> {
    let table = copy::contiguous(&b.table.detach())?;
    let factors = b.factors.map(|f| copy::contiguous(&f.detach())).transpose()?;
    let bags = gpu::embedding::Bags {
        table: &table,
        index: &p.lookup.index,
        offsets: &p.sizes,
        factors: factors.as_ref(),
        mode: match b.mode {
            Mode::Sum => "sum",
            Mode::Mean => "mean",
            Mode::Max => "max",
        },
        last_offset: b.last_offset,
        padding: p.lookup.padding,
    };
    let (out, chosen, sizes) = gpu::embedding::bags(&bags)?;
    let bag_of = gpu::embedding::bag_of(&bags)?;
    Ok((out, (b.mode == Mode::Max).then_some(chosen), Plan { bag_of, sizes, ..p }))
}

/// Which elements were chosen at all, and their rows; 0 for the others.
fn chosen_rows(chosen: &Tensor) -> Result<(Tensor, Tensor)> {
    let zero = Operand::S(Scalar::Int(0));
    let some = ew::GE.call(&[Operand::T(chosen.clone()), zero], &[], None)?;
    let rows = index::mask::keep_where(&some, chosen)?;
    Ok((some, rows))
}

/// Adds every element of `g` to the row it was chosen from; the transpose of [`pick`]. Differentiable.
fn spread(g: &Tensor, chosen: &Tensor, rows: usize) -> Result<Tensor> {
    let width = chosen.shape()[1];
    if gpu::holds(g) {
        let (some, at) = chosen_rows(chosen)?;
        let zeros = Tensor::zeros(&[rows, width], g.dtype(), g.device())?;
        return index::scatter_add(&zeros, 0, &at, &index::mask::keep_where(&some, g)?, None);
    }
    let from = dense(g)?;
    let out = Tensor::zeros(&[rows, width], from.dtype(), g.device())?;
    dispatch!(float "embedding_bag_backward", from.dtype(), T => {
        for (k, (&g, &i)) in from.data::<T>().iter().zip(chosen.data::<i64>()).enumerate() {
            if i >= 0 {
                out.data_mut::<T>()[i as usize * width + k % width] += g;
            }
        }
    });
    let out = copy::to_dtype(&out, g.dtype())?;
    let chosen = chosen.clone();
    Ok(record("EmbeddingBagBackward0", &[g], out, move |_, gg| Ok(smallvec![Some(pick(gg, &chosen, rows)?)])))
}

fn pick(table: &Tensor, chosen: &Tensor, rows: usize) -> Result<Tensor> {
    let width = chosen.shape()[1];
    let from = dense(table)?;
    let out = Tensor::zeros(chosen.shape(), from.dtype(), table.device())?;
    dispatch!(float "embedding_bag", from.dtype(), T => {
        for (k, (o, &i)) in out.data_mut::<T>().iter_mut().zip(chosen.data::<i64>()).enumerate() {
            if i >= 0 {
                *o = from.data::<T>()[i as usize * width + k % width];
            }
        }
    });
    let out = copy::to_dtype(&out, table.dtype())?;
    let chosen = chosen.clone();
    Ok(record("EmbeddingBagBackward0", &[table], out, move |_, g| Ok(smallvec![Some(spread(g, &chosen, rows)?)])))
}

/// Output, bag of each index, bag sizes, and for maxima the rows they came from. Differentiable.
fn embedding_bag(b: &Bag) -> Result<Vec<Tensor>> {
    ensure!(
        b.factors.is_none() || b.mode == Mode::Sum,
        Runtime,
        "embedding_bag: per_sample_weights only supported with mode='sum'"
    );
    let plan = b.plan()?;
    let (out, chosen, plan) = if gpu::holds(b.table) {
        forward_on_gpu(b, plan)?
    } else {
        let (out, chosen) = forward(b, &plan)?;
        (out, chosen, plan)
    };
    let Plan { lookup, bag_of, sizes, .. } = plan;
    let mut inputs = vec![b.table];
    inputs.extend(b.factors);
    let extra = match &chosen {
        Some(c) => c.clone(),
        None => sizes.clone(),
    };
    let results = vec![bag_of.clone(), sizes.clone(), extra];
    let (mode, rows) = (b.mode, lookup.rows);
    let (table, factors) = (save(b.table), b.factors.map(save));
    let out = record("EmbeddingBagBackward0", &inputs, out, move |ctx, g| {
        let mut grads: Grads = smallvec![None; 1 + factors.is_some() as usize];
        if let Some(c) = &chosen {
            grads[0] = Some(spread(g, c, rows)?);
            return Ok(grads);
        }
        // The gradient of the bag, for each of its indices.
        let by_bag = Lookup { index: bag_of.clone(), padding: None, scale: None, rows: sizes.numel() };
        let each = gather(by_bag, g, false, "EmbeddingBackward0")?;
        if ctx.needs(0) {
            let scaled = match (&factors, mode) {
                (Some(f), _) => mul(&each, &view::unsqueeze(&f.get(ctx)?, 1)?)?,
                (None, Mode::Mean) if gpu::holds(g) => {
                    let least = Operand::T(Tensor::scalar(1i64, Dtype::I64));
                    let n = ew::MAXIMUM.call(&[Operand::T(sizes.clone()), least], &[], None)?;
                    let n = copy::to_dtype(&index::index_select(&n, 0, &bag_of)?, g.dtype())?;
                    ew::div(&each, &view::unsqueeze(&n, 1)?)?
                }
                (None, Mode::Mean) => {
                    let shares = Tensor::empty(&[bag_of.numel(), 1], Dtype::F64, g.device())?;
                    for (s, &bag) in shares.data_mut::<f64>().iter_mut().zip(bag_of.data::<i64>()) {
                        *s = 1.0 / (sizes.data::<i64>()[bag as usize].max(1) as f64);
                    }
                    mul(&each, &copy::to_dtype(&shares, g.dtype())?)?
                }
                _ => each.clone(),
            };
            grads[0] = Some(scatter(lookup.clone(), &scaled)?);
        }
        if factors.is_some() && ctx.needs(1) {
            let rows = Lookup { scale: None, ..lookup.clone() };
            let rows = gather(rows, &table.get(ctx)?, true, "EmbeddingBackward0")?;
            grads[1] = Some(reduce::sum(&mul(&each, &rows)?, Some(&[1]), false, None)?);
        }
        Ok(grads)
    });
    let mut all = vec![out];
    all.extend(results);
    Ok(all)
}

/// `F.embedding_bag`.
fn functional(a: &Args) -> Result<Tensor> {
    let (mut input, mut table) = (a.t(0).clone(), a.t(1).clone());
    if table.dtype() == Dtype::I64 && input.dtype().is_float() {
        warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.",
        );
        std::mem::swap(&mut input, &mut table);
    }
    let mut factors = a.ot(8).cloned();
    if let Some(f) = &factors {
        ensure!(
            f.shape() == input.shape(),
            Value,
            "embedding_bag: If per_sample_weights (torch.Size({})) is not None, then it must have the same shape as the input (torch.Size({}))",
            show(f.shape()),
            show(input.shape())
        );
    }
    ensure!(table.ndim() == 2, Value, "weight has to be a 2D Tensor, but got Tensor of dimension {}", table.ndim());
    let offsets = match input.ndim() {
        2 => {
            ensure!(
                a.ot(2).is_none(),
                Value,
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. However, found offsets of type <class 'torch.Tensor'>"
            );
            let (n, len) = (input.shape()[0], input.shape()[1]);
            ensure!(len > 0, Runtime, "step must be nonzero");
            let starts: Vec<i64> = (0..n).map(|i| (i * len) as i64).collect();
            input = view::reshape_to(&input, &[n * len])?;
            factors = factors.map(|f| view::reshape_to(&f, &[n * len])).transpose()?;
            copy::to_device(&Tensor::from_slice(&starts, &[n])?, input.device())?
        }
        1 => match a.ot(2) {
            Some(o) if o.ndim() == 1 => o.clone(),
            Some(_) => bail!(Value, "offsets has to be a 1D Tensor"),
            None => bail!(Value, "offsets has to be a 1D Tensor but got None"),
        },
        d => bail!(Value, "input has to be 1D or 2D Tensor, but got Tensor of dimension {d}"),
    };
    let mode = match a.s(6) {
        "sum" => Mode::Sum,
        "mean" => Mode::Mean,
        "max" => {
            ensure!(!a.b(5), Value, "max mode does not support scaling the gradient by the frequency");
            ensure!(!a.b(7), Value, "max mode does not support sparse weights");
            Mode::Max
        }
        _ => bail!(Value, "mode has to be one of sum, mean or max"),
    };
    if factors.is_some() && mode != Mode::Sum {
        bail!(
            NotImplemented,
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='{}'). Please open a feature request on GitHub.",
            a.s(6)
        );
    }
    let bag = Bag {
        table: &table,
        index: &input,
        offsets: &offsets,
        by_freq: a.b(5),
        mode,
        factors: factors.as_ref(),
        last_offset: a.b(9) && a.ot(2).is_some(),
        padding: a.oint(10),
    };
    if let Some(max) = a.of(3) {
        bag.plan()?;
        renorm(&table, &input, max, a.f(4))?;
    }
    Ok(embedding_bag(&bag)?.swap_remove(0))
}

fn plain(a: &Args, padding: Option<i64>) -> Result<Ret> {
    let mode = match a.int(4) {
        0 => Mode::Sum,
        1 => Mode::Mean,
        2 => Mode::Max,
        m => bail!(Runtime, "embedding_bag: mode has to be 0, 1 or 2, but got {m}"),
    };
    let bag = Bag {
        table: a.t(0),
        index: a.t(1),
        offsets: a.t(2),
        by_freq: a.b(3),
        mode,
        factors: a.ot(6),
        last_offset: a.b(7),
        padding,
    };
    embedding_bag(&bag).map(Ret::Tuple)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "embedding_bag(Tensor self, Tensor weight, Tensor? offsets=None, float? max_norm=None, float norm_type=2, bool scale_grad_by_freq=False, str mode='mean', bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int? padding_idx=None) -> Tensor",
        "Sums, means or maxima of bags of rows of weight; gradients are dense.",
        |a| functional(a).map(Ret::from),
    );
    r.op(
        "f",
        "embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False) -> (Tensor, Tensor, Tensor, Tensor)",
        "Sums, means or maxima of bags of rows of weight.",
        |a| plain(a, None),
    );
    r.op(
        "f",
        "embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, bool sparse, Tensor? per_sample_weights, bool include_last_offset, int? padding_idx) -> (Tensor, Tensor, Tensor, Tensor)",
        "Sums, means or maxima of bags of rows of weight.",
        |a| plain(a, a.oint(8)),
    );
}
