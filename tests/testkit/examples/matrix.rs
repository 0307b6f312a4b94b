//! Prints the matrix of all reports in a directory, cases by adapters:
//! `cargo run -p tus-testkit --features conformance --example matrix -- DIRECTORY`.
//!
//! It ends with status 1 if a case failed, or if there are no reports.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use tus_testkit::conformance::Matrix;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let directory = env::args_os().nth(1).map(PathBuf::from);
    let matrix = Matrix::read(&directory.ok_or("which directory?")?)?;
    print!("{matrix}");
    Ok(if matrix.is_green() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
