//! Shapes, strides, offsets. All size arithmetic is checked.

use crate::error::Result;
use crate::small::Small;
use crate::{bail, ensure, err};
use smallvec::SmallVec;

pub type Dims = Small<usize>;
pub type Strides = Small<isize>;

/// Most dimensions a tensor may have (as PyTorch).
pub const MAX_DIMS: usize = 64;

/// How the elements of a tensor lie in its storage; the unit is one element.
#[derive(Clone, Debug)]
pub struct Layout {
    pub shape: Dims,
    pub strides: Strides,
    pub offset: usize,
    // What every op asks, kept. `plain`: made by `contiguous`, strides and offset included.
    numel: usize,
    contiguous: bool,
    plain: bool,
}

/// `[2, 3]`, as PyTorch's messages print sizes.
pub fn show<T: std::fmt::Display>(dims: &[T]) -> String {
    let parts: Vec<String> = dims.iter().map(|d| d.to_string()).collect();
    format!("[{}]", parts.join(", "))
}

/// The number of elements, or an error where it does not fit.
pub fn checked_numel(shape: &[usize]) -> Result<usize> {
    ensure!(shape.len() <= MAX_DIMS, Runtime, "too many dimensions: got {}, at most {MAX_DIMS}", shape.len());
    let (mut n, mut empty, mut overflow) = (1usize, false, false);
    for &s in shape {
        let (product, over) = n.overflowing_mul(s.max(1));
        n = product;
        empty |= s == 0;
        overflow |= over || n > isize::MAX as usize;
    }
    ensure!(empty || !overflow, Runtime, "numel: integer multiplication overflow for size {}", show(shape));
    Ok(if empty { 0 } else { n })
}

/// Whether the strides are row-major without gaps (those of dimensions of size 1 do not matter).
fn row_major(shape: &[usize], strides: &[isize]) -> bool {
    let mut expect: isize = 1;
    let mut fits = true;
    for (&s, &stride) in shape.iter().zip(strides).rev() {
        if s == 0 {
            return true;
        }
        fits &= s == 1 || stride == expect;
        expect = expect.wrapping_mul(s as isize);
    }
    fits
}

/// Row-major strides.
pub fn contiguous_strides(shape: &[usize]) -> Strides {
    let mut strides = Strides::from_elem(1, shape.len());
    let mut acc: isize = 1;
    for i in (0..shape.len()).rev() {
        strides[i] = acc;
        acc = acc.saturating_mul(shape[i].max(1) as isize);
    }
    strides
}

impl PartialEq for Layout {
    fn eq(&self, other: &Layout) -> bool {
        self.offset == other.offset && self.shape == other.shape && self.strides == other.strides
    }
}
impl Eq for Layout {}

impl Layout {
    /// Row-major, offset 0.
    pub fn contiguous(shape: &[usize]) -> Result<Layout> {
        let numel = checked_numel(shape)?;
        let (shape, strides) = (Dims::from_slice(shape), contiguous_strides(shape));
        Ok(Layout { shape, strides, offset: 0, numel, contiguous: true, plain: true })
    }

    fn of(shape: Dims, strides: Strides, offset: usize, numel: usize) -> Layout {
        let contiguous = row_major(&shape, &strides);
        Layout { shape, strides, offset, numel, contiguous, plain: false }
    }

    /// The dimensions `dims`, each once at most; what is left out has size 1.
    pub fn permuted(&self, dims: &[usize]) -> Layout {
        let shape = dims.iter().map(|&d| self.shape[d]).collect();
        let strides = dims.iter().map(|&d| self.strides[d]).collect();
        Layout::of(shape, strides, self.offset, self.numel)
    }

    /// With a dimension of size 1 before dimension `d`.
    pub fn unsqueezed(&self, d: usize) -> Result<Layout> {
        let (mut shape, mut strides) = (self.shape.clone(), self.strides.clone());
        let stride = if d < self.ndim() { self.strides[d] * self.shape[d] as isize } else { 1 };
        shape.insert(d, 1);
        strides.insert(d, stride);
        checked_numel(&shape)?; // one dimension may be too many
        Ok(Layout::of(shape, strides, self.offset, self.numel))
    }

    /// Any strides; bounds against the storage are the caller's to check ([`Layout::required`]).
    pub fn strided(shape: &[usize], strides: &[isize], offset: usize) -> Result<Layout> {
        ensure!(
            shape.len() == strides.len(),
            Runtime,
            "mismatch in length of strides and shape: {} and {}",
            show(strides),
            show(shape)
        );
        let numel = checked_numel(shape)?;
        Ok(Layout::of(shape.into(), strides.into(), offset, numel))
    }

    pub fn ndim(&self) -> usize {
        self.shape.len()
    }
    pub fn numel(&self) -> usize {
        self.numel
    }

    /// Row-major without gaps (dimensions of size 1 do not matter).
    pub fn is_contiguous(&self) -> bool {
        self.contiguous
    }

    /// A row-major layout of the same shape from offset 0 on.
    pub fn packed(&self) -> Result<Layout> {
        if self.plain { Ok(self.clone()) } else { Layout::contiguous(&self.shape) }
    }

    /// Every element in a place of its own, and no gaps: some permutation is contiguous.
    pub fn is_dense(&self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        let mut dims: SmallVec<[usize; 8]> = (0..self.ndim()).filter(|&i| self.shape[i] != 1).collect();
        dims.sort_by_key(|&i| self.strides[i]);
        let mut expect: isize = 1;
        for i in dims {
            if self.strides[i] != expect {
                return false;
            }
            expect *= self.shape[i] as isize;
        }
        true
    }

    /// Whether two indices may reach the same element (a sufficient test: strides 0, or overlapping).
    pub fn overlaps_itself(&self) -> bool {
        if self.numel < 2 {
            return false;
        }
        let mut dims: SmallVec<[usize; 8]> = (0..self.ndim()).filter(|&i| self.shape[i] > 1).collect();
        dims.sort_by_key(|&i| self.strides[i]);
        let mut reach: isize = 0;
        for i in dims {
            if self.strides[i] <= reach {
                return true;
            }
            reach += self.strides[i] * (self.shape[i] as isize - 1);
        }
        false
    }

    /// Elements the storage must hold for this layout: one past the highest reached.
    pub fn required(&self) -> Result<usize> {
        if self.numel == 0 {
            return Ok(0);
        }
        let mut top = self.offset;
        for (&s, &st) in self.shape.iter().zip(&self.strides) {
            ensure!(
                st >= 0,
                Runtime,
                "as_strided: Negative strides are not supported at the moment, got strides: {}",
                show(&self.strides)
            );
            top = (s - 1).checked_mul(st as usize).and_then(|x| top.checked_add(x)).ok_or_else(|| {
                err!(
                    Runtime,
                    "storage size calculation overflowed with sizes={} and strides={}",
                    show(&self.shape),
                    show(&self.strides)
                )
            })?;
        }
        top.checked_add(1).ok_or_else(|| err!(Runtime, "storage size calculation overflowed"))
    }

    /// Broadcast to `shape` (strides 0 where a dimension is stretched).
    pub fn expand(&self, shape: &[usize]) -> Result<Layout> {
        let fail = |dim: usize, existing: usize| {
            err!(
                Runtime,
                "The expanded size of the tensor ({}) must match the existing size ({}) at non-singleton dimension {}.  Target sizes: {}.  Tensor sizes: {}",
                shape[dim],
                existing,
                dim,
                show(shape),
                show(&self.shape)
            )
        };
        ensure!(
            shape.len() >= self.ndim(),
            Runtime,
            "expand: the number of sizes provided ({}) must be greater or equal to the number of dimensions in the tensor ({})",
            shape.len(),
            self.ndim()
        );
        let lead = shape.len() - self.ndim();
        let mut strides = Strides::from_elem(0, shape.len());
        for d in (lead..shape.len()).rev() {
            let (s, st) = (self.shape[d - lead], self.strides[d - lead]);
            if s == shape[d] {
                strides[d] = st;
            } else if s != 1 {
                return Err(fail(d, s));
            }
        }
        Layout::strided(shape, &strides, self.offset)
    }

    /// The same elements in the same order under another shape without a copy, if the strides allow it.
    pub fn view(&self, shape: &[usize]) -> Result<Option<Layout>> {
        let numel = checked_numel(shape)?;
        if numel != self.numel {
            bail!(Runtime, "shape '{}' is invalid for input of size {}", show(shape), self.numel);
        }
        if self.is_contiguous() || numel == 0 {
            return Ok(Some(Layout::of(shape.into(), contiguous_strides(shape), self.offset, numel)));
        }
        // Walk chunks of old dimensions that are contiguous among themselves, splitting new ones into them.
        let mut strides = Strides::from_elem(0, shape.len());
        let mut new = shape.len();
        let mut chunk_numel = 1usize;
        let mut base = *self.strides.last().unwrap();
        for d in (0..self.ndim()).rev() {
            chunk_numel *= self.shape[d];
            let boundary = d == 0 || (self.shape[d - 1] != 1 && self.strides[d - 1] != chunk_numel as isize * base);
            if boundary {
                let mut taken = 1usize;
                while new > 0 && (taken < chunk_numel || shape[new - 1] == 1) {
                    new -= 1;
                    strides[new] = taken as isize * base;
                    taken *= shape[new];
                }
                if taken != chunk_numel {
                    return Ok(None);
                }
                if d > 0 {
                    chunk_numel = 1;
                    base = self.strides[d - 1];
                }
            }
        }
        if new != 0 {
            return Ok(None);
        }
        Ok(Some(Layout::of(shape.into(), strides, self.offset, numel)))
    }
}

/// The common shape under broadcasting, or PyTorch's error.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Dims> {
    if a == b {
        return Ok(a.into());
    }
    let n = a.len().max(b.len());
    let mut out = Dims::from_elem(1, n);
    for i in 0..n {
        let x = if i + a.len() >= n { a[i + a.len() - n] } else { 1 };
        let y = if i + b.len() >= n { b[i + b.len() - n] } else { 1 };
        ensure!(
            x == y || x == 1 || y == 1,
            Runtime,
            "The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {i}"
        );
        out[i] = if x == 1 { y } else { x };
    }
    Ok(out)
}

/// A dimension counted from the end where negative; 0-d tensors accept -1 and 0.
pub fn wrap_dim(dim: i64, ndim: usize) -> Result<usize> {
    let n = ndim.max(1) as i64;
    ensure!(
        (-n..n).contains(&dim),
        Index,
        "Dimension out of range (expected to be in range of [{}, {}], but got {dim})",
        -n,
        n - 1
    );
    Ok(if dim < 0 { dim + n } else { dim } as usize)
}

/// Sizes from a user's integers: no negatives.
pub fn sizes(dims: &[i64]) -> Result<Dims> {
    dims.iter()
        .map(|&d| {
            usize::try_from(d).map_err(|_| err!(Runtime, "Trying to create tensor with negative dimension {d}: {}", show(dims)))
        })
        .collect()
}

/// Sizes with at most one -1, which is inferred from the element count.
pub fn infer_size(dims: &[i64], numel: usize) -> Result<Dims> {
    let mut known: usize = 1;
    let mut unknown = None;
    for (i, &d) in dims.iter().enumerate() {
        if d == -1 {
            ensure!(unknown.is_none(), Runtime, "only one dimension can be inferred");
            unknown = Some(i);
        } else {
            ensure!(d >= 0, Runtime, "invalid shape dimension {d} at index {i} of shape {}", show(dims));
            known = known
                .checked_mul(d as usize)
                .ok_or_else(|| err!(Runtime, "shape '{}' is invalid for input of size {numel}", show(dims)))?;
        }
    }
    let mut out: Dims = dims.iter().map(|&d| d.max(0) as usize).collect();
    match unknown {
        Some(i) => {
            ensure!(
                known != 0,
                Runtime,
                "cannot reshape tensor of {numel} elements into shape {} because the unspecified dimension size -1 can be any value and is ambiguous",
                show(dims)
            );
            ensure!(numel % known == 0, Runtime, "shape '{}' is invalid for input of size {numel}", show(dims));
            out[i] = numel / known;
        }
        None => ensure!(known == numel, Runtime, "shape '{}' is invalid for input of size {numel}", show(dims)),
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_strided_layouts() {
        let t = Layout::strided(&[3, 2], &[1, 3], 0).unwrap();
        assert_eq!(t.view(&[6]).unwrap(), None);
        let v = t.view(&[3, 1, 2]).unwrap().unwrap();
        assert_eq!((v.strides[0], v.strides[2]), (1, 3));
        let e = Layout::contiguous(&[2, 1]).unwrap().expand(&[2, 4]).unwrap();
        assert!(e.overlaps_itself());
        assert_eq!(e.view(&[2, 2, 2]).unwrap().unwrap().strides.as_slice(), &[1, 0, 0]);
    }

    #[test]
    fn overflow_is_an_error() {
        assert!(Layout::contiguous(&[1 << 33, 1 << 33]).is_err());
        assert!(Layout::contiguous(&[1; 100]).is_err());
        assert_eq!(Layout::contiguous(&[1 << 40, 0, 1 << 40]).unwrap().numel(), 0);
    }

    #[test]
    fn broadcasting() {
        assert_eq!(broadcast(&[2, 1], &[3]).unwrap().as_slice(), &[2, 3]);
        assert!(broadcast(&[2, 3], &[2]).is_err());
    }
}
