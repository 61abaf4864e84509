/* What a call from C costs: reading the power state of a VM that runs. Prints the nanoseconds of one call.
 *
 * usage: power-state CALLS */

#include "../tests/support/check.h"

#include <time.h>

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int main(int count, char **arguments) {
    unsigned long calls = count == 2 ? strtoul(arguments[1], NULL, 10) : 0;
    if (calls == 0) {
        fprintf(stderr, "usage: power-state CALLS\n");
        return 2;
    }
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "cost", "mode=echo", NULL, 0);
    XvirtConsoleReader *reader = reader_of(vm);
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    uint64_t start = now();
    for (unsigned long i = 0; i < calls; i++)
        CHECK(state_of(vm) == XVIRT_POWER_STATE_RUNNING);
    printf("%.2f\n", (double)(now() - start) / (double)calls);
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    return 0;
}
