// SPDX-License-Identifier: GPL-2.0
//! Compresses a text in several threads, and finds words in what comes of that.

use std::thread;

const THREADS: usize = 4;
const WORD: &[u8] = b"futex";

fn text(seed: usize) -> Vec<u8> {
    let words = ["wait ", "wake ", "futex ", "requeue ", "word "];
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) % (1 << 31);
        words[(state >> 16) % words.len()]
    };
    (0..2000).flat_map(|_| next().bytes()).collect()
}

fn main() {
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            thread::spawn(move || {
                let text = text(seed);
                let small = miniz_oxide::deflate::compress_to_vec(&text, 6);
                let again = miniz_oxide::inflate::decompress_to_vec(&small).expect("a text");
                assert!(again == text && small.len() < text.len());
                memchr::memmem::find_iter(&again, WORD).count()
            })
        })
        .collect();
    let found: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("a thread"))
        .collect();
    println!("{found:?}");
}
