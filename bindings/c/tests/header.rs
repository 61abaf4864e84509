//! Whether `include/xvirt.h` is the header of this library.
//!
//! With `XVIRT_WRITE_HEADER=1`, which `scripts/bindings` sets, it is written instead.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = folder.join("include/xvirt.h");
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(folder).with_config(config).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    if std::env::var_os("XVIRT_WRITE_HEADER").is_some() {
        std::fs::write(&header, &text).unwrap();
    }
    let committed = std::fs::read(&header).unwrap_or_default();
    assert!(committed == text, "include/xvirt.h is not that of the library: run scripts/bindings");
}
