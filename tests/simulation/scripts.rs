//! The body of the fuzz target `connection`, on noise and on the stored corpus.

use std::fs;
use std::path::Path;

use crate::random::{Random, for_seeds};
use crate::script::play;

#[test]
fn noise_is_a_script_that_holds() {
    for_seeds(300, |seed| {
        let mut random = Random::new(seed);
        let length = random.below(1_500);
        play(&(0..length).map(|_| random.next() as u8).collect::<Vec<_>>());
    });
}

#[test]
fn the_stored_scripts_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/connection");
    let mut files: Vec<_> =
        fs::read_dir(corpus).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    for file in files {
        println!("{}", file.display());
        play(&fs::read(file).expect("a readable file"));
    }
}
