//! Compiles proto/waybill.proto with protox, so that no protoc need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto";
    println!("cargo::rerun-if-changed={proto}/waybill.proto");
    let files = protox::compile(["waybill.proto"], [proto])?;
    prost_build::Config::new().btree_map(["."]).compile_fds(files)?;
    Ok(())
}
