/* Boots the demo guest, reads what it prints, and waits until it has powered off. */

#include <stdio.h>
#include <stdlib.h>

#include <xvirt.h>

/* Ends the program if a call has failed. It gets the place of the error, since C may evaluate it before the call. */
static void check(XvirtStatus status, XvirtError **error) {
    if (status == XVIRT_STATUS_OK)
        return;
    fprintf(stderr, "quickstart: %s\n", xvirt_error_text(*error));
    xvirt_error_free(*error);
    exit(1);
}

int main(void) {
    XvirtError *error = NULL;

    /* What this host can do, and what to do about what it cannot. */
    XvirtHost *host = NULL;
    check(xvirt_host_probe(NULL, &host, &error), &error);
    check(xvirt_host_require_kvm(host, NULL, &error), &error);

    /* Structs say their size. What is zero is as by default. */
    const uint8_t *image = NULL;
    size_t length = 0;
    check(xvirt_demo_kernel(&image, &length, &error), &error);
    XvirtBootFile file = {
        .struct_size = sizeof file, .kind = XVIRT_BOOT_FILE_KIND_BYTES, .bytes = image, .bytes_length = length};
    XvirtBootKernel kernel = {
        .struct_size = sizeof kernel, .kernel = &file, .command_line = "mode=hello,poweroff"};
    XvirtBoot boot = {.struct_size = sizeof boot, .kind = XVIRT_BOOT_KIND_KERNEL, .kernel = &kernel};
    XvirtVmConfig config = {
        .struct_size = sizeof config, .name = "quickstart", .memory = 64 << 20, .boot = &boot};
    XvirtVm *vm = NULL;
    check(xvirt_vm_config_build(&config, host, NULL, &vm, &error), &error);

    XvirtConsole *console = NULL;
    XvirtConsoleReader *reader = NULL;
    check(xvirt_vm_console(vm, &console, &error), &error);
    check(xvirt_console_reader(console, &reader, &error), &error);
    check(xvirt_vm_start(vm, NULL, &error), &error);

    /* A call that waits takes a time limit. */
    XvirtCall call = {.struct_size = sizeof call, .timeout_ns = UINT64_C(60000000000)};
    check(xvirt_vm_wait_halted(vm, &call, &error), &error);
    char *text = NULL;
    check(xvirt_console_reader_wait_for(reader, "demo: done", &call, &text, &error), &error);
    puts(text);
    xvirt_free(text);

    xvirt_console_reader_free(reader);
    xvirt_console_free(console);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    return 0;
}
