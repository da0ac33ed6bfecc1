//! Short lists of plain numbers: shapes, strides, permutations.
//!
//! Every op makes and copies several of them. Up to [`INLINE`] elements a copy is a copy of one cache line, without a
//! call or a loop; a general small vector clones element by element.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Elements that fit without memory of their own.
const INLINE: usize = 5;

/// A list of a few `T`.
#[derive(Clone)]
pub struct Small<T: Copy>(Kind<T>);

#[derive(Clone)]
enum Kind<T: Copy> {
    Inline(u8, [T; INLINE]),
    Heap(Vec<T>),
}
use Kind::{Heap, Inline};

impl<T: Copy + Default> Small<T> {
    pub fn new() -> Small<T> {
        Small(Inline(0, [T::default(); INLINE]))
    }

    #[inline]
    pub fn from_elem(value: T, len: usize) -> Small<T> {
        if len <= INLINE { Small(Inline(len as u8, [value; INLINE])) } else { Small(Heap(vec![value; len])) }
    }

    #[inline]
    pub fn from_slice(s: &[T]) -> Small<T> {
        if s.len() > INLINE {
            return Small(Heap(s.to_vec()));
        }
        Small(Inline(s.len() as u8, std::array::from_fn(|k| s.get(k).copied().unwrap_or_default())))
    }

    #[inline]
    pub fn push(&mut self, value: T) {
        match &mut self.0 {
            Inline(len, list) if (*len as usize) < INLINE => {
                list[*len as usize] = value;
                *len += 1;
            }
            _ => self.spill().push(value),
        }
    }

    /// The list as a vector, for what no longer fits.
    #[cold]
    fn spill(&mut self) -> &mut Vec<T> {
        if let Inline(..) = self.0 {
            self.0 = Heap(self.to_vec());
        }
        let Heap(v) = &mut self.0 else { unreachable!("made so above") };
        v
    }

    /// Before position `at`.
    pub fn insert(&mut self, at: usize, value: T) {
        self.push(value);
        self[at..].rotate_right(1);
    }

    pub fn remove(&mut self, at: usize) -> T {
        let gone = self[at];
        self[at..].rotate_left(1);
        self.truncate(self.len() - 1);
        gone
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = *self.last()?;
        self.truncate(self.len() - 1);
        Some(last)
    }

    pub fn truncate(&mut self, to: usize) {
        match &mut self.0 {
            Inline(len, _) => *len = (*len).min(to.min(INLINE) as u8),
            Heap(v) => v.truncate(to),
        }
    }

    pub fn clear(&mut self) {
        self.truncate(0);
    }

    pub fn extend_from_slice(&mut self, s: &[T]) {
        self.extend(s.iter().copied());
    }

    pub fn as_slice(&self) -> &[T] {
        self
    }
}

impl<T: Copy> Deref for Small<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Inline(len, list) => &list[..*len as usize],
            Heap(v) => v,
        }
    }
}

impl<T: Copy> DerefMut for Small<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Inline(len, list) => &mut list[..*len as usize],
            Heap(v) => v,
        }
    }
}

impl<T: Copy + Default> Default for Small<T> {
    fn default() -> Small<T> {
        Small::new()
    }
}

impl<T: Copy + Default> Extend<T> for Small<T> {
    #[inline]
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for v in items {
            self.push(v);
        }
    }
}

impl<T: Copy + Default> FromIterator<T> for Small<T> {
    #[inline]
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Small<T> {
        let mut list = Small::new();
        list.extend(items);
        list
    }
}

impl<T: Copy + Default> From<&[T]> for Small<T> {
    fn from(s: &[T]) -> Small<T> {
        Small::from_slice(s)
    }
}
impl<T: Copy + Default, const N: usize> From<[T; N]> for Small<T> {
    fn from(s: [T; N]) -> Small<T> {
        Small::from_slice(&s)
    }
}

impl<'a, T: Copy> IntoIterator for &'a Small<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The elements one after another.
pub struct Items<T: Copy> {
    list: Small<T>,
    next: usize,
}

impl<T: Copy> Iterator for Items<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        let v = *self.list.get(self.next)?;
        self.next += 1;
        Some(v)
    }
}

impl<T: Copy> IntoIterator for Small<T> {
    type Item = T;
    type IntoIter = Items<T>;
    fn into_iter(self) -> Items<T> {
        Items { list: self, next: 0 }
    }
}

impl<T: Copy + PartialEq> PartialEq for Small<T> {
    fn eq(&self, other: &Small<T>) -> bool {
        **self == **other
    }
}
impl<T: Copy + Eq> Eq for Small<T> {}

impl<T: Copy + std::hash::Hash> std::hash::Hash for Small<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for Small<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every change beside the same change of a vector, below, at and above what fits.
    #[test]
    fn as_a_vector() {
        for n in 0..2 * INLINE {
            let v: Vec<usize> = (0..n).collect();
            let s: Small<usize> = v.iter().copied().collect();
            assert_eq!(*s, *v);
            assert_eq!(s, Small::from_slice(&v));
            assert_eq!(*Small::from_elem(7, n), *vec![7; n]);
            for at in 0..=n {
                let (mut v, mut s) = (v.clone(), s.clone());
                v.insert(at, 99);
                s.insert(at, 99);
                assert_eq!(*s, *v);
                assert_eq!(s.remove(at), v.remove(at));
                v.extend_from_slice(&[1, 2]);
                s.extend_from_slice(&[1, 2]);
                v.truncate(at);
                s.truncate(at);
                assert_eq!(*s, *v);
                assert_eq!(s.pop(), v.pop());
                s.push(5);
                v.push(5);
                assert_eq!(*s, *v);
                s.clear();
                assert!(s.is_empty() && s.pop().is_none());
            }
        }
    }
}
