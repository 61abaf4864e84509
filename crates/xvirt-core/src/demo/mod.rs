//! A small freestanding guest that exercises every device.
