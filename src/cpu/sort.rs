//! Sorting and selection within rows.
//!
//! A row becomes integers that order as PyTorch orders its values (NaN is the greatest, the zeros are
//! equal), each with its position in the low bits. Sorting these is stable by construction.

use super::memory::Scratch;
use super::threads::{SendPtr, parallel_for};

/// Rows this long are sorted by digits.
const RADIX_FROM: usize = 600;

/// An integer that holds a key and a position.
pub trait Packed: Copy + Ord + Send + Sync + Default {
    /// Bytes of the key, which starts above the position.
    const KEY_BYTES: usize;
    /// Bits of the position.
    const SHIFT: usize;
    /// Key `digit` of eight bits, from the least significant.
    fn digit(self, digit: usize) -> usize;
    /// The position.
    fn position(self) -> usize;
}

impl Packed for u64 {
    const KEY_BYTES: usize = 4;
    const SHIFT: usize = 32;
    #[inline(always)]
    fn digit(self, digit: usize) -> usize {
        (self >> (32 + 8 * digit)) as usize & 0xff
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u32 as usize
    }
}

impl Packed for u128 {
    const KEY_BYTES: usize = 8;
    const SHIFT: usize = 64;
    #[inline(always)]
    fn digit(self, digit: usize) -> usize {
        (self >> (64 + 8 * digit)) as usize & 0xff
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u64 as usize
    }
}

/// Values that can be sorted.
pub trait SortKey: Copy + Send + Sync {
    /// Key and position together.
    type Packed: Packed;
    /// The packed form; `flip` turns the order round.
    fn pack(self, position: usize, flip: bool) -> Self::Packed;
    /// Whether the value is not a number.
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    /// False only if the value certainly comes after `limit` or is equal to it.
    fn may_beat(self, limit: Self, largest: bool) -> bool;
}

#[inline(always)]
fn pack32(key: u32, position: usize, flip: bool) -> u64 {
    let key = if flip { !key } else { key };
    (u64::from(key) << 32) | position as u64
}

#[inline(always)]
fn pack64(key: u64, position: usize, flip: bool) -> u128 {
    let key = if flip { !key } else { key };
    (u128::from(key) << 64) | position as u128
}

macro_rules! sort_key {
    ($($t:ty, $packed:ty, $pack:ident, |$x:ident| $key:expr;)*) => {$(
        impl SortKey for $t {
            type Packed = $packed;
            #[inline(always)]
            fn pack(self, position: usize, flip: bool) -> $packed {
                let $x = self;
                $pack($key, position, flip)
            }
            #[inline(always)]
            fn may_beat(self, limit: $t, largest: bool) -> bool {
                if largest { self > limit } else { self < limit }
            }
        }
    )*};
}
sort_key! {
    i8, u64, pack32, |x| (i32::from(x) as u32) ^ (1 << 31);
    i16, u64, pack32, |x| (i32::from(x) as u32) ^ (1 << 31);
    i32, u64, pack32, |x| (x as u32) ^ (1 << 31);
    u8, u64, pack32, |x| u32::from(x);
    bool, u64, pack32, |x| u32::from(x);
    i64, u128, pack64, |x| (x as u64) ^ (1 << 63);
}

macro_rules! float_key {
    ($t:ty, $bits:ty, $packed:ty, $pack:ident) => {
        impl SortKey for $t {
            type Packed = $packed;
            #[inline(always)]
            fn pack(self, position: usize, flip: bool) -> $packed {
                // Adding zero makes -0 into 0.
                let bits = (self + 0.0).to_bits();
                let sign = 1 << (<$bits>::BITS - 1);
                let key = if self != self {
                    <$bits>::MAX
                } else if bits & sign != 0 {
                    !bits
                } else {
                    bits | sign
                };
                $pack(key, position, flip)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn may_beat(self, limit: $t, largest: bool) -> bool {
                // True beside NaN.
                if largest { !(self <= limit) } else { !(self >= limit) }
            }
        }
    };
}
float_key!(f32, u32, u64, pack32);
float_key!(f64, u64, u128, pack64);

/// The packed form of a row.
fn packed_row<T: SortKey>(row: &[T], flip: bool, out: &mut Vec<T::Packed>) {
    assert!(T::Packed::SHIFT > 32 || u32::try_from(row.len()).is_ok(), "row too long to sort");
    out.clear();
    out.extend(row.iter().enumerate().map(|(i, &x)| x.pack(i, flip)));
}

/// Sorts packed values; `spare` is working memory.
fn sort_packed<P: Packed>(values: &mut Vec<P>, spare: &mut Vec<P>) {
    if values.len() < RADIX_FROM {
        return values.sort_unstable();
    }
    spare.clear();
    spare.resize(values.len(), P::default());
    if sort_digits(values, spare) {
        std::mem::swap(values, spare);
    }
}

/// Sorts by the digits of the keys, back and forth between two slices of one length; answers whether the result is in the
/// second one.
fn sort_digits<P: Packed>(values: &mut [P], spare: &mut [P]) -> bool {
    let n = values.len();
    let (mut values, mut spare, mut swapped) = (values, spare, false);
    let mut counts = vec![[0_usize; 256]; P::KEY_BYTES];
    for &v in values.iter() {
        for (d, count) in counts.iter_mut().enumerate() {
            count[v.digit(d)] += 1;
        }
    }
    for (d, count) in counts.iter_mut().enumerate() {
        // A digit that all values share needs no pass.
        if count[values[0].digit(d)] == n {
            continue;
        }
        let mut at = 0;
        for slot in count.iter_mut() {
            at += std::mem::replace(slot, at);
        }
        for &v in values.iter() {
            let slot = &mut count[v.digit(d)];
            spare[*slot] = v;
            *slot += 1;
        }
        std::mem::swap(&mut values, &mut spare);
        swapped = !swapped;
    }
    swapped
}

/// Rows whose working memory is worth keeping.
const LONG: usize = 1 << 15;

/// Rows per piece of work.
fn grain(row_len: usize) -> usize {
    (1 << 11) / row_len.max(1)
}

/// Sorts every row of `vals` in place, and writes to `idx` where each value was. Stable both ways.
pub fn sort_rows<T: SortKey>(vals: &mut [T], idx: &mut [i64], row_len: usize, descending: bool) {
    assert_eq!(vals.len(), idx.len(), "sort_rows buffers");
    if vals.is_empty() {
        return;
    }
    assert_eq!(vals.len() % row_len, 0, "sort_rows row length");
    let rows = vals.len() / row_len;
    let (vals, idx) = (SendPtr(vals.as_mut_ptr()), SendPtr(idx.as_mut_ptr()));
    parallel_for(rows, grain(row_len), |range| {
        let (mut packed, mut spare, mut copy) = (Vec::new(), Vec::new(), Vec::new());
        for r in range.clone().filter(|_| row_len >= LONG) {
            // SAFETY: this row belongs to this piece.
            let (row, idx) = unsafe { (vals.slice(r * row_len, row_len), idx.slice(r * row_len, row_len)) };
            assert!(T::Packed::SHIFT > 32 || u32::try_from(row_len).is_ok(), "row too long to sort");
            let mut packed = Scratch::from_fn(row_len, |i| row[i].pack(i, descending));
            let mut spare = Scratch::from_fn(row_len, |_| T::Packed::default());
            let copy = Scratch::from_fn(row_len, |i| row[i]);
            let sorted = if sort_digits(&mut packed, &mut spare) { &spare } else { &packed };
            for ((to, idx), p) in row.iter_mut().zip(idx).zip(&sorted[..]) {
                *to = copy[p.position()];
                *idx = p.position() as i64;
            }
        }
        for r in range.filter(|_| row_len < LONG) {
            // SAFETY: this row belongs to this piece.
            let (row, idx) = unsafe { (vals.slice(r * row_len, row_len), idx.slice(r * row_len, row_len)) };
            packed_row(row, descending, &mut packed);
            sort_packed(&mut packed, &mut spare);
            copy.clear();
            copy.extend_from_slice(row);
            for ((to, idx), p) in row.iter_mut().zip(idx).zip(&packed) {
                *to = copy[p.position()];
                *idx = p.position() as i64;
            }
        }
    });
}

/// Values looked at together.
const CHUNK: usize = 32;

multiversion! {
    /// The first of the chunks from `from` on that may have a value before `limit`; `n` if there is none.
    ///
    /// # Safety
    /// `x` has `n` elements, `n - from` is a multiple of [`CHUNK`].
    unsafe fn next_chunk<T: SortKey>(x: *const T, from: usize, n: usize, limit: T, largest: bool) -> usize {
        let mut at = from;
        while at < n {
            let mut any = 0u32;
            if largest {
                for k in 0..CHUNK {
                    // SAFETY: at + k < n.
                    any |= u32::from(unsafe { *x.add(at + k) }.may_beat(limit, true));
                }
            } else {
                for k in 0..CHUNK {
                    // SAFETY: at + k < n.
                    any |= u32::from(unsafe { *x.add(at + k) }.may_beat(limit, false));
                }
            }
            if any != 0 {
                break;
            }
            at += CHUNK;
        }
        at
    }
}

/// The packed `k` first values of a row in no order, for `k` far below the length: what is not before the `k`-th of
/// those seen so far is passed over.
fn select_few<T: SortKey>(row: &[T], k: usize, largest: bool, out: &mut Vec<T::Packed>) {
    let room = 2 * k + 2 * CHUNK;
    let n = row.len();
    // The rest is whole chunks.
    let start = room + (n - room) % CHUNK;
    packed_row(&row[..start], largest, out);
    let cut = |out: &mut Vec<T::Packed>| {
        let last = *out.select_nth_unstable(k - 1).1;
        out.truncate(k);
        last
    };
    let mut last = cut(out);
    let mut at = start;
    while at < n {
        // SAFETY: the row has n elements, and whole chunks are left.
        at = unsafe { next_chunk(row.as_ptr(), at, n, row[last.position()], largest) };
        if at == n {
            break;
        }
        let limit = row[last.position()];
        for (i, &v) in row[at..at + CHUNK].iter().enumerate() {
            if v.may_beat(limit, largest) {
                let p = v.pack(at + i, largest);
                if p < last {
                    out.push(p);
                }
            }
        }
        if out.len() + CHUNK > room {
            last = cut(out);
        }
        at += CHUNK;
    }
    if out.len() > k {
        cut(out);
    }
}

/// The `k` largest or smallest values of every row and their positions. With `sorted` they come in
/// order, the extreme first; without, in an order that depends on the values alone.
pub fn topk_rows<T: SortKey>(x: &[T], row_len: usize, k: usize, largest: bool, sorted: bool, vals: &mut [T], idx: &mut [i64]) {
    if k == 0 || x.is_empty() {
        assert!(vals.is_empty() && idx.is_empty(), "topk_rows buffers");
        return;
    }
    assert!(k <= row_len && x.len().is_multiple_of(row_len), "topk_rows row length");
    let rows = x.len() / row_len;
    assert_eq!((vals.len(), idx.len()), (rows * k, rows * k), "topk_rows buffers");
    let (vals, idx) = (SendPtr(vals.as_mut_ptr()), SendPtr(idx.as_mut_ptr()));
    parallel_for(rows, grain(row_len), |range| {
        let (mut packed, mut spare) = (Vec::new(), Vec::new());
        for r in range {
            let row = &x[r * row_len..][..row_len];
            if row_len >= 8 * k + 4 * CHUNK {
                select_few(row, k, largest, &mut packed);
            } else {
                packed_row(row, largest, &mut packed);
                if k < row_len {
                    packed.select_nth_unstable(k - 1);
                    packed.truncate(k);
                }
            }
            if sorted {
                // Not by digits: those are stable only from the original order.
                if k < RADIX_FROM || k < row_len {
                    packed.sort_unstable();
                } else {
                    sort_packed(&mut packed, &mut spare);
                }
            }
            // SAFETY: this row of the results belongs to this piece.
            let (vals, idx) = unsafe { (vals.slice(r * k, k), idx.slice(r * k, k)) };
            for ((to, idx), p) in vals.iter_mut().zip(idx).zip(&packed) {
                *to = row[p.position()];
                *idx = p.position() as i64;
            }
        }
    });
}

/// Per row, the value that `rank(row)` says (0 is the smallest), and its position.
fn select_rows<T: SortKey>(
    x: &[T],
    row_len: usize,
    vals: &mut [T],
    idx: &mut [i64],
    rank: impl Fn(&[T]) -> Result<usize, usize> + Sync,
) {
    assert!(row_len > 0 && x.len().is_multiple_of(row_len), "selection row length");
    let rows = x.len() / row_len;
    assert_eq!((vals.len(), idx.len()), (rows, rows), "selection buffers");
    let (vals, idx) = (SendPtr(vals.as_mut_ptr()), SendPtr(idx.as_mut_ptr()));
    parallel_for(rows, grain(row_len), |range| {
        let mut packed = Vec::new();
        for r in range {
            let row = &x[r * row_len..][..row_len];
            let at = match rank(row) {
                Ok(rank) => {
                    packed_row(row, false, &mut packed);
                    packed.select_nth_unstable(rank).1.position()
                }
                Err(at) => at,
            };
            // SAFETY: the results of this row belong to this piece.
            unsafe {
                *vals.get().add(r) = row[at];
                *idx.get().add(r) = at as i64;
            }
        }
    });
}

/// The `k`-th smallest value of every row (`k` from 1) and its position.
pub fn kthvalue_rows<T: SortKey>(x: &[T], row_len: usize, k: usize, vals: &mut [T], idx: &mut [i64]) {
    assert!(k >= 1 && k <= row_len, "kthvalue out of range");
    select_rows(x, row_len, vals, idx, |_| Ok(k - 1));
}

/// The lower median of every row and its position. A NaN in the row is its median, or with
/// `ignore_nan` counts only if there is nothing else.
pub fn median_rows<T: SortKey>(x: &[T], row_len: usize, ignore_nan: bool, vals: &mut [T], idx: &mut [i64]) {
    select_rows(x, row_len, vals, idx, |row| {
        if ignore_nan {
            let numbers = row.iter().filter(|x| !x.is_nan()).count();
            if numbers == 0 {
                return Err(0);
            }
            return Ok((numbers - 1) / 2);
        }
        match row.iter().position(|x| x.is_nan()) {
            Some(at) => Err(at),
            None => Ok((row.len() - 1) / 2),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(len: usize, seed: u64) -> Vec<u64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            })
            .collect()
    }

    /// The order by definition: stable, by a total order with NaN last.
    fn naive<T: Copy>(row: &[T], less: impl Fn(T, T) -> bool, descending: bool) -> Vec<i64> {
        let mut order: Vec<i64> = (0..row.len() as i64).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (row[a as usize], row[b as usize]);
            let (a, b) = if descending { (b, a) } else { (a, b) };
            match (less(a, b), less(b, a)) {
                (true, _) => std::cmp::Ordering::Less,
                (_, true) => std::cmp::Ordering::Greater,
                _ => std::cmp::Ordering::Equal,
            }
        });
        order
    }

    macro_rules! check {
        ($t:ty, $make:expr, $less:expr, $same:expr) => {
            for row_len in [1, 2, 7, 33, 700, 3000, 9001] {
                for descending in [false, true] {
                    let x: Vec<$t> = words(2 * row_len, 3).into_iter().map($make).collect();
                    let (mut vals, mut idx) = (x.clone(), vec![0; x.len()]);
                    sort_rows(&mut vals, &mut idx, row_len, descending);
                    for r in 0..2 {
                        let row = &x[r * row_len..][..row_len];
                        let order = naive(row, $less, descending);
                        assert_eq!(idx[r * row_len..][..row_len], order[..], "{row_len}");
                        for (i, &at) in order.iter().enumerate() {
                            assert!($same(vals[r * row_len + i], row[at as usize]));
                        }
                        for k in [1, row_len.min(5), row_len.div_ceil(10), row_len.div_ceil(2), row_len] {
                            let (mut v, mut i) = (vec![x[0]; k], vec![0; k]);
                            topk_rows(row, row_len, k, descending, true, &mut v, &mut i);
                            assert_eq!(i, order[..k]);
                            topk_rows(row, row_len, k, descending, false, &mut v, &mut i);
                            i.sort_unstable();
                            let mut want = order[..k].to_vec();
                            want.sort_unstable();
                            assert_eq!(i, want);
                            if !descending {
                                let (mut v, mut i) = ([x[0]], [0]);
                                kthvalue_rows(row, row_len, k, &mut v, &mut i);
                                assert_eq!(i[0], order[k - 1]);
                                assert!($same(v[0], row[i[0] as usize]));
                            }
                        }
                    }
                }
            }
        };
    }

    #[test]
    fn floats_with_nan_and_signed_zeros() {
        let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1.5];
        let make = |w: u64| match w % 5 {
            0 => special[(w / 5 % 7) as usize],
            1 => ((w / 5 % 9) as f64) - 4.0,
            _ => f64::from_bits(w),
        };
        check!(f64, make, |a: f64, b: f64| a < b || b.is_nan() && !a.is_nan(), |a: f64, b: f64| a.to_bits() == b.to_bits());
        check!(f32, |w| make(w) as f32, |a: f32, b: f32| a < b || b.is_nan() && !a.is_nan(), |a: f32, b: f32| a.to_bits()
            == b.to_bits());
    }

    #[test]
    fn integers_and_booleans() {
        check!(i64, |w| w as i64, |a, b| a < b, |a, b| a == b);
        check!(i64, |w| (w % 10) as i64 - 5, |a, b| a < b, |a, b| a == b);
        check!(i32, |w| w as i32, |a, b| a < b, |a, b| a == b);
        check!(i16, |w| w as i16, |a, b| a < b, |a, b| a == b);
        check!(i8, |w| w as i8, |a, b| a < b, |a, b| a == b);
        check!(u8, |w| w as u8, |a, b| a < b, |a, b| a == b);
        check!(bool, |w| w % 3 == 0, |a, b| !a & b, |a, b| a == b);
    }

    #[test]
    fn medians() {
        let x = [3.0, 1.0, f64::NAN, 2.0, 5.0, 4.0, 9.0, 7.0];
        let (mut v, mut i) = ([0.0; 2], [9; 2]);
        median_rows(&x, 4, false, &mut v, &mut i);
        assert!(v[0].is_nan());
        assert_eq!((v[1], i), (5.0, [2, 0]));
        median_rows(&x, 4, true, &mut v, &mut i);
        assert_eq!((v, i), ([2.0, 5.0], [3, 0]));
        let (mut v, mut i) = ([0.0_f32], [9]);
        median_rows(&[f32::NAN; 3], 3, true, &mut v, &mut i);
        assert!(v[0].is_nan());
        assert_eq!(i, [0]);
    }

    #[test]
    fn nothing_to_sort() {
        sort_rows::<f32>(&mut [], &mut [], 0, false);
        topk_rows::<i64>(&[1, 2], 2, 0, true, true, &mut [], &mut []);
        topk_rows::<i64>(&[], 0, 0, true, true, &mut [], &mut []);
        kthvalue_rows::<i64>(&[], 3, 1, &mut [], &mut []);
    }
}
