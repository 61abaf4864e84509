use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::ErrorKind;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(5);

fn readable(reader: &ConsoleReader) -> bool {
    is_raised(&reader.event_fd().unwrap())
}

fn is_raised(event: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(event, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

/// Waits for input like a device, until `n` bytes arrived.
fn input(console: &Console, n: usize) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = [0; 256];
    while got.len() < n {
        let taken = console.read_input(&mut buf);
        got.extend_from_slice(&buf[..taken]);
        if taken == 0 {
            let event = console.input_event();
            // SAFETY: the console from which the descriptor was borrowed is still alive.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(event)) };
            let ready =
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&Timespec { tv_sec: 20, tv_nsec: 0 }));
            assert_eq!(ready.unwrap(), 1, "no input came");
            event.read().unwrap();
        }
    }
    got
}

fn read_exactly(from: &mut impl Read, n: usize) -> Vec<u8> {
    let mut buf = vec![0; n];
    from.read_exact(&mut buf).unwrap();
    buf
}

#[test]
fn a_late_reader_gets_everything_from_the_first_byte() {
    let console = Console::new().unwrap();
    console.output(b"first ");
    let mut late = console.reader();
    let mut at_end = console.reader_at_end();
    console.output(b"second");
    console.close();
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), late.lost()), ("first second", 0));
    text.clear();
    at_end.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), at_end.lost()), ("second", 0));
}

#[test]
fn overwritten_bytes_are_counted_for_each_reader() {
    let console = Console::with_capacity(4).unwrap();
    let mut early = console.reader();
    console.output(b"ab");
    assert_eq!(early.try_read(&mut [0; 1]), Some(1));
    console.output(b"cdefgh");
    let mut late = console.reader();
    assert_eq!((early.lost(), late.lost()), (3, 4));
    let mut buf = [0; 8];
    assert_eq!(early.try_read(&mut buf), Some(4));
    assert_eq!(&buf[..4], b"efgh");
    assert_eq!(early.lost(), 3);
    assert_eq!(late.try_read(&mut buf), Some(4));
    assert_eq!(late.lost(), 4);
}

#[test]
fn reading_without_output_times_out_and_a_closed_console_ends() {
    let console = Console::new().unwrap();
    let mut reader = console.reader();
    let mut buf = [0; 8];
    assert_eq!(reader.try_read(&mut buf), None);
    let error = reader.read_timeout(&mut buf, SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "no console output within 5ms");
    console.output(b"end");
    console.close();
    console.output(b"after the end");
    assert_eq!(reader.read_timeout(&mut buf, LONG).unwrap(), 3);
    assert_eq!(reader.read(&mut buf).unwrap(), 0);
    assert_eq!(reader.try_read(&mut buf), Some(0));
}

#[test]
fn a_blocked_reader_wakes_with_output_and_with_the_close() {
    let console = Console::new().unwrap();
    let mut reader = console.reader();
    let thread = thread::spawn(move || {
        let first = read_exactly(&mut reader, 5);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        (first, rest)
    });
    console.output(b"hello");
    console.output(b" world");
    console.close();
    assert_eq!(thread.join().unwrap(), (b"hello".to_vec(), b" world".to_vec()));
}

#[test]
fn many_writers_and_readers_lose_and_mix_nothing() {
    let console = Console::new().unwrap();
    let writers: Vec<_> = (0..4u8)
        .map(|id| {
            let console = console.clone();
            thread::spawn(move || (0..5000).for_each(|_| console.output(&[b'a' + id; 7])))
        })
        .collect();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = console.reader();
            thread::spawn(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).unwrap();
                (all, reader.lost())
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    console.close();
    for reader in readers {
        let (all, lost) = reader.join().unwrap();
        assert_eq!((all.len(), lost), (4 * 5000 * 7, 0));
        assert!(all.chunks(7).all(|line| line.iter().all(|byte| *byte == line[0])));
    }
}

#[test]
fn wait_for_returns_up_to_the_pattern_and_reads_on_behind_it() {
    let console = Console::new().unwrap();
    let mut reader = console.reader();
    let device = console.clone();
    let thread = thread::spawn(move || b"Debian\r\nlogin: _rest".iter().for_each(|byte| device.output(&[*byte])));
    assert_eq!(reader.wait_for("login:", LONG).unwrap(), "Debian\r\nlogin:");
    assert_eq!(reader.wait_for("rest", LONG).unwrap(), " _rest");
    assert_eq!(reader.wait_for("", LONG).unwrap(), "");
    thread.join().unwrap();
}

#[test]
fn wait_for_says_what_was_seen_and_keeps_it() {
    let console = Console::new().unwrap();
    let mut reader = console.reader();
    let error = reader.wait_for("login:", SHORT).unwrap_err();
    assert_eq!(error.to_string(), "the console did not show \"login:\" within 5ms; nothing was printed");
    console.output(b"Kernel panic\n");
    let error = reader.wait_for("login:", SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "the console did not show \"login:\" within 5ms; printed last: \"Kernel panic\\n\"");
    console.close();
    let error = reader.wait_for("login:", LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert!(error.to_string().contains("closed before it showed \"login:\""), "{error}");
    assert_eq!(reader.wait_for("panic", LONG).unwrap(), "Kernel panic");
}

#[test]
fn the_event_follows_what_there_is_to_read() {
    let console = Console::new().unwrap();
    console.output(b"before");
    let mut reader = console.reader();
    assert!(readable(&reader));
    assert_eq!(reader.try_read(&mut [0; 4]), Some(4));
    assert!(readable(&reader));
    assert_eq!(reader.try_read(&mut [0; 4]), Some(2));
    assert!(!readable(&reader));
    console.output(b"more");
    assert!(readable(&reader));
    reader.wait_for("no such thing", SHORT).unwrap_err();
    assert!(readable(&reader));
    reader.wait_for("more", LONG).unwrap();
    assert!(!readable(&reader));
    console.close();
    assert!(readable(&reader));
    assert_eq!(reader.try_read(&mut [0; 4]), Some(0));
    assert!(readable(&reader));
}

#[test]
fn several_readers_are_waited_for_at_once() {
    let console = Console::new().unwrap();
    let readers = [console.reader(), console.reader()];
    // Descriptors that outlive the borrow, as an event loop holds them.
    let descriptors = readers.each_ref().map(|reader| reader.event_fd().unwrap());
    let ready = |descriptors: &[std::os::fd::BorrowedFd<'_>]| {
        let mut polled: Vec<_> = descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap()
    };
    assert_eq!(ready(&descriptors), 0);
    console.output(b"both");
    assert_eq!((ready(&descriptors), readers[0].lost()), (2, 0));
}

#[test]
fn input_reaches_the_device_and_is_bounded() {
    let console = Console::new().unwrap();
    console.write_all(b"uname -a\n").unwrap();
    assert_eq!(input(&console, 9), b"uname -a\n");
    let flood = vec![b'x'; 100 << 10];
    assert_eq!(console.try_write(&flood).unwrap(), 64 << 10);
    assert_eq!(console.try_write(&flood).unwrap(), 0);
    let error = console.write_all_timeout(b"y", SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "the guest does not read its console: 0 of 1 bytes were accepted in 5ms; \
         check that the VM is running and reads its console, or use try_write"
    );
    let writer = console.clone();
    let thread = thread::spawn(move || writer.write_all(&[b'z'; 70 << 10]));
    let all = input(&console, (64 << 10) + (70 << 10));
    thread.join().unwrap().unwrap();
    assert!(all[64 << 10..].iter().all(|byte| *byte == b'z'));
}

#[test]
fn a_closed_console_refuses_input_also_to_those_who_wait() {
    let console = Console::new().unwrap();
    console.write_all(&[0; 64 << 10]).unwrap();
    let writer = console.clone();
    let thread = thread::spawn(move || (&writer).write(b"waits"));
    console.close();
    assert_eq!(thread.join().unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    let error = console.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert_eq!(error.to_string(), "the console is closed: its VM is gone");
}

#[test]
fn a_pty_carries_both_ways_from_the_first_byte() {
    let console = Console::new().unwrap();
    console.output(b"boot\r\n");
    let pty = console.attach_pty().unwrap();
    let mut terminal = OpenOptions::new().read(true).write(true).open(pty.path()).unwrap();
    assert_eq!(read_exactly(&mut terminal, 6), b"boot\r\n");
    terminal.write_all(b"ls\x03\r").unwrap();
    assert_eq!(input(&console, 4), b"ls\x03\r");
    // Disconnecting and reconnecting does not affect the console.
    drop(terminal);
    console.output(b"again");
    let mut terminal = File::open(pty.path()).unwrap();
    assert_eq!(read_exactly(&mut terminal, 5), b"again");
    console.output(b"last");
    console.close();
    assert_eq!(read_exactly(&mut terminal, 4), b"last");
    drop(pty);
    // A terminal whose other end is closed.
    assert!(terminal.read(&mut [0; 1]).map_or_else(|error| error.raw_os_error() == Some(libc::EIO), |n| n == 0));
}

#[test]
fn a_pty_nobody_reads_says_what_it_lost() {
    let console = Console::with_capacity(1000).unwrap();
    let pty = console.attach_pty().unwrap();
    // Far more than a terminal buffers.
    for _ in 0..1000 {
        console.output(&[b'.'; 1000]);
    }
    console.output(b"<end>");
    console.close();
    let mut terminal = File::open(pty.path()).unwrap();
    let mut text = String::new();
    while !text.ends_with("<end>") {
        let mut buf = [0; 4096];
        let n = terminal.read(&mut buf).unwrap();
        text.push_str(std::str::from_utf8(&buf[..n]).unwrap());
    }
    let lost: usize = text
        .split("\r\n[")
        .filter_map(|part| part.split_once(" bytes of console output were lost here]\r\n"))
        .map(|(n, _)| n.parse::<usize>().unwrap())
        .sum();
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    assert_eq!(lost + dots, 1_000_000);
}

#[test]
fn a_socket_serves_two_clients_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let console = Console::new().unwrap();
    console.output(b"boot ");
    let socket = console.attach_unix_socket(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut one = UnixStream::connect(socket.path()).unwrap();
    assert_eq!(read_exactly(&mut one, 5), b"boot ");
    let mut two = UnixStream::connect(socket.path()).unwrap();
    console.output(b"both");
    assert_eq!(read_exactly(&mut one, 4), b"both");
    assert_eq!(read_exactly(&mut two, 9), b"boot both");
    one.write_all(b"1").unwrap();
    assert_eq!(input(&console, 1), b"1");
    two.write_all(b"2").unwrap();
    assert_eq!(input(&console, 1), b"2");
    // A peer that has closed its writing side still gets output; one that leaves disturbs no other.
    two.shutdown(std::net::Shutdown::Write).unwrap();
    drop(one);
    console.output(b"last");
    console.close();
    let mut rest = Vec::new();
    two.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    drop(socket);
    assert!(!path.exists());
}

#[test]
fn a_connection_is_served_until_its_peer_leaves_or_the_console_is_closed() {
    let console = Console::new().unwrap();
    console.output(b"boot ");
    let connect = || {
        let (near, far) = UnixStream::pair().unwrap();
        (console.attach_connection(OwnedFd::from(near)).unwrap(), far)
    };
    let over = |attachment: &ConnectionAttachment| {
        while !attachment.is_over() {
            thread::yield_now();
        }
    };
    let (one, mut leaving) = connect();
    let (two, mut staying) = connect();
    assert_eq!(read_exactly(&mut leaving, 5), b"boot ");
    leaving.write_all(b"1").unwrap();
    assert_eq!(input(&console, 1), b"1");
    assert!(!one.is_over());
    drop(leaving);
    over(&one);
    console.output(b"last");
    console.close();
    let mut rest = Vec::new();
    staying.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"boot last");
    over(&two);
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let error = Console::new().unwrap().attach_connection(file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(
        error.to_string().contains("it is not a unix stream socket; give the descriptor of a connected"),
        "{error}"
    );
}

#[test]
fn input_of_a_client_that_left_is_delivered_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let console = Console::new().unwrap();
    let socket = console.attach_unix_socket(folder.path().join("console")).unwrap();
    console.write_all(&[b'a'; 64 << 10]).unwrap();
    let mut client = UnixStream::connect(socket.path()).unwrap();
    client.write_all(&[b'b'; 20_000]).unwrap();
    drop(client);
    let all = input(&console, (64 << 10) + 20_000);
    assert!(all[64 << 10..].iter().all(|byte| *byte == b'b'));
}

#[test]
fn dropping_a_socket_disconnects_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let console = Console::new().unwrap();
    console.output(b"x");
    let socket = console.attach_unix_socket(folder.path().join("console")).unwrap();
    let mut client = UnixStream::connect(socket.path()).unwrap();
    assert_eq!(read_exactly(&mut client, 1), b"x");
    drop(socket);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    // The console itself still works.
    console.output(b"y");
    assert_eq!(console.reader().wait_for("xy", LONG).unwrap(), "xy");
}

#[test]
fn a_stale_socket_file_is_replaced_and_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let shown = path.display();
    let console = Console::new().unwrap();
    drop(UnixListener::bind(&path).unwrap());
    // While another test starts a program, that program's copy of the listener may exist for a moment.
    let socket = loop {
        match console.attach_unix_socket(&path) {
            Err(error) if error.kind() == ErrorKind::Busy => thread::yield_now(),
            other => break other.unwrap(),
        }
    };

    let error = console.attach_unix_socket(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(
        error.to_string(),
        format!(
            "another program already listens on console socket {shown}; \
             choose another path, or stop the program that listens there"
        )
    );

    // A file that replaced the socket meanwhile is not removed.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "data").unwrap();
    drop(socket);
    let error = console.attach_unix_socket(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        error.to_string(),
        format!("{shown} exists and is not a socket; choose another path for the console socket")
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[test]
fn a_socket_path_that_cannot_be_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let console = Console::new().unwrap();
    let error = console.attach_unix_socket(folder.path().join("no/such/console")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.remedy(), Some("create its folder first"));
    let error = console.attach_unix_socket(folder.path().join("x".repeat(200))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert_eq!(error.remedy(), Some("use a path of at most 107 bytes"));
}

#[test]
fn a_halted_vm_takes_no_input_and_none_outlives_its_guest() {
    let console = Console::powered_off().unwrap();
    let refused = |result: crate::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidState);
    let refuse_all = || {
        refused(console.write_all(b"x"));
        refused(console.try_write(b"x").map(drop));
        assert_eq!((&console).write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    };
    refuse_all();
    console.power_on();
    console.write_all(b"old").unwrap();
    console.reset();
    console.write_all(b"new").unwrap();
    assert_eq!(input(&console, 3), b"new");
    console.write_all(b"old").unwrap();
    console.power_off();
    refuse_all();
    console.power_on();
    assert_eq!(console.read_input(&mut [0; 8]), 0);
    console.write_all(b"new").unwrap();
    assert_eq!(input(&console, 3), b"new");
}

#[test]
fn a_writer_that_waits_does_not_go_on_with_another_guest() {
    let console = Console::new().unwrap();
    for change in [Console::reset, |console: &Console| {
        console.power_off();
        console.power_on();
    }] {
        let writer = console.clone();
        let thread = thread::spawn(move || writer.write_all(&[b'x'; 100 << 10]));
        // Some of it was accepted, and the rest waits.
        input(&console, 1);
        change(&console);
        let error = thread.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert_eq!(console.read_input(&mut [0; 8]), 0);
    }
}

#[test]
fn what_was_typed_into_attachments_before_a_start_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let console = Console::new().unwrap();
    let (pty, socket) =
        (console.attach_pty().unwrap(), console.attach_unix_socket(folder.path().join("console")).unwrap());
    let mut terminal = OpenOptions::new().read(true).write(true).open(pty.path()).unwrap();
    let mut client = UnixStream::connect(socket.path()).unwrap();
    for _ in 0..50 {
        // More than the console holds, so that some still waits in the attachments.
        client.write_all(&[b'o'; 100 << 10]).unwrap();
        console.power_off();
        client.write_all(b"off").unwrap();
        terminal.write_all(b"off").unwrap();
        console.power_on();
        assert_eq!(console.read_input(&mut [0; 8]), 0);
        client.write_all(b"a").unwrap();
        assert_eq!(input(&console, 1), b"a");
        terminal.write_all(b"b").unwrap();
        assert_eq!(input(&console, 1), b"b");
    }
    // An attachment that has ended is not waited for.
    drop(client);
    drop((pty, socket));
    console.power_off();
    console.power_on();
}

#[test]
fn a_full_console_prints_briefly() {
    let console = Console::new().unwrap();
    console.output(&vec![b'x'; 2 << 20]);
    assert!(format!("{console:?} {:?}", console.reader()).len() < 4 << 10);
}

#[test]
fn an_event_loop_is_told_when_there_is_room_for_input() {
    let console = Console::new().unwrap();
    let (writer, other) = (console.writer().unwrap(), console.writer().unwrap());
    let bytes = vec![7; shared::INPUT_LIMIT];
    assert_eq!(writer.try_write(&bytes[1..]).unwrap(), bytes.len() - 1);
    console.read_input(&mut [0; 3]);
    assert!(!is_raised(&writer), "everything was accepted");
    assert_eq!(writer.try_write(&bytes).unwrap(), 4);
    assert_eq!(other.try_write(b"").unwrap(), 0);
    console.output(b"more output");
    assert!(!is_raised(&writer), "there is no room");
    console.read_input(&mut [0; 10]);
    assert!(is_raised(&writer) && !is_raised(&other));
    assert_eq!(writer.try_write(&bytes).unwrap(), 10);
    assert!(!is_raised(&writer));
    // Nobody waits forever for room that will not come.
    console.reset();
    assert!(is_raised(&writer));
    assert_eq!(writer.try_write(&[&bytes[..], b"x"].concat()).unwrap(), bytes.len());
    console.close();
    assert!(is_raised(&writer));
    assert_eq!(writer.try_write(b"x").unwrap_err().kind(), ErrorKind::Gone);
}
