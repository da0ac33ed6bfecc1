//! Order: sort, topk, unique, searchsorted, histograms, median, quantile.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
