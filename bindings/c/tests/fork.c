/* A handle of a VM in a child of fork(2): using it fails, and the child can exec and exit without harm to the VM. */

#include "support/check.h"

#include <sys/wait.h>
#include <unistd.h>

/* Whether a child is refused the VM and then ends as it should: with exec, or else by exit(3). */
static void forked(const XvirtVm *vm, bool execs) {
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) {
        XvirtError *error = NULL;
        bool refused = xvirt_vm_pause(vm, NULL, &error) == XVIRT_STATUS_INVALID_STATE;
        xvirt_error_free(error);
        if (execs)
            execlp(refused ? "true" : "false", "fork", (char *)NULL);
        exit(refused ? 0 : 1);
    }
    int status = 1;
    CHECK(waitpid(process, &status, 0) == process && status == 0);
    CHECK(state_of(vm) == XVIRT_POWER_STATE_RUNNING);
}

int main(void) {
    XvirtHost *host = probe();
    XvirtVm *vm = demo_vm(host, "forked", "mode=echo", NULL, 0);
    XvirtConsoleReader *reader = reader_of(vm);
    XvirtConsole *console = NULL;
    OK(xvirt_vm_console(vm, &console, &error));
    OK(xvirt_vm_start(vm, NULL, &error));
    wait_for(reader, "echo: ready");
    forked(vm, true);
    /* At the end of a child, valgrind and AddressSanitizer take for leaks what only other threads of the parent refer to. */
    if (getenv("XVIRT_TEST_WATCHED") == NULL)
        forked(vm, false);
    OK(xvirt_console_write_all(console, (const uint8_t *)"ping\n", 5, NULL, &error));
    wait_for(reader, "pong");
    xvirt_console_free(console);
    xvirt_console_reader_free(reader);
    xvirt_vm_free(vm);
    xvirt_host_free(host);
    return 0;
}
