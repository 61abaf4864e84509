//! Starts that fail: the message, its remedy, and that nothing is left behind.
