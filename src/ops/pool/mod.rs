//! Pooling: maxima, averages and norms of windows, adaptive windows, and unpooling.

mod adaptive;
mod average;
mod maximum;
mod unpool;

use super::Registry;
use crate::error::Result;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{ensure, err};
use smallvec::SmallVec;

const COUNT: [&str; 4] = ["zero", "one", "two", "three"];

/// The sizes of a pooling as the user gave them, one for each of the 2 or 3 last dimensions.
struct Windowed {
    kernel: SmallVec<[i64; 3]>,
    stride: SmallVec<[i64; 3]>,
    padding: SmallVec<[i64; 3]>,
    dilation: SmallVec<[i64; 3]>,
    ceil: bool,
}

/// Three numbers from the last two or three, with `lead` before.
fn three<T: Copy>(v: &[T], lead: T) -> [T; 3] {
    std::array::from_fn(|d| if d + v.len() < 3 { lead } else { v[d + v.len() - 3] })
}

impl Windowed {
    fn new(
        name: &str,
        dim: usize,
        kernel: &[i64],
        stride: Option<&[i64]>,
        padding: &[i64],
        dilation: &[i64],
        ceil: bool,
    ) -> Result<Windowed> {
        let full = |v: &[i64], what: &str, omitted: &str| -> Result<SmallVec<[i64; 3]>> {
            let all: SmallVec<[i64; 3]> = match v {
                [one] => SmallVec::from_elem(*one, dim),
                v => v.into(),
            };
            ensure!(
                all.len() == dim,
                Runtime,
                "{name}: {what} must either be {omitted}a single int, or a tuple of {} ints",
                COUNT[dim]
            );
            ensure!(
                all.iter().all(|&n| i32::try_from(n).is_ok()),
                Runtime,
                "value cannot be converted to type int without overflow"
            );
            Ok(all)
        };
        let kernel = full(kernel, "kernel_size", "")?;
        let stride = match stride {
            None | Some([]) => kernel.clone(),
            Some(s) => full(s, "stride", "omitted, ")?,
        };
        Ok(Windowed { kernel, stride, padding: full(padding, "padding", "")?, dilation: full(dilation, "dilation", "")?, ceil })
    }

    /// Checks the input and answers the sizes of the output's last dimensions.
    fn output(&self, x: &Tensor, template: &str) -> Result<SmallVec<[usize; 3]>> {
        let dim = self.kernel.len();
        let axes: &[&str] = if dim == 2 { &["H", "W"] } else { &["T", "H", "W"] };
        ensure!(
            x.ndim() == dim + 1 || x.ndim() == dim + 2,
            Runtime,
            "non-empty {}D or {}D (batch mode) tensor expected for input",
            dim + 1,
            dim + 2
        );
        let sizes = &x.shape()[x.ndim() - dim..];
        let mut out: SmallVec<[i128; 3]> = SmallVec::new();
        for d in (0..dim).rev() {
            let (k, s, p, step) = (self.kernel[d], self.stride[d], self.padding[d], self.dilation[d]);
            ensure!(s != 0, Runtime, "stride should not be zero");
            ensure!(p >= 0, Runtime, "pad must be non-negative, but got pad: {p}");
            let reach = (k - 1) * step + 1;
            ensure!(
                p <= reach / 2,
                Runtime,
                "pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={step}"
            );
            let (n, p, s) = (sizes[d] as i128, i128::from(p), i128::from(s));
            let up = if self.ceil { s - 1 } else { 0 };
            let mut size = (n + 2 * p - i128::from(reach) + up).div_euclid(s) + 1;
            // A window that would start in the right padding is left out.
            if self.ceil && (size - 1) * s >= n + p {
                size -= 1;
            }
            out.insert(0, size);
        }
        let named =
            |prefix: &str, v: &[i64]| axes.iter().zip(v).map(|(a, n)| format!("{prefix}{a}: {n}")).collect::<Vec<_>>().join(" ");
        let after =
            |prefix: &str, v: &[i64]| axes.iter().zip(v).map(|(a, n)| format!("{prefix}{a}: {n}")).collect::<Vec<_>>().join(" ");
        ensure!(
            self.kernel.iter().all(|&k| k > 0),
            Runtime,
            "kernel size should be greater than zero, but got {}",
            named("k", &self.kernel)
        );
        ensure!(
            self.stride.iter().all(|&s| s > 0),
            Runtime,
            "stride should be greater than zero, but got {}",
            named("d", &self.stride)
        );
        ensure!(
            self.dilation.iter().all(|&s| s > 0),
            Runtime,
            "dilation should be greater than zero, but got {}",
            after("dilation", &self.dilation)
        );
        check_nonempty(x, dim, template)?;
        // With dilation this says more than the check of the window's reach above.
        if (0..dim).any(|d| self.padding[d] > self.kernel[d] / 2) {
            let (k, p) = (&self.kernel, &self.padding);
            let sizes = match dim {
                2 => format!("padW = {}, padH = {}, kW = {}, kH = {}", p[1], p[0], k[1], k[0]),
                _ => format!("kT: {} kW: {} kH: {} padT: {} padW: {} padH: {}", k[0], k[2], k[1], p[0], p[2], p[1]),
            };
            return Err(err!(Runtime, "pad should be smaller than or equal to half of kernel size, but got {sizes}"));
        }
        if out.iter().any(|&n| n < 1) {
            let planes = x.shape()[x.ndim() - dim - 1];
            let list = |v: &mut dyn Iterator<Item = String>| v.collect::<Vec<_>>().join("x");
            return Err(err!(
                Runtime,
                "Given input size: ({planes}x{}). Calculated output size: ({planes}x{}). Output size is too small",
                list(&mut sizes.iter().map(|n| n.to_string())),
                list(&mut out.iter().map(|n| n.to_string()))
            ));
        }
        Ok(out.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect())
    }
}

/// Only the batch may be empty.
fn check_nonempty(x: &Tensor, dim: usize, template: &str) -> Result<()> {
    let first = x.ndim() - dim - 1;
    let Some(at) = x.shape()[first..].iter().position(|&n| n == 0) else { return Ok(()) };
    if dim == 2 {
        return Err(err!(
            Runtime,
            "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:{}",
            show(x.shape())
        ));
    }
    Err(err!(
        Runtime,
        "{template}: Expected input's non-batch dimensions to have positive length, but input has a shape of {} and non-batch dimension {} has length zero!",
        show(x.shape()),
        at.saturating_sub(1)
    ))
}

/// The shape with its last dimensions replaced.
fn with_last(x: &Tensor, last: &[usize]) -> Dims {
    let keep = x.ndim() - last.len();
    x.shape()[..keep].iter().chain(last).copied().collect()
}

/// The product of all but the last `dim` sizes.
fn planes(x: &Tensor, dim: usize) -> usize {
    x.shape()[..x.ndim() - dim].iter().product()
}

fn expect_1d(x: &Tensor, name: &str) -> Result<()> {
    ensure!(
        x.ndim() == 2 || x.ndim() == 3,
        Runtime,
        "Expected 2 to 3 dimensions, but got {}-dimensional tensor for argument #1 'self' (while checking arguments for {name})",
        x.ndim()
    );
    Ok(())
}

/// The only number of a one-dimensional pooling, with what stands for it in two dimensions before.
fn pair(v: &[i64], lead: i64, name: &str, what: &str) -> Result<[i64; 2]> {
    ensure!(v.len() == 1, Runtime, "{name}() argument '{what}' should contain one int (got {})", v.len());
    Ok([lead, v[0]])
}

pub(super) fn register(r: &mut Registry) {
    maximum::register(r);
    average::register(r);
    adaptive::register(r);
    unpool::register(r);
}
