//! Sampling of images at given points, two- and three-dimensional.
//!
//! Along each dimension a coordinate becomes up to four taps, each an element (or none, outside) and
//! its weight; a sample is the sum over the product of the dimensions' taps.

use super::super::threads::{SendPtr, parallel_for};
use super::{Real, cubic_far, cubic_near};

/// How a sample is made from its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridMode {
    Linear,
    Nearest,
    /// Two-dimensional only in PyTorch.
    Cubic,
}

/// What lies outside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridPadding {
    Zeros,
    Border,
    Reflection,
}

/// The sizes and options of a sampling. The input is `[batch, channels, D, H, W]`, the grid
/// `[batch, points, dims]` with x first; `dims` is 2 (D is one) or 3.
#[derive(Clone, Copy, Debug)]
pub struct GridShape {
    pub batch: usize,
    pub channels: usize,
    pub input: [usize; 3],
    pub points: usize,
    pub dims: usize,
    pub mode: GridMode,
    pub padding: GridPadding,
    pub align_corners: bool,
}

/// The taps of one coordinate.
#[derive(Clone, Copy)]
struct Taps<T> {
    count: usize,
    /// `usize::MAX` is outside.
    index: [usize; 4],
    weight: [T; 4],
    /// Derivatives of the weights by the coordinate as given.
    slope: [T; 4],
}

const OUTSIDE: usize = usize::MAX;

/// Mirrors a coordinate at `low` and `low + span` until it is between; also the sign of the slope.
fn reflect<T: Real>(x: T, low: T, span: T) -> (T, T) {
    if span <= T::zero() {
        return (T::zero(), T::zero());
    }
    let sign = if x < low { T::one().neg() } else { T::one() };
    let x = (x - low).abs();
    let extra = x % span;
    let flips = (x / span).floor();
    if (flips % T::of(2.0)) == T::zero() { (extra + low, sign) } else { (span - extra + low, sign.neg()) }
}

/// Moves a coordinate inside as the padding says; also the slope of the move. NaN moves to zero.
fn bring_inside<T: Real>(x: T, size: usize, padding: GridPadding, corners: bool) -> (T, T) {
    let (x, slope) = match padding {
        GridPadding::Zeros => return (x, T::one()),
        GridPadding::Border => (x, T::one()),
        GridPadding::Reflection if corners => reflect(x, T::zero(), T::of(size as f64 - 1.0)),
        GridPadding::Reflection => reflect(x, T::of(-0.5), T::of(size as f64)),
    };
    let last = T::of(size as f64 - 1.0);
    // The borders themselves have no slope.
    let moved = !(x > T::zero() && x < last);
    let inside = if x > T::zero() { x.min(last) } else { T::zero() };
    (inside, if moved { T::zero() } else { slope })
}

fn index<T: Real>(x: T, size: usize) -> usize {
    match x.to_i64() {
        Some(i) if i >= 0 && (i as u64) < size as u64 => i as usize,
        _ => OUTSIDE,
    }
}

impl<T: Real> Taps<T> {
    /// The only tap of a dimension that is not there.
    fn single() -> Taps<T> {
        Taps { count: 1, index: [0; 4], weight: [T::one(); 4], slope: [T::zero(); 4] }
    }

    fn new(s: &GridShape, size: usize, coordinate: T) -> Taps<T> {
        let (one, half) = (T::one(), T::of(0.5));
        let length = T::of(size as f64);
        let (x, scale) = if s.align_corners {
            let scale = (length - one) * half;
            ((coordinate + one) * half * (length - one), scale)
        } else {
            (((coordinate + one) * length - one) * half, length * half)
        };
        let mut taps = Taps::single();
        match s.mode {
            GridMode::Nearest => {
                let (x, _) = bring_inside(x, size, s.padding, s.align_corners);
                taps.index[0] = index(round_even(x), size);
            }
            GridMode::Linear => {
                let (x, slope) = bring_inside(x, size, s.padding, s.align_corners);
                let low = x.floor();
                taps.count = 2;
                taps.index = [index(low, size), index(low + one, size), OUTSIDE, OUTSIDE];
                taps.weight[0] = low + one - x;
                taps.weight[1] = x - low;
                let slope = slope * scale;
                taps.slope[0] = slope.neg();
                taps.slope[1] = slope;
            }
            GridMode::Cubic => {
                let a = T::of(-0.75);
                let low = x.floor();
                let t = x - low;
                taps.count = 4;
                let (two, three) = (T::of(2.0), T::of(3.0));
                taps.weight = [cubic_far(t + one, a), cubic_near(t, a), cubic_near(one - t, a), cubic_far(two - t, a)];
                // Derivatives of the two pieces of the kernel.
                let near = |x: T| (three * (a + two) * x - two * (a + three)) * x;
                let far = |x: T| (three * a * x - T::of(10.0) * a) * x + T::of(8.0) * a;
                taps.slope = [far(t + one) * scale, near(t) * scale, (near(one - t) * scale).neg(), (far(two - t) * scale).neg()];
                for i in 0..4 {
                    let at = low + T::of(i as f64 - 1.0);
                    let (at, _) = bring_inside(at, size, s.padding, s.align_corners);
                    taps.index[i] = index(at, size);
                }
            }
        }
        taps
    }

    /// Whether the sample is not a number whatever the image holds.
    fn poisoned(&self) -> bool {
        self.weight[..self.count].iter().any(|w| w.is_nan())
    }
}

/// Rounds halves to the even neighbour.
fn round_even<T: Real>(x: T) -> T {
    let low = x.floor();
    let part = x - low;
    let half = T::of(0.5);
    let odd = low % T::of(2.0) != T::zero();
    if part > half || (part == half && odd) { low + T::one() } else { low }
}

impl GridShape {
    fn plane(&self) -> usize {
        self.input.iter().product()
    }

    fn check<T>(&self, x: &[T], grid: &[T], y: &[T]) {
        assert!(self.dims == 2 || self.dims == 3, "grid_sample dimensions");
        assert!(self.dims == 3 || self.input[0] == 1, "grid_sample depth");
        assert_eq!(x.len(), self.batch * self.channels * self.plane(), "grid_sample input");
        assert_eq!(grid.len(), self.batch * self.points * self.dims, "grid_sample grid");
        assert_eq!(y.len(), self.batch * self.channels * self.points, "grid_sample output");
    }

    /// The taps along depth, height and width of a point.
    fn taps<T: Real>(&self, grid: &[T], image: usize, point: usize) -> [Taps<T>; 3] {
        let at = &grid[(image * self.points + point) * self.dims..][..self.dims];
        std::array::from_fn(|d| if 2 - d < self.dims { Taps::new(self, self.input[d], at[2 - d]) } else { Taps::single() })
    }

    /// Calls `f(element of a plane, the three tap numbers)` for the taps inside the image.
    #[inline(always)]
    fn each<T: Real>(&self, taps: &[Taps<T>; 3], mut f: impl FnMut(usize, [usize; 3])) {
        let [tz, ty, tx] = taps;
        for z in 0..tz.count {
            for y in 0..ty.count {
                if tz.index[z] == OUTSIDE || ty.index[y] == OUTSIDE {
                    continue;
                }
                let row = (tz.index[z] * self.input[1] + ty.index[y]) * self.input[2];
                for x in 0..tx.count {
                    if tx.index[x] != OUTSIDE {
                        f(row + tx.index[x], [z, y, x]);
                    }
                }
            }
        }
    }

    fn grain(&self) -> usize {
        (1 << 10) / (self.channels + 4)
    }
}

/// The samples, `[batch, channels, points]`.
pub fn grid_sample<T: Real>(s: &GridShape, x: &[T], grid: &[T], y: &mut [T]) {
    s.check(x, grid, y);
    let plane = s.plane();
    let y = SendPtr(y.as_mut_ptr());
    parallel_for(s.batch * s.points, s.grain(), |range| {
        let mut list: Vec<(usize, T)> = Vec::with_capacity(64);
        for p in range {
            let (image, point) = (p / s.points, p % s.points);
            let taps = s.taps(grid, image, point);
            let poisoned = taps.iter().any(Taps::poisoned);
            list.clear();
            s.each(&taps, |at, [i, j, k]| {
                list.push((at, taps[0].weight[i] * taps[1].weight[j] * taps[2].weight[k]));
            });
            for c in 0..s.channels {
                let x = &x[(image * s.channels + c) * plane..][..plane];
                let mut sum = T::zero();
                for &(at, w) in &list {
                    sum += x[at] * w;
                }
                let value = if poisoned { T::nan() } else { sum };
                // SAFETY: each sample is written by one piece.
                unsafe { *y.get().add((image * s.channels + c) * s.points + point) = value };
            }
        }
    });
}

/// The gradients of [`grid_sample`] by the image and by the grid; either may be left out.
pub fn grid_sample_backward<T: Real>(
    s: &GridShape,
    gy: &[T],
    x: &[T],
    grid: &[T],
    gx: Option<&mut [T]>,
    ggrid: Option<&mut [T]>,
) {
    s.check(x, grid, gy);
    let plane = s.plane();
    if let Some(gx) = gx {
        assert_eq!(gx.len(), x.len(), "grid_sample gradient");
        // A few channels share the work on the points; a plane is summed by one piece, in order.
        let group = 8;
        let groups = s.channels.div_ceil(group);
        let gx = SendPtr(gx.as_mut_ptr());
        parallel_for(s.batch * groups, 1, |range| {
            for piece in range {
                let (image, first) = (piece / groups, piece % groups * group);
                let count = group.min(s.channels - first);
                let start = image * s.channels + first;
                // SAFETY: these planes belong to this piece.
                let gx = unsafe { gx.slice(start * plane, count * plane) };
                gx.fill(T::zero());
                for point in 0..s.points {
                    let taps = s.taps(grid, image, point);
                    s.each(&taps, |at, [i, j, k]| {
                        let w = taps[0].weight[i] * taps[1].weight[j] * taps[2].weight[k];
                        for c in 0..count {
                            gx[c * plane + at] += gy[(start + c) * s.points + point] * w;
                        }
                    });
                }
            }
        });
    }
    if let Some(ggrid) = ggrid {
        assert_eq!(ggrid.len(), grid.len(), "grid_sample gradient");
        let out = SendPtr(ggrid.as_mut_ptr());
        parallel_for(s.batch * s.points, s.grain(), |range| {
            for p in range {
                let (image, point) = (p / s.points, p % s.points);
                let taps = s.taps(grid, image, point);
                let mut sums = [T::zero(); 3];
                s.each(&taps, |at, [i, j, k]| {
                    let mut dot = T::zero();
                    for c in 0..s.channels {
                        let plane_at = image * s.channels + c;
                        dot += gy[plane_at * s.points + point] * x[plane_at * plane + at];
                    }
                    let [z, y, x] = &taps;
                    sums[0] += z.slope[i] * y.weight[j] * x.weight[k] * dot;
                    sums[1] += z.weight[i] * y.slope[j] * x.weight[k] * dot;
                    sums[2] += z.weight[i] * y.weight[j] * x.slope[k] * dot;
                });
                for d in 0..s.dims {
                    // SAFETY: each point is written by one piece.
                    unsafe { *out.get().add(p * s.dims + d) = sums[2 - d] };
                }
            }
        });
    }
}
