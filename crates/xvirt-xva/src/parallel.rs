//! Parallel work with ordered results.

use std::thread;

use crossbeam_channel::{Receiver, bounded};

use crate::thread::spawn_scoped;
use crate::{Error, ErrorKind, Result};

/// The number of threads for a piece of work.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// Runs `work` on each of `jobs` on `count` threads, and passes the results to `sink` in the order of the jobs.
///
/// Each thread first creates a worker. A failure of any part ends everything, and the first one in the order of the
/// jobs is returned. Only a few jobs and results exist at any time.
pub(crate) fn in_order<Job: Send, Done: Send, Worker>(
    count: usize,
    jobs: impl Iterator<Item = Result<Job>> + Send,
    worker: impl Fn() -> Worker + Sync,
    work: impl Fn(&mut Worker, Job) -> Result<Done> + Sync,
    mut sink: impl FnMut(Done) -> Result<()>,
) -> Result<()> {
    // Dropped when the sink fails, which ends the threads.
    let (orders, results) = bounded::<Receiver<Result<Done>>>(count + 1);
    thread::scope(|scope| {
        let (queue, waiting) = bounded(1);
        for _ in 0..count {
            let (waiting, worker, work) = (waiting.clone(), &worker, &work);
            spawn_scoped(scope, move || {
                let mut worker = worker();
                for (job, done) in waiting {
                    let done: crossbeam_channel::Sender<_> = done;
                    // Fails only if the sink has failed.
                    let _ = done.send(work(&mut worker, job));
                }
            });
        }
        // Only the workers may hold a receiver, so that sending a job fails once they are gone.
        drop(waiting);
        spawn_scoped(scope, move || {
            for job in jobs {
                let (sender, receiver) = bounded(1);
                if orders.send(receiver).is_err() {
                    return;
                }
                let sent = match job {
                    Ok(job) => queue.send((job, sender)).is_ok(),
                    // This is the last one in any case.
                    Err(error) => sender.send(Err(error)).is_err(),
                };
                if !sent {
                    return;
                }
            }
        });
        for result in results {
            sink(result.recv().unwrap_or_else(|_| Err(stopped()))?)?;
        }
        Ok(())
    })
}

fn stopped() -> Error {
    Error::new(ErrorKind::Io, "a thread that worked on the archive has stopped")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Error {
        Error::new(ErrorKind::Io, "it failed")
    }

    #[test]
    fn results_come_in_order_and_a_failure_ends_all() {
        let mut seen = Vec::new();
        let square = |(): &mut (), n: u64| Ok(n * n);
        in_order(
            3,
            (0..1000).map(Ok),
            || (),
            square,
            |n| {
                seen.push(n);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, (0..1000).map(|n| n * n).collect::<Vec<u64>>());

        let mut seen = 0;
        let failing = |(): &mut (), n| if n == 100 { Err(failed()) } else { Ok(n) };
        let count = |_| {
            seen += 1;
            Ok(())
        };
        assert_eq!(in_order(3, (0..).map(Ok), || (), failing, count).unwrap_err().to_string(), "it failed");
        assert_eq!(seen, 100);

        let sink = |n| if n == 5 { Err(failed()) } else { Ok(()) };
        in_order(3, (0..).map(Ok), || (), |(): &mut (), n| Ok(n), sink).unwrap_err();
        let jobs = (0..).map(|n| if n == 7 { Err(failed()) } else { Ok(n) });
        let mut seen = 0;
        in_order(
            3,
            jobs,
            || (),
            |(): &mut (), n| Ok(n),
            |_| {
                seen += 1;
                Ok(())
            },
        )
        .unwrap_err();
        assert_eq!(seen, 7);
    }

    #[test]
    fn nobody_waits_for_workers_that_panicked() {
        let (sender, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let worker = || -> () { panic!("no worker can be made") };
            let all = || in_order(2, (0..).map(Ok), worker, |(): &mut (), n: u64| Ok(n), |_| Ok(()));
            sender.send(std::panic::catch_unwind(all).is_err()).unwrap();
        });
        assert!(ended.recv_timeout(std::time::Duration::from_secs(60)).unwrap(), "the panic is not passed on");
    }
}
