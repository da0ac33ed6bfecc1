//! Sorting, selection and search.
