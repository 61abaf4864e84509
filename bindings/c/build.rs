//! Names the shared library: programs that were linked with one of this name run with each later one of it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libxvirt.so.0");
}
