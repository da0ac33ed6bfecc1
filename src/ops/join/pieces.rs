//! Elements taken along dimensions by lists, from evenly spaced pieces: views that are copied, for devices whose memory the
//! host does not see.

use super::arrange::Lists;
use crate::error::Result;
use crate::layout::{Dims, Layout};
use crate::ops::{complex, copy, elementwise as ew, reduce};
use crate::tensor::Tensor;

/// Places that follow each other: the first index, how many, and the step from one to the next.
type Piece = (usize, usize, isize);

fn pieces(list: &[usize]) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for &i in list {
        match all.last_mut() {
            Some((start, n @ 1, step)) => {
                *step = i as isize - *start as isize;
                *n = 2;
            }
            Some((start, n, step)) if i as isize == *start as isize + *n as isize * *step => *n += 1,
            _ => all.push((i, 1, 1)),
        }
    }
    all
}

/// The elements of a piece of a dimension; its strides may be negative, so it is for copying only.
fn part(x: &Tensor, d: usize, (start, n, step): Piece) -> Result<Tensor> {
    let l = x.layout();
    let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
    let offset = l.offset as isize + start as isize * strides[d];
    shape[d] = n;
    strides[d] *= step;
    Ok(x.alias(Layout::strided(&shape, &strides, offset as usize)?).detach())
}

/// The elements of `x` at the product of the lists, contiguous. No history.
pub fn pick(x: &Tensor, lists: &Lists) -> Result<Tensor> {
    if x.dtype().is_complex() {
        return complex::view_as_complex(&pick(&complex::pairs(x)?, lists)?.detach());
    }
    let mut now = x.detach();
    for (d, list) in lists.iter().enumerate() {
        let Some(list) = list else { continue };
        let mut shape = now.dims();
        shape[d] = list.len();
        let out = Tensor::empty(&shape, x.dtype(), x.device())?;
        let mut at = 0;
        for p in pieces(list) {
            if out.numel() > 0 {
                copy::copy_raw(&part(&out, d, (at, p.1, 1))?, &part(&now, d, p)?)?;
            }
            at += p.1;
        }
        now = out;
    }
    if now.same_storage(x) { copy::clone(&now, Some(crate::ops::MemoryFormat::Contiguous)) } else { Ok(now) }
}

/// Zeros with the elements of `g` added where [`pick`] takes them from, piece by piece. No history.
pub fn place(g: &Tensor, shape: &[usize], lists: &Lists) -> Result<Tensor> {
    if g.dtype().is_complex() {
        let pairs = [shape, &[2]].concat();
        return complex::view_as_complex(&place(&complex::pairs(&g.detach())?, &pairs, lists)?.detach());
    }
    let mut now = copy::contiguous(&g.detach())?;
    for (d, list) in lists.iter().enumerate().rev() {
        let Some(list) = list else { continue };
        let mut dims: Dims = now.dims();
        dims[d] = shape[d];
        let out = Tensor::zeros(&dims, g.dtype(), g.device())?;
        let mut at = 0;
        for (start, n, step) in pieces(list) {
            if now.numel() > 0 && out.numel() > 0 {
                let from = part(&now, d, (at, n, 1))?;
                // An element that is taken several times in a row.
                let (from, to) = if step == 0 {
                    (reduce::sum(&from, Some(&[d as i64]), true, None)?.detach(), part(&out, d, (start, 1, 1))?)
                } else {
                    (from, part(&out, d, (start, n, step))?)
                };
                ew::add_into(&to, &from)?;
            }
            at += n;
        }
        now = out;
    }
    if now.same_storage(g) { copy::clone(&now, Some(crate::ops::MemoryFormat::Contiguous)) } else { Ok(now) }
}
