/* What a call from C costs: reading the power state, many times. Compile it with what pkg-config says. */

#include "../tests/support/check.h"

#include <time.h>

#define CALLS 1000000

int main(void) {
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "cost", "mode=hello", NULL, 0);
    double best = 1e9;
    for (int attempt = 0; attempt < 5; attempt++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int i = 0; i < CALLS; i++)
            if (state_of(vm) != XVIRT_POWER_STATE_HALTED)
                return 1;
        clock_gettime(CLOCK_MONOTONIC, &end);
        double each = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / CALLS;
        best = each < best ? each : best;
    }
    printf("reading the power state takes %.0f ns\n", best);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    return 0;
}
