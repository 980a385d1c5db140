// SPDX-License-Identifier: GPL-2.0
//! A server of files over HTTP that can be as bad as a server can be: it stops in the
//! middle of a file, says nothing, or has a fault. (Servers from libraries are good.)

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is answered to a request for a file.
#[derive(Clone)]
pub enum Answer {
    /// The file, or what a range asks of it.
    File(Vec<u8>),
    /// The file, whatever range is asked for.
    Whole(Vec<u8>),
    /// As `File`, but the connection is closed after so many bytes.
    Breaks(Vec<u8>, usize),
    /// As `File`, but nothing more comes after so many bytes, and the connection stays open.
    Stalls(Vec<u8>, usize),
    /// This status, and no file.
    Status(u16),
    /// Nothing at all.
    Silence,
}

/// A request: the path without what follows a question mark, and from which byte on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub from: usize,
}

type Files = Arc<Mutex<HashMap<String, Answer>>>;

/// A server on a port of its own, until the process ends.
pub struct Server {
    pub address: String,
    files: Files,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts one that has no file.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            files: Files::default(),
            requests: Arc::default(),
        };
        let (files, requests) = (server.files.clone(), server.requests.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (files, requests) = (files.clone(), requests.clone());
                // A client that goes away early is none of our business.
                thread::spawn(move || serve(&stream.unwrap(), &files, &requests).ok());
            }
        });
        server
    }

    /// Answers requests for `path` so from now on.
    pub fn put(&self, path: &str, answer: Answer) {
        self.files.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Takes the requests that came since this was last called.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Answers the requests of one connection, of which there is only one.
fn serve(stream: &TcpStream, files: &Files, requests: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    requests.lock().unwrap().push(Request {
        path: path.clone(),
        from: from.unwrap_or(0),
    });
    let answer = files.lock().unwrap().get(&path).cloned();
    let (bytes, limit, from) = match answer.unwrap_or(Answer::Status(404)) {
        Answer::Status(status) => {
            let mut stream = stream;
            return write!(
                stream,
                "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Answer::Silence => return wait_for_end(stream),
        Answer::File(bytes) => (bytes, None, from),
        Answer::Whole(bytes) => (bytes, None, None),
        Answer::Breaks(bytes, limit) => (bytes, Some((limit, false)), from),
        Answer::Stalls(bytes, limit) => (bytes, Some((limit, true)), from),
    };
    let mut out = stream;
    match from {
        Some(from) if from >= bytes.len() => {
            return write!(
                out,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n",
                bytes.len()
            );
        }
        Some(from) => write!(
            out,
            "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{}\r\n",
            bytes.len() - 1,
            bytes.len()
        )?,
        None => write!(out, "HTTP/1.1 200 OK\r\n")?,
    }
    let rest = &bytes[from.unwrap_or(0)..];
    write!(
        out,
        "Content-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    )?;
    let (limit, stalls) = limit.unwrap_or((rest.len(), false));
    out.write_all(&rest[..limit.min(rest.len())])?;
    if stalls {
        wait_for_end(stream)?;
    }
    Ok(())
}

/// Returns when the client has closed the connection.
fn wait_for_end(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0]).map(|_| ())
}
