// The primitives of formulas on float64, where the adapter has it: arithmetic, comparison and rounding. WGSL has no
// transcendental functions of float64; formulas that need one are refused.

// NaN is the only number that does not equal itself; `!=` would answer false for it.
fn rg_isnan(x: f64) -> bool { return !(x == x); }
fn rg_is_nan(x: f64) -> f64 { return select(0.0lf, 1.0lf, rg_isnan(x)); }
fn rg_is_inf(x: f64) -> f64 { return select(0.0lf, 1.0lf, abs(x) > 1.7976931348623157e308lf); }
fn rg_neg(x: f64) -> f64 { return -x; }
fn rg_abs(x: f64) -> f64 { return abs(x); }
fn rg_floor(x: f64) -> f64 { return select(floor(x), x, abs(x) >= 4503599627370496.0lf); }
fn rg_ceil(x: f64) -> f64 { return select(ceil(x), x, abs(x) >= 4503599627370496.0lf); }
fn rg_round(x: f64) -> f64 { return select(round(x), x, abs(x) >= 4503599627370496.0lf); }
fn rg_trunc(x: f64) -> f64 { return select(trunc(x), x, abs(x) >= 4503599627370496.0lf); }
fn rg_sqrt(x: f64) -> f64 { return sqrt(x); }
fn rg_max(x: f64, y: f64) -> f64 { return select(select(y, x, x > y || rg_isnan(x)), y, rg_isnan(y)); }
fn rg_min(x: f64, y: f64) -> f64 { return select(select(y, x, x < y || rg_isnan(x)), y, rg_isnan(y)); }
fn rg_fmax(x: f64, y: f64) -> f64 { return select(select(y, x, x > y || rg_isnan(y)), y, rg_isnan(x)); }
fn rg_fmin(x: f64, y: f64) -> f64 { return select(select(y, x, x < y || rg_isnan(y)), y, rg_isnan(x)); }
fn rg_relu(x: f64) -> f64 { return select(x, 0.0lf, x < 0.0lf); }
fn rg_trunc_div(x: f64, y: f64) -> f64 { return rg_trunc(x / y); }
fn rg_heaviside(x: f64, y: f64) -> f64 { return select(select(0.0lf, 1.0lf, x > 0.0lf), y, x == 0.0lf); }
