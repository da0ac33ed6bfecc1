//! The private thread pool.
//!
//! The pool is keyed by the process id: a forked child inherits the memory of its parent's pool but
//! none of its threads, so it builds a pool of its own on first use. No lock is taken on the way to
//! a pool, because a lock held by another thread at the time of a fork would stay held in the child.
//!
//! A parallel region lasts microseconds, and waking a thread takes as long. So workers that have
//! finished look out for the next region for [`LINGER`] before they sleep, and the caller never waits for a
//! worker that has not begun: it does the pieces itself.

use parking_lot::Mutex;
use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Upper bound on the number of pieces `parallel_for` cuts a range into.
const MAX_PIECES: usize = 256;
/// How long a worker looks out for the next region.
const LINGER: Duration = Duration::from_micros(100);
/// How often a long region asks whether it should stop.
const ASK_EVERY: Duration = Duration::from_millis(50);

struct Entry {
    pid: u32,
    /// Worker threads; the caller works too, so this serves `workers + 1` threads.
    workers: usize,
    pool: rayon::ThreadPool,
    desk: Desk,
}

/// Where regions are announced to the workers.
#[derive(Default)]
struct Desk {
    /// The region that workers may join.
    region: Mutex<Option<Announced>>,
    /// Changes with every announcement.
    count: AtomicUsize,
    /// Workers that are looking out.
    awake: AtomicUsize,
}

/// A region on its caller's stack, which outlives it as long as workers are counted in `inside`.
#[derive(Clone, Copy)]
struct Announced(*const Region<'static>);
// SAFETY: a region is shared by design: atomics and a `Sync` function.
unsafe impl Send for Announced {}

struct Region<'a> {
    pieces: usize,
    /// The next piece to be taken.
    next: AtomicUsize,
    /// Workers that have joined and not left.
    inside: AtomicUsize,
    /// No more than this many may join.
    places: AtomicUsize,
    f: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
}

/// The newest pool. Entries are never freed: another thread may still be inside one, and a new one
/// is made only in a forked child or when the thread count grows.
static POOL: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Asked by callers of long regions; unwinds to stop one.
static ASK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// True while this thread runs a piece of a parallel region; regions inside it run serially.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Sets the function that the caller of a long region calls now and then, on its own thread. It may unwind
/// (`std::panic::resume_unwind`), for example because the user wants the work to stop; the caller's call then ends so.
pub fn set_ask(f: fn()) {
    ASK.store(f as *mut (), Ordering::Release);
}

/// Calls what [`set_ask`] was given.
fn ask() {
    let p = ASK.load(Ordering::Acquire);
    if !p.is_null() {
        // SAFETY: only `set_ask` stores here, and it stores a `fn()`.
        let f: fn() = unsafe { std::mem::transmute::<*mut (), fn()>(p) };
        f();
    }
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
fn pool(workers: usize) -> Option<&'static Entry> {
    let pid = std::process::id();
    loop {
        let seen = POOL.load(Ordering::Acquire);
        // SAFETY: a non-null entry was leaked from a Box and is never freed.
        if let Some(entry) = unsafe { seen.as_ref() }
            && entry.pid == pid
            && entry.workers >= workers
        {
            return Some(entry);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).thread_name(|i| format!("rustgrad-{i}")).build().ok()?;
        let new = Box::into_raw(Box::new(Entry { pid, workers, pool, desk: Desk::default() }));
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

impl Region<'_> {
    /// Takes pieces until none are left. The caller of the region asks now and then whether it should stop.
    fn work(&self, caller: bool) {
        let _inside = Inside::enter();
        let mut asked = None;
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.pieces || self.stop.load(Ordering::Relaxed) {
                return;
            }
            (self.f)(i);
            if caller {
                let now = Instant::now();
                if now - *asked.get_or_insert(now) > ASK_EVERY {
                    ask();
                    asked = Some(now);
                }
            }
        }
    }

    /// [`Region::work`]; a panic stops the region and is kept for its caller.
    fn guarded(&self, caller: bool) {
        if let Err(p) = catch_unwind(AssertUnwindSafe(|| self.work(caller))) {
            self.stop.store(true, Ordering::Relaxed);
            *self.panic.lock() = Some(p);
        }
    }
}

impl Desk {
    /// Joins the announced region, if there is one with a place left.
    fn join(&self) -> Option<Announced> {
        let slot = self.region.lock();
        let r = (*slot)?;
        // SAFETY: while it is announced the region is alive; `inside` is raised under the same lock.
        let region = unsafe { &*r.0 };
        if region.places.load(Ordering::Relaxed) == 0 {
            return None;
        }
        region.places.fetch_sub(1, Ordering::Relaxed);
        region.inside.fetch_add(1, Ordering::Relaxed);
        Some(r)
    }

    /// A worker's turn: regions as they come, until none has come for a while.
    fn serve(&self) {
        let mut seen = 0;
        let mut idle = Instant::now();
        loop {
            let count = self.count.load(Ordering::Acquire);
            if count != seen {
                seen = count;
                if let Some(r) = self.join() {
                    // SAFETY: joined, so the region waits for us.
                    let region = unsafe { &*r.0 };
                    region.guarded(false);
                    region.inside.fetch_sub(1, Ordering::Release);
                }
                idle = Instant::now();
            }
            for _ in 0..32 {
                std::hint::spin_loop();
            }
            if idle.elapsed() > LINGER {
                self.awake.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

/// Runs `f(i)` once for every `i` in `0..pieces`, in no particular order, on up to `num_threads()`
/// threads, and returns when all are done. A panic in `f` reaches the caller.
pub fn parallel_pieces(pieces: usize, f: impl Fn(usize) + Sync) {
    let threads = num_threads().min(pieces);
    let entry = if threads > 1 && !in_parallel() { pool(threads - 1) } else { None };
    let region = Region {
        pieces,
        next: AtomicUsize::new(0),
        inside: AtomicUsize::new(0),
        places: AtomicUsize::new(threads - usize::from(threads > 0)),
        f: &f,
        panic: Mutex::new(None),
        stop: AtomicBool::new(false),
    };
    let Some(entry) = entry else {
        return if in_parallel() { (0..pieces).for_each(f) } else { region.work(true) };
    };
    let desk = &entry.desk;
    // SAFETY: only the lifetime is changed; the region is taken back below before it ends.
    let announced = Announced(unsafe { std::mem::transmute::<*const Region<'_>, *const Region<'static>>(&region) });
    {
        let mut slot = desk.region.lock();
        if slot.is_some() {
            // Another thread's region is running: this one stays on its caller.
            drop(slot);
            return region.work(true);
        }
        *slot = Some(announced);
    }
    desk.count.fetch_add(1, Ordering::SeqCst);
    for _ in desk.awake.load(Ordering::SeqCst)..threads - 1 {
        desk.awake.fetch_add(1, Ordering::SeqCst);
        entry.pool.spawn(|| desk.serve());
    }
    region.guarded(true);
    // Nobody joins from here on; those who have are waited for.
    *desk.region.lock() = None;
    let mut turns = 0;
    while region.inside.load(Ordering::Acquire) != 0 {
        std::hint::spin_loop();
        turns += 1;
        if turns % 4096 == 0 {
            std::thread::yield_now();
        }
    }
    if let Some(p) = region.panic.into_inner() {
        resume_unwind(p);
    }
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
