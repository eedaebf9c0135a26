//! Compiles proto/journal.proto with protox, so that no protoc need be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto";
    println!("cargo::rerun-if-changed={proto}/journal.proto");
    let files = protox::compile(["journal.proto"], [proto])?;
    // Entries are slices of the object that was read, not copies.
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
