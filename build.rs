//! Gives this package's own binaries (examples, tests, benches) a run path to the libpython that they
//! were linked with. Without it the loader may silently take another one of the same minor version.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "wsgi")]
    pyo3_build_config::add_libpython_rpath_link_args();
}
