//! Finding what to boot: the kernel, initrd and command line that the owner of a disk would have booted.
