// SPDX-License-Identifier: GPL-2.0
//! What a command has printed, beside what a document says that it prints.

/// What is compared of `text`: its words. Numbers and times differ from run to run, and so does how
/// wide they are, so that all of them are the same here.
pub fn alike(text: &str) -> Vec<String> {
    let word = |word: &str| {
        let mut word = word.to_owned();
        while let Some(at) = word.find(|c: char| c.is_ascii_digit()) {
            let end = word[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '.');
            word.replace_range(at..end.map_or(word.len(), |end| at + end), "#");
        }
        word
    };
    text.split_whitespace().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_alike() {
        assert_eq!(alike("process 12 at 0x7f00"), alike("process  7\nat 0x5"));
        assert_ne!(alike("process 12"), alike("thread 12"));
    }
}
