//! Guest memory: where it lies and what backs it.
