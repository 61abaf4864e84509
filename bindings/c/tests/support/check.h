/* What the tests share: checks that name what failed, and the demo guest. */

#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xvirt.h>

#define SECONDS(n) ((uint64_t)(n) * UINT64_C(1000000000))

/* Fails the test if a condition does not hold. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* Fails the test if a call does. The call has `&error` as its last argument. */
#define OK(call) \
    do { \
        XvirtError *error = NULL; \
        if ((call) != XVIRT_STATUS_OK) { \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, xvirt_error_text(error)); \
            xvirt_error_free(error); \
            exit(1); \
        } \
    } while (0)

/* Fails the test unless a call fails with this status and says something. */
#define FAILS(expected, call) \
    do { \
        XvirtError *error = NULL; \
        XvirtStatus status = (call); \
        if (status != (expected) || xvirt_error_status(error) != status || xvirt_error_message(error)[0] == 0) { \
            fprintf(stderr, "%s:%d: %s: status %u, %s\n", __FILE__, __LINE__, #call, (unsigned)status, \
                    xvirt_error_text(error)); \
            exit(1); \
        } \
        xvirt_error_free(error); \
    } while (0)

static inline XvirtHost *probe(void) {
    XvirtHost *host = NULL;
    OK(xvirt_host_probe(NULL, &host, &error));
    return host;
}

/* Whether device threads restrict themselves; valgrind does not know how. */
static inline XvirtToggle seccomp(void) {
    return getenv("XVIRT_TEST_WITHOUT_SECCOMP") ? XVIRT_TOGGLE_OFF : XVIRT_TOGGLE_DEFAULT;
}

/* A VM that boots the demo guest with this command line, and has these disks. */
static inline XvirtVm *demo_vm(const XvirtHost *host, const char *name, const char *command_line,
                               const XvirtDisk *const *disks, size_t disk_count) {
    const uint8_t *bytes = NULL;
    size_t length = 0;
    OK(xvirt_demo_kernel(&bytes, &length, &error));
    XvirtBootFile file = {
        .struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = bytes, .bytes_length = length};
    XvirtBootKernel kernel = {.struct_size = sizeof kernel, .kernel = &file, .command_line = command_line};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {
        .struct_size = sizeof config,
        .name = name,
        .memory = UINT64_C(64) << 20,
        .boot = &boot,
        .disks = disks,
        .disk_count = disk_count,
        .seccomp = seccomp(),
    };
    XvirtVm *vm = NULL;
    OK(xvirt_vm_config_build(&config, host, NULL, &vm, &error));
    return vm;
}

/* Waits until a VM prints a text on its serial console. */
static inline void wait_for(XvirtConsoleReader *reader, const char *text) {
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = SECONDS(60)};
    char *line = NULL;
    OK(xvirt_console_reader_wait_for(reader, text, &call, &line, &error));
    CHECK(strstr(line, text) != NULL);
    xvirt_free(line);
}

static inline XvirtConsoleReader *reader_of(const XvirtVm *vm) {
    XvirtConsole *console = NULL;
    XvirtConsoleReader *reader = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_console_reader(console, &reader, &error));
    xvirt_console_free(console);
    return reader;
}

/* The path of a file of this test. The caller frees it. */
static inline char *path_of(const char *name) {
    const char *folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    CHECK(path != NULL);
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* A result that is text, which must be this one if it is not NULL. */
static inline void is_text(char *text, const char *expected) {
    CHECK(text != NULL && (expected == NULL || strcmp(text, expected) == 0));
    xvirt_free(text);
}

static inline XvirtPowerState state_of(const XvirtVm *vm) {
    XvirtPowerState state = 0;
    OK(xvirt_vm_power_state(vm, &state, &error));
    return state;
}

#endif
