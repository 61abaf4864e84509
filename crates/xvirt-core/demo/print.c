#include <stdarg.h>
#include <stddef.h>

#include "lock.h"
#include "memory.h"
#include "print.h"
#include "serial.h"

#define LINE_SIZE 256

struct line {
    char text[LINE_SIZE];
    size_t length;
};

static struct lock console_lock;
static struct line early;
static void (*write_also)(const char *bytes, size_t length);

static void put(struct line *line, char c)
{
    if (line->length < LINE_SIZE)
        line->text[line->length++] = c;
}

static void put_number(struct line *line, uint64_t value, unsigned int base, unsigned int width)
{
    char digits[20];
    unsigned int count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (unsigned int i = count; i < width; i++)
        put(line, '0');
    while (count)
        put(line, digits[--count]);
}

static void format_line(struct line *line, const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            if (*format == '\n')
                put(line, '\r');
            put(line, *format);
            continue;
        }
        unsigned int width = 0;
        int is_long = 0;
        for (format++; (*format >= '0' && *format <= '9') || *format == 'l'; format++) {
            if (*format == 'l')
                is_long = 1;
            else
                width = width * 10 + (unsigned int)(*format - '0');
        }
        if (*format == 's') {
            for (const char *text = va_arg(arguments, const char *); *text; text++)
                put(line, *text);
        } else if (*format == 'c') {
            put(line, (char)va_arg(arguments, int));
        } else {
            uint64_t value = is_long ? va_arg(arguments, uint64_t) : va_arg(arguments, uint32_t);
            put_number(line, value, *format == 'x' ? 16 : 10, width);
        }
    }
}

void print(const char *format, ...)
{
    struct line line;
    va_list arguments;

    line.length = 0;
    va_start(arguments, format);
    format_line(&line, format, arguments);
    va_end(arguments);

    lock(&console_lock);
    serial_write(line.text, line.length);
    if (write_also) {
        write_also(line.text, line.length);
    } else {
        for (size_t i = 0; i < line.length; i++)
            put(&early, line.text[i]);
    }
    unlock(&console_lock);
}

void print_only(void (*write)(const char *bytes, size_t length), const char *format, ...)
{
    struct line line;
    va_list arguments;

    line.length = 0;
    va_start(arguments, format);
    format_line(&line, format, arguments);
    va_end(arguments);

    lock(&console_lock);
    write(line.text, line.length);
    unlock(&console_lock);
}

void print_also_to(void (*write)(const char *bytes, size_t length))
{
    lock(&console_lock);
    write(early.text, early.length);
    write_also = write;
    unlock(&console_lock);
}
