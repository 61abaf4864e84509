/* Bytes, strings, and memory that is never freed. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096ul

/* gcc emits calls to these two even in freestanding code. */
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);

/* Zeroed, page-aligned RAM after the image. There is no free: the guest sets everything up once. */
void *memory_pages(size_t bytes);

/* The first address after all memory that the guest uses itself. */
uint64_t memory_end(void);

/* Whether the range is in RAM reported by the loader. */
int memory_is_ram(uint64_t start, uint64_t bytes);
