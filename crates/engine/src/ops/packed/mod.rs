//! Weight matrices packed once for the CPU's kernels, one resident copy serving one row or many.
//! The decoder's `Linear` calls it.
//! Invariant: a row's result depends on that row and the weights alone.
