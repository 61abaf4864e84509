/* What errors say, and arguments that are not valid. */

#include "support/check.h"

static XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_PATH, .path = "/nowhere/kernel"};
static XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file};
static XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};

static XvirtVmConfig config(void) {
    return (XvirtVmConfig){.struct_size = sizeof(XvirtVmConfig), .name = "wrong", .boot = &boot};
}

/* The call fails because of what this names. */
static void names(const XvirtVmConfig *wrong, const char *member) {
    XvirtError *error = NULL;
    CHECK(xvirt_vm_config_check(wrong, NULL, &error) == XVIRT_STATUS_INVALID_CONFIG);
    if (strstr(xvirt_error_text(error), member) == NULL) {
        fprintf(stderr, "%s is not named: %s\n", member, xvirt_error_text(error));
        exit(1);
    }
    xvirt_error_free(error);
}

static void structs(void) {
    XvirtVmConfig good = config();
    OK(xvirt_vm_config_check(&good, NULL, &error));

    XvirtVmConfig wrong = config();
    wrong.struct_size = 0;
    names(&wrong, "vm_config.struct_size is 0");
    wrong = config();
    wrong.name = NULL;
    names(&wrong, "vm_config.name");
    wrong = config();
    wrong.name = "\xff\xfe";
    names(&wrong, "vm_config.name is not UTF-8");
    wrong = config();
    wrong.uuid = "not a uuid";
    names(&wrong, "vm_config.uuid");
    wrong = config();
    wrong.on_crash = (XvirtCrashAction)77;
    names(&wrong, "vm_config.on_crash: 77 is no XvirtCrashAction");
    wrong = config();
    wrong.disk_count = 3;
    names(&wrong, "vm_config.disks is NULL, but its count is 3");
    const XvirtDisk *none[] = {NULL};
    wrong.disks = none;
    wrong.disk_count = 1;
    names(&wrong, "vm_config.disks[0]");
    XvirtBoot unknown = {.struct_size = sizeof unknown, .kind = (XvirtBootKind)1234};
    wrong = config();
    wrong.boot = &unknown;
    names(&wrong, "vm_config.boot.kind: 1234");
    XvirtBoot empty = {.struct_size = sizeof empty, .kind = XVIRT_BOOT_KIND_KERNEL};
    wrong.boot = &empty;
    names(&wrong, "vm_config.boot.kernel is required");

    /* A program that was compiled with a header that had fewer members, and one whose had more. */
    XvirtVmConfig old = config();
    old.struct_size = offsetof(XvirtVmConfig, on_crash);
    old.on_crash = (XvirtCrashAction)77;
    old.boot = NULL;
    XvirtError *error = NULL;
    XvirtStatus status = xvirt_vm_config_check(&old, NULL, &error);
    CHECK(status == XVIRT_STATUS_OK || strstr(xvirt_error_text(error), "on_crash") == NULL);
    xvirt_error_free(error);
    struct {
        XvirtVmConfig known;
        uint64_t added;
    } later = {.known = config()};
    later.known.struct_size = sizeof later;
    OK(xvirt_vm_config_check(&later.known, NULL, &error));
    later.added = 1;
    names(&later.known, "does not know");
}

static void what_an_error_says(void) {
    XvirtBlockBackend *disk = (XvirtBlockBackend *)-1;
    XvirtError *error = NULL;
    XvirtStatus status = xvirt_disk_open("/nowhere/a.raw", XVIRT_IMAGE_FORMAT_RAW, XVIRT_ACCESS_READ_ONLY, NULL, &disk, &error);
    CHECK(status == XVIRT_STATUS_NOT_FOUND && disk == NULL);
    CHECK(xvirt_error_status(error) == XVIRT_STATUS_NOT_FOUND);
    CHECK(strstr(xvirt_error_message(error), "/nowhere/a.raw") != NULL);
    CHECK(strstr(xvirt_error_text(error), "No such file") != NULL);
    CHECK(xvirt_error_errno(error) == 2);
    CHECK(xvirt_error_cause(error) != NULL);
    const char *remedy = xvirt_error_remedy(error);
    CHECK(remedy == NULL || strstr(xvirt_error_text(error), remedy) != NULL);
    xvirt_error_free(error);

    CHECK(xvirt_error_status(NULL) == XVIRT_STATUS_OK && xvirt_error_message(NULL)[0] == 0);
    CHECK(xvirt_error_cause(NULL) == NULL && xvirt_error_remedy(NULL) == NULL && xvirt_error_errno(NULL) == 0);
    xvirt_error_free(NULL);
}

static void json(void) {
    const char *text = "{\"name\":\"j\",\"memory\":\"1GiB\",\"cpus\":{\"count\":2},"
                       "\"boot\":{\"kernel\":{\"kernel\":{\"path\":\"/k\"},\"command_line\":\"a b\"}}}";
    XvirtVmConfig *read = NULL;
    OK(xvirt_vm_config_from_json(text, &read, &error));
    CHECK(read->struct_size == sizeof *read && strcmp(read->name, "j") == 0 && read->memory == UINT64_C(1) << 30);
    CHECK(read->cpus->count == 2 && read->boot->kind == XVIRT_BOOT_KIND_KERNEL);
    CHECK(strcmp(read->boot->kernel->kernel->path, "/k") == 0 && read->disk_count == 0 && read->disks == NULL);
    CHECK(read->seccomp == XVIRT_TOGGLE_ON && strlen(read->uuid) == 36);
    OK(xvirt_vm_config_check(read, NULL, &error));
    size_t count = 0;
    OK(xvirt_vm_config_file_descriptors(read, &count, &error));
    CHECK(count > 3);

    /* The same, with one thing changed. */
    read->name = "k";
    char *written = NULL, *again = NULL;
    OK(xvirt_vm_config_to_json(read, &written, &error));
    XvirtVmConfig *back = NULL;
    OK(xvirt_vm_config_from_json(written, &back, &error));
    CHECK(strcmp(back->name, "k") == 0 && strcmp(back->uuid, read->uuid) == 0);
    OK(xvirt_vm_config_to_json(back, &again, &error));
    CHECK(strcmp(written, again) == 0);
    xvirt_free(written);
    xvirt_free(again);
    xvirt_vm_config_free(back);
    xvirt_vm_config_free(read);
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_vm_config_from_json("{\"name\":\"j\",\"colour\":1}", &read, &error));
    FAILS(XVIRT_STATUS_INVALID_CONFIG, xvirt_vm_config_from_json("{", &read, &error));
    CHECK(read == NULL);
}

int main(void) {
    CHECK(strlen(xvirt_version()) >= 5);
    structs();
    what_an_error_says();
    json();
    return 0;
}
