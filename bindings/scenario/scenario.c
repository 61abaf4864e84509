/* The scenario in C. README.md describes it. */

#include "support/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK (UINT64_C(1) << 20)
#define EVENTS 4

/* The path of this program. In valgrind, /proc/self/exe is another one. */
static const char *self;
static const XvirtCall patience = {.struct_size = sizeof patience, .timeout_ns = SECONDS(120)};

/* The path of a file in a folder. The caller frees it. */
static char *in_folder(const char *folder, const char *name) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static const char *state_name(const XvirtVm *vm) {
    switch (state_of(vm)) {
    case XVIRT_POWER_STATE_RUNNING:
        return "running";
    case XVIRT_POWER_STATE_PAUSED:
        return "paused";
    case XVIRT_POWER_STATE_SUSPENDED:
        return "suspended";
    case XVIRT_POWER_STATE_HALTED:
        return "halted";
    default:
        return "another state";
    }
}

static const char *event_name(XvirtEventKind kind) {
    switch (kind) {
    case XVIRT_EVENT_KIND_STARTED:
        return "started";
    case XVIRT_EVENT_KIND_DISK_PLUGGED:
        return "disk_plugged";
    case XVIRT_EVENT_KIND_DISK_UNPLUGGED:
        return "disk_unplugged";
    case XVIRT_EVENT_KIND_HARD_SHUTDOWN:
        return "hard_shutdown";
    default:
        return "another event";
    }
}

static const char *boolean(bool value) {
    return value ? "true" : "false";
}

static char *name_of(const XvirtStoredVm *stored) {
    char *name = NULL;
    OK(xvirt_stored_vm_name(stored, &name, &error));
    return name;
}

/* A VM in the repository. */
static XvirtStoredVm *create(const XvirtRepository *repository, const char *folder) {
    char *kernel_path = in_folder(folder, "kernel"), *disk_path = NULL;
    const uint8_t *image = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&image, &length, &error));
    FILE *written = fopen(kernel_path, "wb");
    CHECK(written != NULL && fwrite(image, length, 1, written) == 1 && fclose(written) == 0);

    XvirtStage *stage = NULL;
    OK(xvirt_repository_stage(repository, NULL, &stage, &error));
    OK(xvirt_stage_disk_path(stage, 0, XVIRT_IMAGE_FORMAT_RAW, &disk_path, &error));
    OK(xvirt_disk_create(disk_path, XVIRT_IMAGE_FORMAT_RAW, DISK, NULL, &error));
    XvirtDiskSourceImage raw = {.struct_size = sizeof raw, .path = disk_path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &raw};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    const XvirtDisk *disks[] = {&disk};
    XvirtBootFile file = {.struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_PATH, .path = kernel_path};
    XvirtBootKernel kernel = {
        .struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=hello,hotplug,echo"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {.struct_size = sizeof config, .name = "scenario", .memory = UINT64_C(64) << 20,
                            .seccomp = seccomp(), .boot = &boot, .disks = disks, .disk_count = 1};
    XvirtStoredVm *stored = NULL;
    OK(xvirt_stage_commit(stage, &config, NULL, &stored, &error));
    xvirt_stage_free(stage);
    xvirt_free(disk_path);
    free(kernel_path);

    XvirtStoredVmList *vms = NULL;
    OK(xvirt_repository_vms(repository, NULL, &vms, &error));
    char *name = name_of(stored);
    printf("[\"create\", \"%s\", [", name);
    xvirt_free(name);
    for (size_t i = 0; i < vms->count; i++) {
        name = name_of(vms->items[i]);
        printf("%s\"%s\"", i == 0 ? "" : ", ", name);
        xvirt_free(name);
    }
    puts("]]");
    xvirt_stored_vm_list_free(vms);
    return stored;
}

static XvirtConsoleReader *reader_at_end(const XvirtVm *vm) {
    XvirtConsole *console = NULL;
    XvirtConsoleReader *reader = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_reader_at_end(console, &reader, &error));
    xvirt_console_free(console);
    return reader;
}

/* What the guest answers to `ping`. The caller frees it. */
static char *answer_of(const XvirtVm *vm) {
    XvirtConsole *console = NULL;
    char *line = NULL;
    XvirtConsoleReader *reader = reader_at_end(vm);
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_write_all(console, (const uint8_t *)"ping\n", 5, &patience, &error));
    OK(xvirt_console_reader_wait_for(reader, "pong", &patience, &line, &error));
    xvirt_console_free(console);
    xvirt_console_reader_free(reader);
    const char *start = line + strspn(line, " \r\n");
    char *answer = strndup(start, strcspn(start, " \r\n"));
    CHECK(answer != NULL);
    xvirt_free(line);
    return answer;
}

static void start(const XvirtVm *vm) {
    OK(xvirt_vm_start(vm, NULL, &error));
    XvirtConsoleReader *reader = reader_of(vm);
    wait_for(reader, "echo: ready");
    xvirt_console_reader_free(reader);
}

static void boot(const XvirtVm *vm) {
    start(vm);
    const char *state = state_name(vm);
    char *answer = answer_of(vm);
    printf("[\"boot\", \"%s\", \"%s\"]\n", state, answer);
    free(answer);
}

static void print_positions(const XvirtSizeList *positions) {
    for (size_t i = 0; i < positions->count; i++)
        printf("%s%zu", i == 0 ? "" : ", ", positions->items[i]);
}

static void hot_plug(const XvirtVm *vm, const char *folder) {
    char *path = in_folder(folder, "extra");
    OK(xvirt_disk_create(path, XVIRT_IMAGE_FORMAT_RAW, DISK, NULL, &error));
    XvirtDiskSourceImage raw = {.struct_size = sizeof raw, .path = path, .format = XVIRT_IMAGE_FORMAT_RAW};
    XvirtDiskSource source = {.struct_size = sizeof source, .kind = XVIRT_DISK_SOURCE_KIND_IMAGE, .image = &raw};
    XvirtDisk disk = {.struct_size = sizeof disk, .source = &source};
    XvirtConsoleReader *reader = reader_at_end(vm);
    size_t position = 0;
    OK(xvirt_vm_plug_disk(vm, &disk, NULL, &position, &error));
    wait_for(reader, "plugged");
    xvirt_console_reader_free(reader);
    XvirtSizeList *with = NULL, *without = NULL;
    OK(xvirt_vm_disk_positions(vm, &with, &error));
    OK(xvirt_vm_unplug_disk(vm, position, &patience, &error));
    OK(xvirt_vm_disk_positions(vm, &without, &error));
    printf("[\"hot plug\", %zu, [", position);
    print_positions(with);
    fputs("], [", stdout);
    print_positions(without);
    puts("]]");
    xvirt_size_list_free(with);
    xvirt_size_list_free(without);
    free(path);
}

static void limits(const XvirtVm *vm) {
    XvirtRateLimit rate = {.struct_size = sizeof rate, .has_operations_per_second = true, .operations_per_second = 100,
                           .has_bytes_per_second = true, .bytes_per_second = UINT64_C(1) << 20};
    OK(xvirt_vm_set_disk_limit(vm, 0, &rate, NULL, &error));
    XvirtCpuLimit cap = {.struct_size = sizeof cap, .cap = 50};
    OK(xvirt_vm_set_cpu_limit(vm, &cap, NULL, &error));
    XvirtRateLimit *disk = NULL;
    XvirtCpuLimit *cpu = NULL;
    OK(xvirt_vm_disk_limit(vm, 0, NULL, &disk, &error));
    OK(xvirt_vm_cpu_limit(vm, NULL, &cpu, &error));
    CHECK(disk->has_operations_per_second && disk->has_bytes_per_second);
    printf("[\"limits\", %" PRIu64 ", %" PRIu64 ", %" PRIu32 "]\n", disk->operations_per_second, disk->bytes_per_second,
           cpu->cap);
    xvirt_rate_limit_free(disk);
    xvirt_cpu_limit_free(cpu);
}

static XvirtSnapshot *take_checkpoint(const XvirtRepository *repository, const XvirtVm *vm) {
    XvirtSubject subject = {.struct_size = sizeof subject, .vm = vm};
    XvirtNewSnapshot settings = {.struct_size = sizeof settings, .name = "before"};
    XvirtSnapshot *checkpoint = NULL;
    char *name = NULL;
    bool has_memory = false;
    OK(xvirt_repository_checkpoint(repository, &subject, &settings, NULL, &checkpoint, &error));
    OK(xvirt_snapshot_name(checkpoint, &name, &error));
    OK(xvirt_snapshot_has_memory(checkpoint, &has_memory, &error));
    printf("[\"checkpoint\", \"%s\", %s]\n", name, boolean(has_memory));
    xvirt_free(name);
    return checkpoint;
}

static void read_events(const XvirtEventReceiver *events, XvirtEventKind kinds[EVENTS]) {
    for (int i = 0; i < EVENTS; i++) {
        XvirtEventRecord *record = NULL;
        OK(xvirt_event_receiver_next(events, &patience, &record, &error));
        kinds[i] = record->event->kind;
        xvirt_event_record_free(record);
    }
}

static XvirtStoredVm *revert(const XvirtRepository *repository, const XvirtSnapshot *checkpoint, const XvirtHost *host) {
    XvirtStoredVm *reverted = NULL, *stored = NULL;
    XvirtVm *vm = NULL;
    XvirtResumeReport *report = NULL;
    OK(xvirt_repository_revert(repository, checkpoint, NULL, &reverted, &error));
    OK(xvirt_stored_vm_build(reverted, host, NULL, &vm, &error));
    xvirt_stored_vm_free(reverted);
    const char *before = state_name(vm);
    XvirtResume how = {.struct_size = sizeof how, .time = XVIRT_ELAPSED_TIME_COUNTED};
    OK(xvirt_vm_resume_with(vm, &how, NULL, &report, &error));
    xvirt_resume_report_free(report);
    const char *after = state_name(vm);
    char *answer = answer_of(vm);
    printf("[\"revert\", \"%s\", \"%s\", \"%s\"]\n", before, after, answer);
    free(answer);
    OK(xvirt_vm_clean_shutdown(vm, &patience, &error));
    printf("[\"shut down\", \"%s\"]\n", state_name(vm));
    xvirt_vm_free(vm);
    OK(xvirt_repository_vm(repository, "scenario", NULL, &stored, &error));
    return stored;
}

static void make_clones(const XvirtRepository *repository, const XvirtStoredVm *stored, XvirtStoredVm *clones[2]) {
    XvirtSeal seal = {.struct_size = sizeof seal, .name = "base"};
    XvirtSource source = {.struct_size = sizeof source, .stored_vm = stored};
    XvirtTemplate *template = NULL;
    XvirtTemplateDiskList *disks = NULL;
    char *name = NULL, *version = NULL;
    OK(xvirt_repository_seal(repository, &seal, &source, NULL, &template, &error));
    OK(xvirt_repository_instantiate(repository, template, "first", NULL, &clones[0], &error));
    OK(xvirt_repository_instantiate(repository, template, "second", NULL, &clones[1], &error));
    OK(xvirt_template_name(template, &name, &error));
    OK(xvirt_template_version(template, &version, &error));
    OK(xvirt_template_disks(template, &disks, &error));
    printf("[\"template\", \"%s\", \"%s\", [", name, version);
    for (size_t i = 0; i < disks->count; i++)
        printf("%s%" PRIu64, i == 0 ? "" : ", ", disks->items[i]->size);
    char *first = name_of(clones[0]), *second = name_of(clones[1]);
    printf("], [\"%s\", \"%s\"]]\n", first, second);
    xvirt_free(first);
    xvirt_free(second);
    xvirt_free(name);
    xvirt_free(version);
    xvirt_template_disk_list_free(disks);
    xvirt_template_free(template);
}

static void archive(const XvirtRepository *repository, const XvirtStoredVm *clone, const char *folder) {
    char *path = in_folder(folder, "first.xva");
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    XvirtExported *exported = NULL;
    OK(xvirt_xva_export_stored(clone, file, NULL, NULL, &exported, &error));
    struct stat status;
    CHECK(fstat(file, &status) == 0 && lseek(file, 0, SEEK_SET) == 0);
    XvirtReport *report = NULL;
    OK(xvirt_xva_verify(file, NULL, NULL, &report, &error));
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    XvirtImport settings = {.struct_size = sizeof settings, .name = "third"};
    XvirtImported *imported = NULL;
    OK(xvirt_xva_import(file, repository, &settings, NULL, &imported, &error));
    printf("[\"archive\", %s, [", boolean(exported->size == (uint64_t)status.st_size));
    for (size_t i = 0; i < report->disk_count; i++)
        printf("%s%s", i == 0 ? "" : ", ", boolean(report->disks[i]->whole));
    char *name = name_of(imported->vm);
    printf("], \"%s\"]\n", name);
    xvirt_free(name);
    xvirt_exported_free(exported);
    xvirt_report_free(report);
    xvirt_imported_free(imported);
    close(file);
    free(path);
}

/* Starts the second process. Its standard output is put into `said`. */
static pid_t spawn_target(const char *socket_path, FILE **said) {
    int output[2];
    CHECK(pipe2(output, O_CLOEXEC) == 0);
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        dup2(output[1], STDOUT_FILENO);
        execl(self, self, "receive", socket_path, (char *)NULL);
        _exit(127);
    }
    close(output[1]);
    *said = fdopen(output[0], "r");
    CHECK(*said != NULL);
    return process;
}

static void migrate(const XvirtStoredVm *clone, const XvirtHost *host, const char *folder) {
    char *path = in_folder(folder, "socket"), line[256], answer[64], there[64];
    FILE *said = NULL;
    /* What was printed before must not be printed by the other process as well. */
    fflush(stdout);
    pid_t process = spawn_target(path, &said);
    CHECK(fgets(line, sizeof line, said) != NULL && strcmp(line, "listening\n") == 0);
    XvirtVm *vm = NULL;
    XvirtChannel *channel = NULL;
    XvirtMigrationSummary *summary = NULL;
    XvirtHalted *halted = NULL;
    OK(xvirt_stored_vm_build(clone, host, NULL, &vm, &error));
    start(vm);
    OK(xvirt_channel_connect_unix(path, &channel, &error));
    OK(xvirt_vm_migrate(vm, channel, NULL, NULL, NULL, &patience, &summary, &error));
    xvirt_migration_summary_free(summary);
    xvirt_channel_free(channel);
    OK(xvirt_vm_halted(vm, &halted, &error));
    CHECK(halted != NULL);
    bool migrated = halted->cause->kind == XVIRT_HALT_CAUSE_KIND_MIGRATED;
    xvirt_halted_free(halted);
    CHECK(fgets(line, sizeof line, said) != NULL);
    CHECK(sscanf(line, "[\"%63[^\"]\", \"%63[^\"]\"]", answer, there) == 2);
    fclose(said);
    int status = 1;
    CHECK(waitpid(process, &status, 0) == process && status == 0);
    printf("[\"migrate\", \"%s\", \"%s\", \"%s\", \"%s\"]\n", state_name(vm), migrated ? "migrated" : "another cause", answer,
           there);
    xvirt_vm_free(vm);
    free(path);
}

static const XvirtVmConfig *accept_vm(void *user_data, const XvirtArrivingVm *arriving, char *reason, size_t reason_size) {
    (void)user_data;
    if (arriving->config == NULL)
        snprintf(reason, reason_size, "it has no configuration");
    return arriving->config;
}

/* The second process. */
static void receive(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listening >= 0 && bind(listening, (struct sockaddr *)&address, sizeof address) == 0 && listen(listening, 8) == 0);
    puts("listening");
    fflush(stdout);
    XvirtHost *host = probe();
    XvirtChannel *channel = NULL;
    XvirtVm *vm = NULL;
    OK(xvirt_channel_listen(listening, &channel, &error));
    close(listening);
    OK(xvirt_migrate_receive(channel, host, NULL, accept_vm, NULL, NULL, NULL, &patience, &vm, &error));
    xvirt_channel_free(channel);
    char *answer = answer_of(vm);
    OK(xvirt_vm_clean_shutdown(vm, &patience, &error));
    printf("[\"%s\", \"%s\"]\n", answer, state_name(vm));
    free(answer);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
}

static void run(const char *folder) {
    XvirtHost *host = probe();
    char *path = in_folder(folder, "repository");
    XvirtRepository *repository = NULL;
    OK(xvirt_repository_open(path, NULL, &repository, &error));
    free(path);
    XvirtStoredVm *stored = create(repository, folder), *clones[2] = {NULL, NULL};
    XvirtVm *vm = NULL;
    XvirtEventReceiver *events = NULL;
    XvirtEventKind kinds[EVENTS];
    OK(xvirt_stored_vm_build(stored, host, NULL, &vm, &error));
    xvirt_stored_vm_free(stored);
    OK(xvirt_vm_events(vm, &events, &error));
    boot(vm);
    hot_plug(vm, folder);
    limits(vm);
    XvirtSnapshot *checkpoint = take_checkpoint(repository, vm);
    OK(xvirt_vm_hard_shutdown(vm, NULL, &error));
    read_events(events, kinds);
    xvirt_event_receiver_free(events);
    xvirt_vm_free(vm);
    stored = revert(repository, checkpoint, host);
    xvirt_snapshot_free(checkpoint);
    make_clones(repository, stored, clones);
    xvirt_stored_vm_free(stored);
    archive(repository, clones[0], folder);
    migrate(clones[1], host, folder);
    xvirt_stored_vm_free(clones[0]);
    xvirt_stored_vm_free(clones[1]);
    fputs("[\"events\", [", stdout);
    for (int i = 0; i < EVENTS; i++)
        printf("%s\"%s\"", i == 0 ? "" : ", ", event_name(kinds[i]));
    puts("]]");
    xvirt_repository_free(repository);
    xvirt_host_free(host);
}

/* What a process has that a leak would add to. */
struct held {
    unsigned descriptors, threads;
    /* The resident memory in KiB, without what the allocator keeps for later. */
    unsigned long memory;
};

static unsigned entries(const char *folder) {
    unsigned count = 0;
    DIR *opened = opendir(folder);
    CHECK(opened != NULL);
    while (readdir(opened) != NULL)
        count++;
    closedir(opened);
    return count;
}

static struct held held(void) {
    struct held now = {entries("/proc/self/fd"), entries("/proc/self/task"), 0};
    char line[256];
    malloc_trim(0);
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (now.memory == 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %lu", &now.memory) == 1)
            break;
    fclose(file);
    return now;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void one_round(const char *folder) {
    char *path = in_folder(folder, "round");
    CHECK(mkdir(path, 0700) == 0);
    run(path);
    CHECK(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    free(path);
}

/* Repeats the scenario. Descriptors, threads and memory are then as they were after the first round, which allocates what
 * is allocated once. */
static void rounds(const char *folder, int count) {
    /* Each thread's arena of malloc keeps what was freed in it, which says nothing about leaks. */
    mallopt(M_ARENA_MAX, 1);
    one_round(folder);
    struct held before = held();
    for (int i = 1; i < count; i++)
        one_round(folder);
    struct held after = held();
    fprintf(stderr, "after 1 and %d rounds: %u and %u descriptors, %u and %u threads, %lu and %lu KiB of memory\n", count,
            before.descriptors, after.descriptors, before.threads, after.threads, before.memory, after.memory);
    CHECK(after.descriptors == before.descriptors && after.threads == before.threads);
    CHECK(after.memory < before.memory + 8192);
}

int main(int count, char **arguments) {
    self = arguments[0];
    if (count == 3 && strcmp(arguments[1], "receive") == 0) {
        receive(arguments[2]);
    } else if (count == 4 && strcmp(arguments[1], "rounds") == 0) {
        rounds(arguments[3], atoi(arguments[2]));
    } else if (count == 2) {
        run(arguments[1]);
    } else {
        fprintf(stderr, "usage: scenario FOLDER\n       scenario rounds COUNT FOLDER\n");
        return 2;
    }
    return 0;
}
