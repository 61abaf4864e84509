//! Services of other versions.

use xvirt_worker::protocol::{FEATURES, VERSIONS, Versions};
use xvirt_worker::{Connection, kind};

use crate::support::Worker;

#[test]
fn a_worker_speaks_with_the_service_before_and_the_one_after() {
    let worker = Worker::start();
    let around = Versions { oldest: VERSIONS.oldest - 1, newest: VERSIONS.newest };
    let newer = Versions { oldest: VERSIONS.newest, newest: VERSIONS.newest + 1 };
    for versions in [around, newer] {
        let service = Connection::negotiate(worker.stream(), versions, &["limits", "unheard"]).unwrap();
        assert_eq!(service.version(), VERSIONS.newest);
        assert!(service.has("limits") && !service.has("unheard") && !service.has(FEATURES[0]));
        assert_eq!(service.worker(), env!("CARGO_PKG_VERSION"));
    }
    let far = Versions { oldest: VERSIONS.newest + 1, newest: VERSIONS.newest + 2 };
    let error = Connection::negotiate(worker.stream(), far, FEATURES).unwrap_err();
    assert_eq!(error.kind(), kind::VERSION);
    assert!(error.remedy().unwrap().contains("upgrade one release at a time"), "{error}");
    // The worker is still there.
    worker.connect().describe().unwrap();
}
