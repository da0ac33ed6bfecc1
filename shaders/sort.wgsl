// Sorting, selection and search.
