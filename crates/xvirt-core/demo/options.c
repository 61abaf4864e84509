#include "options.h"
#include "boot.h"
#include "memory.h"
#include "print.h"
#include "result.h"

static const char *const words[MODES] = {
    [MODE_HELLO] = "hello",
    [MODE_RNG] = "rng",
    [MODE_GENERATION] = "generation",
    [MODE_BLK] = "blk",
    [MODE_BLKVERIFY] = "blkverify",
    [MODE_BLKLOAD] = "blkload",
    [MODE_BLKBENCH] = "blkbench",
    [MODE_SOAK] = "soak",
    [MODE_HOSTILE] = "hostile",
    [MODE_NET] = "net",
    [MODE_VSOCK] = "vsock",
    [MODE_BALLOON] = "balloon",
    [MODE_WATCHDOG] = "watchdog",
    [MODE_COUNTER] = "counter",
    [MODE_SMP] = "smp",
    [MODE_TIMER] = "timer",
    [MODE_ECHO] = "echo",
    [MODE_AGENT] = "agent",
    [MODE_HOTPLUG] = "hotplug",
    [MODE_HALT] = "halt",
    [MODE_POWEROFF] = "poweroff",
    [MODE_REBOOT] = "reboot",
    [MODE_CRASH] = "crash",
    [MODE_PANIC] = "panic",
};

static uint32_t asked;

/* The text after `key=`, or null. If a key is given twice, the last one counts, as in Linux. */
static const char *value_of(const char *key)
{
    size_t length = strlen(key);
    const char *found = 0, *word = boot.command_line;

    while (*word) {
        while (*word == ' ')
            word++;
        if (!memcmp(word, key, length) && word[length] == '=')
            found = word + length + 1;
        while (*word && *word != ' ')
            word++;
    }
    return found;
}

/* Whether `text` begins with the word `wanted`, followed by a blank, a comma or the end. */
static int starts_with_word(const char *text, const char *wanted)
{
    size_t length = strlen(wanted);

    return !memcmp(text, wanted, length) && (!text[length] || text[length] == ' ' || text[length] == ',');
}

void options_read(void)
{
    const char *text = value_of("mode");

    while (text && *text && *text != ' ') {
        uint32_t mode = 0;
        while (mode < MODES && !starts_with_word(text, words[mode]))
            mode++;
        if (mode < MODES) {
            asked |= 1u << mode;
        } else {
            print("demo: unknown mode %s\n", text);
            result_fail();
        }
        while (*text && *text != ' ' && *text != ',')
            text++;
        if (*text == ',')
            text++;
    }
}

int option_mode(enum mode mode)
{
    return asked >> mode & 1;
}

uint64_t option_number(const char *key, uint64_t otherwise)
{
    const char *text = value_of(key);
    unsigned int base = 10;
    uint64_t number = 0;

    if (!text)
        return otherwise;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    for (;; text++) {
        unsigned int digit;
        if (*text >= '0' && *text <= '9')
            digit = (unsigned int)(*text - '0');
        else if (base == 16 && *text >= 'a' && *text <= 'f')
            digit = (unsigned int)(*text - 'a') + 10;
        else
            return number;
        number = number * base + digit;
    }
}

int option_is(const char *key, const char *value)
{
    const char *text = value_of(key);

    return text && starts_with_word(text, value);
}

int option_ipv4(const char *key, uint8_t address[4])
{
    const char *text = value_of(key);

    if (!text)
        return 0;
    for (uint32_t i = 0; i < 4; i++) {
        address[i] = 0;
        for (; *text >= '0' && *text <= '9'; text++)
            address[i] = (uint8_t)(address[i] * 10 + *text - '0');
        if (*text == '.')
            text++;
    }
    return 1;
}
