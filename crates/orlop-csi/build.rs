//! Makes Rust of `proto/csi.proto`, without a protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/csi.proto");
    let description = protox::compile(["csi.proto"], ["proto"])?;
    // What carries secrets can't be printed, so that no log statement ever does.
    let messages = description.file.iter().flat_map(|file| &file.message_type);
    let secretive = messages.filter(|message| message.field.iter().any(|field| field.name() == "secrets"));
    let unprintable: Vec<String> = secretive.map(|message| format!("csi.v1.{}", message.name())).collect();
    let builder = tonic_prost_build::configure();
    let builder = builder.build_transport(false).btree_map(".").skip_debug(unprintable);
    builder.compile_fds(description)?;
    Ok(())
}
