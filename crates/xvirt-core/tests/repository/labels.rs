//! Labels, and records written by other versions.

use std::fs;

use xvirt_core::ErrorKind;
use xvirt_core::config::VmConfig;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::repository::{Repository, StoredVm};
use xvirt_core::template::Seal;

use crate::support::*;

fn labelled(repository: &Repository, name: &str, labels: &[(&str, &str)]) -> StoredVm {
    let mut stage = repository.stage().unwrap();
    let path = stage.disk_path(0, ImageFormat::Raw);
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    let config = config(name, &path, ImageFormat::Raw);
    stage.commit(labels.iter().fold(config, |config, (key, value)| config.label(*key, *value))).unwrap()
}

fn found(repository: &Repository, key: &str, value: Option<&str>) -> Vec<String> {
    repository.vms_labelled(key, value).unwrap().iter().map(|vm| vm.name().to_owned()).collect()
}

#[test]
fn vms_are_found_by_their_labels() {
    let (_folder, repository) = repository();
    labelled(&repository, "b", &[("tenant", "blue"), ("role", "web")]);
    labelled(&repository, "a", &[("tenant", "blue")]);
    labelled(&repository, "c", &[("tenant", "red")]);
    labelled(&repository, "d", &[]);
    let repository = Repository::open(repository.folder()).unwrap();
    assert_eq!(found(&repository, "tenant", Some("blue")), ["a", "b"]);
    assert_eq!(found(&repository, "tenant", None), ["a", "b", "c"]);
    assert_eq!(found(&repository, "tenant", Some("")), [""; 0]);
    assert_eq!(found(&repository, "blue", None), [""; 0]);
    let b = repository.vm("b").unwrap();
    assert_eq!(
        b.labels().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
        [("role", "web"), ("tenant", "blue")]
    );
    assert_eq!(b.config().labels, *b.labels());
}

#[test]
fn templates_take_the_labels_of_vms_and_instances_those_of_templates() {
    let (_folder, repository) = repository();
    let vm = labelled(&repository, "a", &[("tenant", "blue"), ("stage", "test")]);
    let template = repository.seal(Seal::new("t").label("stage", "approved").label("os", "debian"), &vm, &()).unwrap();
    repository.seal("other", &repository.vm("a").unwrap(), &()).unwrap();
    let expected = [("os", "debian"), ("stage", "approved"), ("tenant", "blue")];
    let instance = repository.instantiate(&template, "b").unwrap();
    for labels in [template.labels(), instance.labels()] {
        assert_eq!(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }
    assert_eq!(repository.vm("a").unwrap().labels(), vm.labels());
    let found = |key, value| {
        let templates = repository.templates_labelled(key, value).unwrap();
        templates.iter().map(|template| template.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("tenant", None), ["other", "t"]);
    assert_eq!(found("stage", Some("approved")), ["t"]);
}

#[test]
fn labels_that_cannot_be_kept_are_refused() {
    let (_folder, repository) = repository();
    let wrong = VmConfig::new("a").label("two words", "");
    let error = repository.stage().unwrap().commit(wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let vm = labelled(&repository, "a", &[]);
    let error = repository.seal(Seal::new("t").label("k", "two\nlines"), &vm, &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(repository.templates().unwrap().is_empty());
    assert_eq!(names(&repository, "staging"), [""; 0]);
}

/// The version number of the format decides whether a record can be read.
#[test]
fn records_of_other_versions_of_the_same_format_are_readable() {
    let (_folder, repository) = repository();
    let vm = labelled(&repository, "a", &[]);
    repository.seal("t", &vm, &()).unwrap();
    let layer = repository.folder().join("layers").join(repository.template("t").unwrap().uuid().to_string());
    for record in [vm.folder().join("vm.json"), layer.join("template.json")] {
        let text = fs::read_to_string(&record).unwrap();
        // An older version knew no labels, so empty labels are not written.
        assert!(!text.contains("labels"), "{text}");
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["newer"] = 1.into();
        json["config"]["newer"] = serde_json::json!({"a": [1]});
        for part in ["cpus", "balloon", "memory_backing"] {
            json["config"][part]["newer"] = true.into();
        }
        json["config"]["disks"][0]["newer"] = "x".into();
        json["config"]["nics"][0]["newer"] = "x".into();
        json["config"]["nics"][0]["limit"]["newer"] = "x".into();
        json["config"]["boot"]["disk"]["newer"] = "x".into();
        fs::set_permissions(&record, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&record, json.to_string()).unwrap();
    }
    assert_eq!(repository.vm(&vm.uuid().to_string()).unwrap().name(), "a");
    repository.instantiate(&repository.template("t").unwrap(), "b").unwrap();
    sound(&repository);
}
