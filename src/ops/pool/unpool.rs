//! The opposite of max pooling: elements back to where the maxima were.

use super::super::{Registry, Ret, copy, view};
use super::maximum::take;
use crate::autograd::{record, save};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::{SmallVec, smallvec};

/// Writes every element of `x` to the place in a plane of `output` that its index names.
fn unpool(dim: usize, x: &Tensor, index: &Tensor, output: &[i64], stride: &[i64]) -> Result<Tensor> {
    ensure!(
        index.dtype() == Dtype::I64,
        Runtime,
        "elements in indices should be type int64 but got: {}",
        index.dtype().scalar_name()
    );
    ensure!(
        x.ndim() == dim + 1 || x.ndim() == dim + 2,
        Runtime,
        "Input to max_unpooling{dim}d should be a {}d or {}d Tensor, but got a tensor with {} dimensions.",
        dim + 1,
        dim + 2,
        x.ndim()
    );
    ensure!(
        x.shape() == index.shape(),
        Runtime,
        "Expected shape of indices to be same as that of the input tensor ({}) but got indices tensor with shape: {}",
        show(x.shape()),
        show(index.shape())
    );
    let lead = x.ndim() - dim;
    for d in 1..x.ndim() {
        ensure!(
            x.shape()[d] > 0,
            Runtime,
            "max_unpooling{dim}d_forward_out_cpu(): Expected input to have non-zero size for non-batch dimensions, but got {} with dimension {d} being empty.",
            show(x.shape())
        );
    }
    if dim == 3 {
        ensure!(stride.iter().all(|&s| s > 0), Runtime, "strides should be greater than zero, but got stride: {}", show(stride));
    }
    let wanted: Vec<i64> = x.shape()[..lead].iter().map(|&n| n as i64).chain(output.iter().copied()).collect();
    let shape: Dims = crate::layout::sizes(&wanted)?;
    let plane: usize = shape[lead..].iter().product();
    let count: usize = x.shape()[lead..].iter().product();
    let kept = save(index);
    let name = if dim == 2 { "MaxUnpool2DBackward0" } else { "MaxUnpool3DBackward0" };
    if gpu::holds(x) {
        let volumes: Vec<String> = output.iter().map(|n| n.to_string()).collect();
        let message = format!("Found an invalid max index: {{}} (output volumes are of size {})", volumes.join("x"));
        let out = gpu::pool::unpool(x, index, &shape, plane, count, message)?;
        return Ok(record(name, &[x], out, move |ctx, g| Ok(smallvec![Some(take(g, &kept.get(ctx)?, dim)?)])));
    }
    let out = Tensor::zeros(&shape, x.dtype(), x.device())?;
    x.check_data("max_unpool")?;
    index.check_data("max_unpool")?;
    let (source, at) = (copy::contiguous(&x.detach())?, copy::contiguous(&index.detach())?);
    let at = at.data::<i64>();
    if let Some(bad) = at.iter().find(|&&i| i < 0 || i as u64 >= plane as u64) {
        let volumes: Vec<String> = output.iter().map(|n| n.to_string()).collect();
        crate::bail!(Runtime, "Found an invalid max index: {bad} (output volumes are of size {})", volumes.join("x"));
    }
    if count > 0 {
        dispatch!(bytes x.dtype(), T => {
            let (from, to) = (source.data::<T>(), out.data_mut::<T>());
            for (p, (from, at)) in from.chunks(count).zip(at.chunks(count)).enumerate() {
                let to = &mut to[p * plane..][..plane];
                for (&v, &i) in from.iter().zip(at) {
                    to[i as usize] = v;
                }
            }
        });
    }
    Ok(record(name, &[x], out, move |ctx, g| Ok(smallvec![Some(take(g, &kept.get(ctx)?, dim)?)])))
}

/// The size before the pooling: computed, or given and near what is computed.
fn output_size(
    dim: usize,
    x: &Tensor,
    kernel: &[i64],
    stride: &[i64],
    padding: &[i64],
    given: Option<&[i64]>,
) -> Result<SmallVec<[i64; 3]>> {
    let fits = [kernel, stride, padding].iter().all(|v| v.len() == dim);
    ensure!(
        fits && x.ndim() >= dim,
        Runtime,
        "max_unpool{dim}d: expected {dim} numbers for kernel_size, stride and padding, and an input of {} or {} dimensions",
        dim + 1,
        dim + 2
    );
    let computed: SmallVec<[i64; 3]> = (0..dim)
        .map(|d| {
            let n = x.shape()[x.ndim() - dim + d] as i64;
            (n - 1).saturating_mul(stride[d]).saturating_add(kernel[d]).saturating_sub(padding[d].saturating_mul(2))
        })
        .collect();
    let Some(given) = given else { return Ok(computed) };
    let last = if given.len() == dim + 2 { &given[2..] } else { given };
    ensure!(
        last.len() == dim,
        Value,
        "output_size should be a sequence containing {dim} or {} elements, but it has a length of '{}'",
        dim + 2,
        given.len()
    );
    for d in 0..dim {
        let (low, high) = (computed[d].saturating_sub(stride[d]), computed[d].saturating_add(stride[d]));
        ensure!(
            low < last[d] && last[d] < high,
            Value,
            "invalid output_size \"{}\" (dim {d} must be between {low} and {high})",
            show(last).replace('[', "(").replace(']', ")")
        );
    }
    Ok(last.into())
}

fn max_unpool(
    dim: usize,
    x: &Tensor,
    index: &Tensor,
    kernel: &[i64],
    stride: Option<&[i64]>,
    padding: &[i64],
    given: Option<&[i64]>,
) -> Result<Tensor> {
    let stride = stride.filter(|s| !s.is_empty()).unwrap_or(kernel);
    let size = output_size(dim, x, kernel, stride, padding, given)?;
    if dim > 1 {
        return unpool(dim, x, index, &size, stride);
    }
    let y = unpool(2, &view::unsqueeze(x, -1)?, &view::unsqueeze(index, -1)?, &[size[0], 1], stride)?;
    view::squeeze(&y, Some(&[-1]))
}

pub(super) fn register(r: &mut Registry) {
    macro_rules! entries {
        ($($dim:literal)*) => {$(
            r.op(
                "n",
                concat!("max_unpool", $dim, "d(Tensor input, Tensor indices, int[", $dim, "] kernel_size, int[", $dim, "]? stride=None, int[", $dim, "] padding=0, int[]? output_size=None) -> Tensor"),
                "Elements back to where the maxima were; zeros elsewhere.",
                |a| max_unpool($dim, a.t(0), a.t(1), a.ints(2), a.oints(3), a.ints(4), a.oints(5)).map(Ret::from),
            );
        )*};
    }
    entries!(1 2 3);
}
