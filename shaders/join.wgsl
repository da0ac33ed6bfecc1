// Joining, padding and rearranging.
