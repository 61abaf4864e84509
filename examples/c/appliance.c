/* A tool for virtual appliances: lists, verifies, extracts and imports .xva files, with a progress bar.
 *
 * usage: appliance list FILE
 *        appliance verify FILE
 *        appliance extract FILE FOLDER
 *        appliance import FILE REPOSITORY
 *        appliance export REPOSITORY VM FILE
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xvirt.h>

static void check(XvirtStatus status, XvirtError **error) {
    if (status == XVIRT_STATUS_OK)
        return;
    fprintf(stderr, "appliance: %s\n", xvirt_error_message(*error));
    for (const XvirtError *cause = xvirt_error_cause(*error); cause != NULL; cause = xvirt_error_cause(cause))
        fprintf(stderr, "  because: %s\n", xvirt_error_message(cause));
    if (xvirt_error_remedy(*error) != NULL)
        fprintf(stderr, "  remedy: %s\n", xvirt_error_remedy(*error));
    xvirt_error_free(*error);
    exit(1);
}

static int opened(const char *path, int flags) {
    int file = open(path, flags | O_CLOEXEC, 0666);
    if (file < 0) {
        perror(path);
        exit(1);
    }
    return file;
}

/* Called on this thread, now and then. It returns whether to go on. */
static bool show_progress(void *user_data, uint64_t done, uint64_t total) {
    (void)user_data;
    if (total > 0)
        fprintf(stderr, "\r%3u%%", (unsigned)(100.0 * (double)done / (double)total));
    else
        fprintf(stderr, "\r%llu MiB", (unsigned long long)done >> 20);
    return true;
}

static void list(int input) {
    XvirtError *error = NULL;
    XvirtInspected *inspected = NULL;
    check(xvirt_xva_inspect(input, NULL, NULL, &inspected, &error), &error);
    const XvirtAppliance *appliance = inspected->appliance;
    printf("%s: %u vCPUs, %llu MiB of memory\n", appliance->name, (unsigned)appliance->vcpus,
           (unsigned long long)appliance->memory >> 20);
    for (size_t i = 0; i < appliance->disk_count; i++)
        printf("  disk %s: %llu MiB\n", appliance->disks[i]->name, (unsigned long long)appliance->disks[i]->size >> 20);
    for (size_t i = 0; i < appliance->nic_count; i++)
        printf("  NIC %s on %s\n", appliance->nics[i]->mac, appliance->nics[i]->network);
    xvirt_inspected_free(inspected);
}

static int verify(int input, const XvirtCall *call) {
    XvirtError *error = NULL;
    XvirtReport *report = NULL;
    check(xvirt_xva_verify(input, NULL, call, &report, &error), &error);
    fputs("\n", stderr);
    for (size_t i = 0; i < report->problem_count; i++)
        printf("%s: %s\n", report->problems[i]->serious ? "damage" : "remark", report->problems[i]->what);
    puts(report->good ? "good" : "damaged");
    int result = report->good ? 0 : 1;
    xvirt_report_free(report);
    return result;
}

static void extract(int input, const char *folder, const XvirtCall *call) {
    XvirtError *error = NULL;
    XvirtExtracted *extracted = NULL;
    check(xvirt_xva_extract(input, folder, NULL, call, &extracted, &error), &error);
    fputs("\n", stderr);
    for (size_t i = 0; i < extracted->disk_count; i++)
        puts(extracted->disks[i]);
    xvirt_extracted_free(extracted);
}

static void import(int input, const XvirtRepository *repository, const XvirtCall *call) {
    XvirtError *error = NULL;
    XvirtImported *imported = NULL;
    char *uuid = NULL;
    check(xvirt_xva_import(input, repository, NULL, call, &imported, &error), &error);
    fputs("\n", stderr);
    for (size_t i = 0; i < imported->remark_count; i++)
        printf("remark: %s\n", imported->remarks[i]);
    check(xvirt_stored_vm_uuid(imported->vm, &uuid, &error), &error);
    puts(uuid);
    xvirt_free(uuid);
    xvirt_imported_free(imported);
}

static void export(const XvirtRepository *repository, const char *name, const char *path, const XvirtCall *call) {
    XvirtError *error = NULL;
    XvirtStoredVm *vm = NULL;
    XvirtExported *exported = NULL;
    check(xvirt_repository_vm(repository, name, NULL, &vm, &error), &error);
    int output = opened(path, O_WRONLY | O_CREAT | O_EXCL);
    XvirtExport options = {.struct_size = sizeof options, .compression = XVIRT_COMPRESSION_ZSTD};
    check(xvirt_xva_export_stored(vm, output, &options, call, &exported, &error), &error);
    fprintf(stderr, "\n%llu bytes\n", (unsigned long long)exported->size);
    xvirt_exported_free(exported);
    xvirt_stored_vm_free(vm);
    close(output);
}

static XvirtRepository *repository_at(const char *folder) {
    XvirtError *error = NULL;
    XvirtRepository *repository = NULL;
    check(xvirt_repository_open(folder, NULL, &repository, &error), &error);
    return repository;
}

/* Without arguments, an appliance of an empty disk is made, and all of it tried on it. */
static int demonstrate(const XvirtCall *call) {
    XvirtError *error = NULL;
    const char *temporary = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char folder[4096], path[5000], where[5000];
    snprintf(folder, sizeof folder, "%s/appliance-XXXXXX", temporary);
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/disk.raw", folder);
    check(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, 1 << 20, NULL, &error), &error);
    XvirtDiskSourceImage image = {.struct_size = sizeof image, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &image};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    const XvirtDisk *disks[] = {&disk};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "demo", .disks = disks, .disk_count = 1};
    snprintf(where, sizeof where, "%s/demo.xva", folder);
    int file = opened(where, O_RDWR | O_CREAT | O_EXCL);
    XvirtExported *exported = NULL;
    check(xvirt_xva_export(&config, file, NULL, call, &exported, &error), &error);
    xvirt_exported_free(exported);
    lseek(file, 0, SEEK_SET);
    list(file);
    lseek(file, 0, SEEK_SET);
    int result = verify(file, call);
    lseek(file, 0, SEEK_SET);
    snprintf(where, sizeof where, "%s/extracted", folder);
    extract(file, where, call);
    lseek(file, 0, SEEK_SET);
    snprintf(where, sizeof where, "%s/repository", folder);
    XvirtRepository *repository = repository_at(where);
    import(file, repository, call);
    snprintf(where, sizeof where, "%s/again.xva", folder);
    export(repository, "demo", where, call);
    xvirt_repository_free(repository);
    close(file);
    printf("see %s\n", folder);
    return result;
}

int main(int count, char **arguments) {
    XvirtCall call = {.struct_size = sizeof call, .progress = show_progress};
    if (count == 1)
        return demonstrate(&call);
    const char *verb = arguments[1];
    if (count == 3 && strcmp(verb, "list") == 0) {
        list(opened(arguments[2], O_RDONLY));
    } else if (count == 3 && strcmp(verb, "verify") == 0) {
        return verify(opened(arguments[2], O_RDONLY), &call);
    } else if (count == 4 && strcmp(verb, "extract") == 0) {
        extract(opened(arguments[2], O_RDONLY), arguments[3], &call);
    } else if (count == 4 && strcmp(verb, "import") == 0) {
        XvirtRepository *repository = repository_at(arguments[3]);
        import(opened(arguments[2], O_RDONLY), repository, &call);
        xvirt_repository_free(repository);
    } else if (count == 5 && strcmp(verb, "export") == 0) {
        XvirtRepository *repository = repository_at(arguments[2]);
        export(repository, arguments[3], arguments[4], &call);
        xvirt_repository_free(repository);
    } else {
        fprintf(stderr, "usage: appliance list|verify FILE\n       appliance extract FILE FOLDER\n"
                        "       appliance import FILE REPOSITORY\n       appliance export REPOSITORY VM FILE\n");
        return 2;
    }
    return 0;
}
