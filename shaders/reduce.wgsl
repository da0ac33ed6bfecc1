// Reductions: sums, products, extremes and where they are, moments.
