//! PyTorch's CPU generator: mt19937, and the ways PyTorch turns its words into numbers.
//!
//! The stream is part of the library's promise (same seed, same numbers), so the order and width of
//! every draw below is fixed. A fill writes its slice from first to last element.

mod philox;

use philox::Philox;

/// Words of state.
const N: usize = 624;
/// Bytes of a saved state.
pub const STATE_BYTES: usize = 5056;
/// Spans from here on take 64-bit draws in `randint`.
const WIDE_SPAN: u64 = 1 << 28;
/// Shortest slice whose normals are made sixteen at a time.
const NORMAL_BLOCK: usize = 16;

const SCALE_24: f32 = 1.0 / (1_u32 << 24) as f32;
const SCALE_53: f64 = 1.0 / (1_u64 << 53) as f64;

/// Why a saved state was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The state has this many bytes instead of [`STATE_BYTES`].
    Size(usize),
    /// The counters do not describe a generator.
    Invalid,
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StateError::Size(n) => {
                write!(f, "Expected a CPUGeneratorImplState of size {STATE_BYTES} but found the input RNG state size to be {n}")
            }
            StateError::Invalid => write!(f, "Invalid mt19937 state"),
        }
    }
}

impl std::error::Error for StateError {}

/// The CPU generator.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    state: [u32; N],
    /// Words left before the next twist, plus one.
    left: u32,
    /// Index of the next word.
    next: u32,
    /// The second normal of the last pair.
    normal: Option<f64>,
    /// PyTorch keeps one for single precision too; only its saved state shows it.
    normal_f32: Option<f32>,
    /// For a GPU, which does not use the rest.
    philox: Option<Philox>,
}

impl Default for Generator {
    fn default() -> Self {
        Generator::new(67_280_421_310_721)
    }
}

#[inline(always)]
fn temper(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

#[inline(always)]
fn mix(high: u32, low: u32, far: u32) -> u32 {
    let y = (high & 0x8000_0000) | (low & 0x7fff_ffff);
    far ^ (y >> 1) ^ ((low & 1).wrapping_neg() & 0x9908_b0df)
}

multiversion! {
    /// Makes the next 624 words.
    fn twist(m: &mut [u32; N]) {
        for k in 0..227 {
            m[k] = mix(m[k], m[k + 1], m[k + 397]);
        }
        for k in 227..N - 1 {
            m[k] = mix(m[k], m[k + 1], m[k - 227]);
        }
        m[N - 1] = mix(m[N - 1], m[0], m[396]);
    }
}

multiversion! {
    fn temper_all(words: &[u32], out: &mut [u32]) {
        for (out, &word) in out.iter_mut().zip(words) {
            *out = temper(word);
        }
    }
}

multiversion! {
    fn uniform_from_words(words: &[u32], out: &mut [f32], from: f32, to: f32) {
        let span = to - from;
        for (out, &word) in out.iter_mut().zip(words) {
            let x = ((temper(word) & 0xff_ffff) as f32 * SCALE_24).mul_add(span, from);
            *out = if x == to { from } else { x };
        }
    }
}

multiversion! {
    /// Two words make a number, the high one first.
    fn uniform_from_pairs(words: &[u32], out: &mut [f64], from: f64, to: f64) {
        let span = to - from;
        for (out, pair) in out.iter_mut().zip(words.chunks_exact(2)) {
            let word = (u64::from(temper(pair[0])) << 32) | u64::from(temper(pair[1]));
            let x = ((word & ((1 << 53) - 1)) as f64 * SCALE_53).mul_add(span, from);
            *out = if x == to { from } else { x };
        }
    }
}

/// Natural logarithm of x in (0, 1], single precision (Cephes' polynomial).
#[inline(always)]
#[allow(clippy::excessive_precision)] // shorter literals round to neighbours
fn log_f32(x: f32) -> f32 {
    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let below = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let e = (bits >> 23) as i32 as f32 - 126.0 - if below { 1.0 } else { 0.0 };
    let x = mantissa - 1.0 + if below { mantissa } else { 0.0 };
    let z = x * x;
    let mut y = 7.037_683_6e-2_f32;
    for c in [
        -1.151_461e-1,
        1.167_699_874e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_476_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        y = y.mul_add(x, c);
    }
    y = (y * x).mul_add(z, e * -2.121_944_4e-4);
    y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_4, x + y)
}

/// Sine and cosine of x in [0, 2 pi], single precision (Cephes' polynomials).
#[inline(always)]
fn sin_cos_f32(x: f32) -> (f32, f32) {
    let octant = ((x * std::f32::consts::FRAC_2_PI * 2.0) as i32 + 1) & !1;
    let y = octant as f32;
    let x = y.mul_add(-0.785_156_25, x);
    let x = y.mul_add(-2.418_756_5e-4, x);
    let x = y.mul_add(-3.774_895e-8, x);
    let z = x * x;
    let c = 2.443_315_7e-5_f32.mul_add(z, -1.388_731_6e-3).mul_add(z, 4.166_664_6e-2);
    let c = (c * z).mul_add(z, z * -0.5) + 1.0;
    let s = (-1.951_529_6e-4_f32).mul_add(z, 8.332_161e-3).mul_add(z, -1.666_665_5e-1);
    let s = (s * z).mul_add(x, x);
    let swap = octant & 2 != 0;
    let (sin, cos) = if swap { (c, s) } else { (s, c) };
    let sin = if octant & 4 != 0 { -sin } else { sin };
    let cos = if (octant + 2) & 4 != 0 { -cos } else { cos };
    (sin, cos)
}

multiversion! {
    /// Box-Muller on each sixteen uniforms: element j pairs with j + 8.
    fn normals_f32(data: &mut [f32], mean: f32, std: f32) {
        for block in data.chunks_exact_mut(16) {
            let (first, second) = block.split_at_mut(8);
            for (a, b) in first.iter_mut().zip(second) {
                let radius = (-2.0 * log_f32(1.0 - *a)).sqrt();
                let (sin, cos) = sin_cos_f32(std::f32::consts::TAU * *b);
                *a = (radius * cos).mul_add(std, mean);
                *b = (radius * sin).mul_add(std, mean);
            }
        }
    }
}

fn normals_f64(data: &mut [f64], mean: f64, std: f64) {
    for block in data.chunks_exact_mut(16) {
        let (first, second) = block.split_at_mut(8);
        for (a, b) in first.iter_mut().zip(second) {
            let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * *b).sin_cos();
            *a = (radius * cos).mul_add(std, mean);
            *b = (radius * sin).mul_add(std, mean);
        }
    }
}

impl Generator {
    /// A generator with this seed; only its low 32 bits reach the engine.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; N];
        state[0] = seed as u32;
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Generator { seed, state, left: 1, next: 0, normal: None, normal_f32: None, philox: None }
    }

    /// Starts again from `seed`, forgetting a kept normal.
    pub fn manual_seed(&mut self, seed: u64) {
        let philox = self.philox.map(|p| Philox { at: 0, ..p });
        *self = Generator { philox, ..Generator::new(seed) };
    }

    /// Starts again from a seed the operating system provides, and returns it.
    pub fn seed_from_os(&mut self) -> u64 {
        let seed = os_seed();
        self.manual_seed(seed);
        seed
    }

    /// The seed given last.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// The next 32-bit word.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if self.left == 1 {
            self.refill();
        } else {
            self.left -= 1;
        }
        let y = self.state[self.next as usize];
        self.next += 1;
        temper(y)
    }

    #[cold]
    fn refill(&mut self) {
        twist(&mut self.state);
        self.left = N as u32;
        self.next = 0;
    }

    /// The next 64-bit word: high half first.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        (high << 32) | u64::from(self.next_u32())
    }

    /// Hands `f` the next `count` untempered words, in pieces, with the position of each piece.
    fn blocks(&mut self, count: usize, mut f: impl FnMut(usize, &[u32])) {
        let mut done = 0;
        while done < count {
            let mut ready = self.left as usize - 1;
            if ready == 0 {
                self.refill();
                // `refill` counts the word it is called for as taken.
                self.left += 1;
                ready = N;
            }
            let take = ready.min(count - done);
            let at = self.next as usize;
            f(done, &self.state[at..at + take]);
            self.next += take as u32;
            self.left -= take as u32;
            done += take;
        }
    }

    /// Fills with 32-bit words.
    pub fn fill_u32(&mut self, out: &mut [u32]) {
        let count = out.len();
        self.blocks(count, |at, words| temper_all(words, &mut out[at..]));
    }

    /// A uniform number in [0, 1) with 24 bits.
    #[inline]
    pub fn uniform24(&mut self) -> f32 {
        (self.next_u32() & 0xff_ffff) as f32 * SCALE_24
    }

    /// A uniform number in [0, 1) with 53 bits.
    #[inline]
    pub fn uniform53(&mut self) -> f64 {
        (self.next_u64() & ((1 << 53) - 1)) as f64 * SCALE_53
    }

    /// A normal number; they come in pairs, and the second is kept for the next call.
    pub fn normal(&mut self) -> f64 {
        if let Some(kept) = self.normal.take() {
            return kept;
        }
        let (u1, u2) = (self.uniform53(), self.uniform53());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * u1).sin_cos();
        self.normal = Some(radius * sin);
        radius * cos
    }

    /// `uniform_(from, to)` for float32, and for half types, which round the result (a result that
    /// rounds up to `to` becomes `from`; the caller does that for half types).
    pub fn fill_uniform_f32(&mut self, out: &mut [f32], from: f32, to: f32) {
        let count = out.len();
        self.blocks(count, |at, words| {
            uniform_from_words(words, &mut out[at..], from, to);
        });
    }

    /// `uniform_(from, to)` for float64.
    pub fn fill_uniform_f64(&mut self, out: &mut [f64], from: f64, to: f64) {
        let mut words = [0; 2 * 256];
        for out in out.chunks_mut(256) {
            // Pairs may straddle a twist, so the words go through a buffer.
            let words = &mut words[..2 * out.len()];
            let count = words.len();
            self.blocks(count, |at, block| {
                words[at..at + block.len()].copy_from_slice(block);
            });
            uniform_from_pairs(words, out, from, to);
        }
    }

    /// `normal_(mean, std)` for contiguous float32 memory; slices below 16 take [`Self::normal`].
    pub fn fill_normal_f32(&mut self, out: &mut [f32], mean: f64, std: f64) {
        let n = out.len();
        if n < NORMAL_BLOCK {
            for x in out {
                *x = (self.normal() * std + mean) as f32;
            }
            return;
        }
        let (mean, std) = (mean as f32, std as f32);
        self.fill_uniform_f32(out, 0.0, 1.0);
        let tail = n % NORMAL_BLOCK;
        normals_f32(&mut out[..n - tail], mean, std);
        if tail != 0 {
            // The last sixteen are drawn anew.
            let last = &mut out[n - NORMAL_BLOCK..];
            self.fill_uniform_f32(last, 0.0, 1.0);
            normals_f32(last, mean, std);
        }
    }

    /// `normal_(mean, std)` for half types, to be rounded by the caller. It differs from float32 in
    /// that an incomplete last block draws no uniforms before it is drawn as the last sixteen.
    pub fn fill_normal_half(&mut self, out: &mut [f32], mean: f64, std: f64) {
        let n = out.len();
        if n < NORMAL_BLOCK {
            return self.fill_normal_f32(out, mean, std);
        }
        let tail = n % NORMAL_BLOCK;
        self.fill_normal_f32(&mut out[..n - tail], mean, std);
        if tail != 0 {
            self.fill_normal_f32(&mut out[n - NORMAL_BLOCK..], mean, std);
        }
    }

    /// `normal_(mean, std)` for contiguous float64 memory.
    pub fn fill_normal_f64(&mut self, out: &mut [f64], mean: f64, std: f64) {
        let n = out.len();
        if n < NORMAL_BLOCK {
            return self.fill_normal_serial(out, mean, std);
        }
        self.fill_uniform_f64(out, 0.0, 1.0);
        let tail = n % NORMAL_BLOCK;
        normals_f64(&mut out[..n - tail], mean, std);
        if tail != 0 {
            let last = &mut out[n - NORMAL_BLOCK..];
            self.fill_uniform_f64(last, 0.0, 1.0);
            normals_f64(last, mean, std);
        }
    }

    /// `normal_` one number at a time, whatever the length: the way of memory that is not contiguous.
    pub fn fill_normal_serial(&mut self, out: &mut [f64], mean: f64, std: f64) {
        for x in out {
            *x = self.normal() * std + mean;
        }
    }

    /// `low + draw % span`: `randint(low, low + span)`, and `random_(from, to)` for every dtype.
    pub fn fill_randint(&mut self, out: &mut [i64], low: i64, span: u64) {
        let span = span.max(1);
        if span < WIDE_SPAN {
            let (count, span) = (out.len(), span as u32);
            self.blocks(count, |at, words| {
                for (x, &word) in out[at..].iter_mut().zip(words) {
                    *x = low.wrapping_add(i64::from(temper(word) % span));
                }
            });
        } else {
            for x in out {
                *x = low.wrapping_add((self.next_u64() % span) as i64);
            }
        }
    }

    /// `random_(from=-2**63)`: all 64 bits.
    pub fn fill_random_bits64(&mut self, out: &mut [i64]) {
        for x in out {
            *x = self.next_u64() as i64;
        }
    }

    /// `random_()` without bounds. `modulus` is max + 1 for integers (2 for bool) and
    /// 2^(significant bits) + 1 for floats; `wide` (int64 and float64) takes 64-bit draws.
    pub fn fill_random(&mut self, out: &mut [i64], modulus: u64, wide: bool) {
        for x in out {
            let draw = if wide { self.next_u64() } else { u64::from(self.next_u32()) };
            *x = (draw % modulus) as i64;
        }
    }

    /// A random permutation of `0..n`.
    pub fn randperm(&mut self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        let wide = n >= u32::MAX as usize / 20;
        for i in 0..n.saturating_sub(1) {
            let span = n - i;
            let draw = if wide { (self.next_u64() % span as u64) as usize } else { self.next_u32() as usize % span };
            order.swap(i, i + draw);
        }
        order
    }

    /// `bernoulli_(p)` with a number, and dropout masks: 53-bit draws.
    pub fn fill_bernoulli(&mut self, out: &mut [bool], p: f64) {
        // u * 2^-53 < p is the same as u < p * 2^53, both exact.
        let limit = p * (1_u64 << 53) as f64;
        let mut high = 0;
        let count = 2 * out.len();
        self.blocks(count, |at, words| {
            for (i, &word) in words.iter().enumerate() {
                let word = u64::from(temper(word));
                if (at + i) % 2 == 0 {
                    high = word << 32;
                } else {
                    let draw = (high | word) & ((1 << 53) - 1);
                    out[(at + i) / 2] = (draw as f64) < limit;
                }
            }
        });
    }

    /// `bernoulli(p)` with float32 (or half) probabilities: 24-bit draws.
    pub fn fill_bernoulli_f32(&mut self, out: &mut [bool], p: &[f32]) {
        for (x, &p) in out.iter_mut().zip(p) {
            *x = self.uniform24() < p;
        }
    }

    /// `bernoulli(p)` with float64 probabilities: 53-bit draws.
    pub fn fill_bernoulli_f64(&mut self, out: &mut [bool], p: &[f64]) {
        for (x, &p) in out.iter_mut().zip(p) {
            *x = self.uniform53() < p;
        }
    }

    /// `exponential_(lambda)`.
    pub fn fill_exponential(&mut self, out: &mut [f64], lambda: f64) {
        for x in out {
            *x = -1.0 / lambda * (-self.uniform53()).ln_1p();
        }
    }

    /// `geometric_(p)`: the number of the first success.
    pub fn fill_geometric(&mut self, out: &mut [f64], p: f64) {
        for x in out {
            *x = (self.uniform53().ln() / (-p).ln_1p()).ceil();
        }
    }

    /// `cauchy_(median, sigma)`.
    pub fn fill_cauchy(&mut self, out: &mut [f64], median: f64, sigma: f64) {
        for x in out {
            *x = median + sigma * (std::f64::consts::PI * (self.uniform53() - 0.5)).tan();
        }
    }

    /// `log_normal_(mean, std)`.
    pub fn fill_log_normal(&mut self, out: &mut [f64], mean: f64, std: f64) {
        for x in out {
            *x = (self.normal() * std + mean).exp();
        }
    }

    /// The state in PyTorch's layout: seed, left, seeded, next, 624 words of 8 bytes, three doubles
    /// of which the second is the kept normal, a flag, and the kept single-precision normal.
    pub fn get_state(&self) -> Vec<u8> {
        if let Some(p) = &self.philox {
            return self.philox_state(p);
        }
        let mut out = Vec::with_capacity(STATE_BYTES);
        out.extend(self.seed.to_le_bytes());
        out.extend(self.left.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out.extend(u64::from(self.next).to_le_bytes());
        for &word in &self.state {
            out.extend(u64::from(word).to_le_bytes());
        }
        for x in [0.0, self.normal.unwrap_or(0.0), 0.0] {
            out.extend(x.to_le_bytes());
        }
        out.extend(u64::from(self.normal.is_some()).to_le_bytes());
        out.extend(self.normal_f32.unwrap_or(0.0).to_le_bytes());
        out.extend(u32::from(self.normal_f32.is_some()).to_le_bytes());
        debug_assert_eq!(out.len(), STATE_BYTES);
        out
    }

    /// Restores a state saved by [`Self::get_state`] or by PyTorch; on an error nothing changes.
    pub fn set_state(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        if let Some(p) = self.philox {
            return self.set_philox_state(p.device, bytes);
        }
        if bytes.len() != STATE_BYTES {
            return Err(StateError::Size(bytes.len()));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let (left, seeded, next) = (u32_at(8), u32_at(12), u64_at(16));
        // `left` and `next` count the same words, except right after seeding.
        let fits = next == 0 && left == 1 || u64::from(left).checked_add(next) == Some(N as u64 + 1);
        if seeded == 0 || left == 0 || left > N as u32 || next > N as u64 || !fits {
            return Err(StateError::Invalid);
        }
        let after = 24 + 8 * N;
        self.seed = u64_at(0);
        self.left = left;
        self.next = next as u32;
        self.state = std::array::from_fn(|i| u64_at(24 + 8 * i) as u32);
        let normal = f64::from_bits(u64_at(after + 8));
        self.normal = (u32_at(after + 24) != 0).then_some(normal);
        let normal_f32 = f32::from_bits(u32_at(after + 32));
        self.normal_f32 = (bytes[after + 36] != 0).then_some(normal_f32);
        Ok(())
    }
}

/// A seed nobody can foresee, below 2^53 so that it survives a trip through a float.
pub fn os_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library keys its hasher from the operating system once per thread and counts on;
    // time, process and a counter of our own make every call differ, in a forked child too.
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    hasher.write_u128(now.map_or(0, |t| t.as_nanos()));
    hasher.write_u32(std::process::id());
    hasher.write_u64(CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    hasher.finish() & ((1 << 53) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_reference_mt19937() {
        // The sequence of the C++ standard: 5489 is its default seed, 4123659995 the 10000th word.
        let mut g = Generator::new(5489);
        assert_eq!(g.next_u32(), 3_499_211_612);
        let mut words = vec![0; 9_999];
        g.fill_u32(&mut words);
        assert_eq!(words[9_998], 4_123_659_995);
    }

    #[test]
    fn only_low_bits_of_the_seed_matter_but_all_are_kept() {
        let (mut a, mut b) = (Generator::new(7), Generator::new((1 << 40) + 7));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!(b.initial_seed(), (1 << 40) + 7);
    }

    /// Values printed by PyTorch for seed 1.
    #[test]
    fn values_are_pytorchs() {
        let mut out = [0.0_f32; 3];
        Generator::new(1).fill_uniform_f32(&mut out, 0.0, 1.0);
        assert_eq!(out, [0.757_631_6, 0.279_310_88, 0.403_069_26]);
        Generator::new(1).fill_normal_f32(&mut out, 0.0, 1.0);
        assert_eq!(out, [0.661_352_16, 0.266_924_1, 0.061_677_26]);
        let mut out = [0_i64; 3];
        Generator::new(1).fill_randint(&mut out, 0, 1 << 28);
        assert_eq!(out, [256_344_299, 247_206_984, 13_419_401]);
        Generator::new(1).fill_randint(&mut out, 0, (1 << 28) - 1);
        assert_eq!(out, [180_483_115, 256_344_314, 140_980_119]);
        assert_eq!(Generator::new(1).randperm(5), [0, 4, 2, 3, 1]);
        assert_eq!(Generator::new(1).randperm(0), [0_i64; 0]);
    }

    #[test]
    fn fills_equal_single_draws_across_twists() {
        for skip in [0, 1, 3, 622, 623, 624, 625] {
            let mut a = Generator::new(3);
            a.fill_u32(&mut vec![0; skip]);
            let mut b = a.clone();
            let mut fill = vec![0.0; 700];
            a.fill_uniform_f64(&mut fill, 0.0, 1.0);
            assert!(fill.iter().all(|&x| x == b.uniform53()));
            let mut fill = vec![0.0; 1500];
            a.fill_uniform_f32(&mut fill, 0.0, 1.0);
            assert!(fill.iter().all(|&x| x == b.uniform24()));
            let mut fill = vec![false; 701];
            a.fill_bernoulli(&mut fill, 0.3);
            assert!(fill.iter().all(|&x| x == (b.uniform53() < 0.3)));
            assert_eq!(a.get_state(), b.get_state());
        }
    }

    #[test]
    fn normals_of_a_block_follow_the_formula() {
        for n in [16, 17, 31, 40] {
            let mut uniform = vec![0.0_f32; n];
            let mut g = Generator::new(11);
            g.fill_uniform_f32(&mut uniform, 0.0, 1.0);
            let mut tail = [0.0_f32; 16];
            g.fill_uniform_f32(&mut tail, 0.0, 1.0);
            let mut got = vec![0.0_f32; n];
            Generator::new(11).fill_normal_f32(&mut got, 2.0, 3.0);
            let pair = |a: f32, b: f32| {
                let r = (-2.0 * (1.0 - f64::from(a)).ln()).sqrt();
                let t = std::f64::consts::TAU * f64::from(b);
                (2.0 + 3.0 * r * t.cos(), 2.0 + 3.0 * r * t.sin())
            };
            let mut want = vec![0.0; n];
            for at in (0..n - 15).step_by(16) {
                for j in at..at + 8 {
                    (want[j], want[j + 8]) = pair(uniform[j], uniform[j + 8]);
                }
            }
            if n % 16 != 0 {
                for j in 0..8 {
                    let at = n - 16 + j;
                    (want[at], want[at + 8]) = pair(tail[j], tail[j + 8]);
                }
            }
            for (got, want) in got.iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 3e-6, "{n}: {got} {want}");
            }
        }
    }

    #[test]
    fn logarithm_and_sines_are_accurate() {
        for i in 0..=1000 {
            let x = (i as f32 + 0.5) / 1001.0;
            assert!((f64::from(log_f32(x)) - f64::from(x).ln()).abs() < 5e-7, "log {x}");
            let t = x * std::f32::consts::TAU;
            let (s, c) = sin_cos_f32(t);
            assert!((f64::from(s) - f64::from(t).sin()).abs() < 2e-7, "sin {t}");
            assert!((f64::from(c) - f64::from(t).cos()).abs() < 2e-7, "cos {t}");
        }
        assert_eq!(log_f32(1.0), 0.0);
    }

    #[test]
    fn state_round_trip_keeps_the_spare_normal() {
        let mut a = Generator::new(99);
        a.normal();
        let bytes = a.get_state();
        assert_eq!(bytes.len(), STATE_BYTES);
        let mut b = Generator::new(1);
        b.set_state(&bytes).unwrap();
        assert_eq!(b.initial_seed(), 99);
        for _ in 0..5 {
            assert_eq!(a.normal(), b.normal());
        }
    }

    #[test]
    fn bad_states_are_refused() {
        let mut g = Generator::new(4);
        let before = g.get_state();
        assert_eq!(g.set_state(&[0; 10]), Err(StateError::Size(10)));
        assert_eq!(g.set_state(&[0; STATE_BYTES]), Err(StateError::Invalid));
        for (at, value) in [(8, 200), (16, 700_u64), (16, u64::MAX)] {
            let mut bytes = before.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            assert_eq!(g.set_state(&bytes), Err(StateError::Invalid));
        }
        assert_eq!(g.get_state(), before);
    }

    #[test]
    fn edges() {
        let mut g = Generator::new(0);
        let mut out = [0.0_f32; 100];
        g.fill_uniform_f32(&mut out, 3.0, 3.0);
        assert_eq!(out, [3.0; 100]);
        let mut mask = [true; 100];
        g.fill_bernoulli(&mut mask, 0.0);
        assert!(!mask.iter().any(|&x| x));
        g.fill_bernoulli(&mut mask, 1.0);
        assert!(mask.iter().all(|&x| x));
        let mut ints = [0_i64; 50];
        g.fill_randint(&mut ints, -3, 4);
        assert!(ints.iter().all(|&x| (-3..=0).contains(&x)));
        g.fill_normal_f32(&mut [], 0.0, 1.0);
        assert!(os_seed() != os_seed());
    }
}
