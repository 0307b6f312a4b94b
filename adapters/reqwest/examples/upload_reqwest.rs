//! Uploads a file:
//! `cargo run -p tus-reqwest --example upload_reqwest -- https://example.org/files/ a.bin`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use tus_reqwest::Client;
use tus_reqwest::driver::FileSource;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match upload().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn upload() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(endpoint), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: upload ENDPOINT FILE".into());
    };
    let name = Path::new(&file).file_name().unwrap_or_default();
    let done = Client::new()
        .upload(endpoint)
        .metadata("filename", name.to_string_lossy().as_bytes())
        .on_event(|event| eprintln!("{event:?}"))
        .send(FileSource::open(&file)?)
        .await?;
    println!("{}", done.url.expose());
    Ok(())
}
