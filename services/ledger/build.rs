//! Compiles the entries of proto/ with protox, so that no protoc need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto";
    let files = ["index.proto", "jobs.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={proto}/{file}");
    }
    prost_build::Config::new().compile_fds(protox::compile(files, [proto])?)?;
    Ok(())
}
