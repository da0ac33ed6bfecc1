//! The private thread pool.
//!
//! The pool is keyed by the process id: a forked child inherits the memory of its parent's pool but
//! none of its threads, so it builds a pool of its own on first use. No lock is taken on the way to
//! a pool, because a lock held by another thread at the time of a fork would stay held in the child.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Upper bound on the number of pieces `parallel_for` cuts a range into.
const MAX_PIECES: usize = 256;

struct Entry {
    pid: u32,
    /// Worker threads; the caller works too, so this serves `workers + 1` threads.
    workers: usize,
    pool: rayon::ThreadPool,
}

/// The newest pool. Entries are never freed: another thread may still be inside one, and a new one
/// is made only in a forked child or when the thread count grows.
static POOL: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// True while this thread runs a piece of a parallel region; regions inside it run serially.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn default_threads() -> usize {
    let wanted = std::env::var("RUSTGRAD_NUM_THREADS").ok().and_then(|text| text.trim().parse::<usize>().ok()).filter(|&n| n > 0);
    wanted.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1).min(1024)
}

/// The number of threads a parallel region may use, the caller included.
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let n = default_threads();
            // Another thread may have stored a value meanwhile: that one counts.
            match THREADS.compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => n,
                Err(other) => other,
            }
        }
        n => n,
    }
}

/// Sets the number of threads, the caller included; 0 counts as 1.
pub fn set_num_threads(n: usize) {
    THREADS.store(n.clamp(1, 1024), Ordering::Relaxed);
}

/// A pool of at least `workers` threads belonging to this process, or None if none can be started.
fn pool(workers: usize) -> Option<&'static rayon::ThreadPool> {
    let pid = std::process::id();
    loop {
        let seen = POOL.load(Ordering::Acquire);
        // SAFETY: a non-null entry was leaked from a Box and is never freed.
        if let Some(entry) = unsafe { seen.as_ref() }
            && entry.pid == pid
            && entry.workers >= workers
        {
            return Some(&entry.pool);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).thread_name(|i| format!("rustgrad-{i}")).build().ok()?;
        let new = Box::into_raw(Box::new(Entry { pid, workers, pool }));
        if POOL.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: `new` came from `Box::into_raw` above and was never published.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

/// Restores the `INSIDE` flag, also when a piece panics.
struct Inside(bool);

impl Inside {
    fn enter() -> Self {
        Inside(INSIDE.replace(true))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Whether the calling thread is inside a parallel region already.
pub fn in_parallel() -> bool {
    INSIDE.get()
}

/// Runs `f(i)` once for every `i` in `0..pieces`, in no particular order, on up to `num_threads()`
/// threads, and returns when all are done. A panic in `f` reaches the caller.
pub fn parallel_pieces(pieces: usize, f: impl Fn(usize) + Sync) {
    let threads = num_threads().min(pieces);
    let pool = if threads > 1 && !in_parallel() { pool(threads - 1) } else { None };
    let Some(pool) = pool else {
        (0..pieces).for_each(f);
        return;
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let _inside = Inside::enter();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= pieces {
                break;
            }
            f(i);
        }
    };
    pool.in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
    });
}

/// Calls `f` on consecutive ranges that cover `0..n`.
///
/// Ranges start at multiples of `grain`, and the split depends on `n` and `grain` alone, so even a
/// kernel whose rounding depends on the split gives the same bits for any number of threads. One
/// range (`n <= grain`) or one thread runs on the caller.
pub fn parallel_for(n: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
    if n == 0 {
        return;
    }
    let grain = grain.max(1);
    if n <= grain {
        f(0..n);
        return;
    }
    let piece = grain * n.div_ceil(grain).div_ceil(MAX_PIECES);
    parallel_pieces(n.div_ceil(piece), |i| {
        f(i * piece..((i + 1) * piece).min(n));
    });
}

/// A raw pointer that may cross threads. The user promises that the pieces of a parallel region
/// write disjoint elements through it.
pub struct SendPtr<T>(pub *mut T);

impl<T> Clone for SendPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendPtr<T> {}
// SAFETY: a pointer is only a number; whoever dereferences it keeps accesses disjoint (see above).
unsafe impl<T> Send for SendPtr<T> {}
// SAFETY: as for Send.
unsafe impl<T> Sync for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// The pointer itself. Taking it through a method makes closures capture the whole wrapper.
    #[inline]
    pub fn get(self) -> *mut T {
        self.0
    }

    /// The elements `start..start + len` as a slice.
    ///
    /// # Safety
    /// The range lies inside the allocation and nobody else accesses it while the slice lives.
    #[inline]
    pub unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn ranges(n: usize, grain: usize) -> Vec<Range<usize>> {
        let seen = Mutex::new(Vec::new());
        parallel_for(n, grain, |r| seen.lock().unwrap().push(r));
        let mut seen = seen.into_inner().unwrap();
        seen.sort_by_key(|r| r.start);
        seen
    }

    #[test]
    fn ranges_cover_everything_once() {
        for (n, grain) in [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 1), (100_000, 7), (3, 0)] {
            let mut at = 0;
            for r in ranges(n, grain) {
                assert_eq!(r.start, at);
                assert!(r.end > r.start);
                assert_eq!(r.start % grain.max(1), 0);
                at = r.end;
            }
            assert_eq!(at, n);
        }
    }

    #[test]
    fn split_does_not_depend_on_threads() {
        let before = num_threads();
        set_num_threads(1);
        let one = ranges(12_345, 10);
        set_num_threads(3);
        assert_eq!(num_threads(), 3);
        assert_eq!(ranges(12_345, 10), one);
        set_num_threads(before);
    }

    #[test]
    fn nested_regions_run_serially_and_finish() {
        let sum = AtomicUsize::new(0);
        parallel_for(64, 1, |outer| {
            for _ in outer {
                parallel_for(100, 1, |r| {
                    sum.fetch_add(r.len(), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(sum.into_inner(), 6400);
        assert!(!in_parallel());
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let result = std::panic::catch_unwind(|| {
            parallel_for(100, 1, |r| assert!(r.start != 50, "piece fifty"));
        });
        assert!(result.is_err());
        assert!(!in_parallel());
        assert_eq!(ranges(10, 1).len(), 10);
    }
}
