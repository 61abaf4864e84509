/* What the generated program of random calls draws its arguments from. */

#ifndef HOSTILE_H
#define HOSTILE_H

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOMS 4096
/* How many zeroes follow each struct. */
#define LARGER 4096

static XvirtHost *host;
static XvirtVm *vm;
static XvirtRepository *repository;
static XvirtConsole *console;
static XvirtConsoleReader *reader;
static XvirtEventReceiver *events;
static XvirtGuestAgent *agent;
static XvirtBlockBackend *disk;
static XvirtStoredVm *stored;
static void *rooms[ROOMS];
static size_t used;

/* True in one of so many cases. */
static inline bool chance(int of) {
    return rand() % of == 0;
}

/* Memory until the end of the call; AddressSanitizer and valgrind see what is read beyond it. */
static inline void *room(size_t size) {
    CHECK(used < ROOMS);
    void *made = calloc(1, size);
    CHECK(made != NULL);
    return rooms[used++] = made;
}

static inline void forget(void) {
    while (used > 0)
        free(rooms[--used]);
}

static inline uint64_t number(void) {
    static const uint64_t numbers[] = {0, 1, 2, 3, 7, 511, 512, 4096, 65535, 65536, 1 << 20, INT32_MAX, UINT32_MAX,
                                       INT64_MAX, UINT64_MAX, UINT64_MAX - 511, UINT64_C(1) << 62};
    return numbers[(size_t)rand() % (sizeof numbers / sizeof *numbers)];
}

/* The size of a struct: mostly right, or that of an older or newer header, or nonsense. */
static inline size_t size_of(size_t right) {
    static const size_t wrong[] = {0, 1, 7, 8, 12, 64, LARGER, 65537, SIZE_MAX};
    return chance(30) ? wrong[(size_t)rand() % (sizeof wrong / sizeof *wrong)] : right;
}

/* Counts that are true for all lists and bytes below. */
static inline size_t counted(void) {
    return (size_t)rand() % 3;
}

static inline double real(void) {
    static const double numbers[] = {0, -1, 50, 99.9, 100, 1e300, NAN, INFINITY};
    return numbers[rand() % 8];
}

static inline int descriptor(void) {
    static const int numbers[] = {-1, 0x7fffffff, 9999, -77};
    return numbers[rand() % 4];
}

static inline const char *text(void) {
    static char long_text[5000];
    static const char *const texts[] = {"", "a", "name with spaces", "\xff\xfe\x80", "../../x", "/nowhere/at/all", "\n\t",
                                        "00000000-0000-4000-8000-000000000001", "02:00:00:00:00:01", "192.0.2.1/24", "fe80::1",
                                        "{\"name\":1}", "%s%n", "mode=echo"};
    if (chance(10))
        return NULL;
    if (chance(30)) {
        memset(long_text, 'x', sizeof long_text - 1);
        return long_text;
    }
    return texts[(size_t)rand() % (sizeof texts / sizeof *texts)];
}

static inline const uint8_t *bytes(void) {
    static const uint8_t some[4] = {0, 0xff, 1, 2};
    return chance(5) ? NULL : some;
}

static inline uint8_t *buffer(void) {
    return chance(5) ? NULL : room(16);
}

static inline const char *const *texts(void) {
    if (chance(4))
        return NULL;
    const char **made = room(3 * sizeof *made);
    for (int i = 0; i < 3; i++)
        made[i] = text();
    return made;
}

static inline const XvirtStringPair *pairs(void) {
    if (chance(4))
        return NULL;
    XvirtStringPair *made = room(3 * sizeof *made);
    for (int i = 0; i < 3; i++)
        made[i] = (XvirtStringPair){.key = text(), .value = text()};
    return made;
}

static inline void **list(void *(*make)(int), int depth) {
    if (chance(4))
        return NULL;
    void **made = room(3 * sizeof *made);
    for (int i = 0; i < 3; i++)
        made[i] = make(depth);
    return made;
}

static inline void close_one(int file) {
    if (file >= 0)
        close(file);
}

static inline unsigned descriptors(void) {
    unsigned count = 0;
    for (int file = 0; file < 4096; file++)
        count += fcntl(file, F_GETFD) >= 0;
    return count;
}

/* Calls a function at random, again and again. XVIRT_TEST_CALLS is how often, XVIRT_TEST_SEED the first of the random numbers. */
static inline void hostile(unsigned functions, void (*call)(unsigned)) {
    unsigned calls = getenv("XVIRT_TEST_CALLS") ? (unsigned)atoi(getenv("XVIRT_TEST_CALLS")) : 20000;
    unsigned seed = getenv("XVIRT_TEST_SEED") ? (unsigned)atoi(getenv("XVIRT_TEST_SEED")) : 1;
    /* Names without a folder are files here. */
    CHECK(chdir(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp") == 0 && mkdir("deep", 0700) == 0 && mkdir("deep/er", 0700) == 0);
    CHECK(chdir("deep/er") == 0);
    /* What the library opens once. */
    xvirt_host_free(probe());
    unsigned before = descriptors();
    host = probe();
    vm = demo_vm(host, "hostile", "mode=echo", NULL, 0);
    OK(xvirt_vm_console(vm, &console, &error));
    reader = reader_of(vm);
    OK(xvirt_vm_events(vm, &events, &error));
    OK(xvirt_vm_agent(vm, &agent, &error));
    OK(xvirt_disk_create("disk", XVIRT_IMAGE_FORMAT_RAW, 1 << 20, NULL, &error));
    OK(xvirt_disk_open("disk", XVIRT_IMAGE_FORMAT_RAW, XVIRT_ACCESS_READ_WRITE, NULL, &disk, &error));
    OK(xvirt_repository_open("repository", NULL, &repository, &error));
    XvirtStage *stage = NULL;
    XvirtVmConfig *config = NULL;
    OK(xvirt_repository_stage(repository, NULL, &stage, &error));
    OK(xvirt_vm_config_from_json("{\"name\":\"stored\",\"boot\":{\"kernel\":{\"kernel\":{\"path\":\"/k\"}}}}", &config, &error));
    OK(xvirt_stage_commit(stage, config, NULL, &stored, &error));
    xvirt_vm_config_free(config);
    xvirt_stage_free(stage);
    srand(seed);
    for (unsigned i = 0; i < calls; i++) {
        if (getenv("XVIRT_TEST_VERBOSE"))
            fprintf(stderr, "%u\n", i);
        call((unsigned)rand() % functions);
    }
    xvirt_stored_vm_free(stored);
    xvirt_repository_free(repository);
    xvirt_block_backend_free(disk);
    xvirt_guest_agent_free(agent);
    xvirt_event_receiver_free(events);
    xvirt_console_reader_free(reader);
    xvirt_console_free(console);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    /* What a cancelled call has begun may end a little later, on a thread. */
    for (int i = 0; i < 500 && descriptors() != before; i++)
        usleep(10000);
    CHECK(descriptors() == before);
}

#endif
