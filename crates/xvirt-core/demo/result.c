#include "result.h"
#include "print.h"

static int failures;

void result_fail(void)
{
    __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

void result_print(void)
{
    int count = __atomic_load_n(&failures, __ATOMIC_RELAXED);

    if (count)
        print("demo: failed failures=%u\n", (unsigned int)count);
    else
        print("demo: done\n");
}
