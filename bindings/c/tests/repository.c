/* What a VM can become: template, clones, appliances, snapshots, checkpoints, suspended. */

#include "support/check.h"

#include <fcntl.h>
#include <unistd.h>

#define SIZE (UINT64_C(8) << 20)

/* A VM in the repository, whose guest counts and writes to its disk. */
static XvirtStoredVm *stored(const XvirtRepository *repository, const char *kernel_path) {
    XvirtStage *stage = NULL;
    OK(xvirt_repository_stage(repository, NULL, &stage, &error));
    char *path = NULL;
    OK(xvirt_stage_disk_path(stage, 0, XVIRT_IMAGE_FORMAT_RAW, &path, &error));
    OK(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    OK(xvirt_stage_attach(stage, "notes", (const uint8_t *)"for later", 9, NULL, &error));
    XvirtDiskSourceImage image = {.struct_size = sizeof image, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &image};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    const XvirtDisk *disks[] = {&disk};
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_PATH, .path = kernel_path};
    XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=counter,echo pages=200"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtStringPair labels[] = {{.key = "tier", .value = "test"}};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "first", .memory = UINT64_C(16) << 20, .seccomp = seccomp(), .boot = &boot,
                            .disks = disks, .disk_count = 1, .labels = labels, .label_count = 1};
    XvirtStoredVm *vm = NULL;
    OK(xvirt_stage_commit(stage, &config, NULL, &vm, &error));
    xvirt_free(path);
    xvirt_stage_free(stage);
    return vm;
}

static void look_at(const XvirtRepository *repository, const XvirtStoredVm *vm) {
    char *uuid = NULL, *text = NULL;
    OK(xvirt_stored_vm_uuid(vm, &uuid, &error));
    OK(xvirt_stored_vm_name(vm, &text, &error));
    is_text(text, "first");
    OK(xvirt_stored_vm_folder(vm, &text, &error));
    is_text(text, NULL);
    OK(xvirt_stored_vm_new_disk_path(vm, XVIRT_IMAGE_FORMAT_QCOW2, &text, &error));
    is_text(text, NULL);
    OK(xvirt_repository_folder(repository, &text, &error));
    is_text(text, NULL);
    bool suspended = true;
    OK(xvirt_stored_vm_is_suspended(vm, &suspended, &error));
    CHECK(!suspended);
    XvirtStringPairList *labels = NULL;
    OK(xvirt_stored_vm_labels(vm, &labels, &error));
    CHECK(labels->count == 1 && strcmp(labels->items[0].key, "tier") == 0 && strcmp(labels->items[0].value, "test") == 0);
    xvirt_string_pair_list_free(labels);
    uint8_t *notes = NULL;
    size_t length = 0;
    OK(xvirt_stored_vm_attachment(vm, "notes", NULL, &notes, &length, &error));
    CHECK(length == 9 && memcmp(notes, "for later", 9) == 0);
    xvirt_free(notes);
    OK(xvirt_stored_vm_attachment(vm, "none", NULL, &notes, &length, &error));
    CHECK(notes == NULL && length == 0);
    XvirtLineage *layer = NULL;
    OK(xvirt_stored_vm_layer(vm, &layer, &error));
    CHECK(layer == NULL);
    XvirtStoredVmList *vms = NULL;
    OK(xvirt_repository_vms(repository, NULL, &vms, &error));
    CHECK(vms->count == 1);
    XvirtVmConfig *config = NULL;
    OK(xvirt_stored_vm_config(vms->items[0], &config, &error));
    CHECK(strcmp(config->uuid, uuid) == 0 && config->disk_count == 1 && config->disks[0]->source->kind == XVIRT_DISK_SOURCE_KIND_IMAGE);
    xvirt_vm_config_free(config);
    xvirt_stored_vm_list_free(vms);
    OK(xvirt_repository_vms_labelled(repository, "tier", "prod", NULL, &vms, &error));
    CHECK(vms->count == 0);
    xvirt_stored_vm_list_free(vms);
    xvirt_free(uuid);
}

static const XvirtVmConfig *describe(void *user_data, XvirtVmConfig *config) {
    if (user_data == NULL)
        return NULL;
    config->description = user_data;
    return config;
}

static void change(const XvirtRepository *repository) {
    XvirtStoredVm *vm = NULL, *changed = NULL;
    OK(xvirt_repository_vm(repository, "first", NULL, &vm, &error));
    char *uuid = NULL;
    OK(xvirt_stored_vm_uuid(vm, &uuid, &error));
    OK(xvirt_repository_update(repository, uuid, describe, "described", NULL, &changed, &error));
    XvirtVmConfig *config = NULL;
    OK(xvirt_stored_vm_config(changed, &config, &error));
    CHECK(strcmp(config->description, "described") == 0 && strcmp(config->name, "first") == 0);
    xvirt_vm_config_free(config);
    xvirt_stored_vm_free(changed);
    FAILS(XVIRT_STATUS_CANCELLED, xvirt_repository_update(repository, uuid, describe, NULL, NULL, &changed, &error));
    xvirt_free(uuid);
    xvirt_stored_vm_free(vm);
}

static XvirtTemplate *templates(const XvirtRepository *repository, const XvirtStoredVm *vm) {
    XvirtStringPair labels[] = {{.key = "os", .value = "demo"}};
    XvirtSeal seal = {.struct_size = sizeof seal, .name = "demo", .version = "1", .description = "a test", .labels = labels,
                      .label_count = 1};
    XvirtSource source = {.struct_size = sizeof source, .stored_vm = vm};
    XvirtTemplate *template = NULL, *found = NULL;
    OK(xvirt_repository_seal(repository, &seal, &source, NULL, &template, &error));
    char *text = NULL, *uuid = NULL;
    OK(xvirt_template_name(template, &text, &error));
    is_text(text, "demo");
    OK(xvirt_template_version(template, &text, &error));
    is_text(text, "1");
    OK(xvirt_template_description(template, &text, &error));
    is_text(text, "a test");
    OK(xvirt_template_hash(template, &text, &error));
    is_text(text, NULL);
    OK(xvirt_template_uuid(template, &uuid, &error));
    uint64_t created = 0;
    OK(xvirt_template_created(template, &created, &error));
    CHECK(created > UINT64_C(1600000000) * 1000000000);
    XvirtStringPairList *pairs = NULL;
    OK(xvirt_template_labels(template, &pairs, &error));
    CHECK(pairs->count == 2 && strcmp(pairs->items[0].key, "os") == 0 && strcmp(pairs->items[1].key, "tier") == 0);
    xvirt_string_pair_list_free(pairs);
    XvirtTemplateDiskList *disks = NULL;
    OK(xvirt_template_disks(template, &disks, &error));
    CHECK(disks->count == 1 && disks->items[0]->size == SIZE);
    xvirt_template_disk_list_free(disks);
    XvirtVmConfig *config = NULL;
    OK(xvirt_template_config(template, &config, &error));
    CHECK(config->disk_count == 1);
    xvirt_vm_config_free(config);
    XvirtLineage *lineage = NULL;
    OK(xvirt_template_parent(template, &lineage, &error));
    CHECK(lineage == NULL);
    OK(xvirt_template_lineage(template, &lineage, &error));
    CHECK(strcmp(lineage->template_, uuid) == 0);
    xvirt_lineage_free(lineage);
    XvirtTemplateList *list = NULL;
    OK(xvirt_template_chain(template, NULL, &list, &error));
    CHECK(list->count >= 1);
    xvirt_template_list_free(list);
    OK(xvirt_repository_templates(repository, NULL, &list, &error));
    CHECK(list->count == 1);
    xvirt_template_list_free(list);
    OK(xvirt_repository_templates_labelled(repository, "os", NULL, NULL, &list, &error));
    CHECK(list->count == 1);
    xvirt_template_list_free(list);
    OK(xvirt_repository_template(repository, uuid, NULL, &found, &error));
    xvirt_template_free(found);
    xvirt_free(uuid);
    return template;
}

static bool count_progress(void *user_data, uint64_t done, uint64_t total) {
    CHECK(total == 0 || done <= total);
    ++*(unsigned *)user_data;
    return true;
}

static bool stop(void *user_data, uint64_t done, uint64_t total) {
    (void)user_data, (void)done, (void)total;
    return false;
}

static void appliances(const XvirtRepository *repository, const XvirtStoredVm *vm) {
    char *path = path_of("first.xva"), *folder = path_of("extracted");
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    unsigned reports = 0;
    XvirtCall call = {.struct_size = sizeof call, .progress = count_progress, .user_data = &reports};
    XvirtCall stopped = {.struct_size = sizeof stopped, .progress = stop};
    XvirtExport options = {.struct_size = sizeof options, .compression = XVIRT_COMPRESSION_ZSTD};
    XvirtExported *exported = NULL;
    OK(xvirt_export_check(&options, NULL, &error));
    XvirtExport wrong = {.struct_size = sizeof wrong, .compression = XVIRT_COMPRESSION_GZIP, .level = 1000};
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_export_check(&wrong, NULL, &error));
    FAILS(XVIRT_STATUS_CANCELLED, xvirt_xva_export_stored(vm, file, &options, &stopped, &exported, &error));
    CHECK(exported == NULL && ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    OK(xvirt_xva_export_stored(vm, file, &options, &call, &exported, &error));
    CHECK(exported->size > 0 && reports > 0);
    xvirt_exported_free(exported);

    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtReport *report = NULL;
    OK(xvirt_xva_verify(file, NULL, NULL, &report, &error));
    CHECK(report->good && report->problem_count == 0 && report->disk_count == 1 && report->appliance != NULL);
    xvirt_report_free(report);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtInspected *inspected = NULL;
    OK(xvirt_xva_inspect(file, NULL, NULL, &inspected, &error));
    CHECK(strcmp(inspected->appliance->name, "first") == 0 && inspected->compression == XVIRT_COMPRESSION_ZSTD);
    xvirt_inspected_free(inspected);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtImport as = {.struct_size = sizeof as, .name = "imported"};
    XvirtImported *imported = NULL;
    OK(xvirt_xva_import(file, repository, &as, NULL, &imported, &error));
    char *name = NULL;
    OK(xvirt_stored_vm_name(imported->vm, &name, &error));
    is_text(name, "imported");
    xvirt_imported_free(imported);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtExtracted *extracted = NULL;
    CHECK(access(folder, F_OK) != 0);
    OK(xvirt_xva_extract(file, folder, NULL, NULL, &extracted, &error));
    CHECK(extracted->disk_count == 1 && access(extracted->disks[0], R_OK) == 0);
    xvirt_extracted_free(extracted);
    close(file);

    /* An appliance without compression can be used where it lies. */
    file = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    CHECK(file >= 0);
    XvirtVmConfig *config = NULL;
    OK(xvirt_stored_vm_config(vm, &config, &error));
    options.compression = XVIRT_COMPRESSION_NONE;
    OK(xvirt_xva_export(config, file, &options, NULL, &exported, &error));
    xvirt_exported_free(exported);
    xvirt_vm_config_free(config);
    close(file);
    XvirtArchive *archive = NULL;
    OK(xvirt_archive_open(path, NULL, &archive, &error));
    XvirtAppliance *appliance = NULL;
    OK(xvirt_archive_appliance(archive, &appliance, &error));
    CHECK(appliance->disk_count == 1 && appliance->disks[0]->size == SIZE);
    xvirt_appliance_free(appliance);
    XvirtBlockBackendList *disks = NULL;
    OK(xvirt_archive_disks(archive, &disks, &error));
    bool read_only = false;
    CHECK(disks->count == 1);
    OK(xvirt_block_backend_read_only(disks->items[0], &read_only, &error));
    CHECK(read_only);
    xvirt_block_backend_list_free(disks);
    xvirt_archive_free(archive);
    as.name = "streamed";
    XvirtStreamingImport *streaming = NULL;
    OK(xvirt_xva_import_streaming(path, repository, &as, NULL, &streaming, &error));
    OK(xvirt_streaming_import_config(streaming, &config, &error));
    CHECK(strcmp(config->name, "streamed") == 0);
    xvirt_vm_config_free(config);
    XvirtStringList *remarks = NULL;
    OK(xvirt_streaming_import_remarks(streaming, &remarks, &error));
    xvirt_string_list_free(remarks);
    OK(xvirt_streaming_import_complete(streaming, NULL, &imported, &error));
    xvirt_imported_free(imported);
    xvirt_streaming_import_free(streaming);
    free(path);
    free(folder);
}

/* A template with the memory of a VM that runs, an instance of it, and forks. */
static void copy_running(const XvirtRepository *repository, const XvirtVm *vm, const XvirtHost *host) {
    XvirtSeal seal = {.struct_size = sizeof seal, .name = "booted"};
    XvirtTemplate *template = NULL;
    OK(xvirt_repository_seal_hot(repository, &seal, vm, NULL, &template, &error));
    bool has_memory = false;
    OK(xvirt_template_has_memory(template, &has_memory, &error));
    CHECK(has_memory);
    XvirtStoredVm *instance = NULL;
    OK(xvirt_repository_instantiate(repository, template, "instance", NULL, &instance, &error));
    XvirtVm *copy = NULL;
    OK(xvirt_stored_vm_build(instance, host, NULL, &copy, &error));
    XvirtResumeReport *resumed = NULL;
    XvirtResume how = {.struct_size = sizeof how};
    OK(xvirt_vm_resume_with(copy, &how, NULL, &resumed, &error));
    CHECK(resumed->loaded == XVIRT_MEMORY_LOADED_MAPPED);
    xvirt_resume_report_free(resumed);
    xvirt_vm_free(copy);
    XvirtStoredVmList *forks = NULL;
    OK(xvirt_repository_fork(repository, vm, 2, "fork", NULL, &forks, &error));
    CHECK(forks->count == 2);
    for (size_t i = 0; i <= forks->count; i++) {
        char *uuid = NULL;
        OK(xvirt_stored_vm_uuid(i < forks->count ? forks->items[i] : instance, &uuid, &error));
        OK(xvirt_repository_remove_vm(repository, uuid, NULL, &error));
        xvirt_free(uuid);
    }
    xvirt_stored_vm_list_free(forks);
    xvirt_stored_vm_free(instance);
    OK(xvirt_repository_remove_template(repository, template, NULL, &error));
    xvirt_template_free(template);
}

static void snapshots(const XvirtRepository *repository, const XvirtStoredVm *of, const XvirtHost *host) {
    XvirtVm *vm = NULL;
    OK(xvirt_stored_vm_build(of, host, NULL, &vm, &error));
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    XvirtSubject subject = {.struct_size = sizeof subject, .vm = vm};
    XvirtNewSnapshot new_snapshot = {.struct_size = sizeof new_snapshot, .name = "while it runs", .description = "d"};
    XvirtSnapshot *checkpoint = NULL, *snapshot = NULL, *found = NULL;
    new_snapshot.method = XVIRT_CHECKPOINT_METHOD_ROUNDS;
    OK(xvirt_repository_checkpoint(repository, &subject, &new_snapshot, NULL, &checkpoint, &error));
    XvirtCheckpointReport *taken = NULL;
    OK(xvirt_snapshot_checkpoint_report(checkpoint, &taken, &error));
    CHECK(taken->method == XVIRT_CHECKPOINT_METHOD_ROUNDS && taken->rounds > 0 && taken->base == NULL);
    xvirt_checkpoint_report_free(taken);
    OK(xvirt_repository_flatten_checkpoint(repository, checkpoint, NULL, &error));
    OK(xvirt_vm_stop_tracking(vm, NULL, &error));
    new_snapshot.name = "disks";
    OK(xvirt_repository_snapshot(repository, &subject, &new_snapshot, NULL, &snapshot, &error));
    XvirtSubject two = {.struct_size = sizeof two, .vm = vm, .stored_vm = of};
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_repository_snapshot(repository, &two, &new_snapshot, NULL, &found, &error));
    char *scratch = path_of("scratch");
    XvirtSnapshotViewList *views = NULL;
    XvirtError *error = NULL;
    if (xvirt_vm_snapshot_views(vm, scratch, NULL, &views, &error) == XVIRT_STATUS_OK && views->count > 0)
        OK(xvirt_snapshot_view_release(views->items[0], SIZE, &error));
    xvirt_error_free(error);
    xvirt_snapshot_view_list_free(views);
    free(scratch);
    char *path = path_of("running.xva");
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *folder = path_of("");
    XvirtExported *exported = NULL;
    OK(xvirt_xva_export_running(vm, of, folder, file, NULL, NULL, &exported, &error));
    xvirt_exported_free(exported);
    close(file);
    free(folder);
    free(path);
    OK(xvirt_vm_hard_shutdown(vm, NULL, &error));
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);

    char *text = NULL, *uuid = NULL;
    bool has_memory = false;
    OK(xvirt_snapshot_has_memory(checkpoint, &has_memory, &error));
    CHECK(has_memory);
    OK(xvirt_snapshot_has_memory(snapshot, &has_memory, &error));
    CHECK(!has_memory);
    OK(xvirt_snapshot_name(checkpoint, &text, &error));
    is_text(text, "while it runs");
    OK(xvirt_snapshot_description(checkpoint, &text, &error));
    is_text(text, "d");
    OK(xvirt_snapshot_vm(checkpoint, &text, &error));
    is_text(text, NULL);
    OK(xvirt_snapshot_parent(checkpoint, &text, &error));
    CHECK(text == NULL);
    OK(xvirt_snapshot_parent(snapshot, &text, &error));
    OK(xvirt_snapshot_uuid(checkpoint, &uuid, &error));
    is_text(text, uuid);
    uint64_t number = 0;
    OK(xvirt_snapshot_created(checkpoint, &number, &error));
    CHECK(number > 0);
    OK(xvirt_snapshot_size(checkpoint, NULL, &number, &error));
    CHECK(number > 0);
    XvirtVmConfig *config = NULL;
    OK(xvirt_snapshot_config(checkpoint, &config, &error));
    CHECK(strcmp(config->name, "first") == 0);
    OK(xvirt_stored_vm_uuid(of, &text, &error));
    XvirtSnapshotList *list = NULL;
    OK(xvirt_repository_snapshots(repository, text, NULL, &list, &error));
    CHECK(list->count == 2);
    xvirt_snapshot_list_free(list);
    xvirt_free(text);
    xvirt_vm_config_free(config);
    OK(xvirt_repository_all_snapshots(repository, NULL, &list, &error));
    CHECK(list->count == 2);
    xvirt_snapshot_list_free(list);
    OK(xvirt_repository_find_snapshot(repository, uuid, NULL, &found, &error));
    xvirt_snapshot_free(found);
    xvirt_free(uuid);
    OK(xvirt_repository_current_snapshot(repository, of, NULL, &found, &error));
    xvirt_snapshot_free(found);

    /* Back to the checkpoint, from which it goes on. */
    XvirtStoredVm *reverted = NULL;
    OK(xvirt_repository_revert(repository, checkpoint, NULL, &reverted, &error));
    bool suspended = false;
    OK(xvirt_stored_vm_is_suspended(reverted, &suspended, &error));
    CHECK(suspended);
    OK(xvirt_stored_vm_build(reverted, host, NULL, &vm, &error));
    CHECK(state_of(vm) == XVIRT_POWER_STATE_SUSPENDED);
    XvirtResumeReport *resumed = NULL;
    XvirtResume lazily = {.struct_size = sizeof lazily, .memory = XVIRT_MEMORY_LOADING_LAZY};
    OK(xvirt_vm_resume_with(vm, &lazily, NULL, &resumed, &error));
    CHECK(resumed->total_ns > 0 && resumed->loaded == XVIRT_MEMORY_LOADED_MAPPED);
    xvirt_resume_report_free(resumed);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_RUNNING);
    XvirtResumeTimes *times = NULL;
    OK(xvirt_vm_resume_times(vm, &times, &error));
    CHECK(times->running_ns > 0 && !times->has_resident);
    xvirt_resume_times_free(times);
    copy_running(repository, vm, host);
    XvirtSuspendReport *report = NULL;
    OK(xvirt_repository_suspend(repository, vm, NULL, &report, &error));
    xvirt_suspend_report_free(report);
    xvirt_vm_free(vm);
    xvirt_stored_vm_free(reverted);
    OK(xvirt_repository_vm(repository, "first", NULL, &reverted, &error));
    XvirtStoredVm *halted = NULL;
    OK(xvirt_repository_hard_shutdown(repository, reverted, NULL, &halted, &error));
    xvirt_stored_vm_free(halted);
    xvirt_stored_vm_free(reverted);
    OK(xvirt_repository_remove_snapshot(repository, snapshot, NULL, &error));
    OK(xvirt_repository_remove_snapshot(repository, checkpoint, NULL, &error));
    size_t merged = 0;
    OK(xvirt_repository_merge_removed(repository, NULL, &merged, &error));
    xvirt_snapshot_free(snapshot);
    xvirt_snapshot_free(checkpoint);
}

/* Copies, and what becomes of them. */
static void copies(const XvirtRepository *repository, const XvirtTemplate *template, const XvirtHost *host) {
    XvirtStoredVm *one = NULL, *two = NULL, *three = NULL, *flat = NULL;
    OK(xvirt_repository_instantiate(repository, template, "one", NULL, &one, &error));
    XvirtOriginal original = {.struct_size = sizeof original, .stored_vm = one};
    OK(xvirt_repository_clone_vm(repository, &original, "two", NULL, &two, &error));
    OK(xvirt_repository_copy_vm(repository, &original, "three", NULL, &three, &error));
    XvirtTemplateList *unused = NULL;
    FAILS(XVIRT_STATUS_IN_USE, xvirt_repository_remove_template(repository, template, NULL, &error));
    XvirtStoredVm *rebased = NULL;
    XvirtError *error = NULL;
    XvirtStatus status = xvirt_repository_rebase(repository, one, template, NULL, &rebased, &error);
    CHECK((status == XVIRT_STATUS_OK) == (rebased != NULL));
    xvirt_error_free(error);
    xvirt_stored_vm_free(rebased);
    OK(xvirt_repository_flatten(repository, two, NULL, &flat, &error));
    OK(xvirt_repository_collect(repository, XVIRT_UNUSED_ALL, NULL, &unused, &error));
    xvirt_template_list_free(unused);

    XvirtVm *vm = NULL;
    OK(xvirt_stored_vm_build(three, host, NULL, &vm, &error));
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    char *path = path_of("suspended");
    XvirtSuspendReport *report = NULL;
    OK(xvirt_vm_suspend(vm, path, NULL, &report, &error));
    CHECK(report->total_ns > 0);
    xvirt_suspend_report_free(report);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_SUSPENDED);
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    XvirtSuspendedVm *suspended = NULL;
    OK(xvirt_suspended_vm_open(path, NULL, &suspended, &error));
    char *text = NULL;
    OK(xvirt_suspended_vm_name(suspended, &text, &error));
    is_text(text, "three");
    OK(xvirt_suspended_vm_uuid(suspended, &text, &error));
    is_text(text, NULL);
    XvirtVmConfig *config = NULL;
    OK(xvirt_suspended_vm_config(suspended, &config, &error));
    CHECK(config != NULL);
    OK(xvirt_suspended_vm_build(suspended, host, NULL, &vm, &error));
    xvirt_vm_free(vm);
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_suspended_vm_build(suspended, host, NULL, &vm, &error));
    xvirt_suspended_vm_free(suspended);
    OK(xvirt_suspended_vm_open(path, NULL, &suspended, &error));
    OK(xvirt_suspended_vm_build_with(suspended, config, host, NULL, &vm, &error));
    CHECK(state_of(vm) == XVIRT_POWER_STATE_SUSPENDED);
    xvirt_suspended_vm_free(suspended);
    /* The same with an open file. */
    XvirtResumeReport *resumed = NULL;
    XvirtResume how = {.struct_size = sizeof how};
    OK(xvirt_vm_resume_with(vm, &how, NULL, &resumed, &error));
    xvirt_resume_report_free(resumed);
    FILE *file = tmpfile();
    CHECK(file != NULL);
    OK(xvirt_vm_suspend_to(vm, fileno(file), NULL, &report, &error));
    xvirt_suspend_report_free(report);
    FAILS(XVIRT_STATUS_INVALID_STATE, xvirt_vm_suspend_to(vm, fileno(file), NULL, &report, &error));
    xvirt_vm_free(vm);
    OK(xvirt_suspended_vm_from_descriptor(fileno(file), NULL, &suspended, &error));
    OK(xvirt_suspended_vm_build_with(suspended, config, host, NULL, &vm, &error));
    OK(xvirt_vm_hard_shutdown(vm, NULL, &error));
    xvirt_vm_free(vm);
    xvirt_suspended_vm_free(suspended);
    /* Its memory was discarded. */
    FAILS(XVIRT_STATUS_NOT_FOUND, xvirt_suspended_vm_from_descriptor(fileno(file), NULL, &suspended, &error));
    CHECK(fclose(file) == 0);
    xvirt_vm_config_free(config);
    free(path);

    const XvirtStoredVm *all[] = {one, flat, three};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        OK(xvirt_stored_vm_uuid(all[i], &text, &error));
        OK(xvirt_repository_remove_vm(repository, text, NULL, &error));
        xvirt_free(text);
    }
    xvirt_stored_vm_free(one);
    xvirt_stored_vm_free(two);
    xvirt_stored_vm_free(three);
    xvirt_stored_vm_free(flat);
}

int main(void) {
    XvirtHost *host = probe();
    char *folder = path_of("repository"), *kernel = path_of("kernel");
    const uint8_t *bytes = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    FILE *file = fopen(kernel, "wb");
    CHECK(file != NULL && fwrite(bytes, length, 1, file) == 1 && fclose(file) == 0);
    XvirtRepository *repository = NULL;
    OK(xvirt_repository_open(folder, NULL, &repository, &error));
    XvirtStoredVm *vm = stored(repository, kernel);
    look_at(repository, vm);
    change(repository);
    appliances(repository, vm);
    XvirtTemplate *template = templates(repository, vm);
    copies(repository, template, host);
    xvirt_template_free(template);
    /* Sealing has put a layer over its disk. */
    xvirt_stored_vm_free(vm);
    OK(xvirt_repository_vm(repository, "first", NULL, &vm, &error));
    snapshots(repository, vm, host);
    XvirtCheck *check = NULL;
    OK(xvirt_repository_check(repository, NULL, &check, &error));
    CHECK(check->problem_count == 0 && check->vms == 3);
    xvirt_check_free(check);
    xvirt_stored_vm_free(vm);
    bool removed = true;
    OK(xvirt_repository_remove_if_empty(repository, NULL, &removed, &error));
    CHECK(!removed);
    xvirt_repository_free(repository);
    char *other = path_of("empty");
    OK(xvirt_repository_open(other, NULL, &repository, &error));
    OK(xvirt_repository_remove_if_empty(repository, NULL, &removed, &error));
    CHECK(removed);
    xvirt_repository_free(repository);
    free(other);
    xvirt_host_free(host);
    free(folder);
    free(kernel);
    return 0;
}
