#include "memory.h"
#include "boot.h"

extern char image_end[];

static uint64_t next_page = (uint64_t)image_end;

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t bytes)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;

    for (size_t i = 0; i < bytes; i++) {
        if (x[i] != y[i])
            return x[i] - y[i];
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    return length;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

void *memory_pages(size_t bytes)
{
    size_t words = (bytes + PAGE_SIZE - 1) / PAGE_SIZE * (PAGE_SIZE / 8);
    void *start = (void *)next_page, *to = start;

    next_page += words * 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(0ul) : "memory");
    return start;
}

uint64_t memory_end(void)
{
    return next_page;
}

int memory_is_ram(uint64_t start, uint64_t bytes)
{
    for (uint32_t i = 0; i < boot.ram_ranges; i++) {
        const struct ram_range *range = &boot.ram[i];
        if (start >= range->start && bytes <= range->size && start - range->start <= range->size - bytes)
            return 1;
    }
    return 0;
}
