/* The life of a VM: boot, console, hot plug, limits, template, clones, appliance, checkpoint, migration to another process,
 * shutdown. It is repeated; descriptors, threads and memory are then as they were.
 *
 * XVIRT_TEST_ROUNDS is how often. */

#include "support/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (UINT64_C(4) << 20)
#define COMMAND_LINE "mode=hotplug,echo"

/* The path of this program. In valgrind, /proc/self/exe is another one. */
static const char *self;
static const XvirtCall minute = {.struct_size = sizeof minute, .timeout_ns = SECONDS(60)};

static void type(const XvirtVm *vm, const char *line) {
    XvirtConsole *console = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_write_all(console, (const uint8_t *)line, strlen(line), &minute, &error));
    xvirt_console_free(console);
}

/* A VM in the repository, which boots the kernel at a path. */
static XvirtStoredVm *create(const XvirtRepository *repository, const char *kernel_path) {
    XvirtStage *stage = NULL;
    char *path = NULL;
    OK(xvirt_repository_stage(repository, NULL, &stage, &error));
    OK(xvirt_stage_disk_path(stage, 0, XVIRT_IMAGE_FORMAT_RAW, &path, &error));
    OK(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    XvirtDiskSourceImage image = {.struct_size = sizeof image, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &image};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    const XvirtDisk *disks[] = {&disk};
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_PATH, .path = kernel_path};
    XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file, .command_line = COMMAND_LINE};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "scenario", .memory = UINT64_C(16) << 20,
                            .seccomp = seccomp(), .boot = &boot, .disks = disks, .disk_count = 1};
    XvirtStoredVm *vm = NULL;
    OK(xvirt_stage_commit(stage, &config, NULL, &vm, &error));
    xvirt_free(path);
    xvirt_stage_free(stage);
    return vm;
}

static void hot_plug(const XvirtVm *vm, XvirtConsoleReader *reader) {
    char *path = path_of("plugged");
    unlink(path);
    OK(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, SIZE, NULL, &error));
    XvirtDiskSourceImage image = {.struct_size = sizeof image, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &image};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    size_t position = 0;
    OK(xvirt_vm_plug_disk(vm, &disk, NULL, &position, &error));
    wait_for(reader, "plugged");
    XvirtRateLimit limit = {.struct_size = sizeof limit, .has_operations_per_second = true, .operations_per_second = 1000};
    OK(xvirt_vm_set_disk_limit(vm, position, &limit, NULL, &error));
    OK(xvirt_vm_unplug_disk(vm, position, &minute, &error));
    free(path);
}

static void appliance(const XvirtRepository *repository, const XvirtStoredVm *vm) {
    char *path = path_of("scenario.xva"), *uuid = NULL;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    XvirtExported *exported = NULL;
    OK(xvirt_xva_export_stored(vm, file, NULL, NULL, &exported, &error));
    xvirt_exported_free(exported);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtReport *report = NULL;
    OK(xvirt_xva_verify(file, NULL, NULL, &report, &error));
    CHECK(report->good);
    xvirt_report_free(report);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtImport options = {.struct_size = sizeof options, .name = "imported"};
    XvirtImported *imported = NULL;
    OK(xvirt_xva_import(file, repository, &options, NULL, &imported, &error));
    OK(xvirt_stored_vm_uuid(imported->vm, &uuid, &error));
    OK(xvirt_repository_remove_vm(repository, uuid, NULL, &error));
    xvirt_free(uuid);
    xvirt_imported_free(imported);
    close(file);
    free(path);
}

static const XvirtVmConfig *accept_vm(void *user_data, const XvirtArrivingVm *arriving, char *reason, size_t reason_size) {
    (void)user_data, (void)reason, (void)reason_size;
    return arriving->config;
}

/* The second process: receives the VM, talks to its guest, and shuts it down. */
static int receive(int socket) {
    XvirtHost *host = probe();
    XvirtChannel *channel = NULL;
    XvirtVm *vm = NULL;
    OK(xvirt_channel_use(&socket, 1, &channel, &error));
    close(socket);
    OK(xvirt_migrate_receive(channel, host, NULL, accept_vm, NULL, NULL, NULL, &minute, &vm, &error));
    XvirtConsoleReader *reader = reader_of(vm);
    type(vm, "ping\n");
    wait_for(reader, "pong");
    OK(xvirt_vm_clean_shutdown(vm, &minute, &error));
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    xvirt_channel_free(channel);
    xvirt_host_free(host);
    return 0;
}

static void migrate(const XvirtVm *vm) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        char number[16];
        fcntl(pair[1], F_SETFD, 0);
        snprintf(number, sizeof number, "%d", pair[1]);
        execl(self, self, "receive", number, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    XvirtChannel *channel = NULL;
    XvirtMigrationSummary *summary = NULL;
    OK(xvirt_channel_use(pair, 1, &channel, &error));
    close(pair[0]);
    OK(xvirt_vm_migrate(vm, channel, NULL, NULL, NULL, &minute, &summary, &error));
    CHECK(summary->report->bytes > 0);
    xvirt_migration_summary_free(summary);
    xvirt_channel_free(channel);
    int status = 1;
    CHECK(waitpid(process, &status, 0) == process && status == 0);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_HALTED);
}

/* A handle of a VM in a child of fork(2). */
static void forked(const XvirtVm *vm) {
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        XvirtError *error = NULL;
        bool refused = xvirt_vm_pause(vm, NULL, &error) == XVIRT_STATUS_INVALID_STATE;
        xvirt_error_free(error);
        execlp(refused ? "true" : "false", "scenario", (char *)NULL);
        _exit(127);
    }
    int status = 1;
    CHECK(waitpid(process, &status, 0) == process && status == 0);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_RUNNING);
}

static void round_of(const XvirtHost *host, const char *kernel) {
    char *folder = path_of("repository"), *uuid = NULL;
    XvirtRepository *repository = NULL;
    OK(xvirt_repository_open(folder, NULL, &repository, &error));
    free(folder);
    XvirtStoredVm *stored = create(repository, kernel), *clones[2] = {NULL, NULL};
    OK(xvirt_stored_vm_uuid(stored, &uuid, &error));

    XvirtSeal seal = {.struct_size = sizeof seal, .name = "scenario"};
    XvirtSource source = {.struct_size = sizeof source, .stored_vm = stored};
    XvirtTemplate *template = NULL;
    OK(xvirt_repository_seal(repository, &seal, &source, NULL, &template, &error));
    for (int i = 0; i < 2; i++)
        OK(xvirt_repository_instantiate(repository, template, i == 0 ? "one" : "two", NULL, &clones[i], &error));
    appliance(repository, clones[0]);

    XvirtVm *vm = NULL;
    OK(xvirt_stored_vm_build(clones[1], host, NULL, &vm, &error));
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    type(vm, "ping\n");
    wait_for(reader, "pong");
    hot_plug(vm, reader);
    forked(vm);
    XvirtSubject subject = {.struct_size = sizeof subject, .vm = vm};
    XvirtNewSnapshot with_name = {.struct_size = sizeof with_name, .name = "checkpoint"};
    XvirtSnapshot *checkpoint = NULL;
    OK(xvirt_repository_checkpoint(repository, &subject, &with_name, NULL, &checkpoint, &error));
    OK(xvirt_vm_hard_shutdown(vm, NULL, &error));
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);

    XvirtStoredVm *reverted = NULL;
    OK(xvirt_repository_revert(repository, checkpoint, NULL, &reverted, &error));
    OK(xvirt_stored_vm_build(reverted, host, NULL, &vm, &error));
    XvirtResumeReport *resumed = NULL;
    OK(xvirt_vm_resume_with(vm, XVIRT_ELAPSED_TIME_COUNTED, NULL, &resumed, &error));
    xvirt_resume_report_free(resumed);
    reader = reader_of(vm);
    type(vm, "ping\n");
    wait_for(reader, "pong");
    xvirt_console_reader_free(reader);
    migrate(vm);
    xvirt_vm_free(vm);

    OK(xvirt_repository_remove_snapshot(repository, checkpoint, NULL, &error));
    xvirt_snapshot_free(checkpoint);
    xvirt_stored_vm_free(reverted);
    OK(xvirt_repository_remove_vm(repository, uuid, NULL, &error));
    xvirt_free(uuid);
    for (int i = 0; i < 2; i++) {
        OK(xvirt_stored_vm_uuid(clones[i], &uuid, &error));
        OK(xvirt_repository_remove_vm(repository, uuid, NULL, &error));
        xvirt_free(uuid);
        xvirt_stored_vm_free(clones[i]);
    }
    OK(xvirt_repository_remove_template(repository, template, NULL, &error));
    xvirt_template_free(template);
    xvirt_stored_vm_free(stored);
    xvirt_repository_free(repository);
}

static unsigned entries(const char *folder) {
    unsigned count = 0;
    DIR *opened = opendir(folder);
    CHECK(opened != NULL);
    while (readdir(opened) != NULL)
        count++;
    closedir(opened);
    return count;
}

/* The resident memory in KiB, without what the allocator keeps for later. */
static unsigned long resident(void) {
    malloc_trim(0);
    char line[256];
    unsigned long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %lu", &found) == 1)
            break;
    fclose(file);
    return found;
}

int main(int count, char **arguments) {
    self = arguments[0];
    if (count == 3 && strcmp(arguments[1], "receive") == 0)
        return receive(atoi(arguments[2]));
    /* Each thread's arena of malloc keeps what was freed in it, which says nothing about leaks. */
    mallopt(M_ARENA_MAX, 1);
    int rounds = getenv("XVIRT_TEST_ROUNDS") ? atoi(getenv("XVIRT_TEST_ROUNDS")) : 3;
    char *kernel = path_of("kernel");
    const uint8_t *bytes = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    FILE *file = fopen(kernel, "wb");
    CHECK(file != NULL && fwrite(bytes, length, 1, file) == 1 && fclose(file) == 0);

    XvirtHost *host = probe();
    /* What is allocated once. */
    round_of(host, kernel);
    unsigned descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    unsigned long memory = resident();
    for (int i = 0; i < rounds; i++)
        round_of(host, kernel);
    printf("%d rounds: %lu KiB of memory before, %lu KiB after\n", rounds, memory, resident());
    CHECK(entries("/proc/self/fd") == descriptors);
    CHECK(entries("/proc/self/task") == threads);
    CHECK(resident() < memory + 8192);
    xvirt_host_free(host);
    free(kernel);
    return 0;
}
