// SPDX-License-Identifier: GPL-2.0
//! Every command that the help, the man pages and the README show is run as it stands there.

use super::script;
use crate::ctl::terminal::Terminal;
use rfutex_trial::printed::alike;
use std::collections::BTreeSet;
use std::fs;

trials![help, man_pages, readme, mentions];

const README: &str = include_str!("../../../README.md");

/// The commands, as the help lists them.
#[track_caller]
fn commands() -> Vec<String> {
    let help = super::run(&["--help"]).well();
    let (_, list) = help
        .split_once("\nCommands:\n")
        .expect("a list of commands");
    let (list, _) = list.split_once("\n\n").expect("the end of the list");
    // What goes on in the next line stands further to the right.
    let lines = list.lines().filter_map(|line| line.strip_prefix("  "));
    let names = lines.filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split(' ').next());
    let names: Vec<_> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 5, "{help}");
    names
}

/// A script of some lines, and the exit status of its last one.
#[derive(Debug, Default)]
struct Example {
    lines: Vec<String>,
    status: i32,
}

/// The examples in `text`. One ends where its exit status is given, or with the text.
fn examples(text: &str) -> Vec<Example> {
    let mut all = vec![Example::default()];
    for line in text.lines().map(str::trim) {
        let last = all.last_mut().expect("one at least");
        if let Some(line) = line.strip_prefix("$ ") {
            last.lines.push(line.to_owned());
        } else if let Some(status) = line.strip_prefix("[exit status ") {
            last.status = status.trim_end_matches(']').parse().expect("a number");
            all.push(Example::default());
        }
    }
    all.retain(|example| !example.lines.is_empty());
    all
}

/// What waits until one more waits than before, after a line that starts a waiter.
const QUEUED: &str = "
waiting() { rfutexctl list | tail -n +2 | wc -l; }
queued() { until [ $(waiting) -gt $1 ]; do sleep 0.05; done; }
";

/// The example as a script that prints what its lines print, each after a mark.
fn as_script(example: &Example) -> String {
    let mut text = QUEUED.to_owned();
    let (last, before) = example.lines.split_last().expect("a line");
    for line in before {
        let starts_waiter = line.ends_with('&') && line.contains("rfutexctl wait");
        if starts_waiter {
            text += "before=$(waiting)\n";
        }
        text += &format!("echo '$'\n{line}\n");
        if starts_waiter {
            text += "queued $before\n";
        } else if !line.ends_with('&') {
            text += "status=$?; [ $status = 0 ] || exit $((100 + status))\n";
        }
    }
    let end = "status=$?; kill $(jobs -p) 2>/dev/null; wait; exit $status\n";
    text + "echo '$'\n" + last + "\n" + end
}

/// Runs it. Returns what each line printed.
#[track_caller]
fn play(example: &Example) -> Vec<String> {
    let said = script(&as_script(example));
    assert_eq!(said.status, Some(example.status), "{example:?}: {said:?}");
    assert_eq!(said.err, "", "{example:?}: {said:?}");
    let printed = said.out.split("$\n").skip(1).map(str::to_owned);
    let printed: Vec<_> = printed.collect();
    assert_eq!(printed.len(), example.lines.len(), "{example:?}: {said:?}");
    printed
}

/// The files that examples make.
fn clean_up() {
    for entry in fs::read_dir("/dev/shm").expect("/dev/shm") {
        fs::remove_file(entry.expect("an entry").path()).expect("a file");
    }
    let _ = fs::remove_file("/tmp/rfutexctl.bash");
}

#[track_caller]
fn help_of(command: &str) -> String {
    super::run(&[command, "--help"]).well()
}

fn help() {
    for command in &commands() {
        let examples = examples(&help_of(command));
        assert!(!examples.is_empty(), "{command} has no example");
        // On another architecture it says that it cannot.
        if command == "run" && cfg!(not(target_arch = "x86_64")) {
            continue;
        }
        for example in examples {
            if command == "top" {
                let [line] = &example.lines[..] else {
                    panic!("{example:?}")
                };
                let words: Vec<_> = line.split(' ').skip(1).collect();
                let mut top = Terminal::start(&words, 24, 80);
                top.until("a screen", |lines| lines[0].starts_with("rfutexctl top: "));
                top.press("q");
                assert_eq!(top.end(), example.status);
                continue;
            }
            play(&example);
        }
    }
    clean_up();
}

/// What a page of the manual says on a terminal.
fn unescaped(page: &str) -> String {
    let plain = [("\\-", "-"), ("\\*(Aq", "'"), ("\\&", ""), ("\\e", "\\")];
    let replaced = |page: String, (from, to)| page.replace(from, to);
    plain.into_iter().fold(page.to_owned(), replaced)
}

/// The man pages have the examples that the help has, and no others; there is a page for each
/// command, and for the program.
fn man_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    super::run(&["man", &directory.path().display().to_string()]).well();
    let pages = fs::read_dir(directory.path()).expect("the directory");
    let names = pages.map(|page| page.expect("a page").file_name().into_string());
    let names: BTreeSet<_> = names.map(|name| name.expect("UTF-8")).collect();
    let mut expected = BTreeSet::from(["rfutexctl.1".to_owned()]);
    for command in commands() {
        let name = format!("rfutexctl-{command}.1");
        let page = fs::read_to_string(directory.path().join(&name)).expect("a page");
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| line.starts_with(['$', '[']));
            let lines = lines.filter(|line| line.starts_with("$ ") || line.contains("exit status"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            lines(&unescaped(&page)),
            lines(&help_of(&command)),
            "{name}"
        );
        expected.insert(name);
    }
    assert_eq!(names, expected);
    let page = fs::read_to_string(directory.path().join("rfutexctl.1")).expect("a page");
    assert!(examples(&unescaped(&page)).is_empty(), "nobody runs these");
}

/// The blocks of the README that show what commands print. One with a prompt of the machine is
/// about `make run`, and is played on the host (`harness/run/story`).
fn blocks() -> Vec<&'static str> {
    let blocks = README.split("\n```console\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().expect("a block"));
    let here = |block: &&str| !block.lines().any(|line| line.starts_with("# "));
    blocks.filter(here).collect()
}

/// Commands that the README names in passing are there, with the options that it names.
fn mentions() {
    let spans = README.split('`').skip(1).step_by(2);
    let lines = spans.map(|span| span.split_whitespace().collect::<Vec<_>>());
    let lines: BTreeSet<_> = lines
        .filter(|words| words.len() > 1 && words[0] == "rfutexctl")
        .collect();
    assert!(!lines.is_empty(), "the README names no command");
    for line in lines {
        let said = match &line[1..] {
            words @ ["help", ..] => super::run(words),
            // What follows the program's name would be for the program.
            ["run", ..] => super::run(&["run", "--help"]),
            words => super::run(&[words, &["--help"]].concat()),
        };
        assert_eq!(said.status, Some(0), "{line:?}: {said:?}");
    }
}

/// Each block prints what it says, but for numbers.
fn readme() {
    let blocks = blocks();
    assert!(!blocks.is_empty(), "the README shows no command");
    for block in blocks {
        let mut lines = Vec::new();
        let mut printed: Vec<String> = Vec::new();
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                lines.push(command.to_owned());
                printed.push(String::new());
            } else {
                let last = printed.last_mut().expect("a command comes first");
                *last += &format!("{line}\n");
            }
        }
        let finds = lines.last().is_some_and(|line| line.contains("doctor"));
        let status = if finds { 3 } else { 0 };
        let example = Example { lines, status };
        for (i, said) in play(&example).iter().enumerate() {
            assert_eq!(
                alike(said),
                alike(&printed[i]),
                "{}:\n{said}",
                example.lines[i]
            );
        }
    }
    clean_up();
}
