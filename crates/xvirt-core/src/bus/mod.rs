//! Address decoding: which device answers at a port or a memory address.
