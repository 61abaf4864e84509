//! PCI configuration space, base address registers and MSI-X.
