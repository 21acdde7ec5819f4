use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=openbank.binpb");
    let contract = prost_types::FileDescriptorSet::decode(&*std::fs::read("openbank.binpb")?)?;
    tonic_prost_build::configure().build_server(false).include_file("openbank.rs").compile_fds(contract)?;
    Ok(())
}
