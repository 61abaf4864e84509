//! Both sides over TLS.

use std::sync::LazyLock;

use xvirt_testing::certificates::{Authority, Identity};

use super::faults::every_fault;
use super::good::CancelIn;
use super::*;
use crate::ErrorKind;
use crate::migrate::testing::Side;
use crate::migrate::{MigrationPhase, Tls};

/// The identities of both hosts, of which the target is host-b.
static HOSTS: LazyLock<[Tls; 2]> = LazyLock::new(|| {
    let authority = Authority::new("the pool");
    ["host-a", "host-b"].map(|name| identity(&authority, name, &authority))
});

/// A host whose certificate is signed by `signer`, and which trusts `authority`.
fn identity(signer: &Authority, name: &str, authority: &Authority) -> Tls {
    let Identity { certificate, key } = signer.sign(name, |_| {});
    Tls::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate.as_bytes()).unwrap()
}

fn encrypted(side: Side, sockets: Sockets<UnixStream>) -> Box<dyn Channel> {
    let [source, target] = &*HOSTS;
    match side {
        Side::Source => Box::new(source.connect_to("host-b", sockets).unwrap()),
        Side::Target => Box::new(target.accept(sockets)),
    }
}

fn run(
    world: &Arc<World>,
    source: &mut FakeSource,
    connections: u8,
    observer: &dyn MigrationObserver,
) -> (Outcome, Result<()>) {
    let (here, there) = sockets(connections);
    let (here, there) = (encrypted(Side::Source, here), encrypted(Side::Target, there));
    run_over(world, source, (here, &*there), &settings(connections, PATIENCE), observer)
}

#[test]
fn every_page_arrives_over_any_number_of_encrypted_connections() {
    for connections in [1, 4, 16] {
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 40);
        let (outcome, target) = run(&world, &mut source, connections, &());
        assert!(matches!(outcome, Outcome::Migrated(_)), "{outcome:?}");
        target.unwrap();
        assert_eq!((world.running(), world.locked()), (Some(Side::Target), Some(Side::Target)));
    }
}

#[test]
fn an_encrypted_migration_can_be_cancelled_and_the_target_is_told() {
    use MigrationPhase as Phase;

    for connections in [1, 4] {
        for phase in [Phase::Running, Phase::Parked, Phase::Released, Phase::Deciding] {
            let world = World::new(&[]);
            let mut source = FakeSource::new(&world, 5);
            let (outcome, target) = run(&world, &mut source, connections, &CancelIn::new(phase));
            let Outcome::Resumed(error) = outcome else { panic!("{phase:?}: {outcome:?}") };
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase:?}");
            let error = target.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PeerFailed, "{phase:?}: {error}");
            assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)), "{phase:?}");
        }
    }
}

#[test]
fn every_fault_over_encrypted_connections_leaves_one_guest_or_says_where_it_may_be() {
    every_fault(encrypted, &[MemoryTransfer::Copy]);
}

#[test]
fn both_sides_say_that_only_one_of_them_uses_tls() {
    for encrypting in [Side::Source, Side::Target] {
        let (here, there) = sockets(1);
        let layer = |side, sockets| if side == encrypting { encrypted(side, sockets) } else { Box::new(sockets) };
        let (here, there) = (layer(Side::Source, here), layer(Side::Target, there));
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 5);
        let (outcome, target) = run_over(&world, &mut source, (here, &*there), &settings(1, PATIENCE), &());
        let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
        let (source, target) = (error.to_string(), target.unwrap_err().to_string());
        let (with, without) = if encrypting == Side::Source { (source, target) } else { (target, source) };
        assert!(with.contains("speaks the migration protocol without TLS"), "{encrypting:?}: {with}");
        assert!(without.contains("speaks TLS, and this side of the migration does not"), "{encrypting:?}: {without}");
        assert!([with, without].iter().all(|said| said.contains("use TLS on both sides")), "{encrypting:?}");
        assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
    }
}

#[test]
fn a_vm_stays_where_it_is_if_either_host_is_not_trusted() {
    let (pool, others) = (Authority::new("the pool"), Authority::new("others"));
    let [good, good_target] = ["host-a", "host-b"].map(|name| identity(&pool, name, &pool));
    let spoiled = |name| identity(&others, name, &pool);
    for (source_tls, target_tls) in [(spoiled("host-a"), good_target), (good, spoiled("host-b"))] {
        let (here, there) = sockets(1);
        let (here, there) = (source_tls.connect_to("host-b", here).unwrap(), target_tls.accept(there));
        let world = World::new(&[]);
        let mut source = FakeSource::new(&world, 5);
        let (outcome, target) = run_over(&world, &mut source, (Box::new(here), &there), &settings(1, PATIENCE), &());
        let Outcome::Resumed(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
        assert!(error.to_string().contains("not signed by an authority"), "{error}");
        let error = target.unwrap_err().to_string();
        assert!(error.contains("not signed by an authority"), "{error}");
        assert_eq!((world.running(), world.locked()), (Some(Side::Source), Some(Side::Source)));
    }
}
