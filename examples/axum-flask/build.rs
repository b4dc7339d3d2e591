//! Gives the program a run path to the libpython that it is linked with.

fn main() {
    if let Ok(folder) = std::env::var("DEP_OXICORN_LIBPYTHON_DIR") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
