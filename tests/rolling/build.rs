//! Generates the service of `examples/minimal-tonic`, and a client for it. Needs no `protoc`.

/// The rules of this repository are for what people write.
const GENERATED: &str = r#"#[allow(
    unreachable_pub,
    unused_qualifications,
    clippy::mixed_attributes_style,
    clippy::pedantic,
    reason = "generated"
)]"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../examples/minimal-tonic/proto";
    println!("cargo::rerun-if-changed={proto}");
    let files = protox::compile(["greeter.proto"], [proto])?;
    let generated = tonic_prost_build::configure()
        .client_mod_attribute(".", GENERATED)
        .server_mod_attribute(".", GENERATED)
        .message_attribute(".", GENERATED);
    generated.compile_fds(files)?;
    Ok(())
}
