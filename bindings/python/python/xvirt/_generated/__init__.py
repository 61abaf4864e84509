"""Classes that follow from the Rust API."""
