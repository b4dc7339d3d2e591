//! Gives this package's own binaries (examples, tests, benches) a run path to the libpython that they
//! were linked with, and the crate that Python's version and its folder. Without the first the loader may
//! silently take another one of the same minor version; the second is how that is noticed.
//!
//! Cargo hands no link argument of a library on. A program that depends on the crate gets the folder of libpython in
//! its own build script, as `DEP_OXICORN_LIBPYTHON_DIR` (the `links` key of the Cargo book).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "wsgi")]
    python();
}

#[cfg(feature = "wsgi")]
fn python() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
    // The configuration knows the version only as far as its minor part.
    let config = pyo3_build_config::get();
    let says = |expression: &str| {
        let text = config.run_python_script(&format!(
            "import platform, sysconfig; print({expression}, end='')"
        ));
        text.ok()
    };
    let version = says("platform.python_version()").unwrap_or_else(|| config.version().to_string());
    let library = says("sysconfig.get_path('stdlib')").unwrap_or_default();
    let folder = match config.lib_dir() {
        Some(folder) => folder.to_owned(),
        None => says("sysconfig.get_config_var('LIBDIR')").unwrap_or_default(),
    };
    println!("cargo::metadata=LIBPYTHON_DIR={folder}");
    println!("cargo:rustc-env=OXICORN_PYTHON={version}");
    println!("cargo:rustc-env=OXICORN_PYTHON_LIBRARY={library}");
}
