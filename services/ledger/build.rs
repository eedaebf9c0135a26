//! Compiles proto/index.proto with protox, so that no protoc need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto";
    println!("cargo::rerun-if-changed={proto}/index.proto");
    let files = protox::compile(["index.proto"], [proto])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
