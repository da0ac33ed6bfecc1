// Rows of a table and their gradient.
