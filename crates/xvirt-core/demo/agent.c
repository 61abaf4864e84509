#include "agent.h"
#include "console.h"
#include "io.h"
#include "memory.h"
#include "multiport.h"
#include "options.h"
#include "power.h"
#include "print.h"

#define NAME        "org.qemu.guest_agent.0"
#define LINE_SIZE   4096
#define RESET       0xff    /* discards the line so far, and precedes the answer to a delimited sync */

/* The misbehaviour requested by `agent=`. */
enum behaviour {
    GOOD,
    SILENT,             /* no answers */
    GARBAGE,            /* answers that are no JSON */
    ENDLESS,            /* an endless line, from the first request on */
    LATE,               /* each answer at the next request; a sync is answered immediately */
    CLOSING,            /* half of each answer, then the port is closed and reopened; a sync is answered */
};

static enum behaviour behaviour;
static struct port *port;
static char line[LINE_SIZE], held[LINE_SIZE];
static size_t length;
static int sending_endlessly, asked_for_status;

static const struct {
    const char *command, *answer;
} answers[] = {
    { "guest-ping", "{\"return\": {}}\n" },
    { "guest-info",
      "{\"return\": {\"version\": \"1.0\", \"supported_commands\": ["
      "{\"enabled\": true, \"name\": \"guest-sync-delimited\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-ping\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-info\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-get-time\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-set-time\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-exec\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-exec-status\", \"success-response\": true}, "
      "{\"enabled\": true, \"name\": \"guest-shutdown\", \"success-response\": false}, "
      "{\"enabled\": false, \"name\": \"guest-file-open\", \"success-response\": true}]}}\n" },
    { "guest-get-time", "{\"return\": 1700000000123456789}\n" },
    { "guest-exec", "{\"return\": {\"pid\": 7}}\n" },
};

/* Whether `text` contains `part`. */
static const char *find(const char *text, const char *part)
{
    size_t size = strlen(part);

    for (; *text; text++)
        if (!memcmp(text, part, size))
            return text + size;
    return 0;
}

/* Whether the line requests exactly this command, not one with the same prefix. */
static int asks_for(const char *command)
{
    const char *after = find(line, command);

    return after && *after == '"';
}

/* Waits for the host if necessary. */
static void send(const char *bytes, size_t size)
{
    while (size) {
        size_t sent = port_write(port, bytes, size);
        bytes += sent;
        size -= sent;
        cpu_pause();
    }
}

static void say(const char *text)
{
    send(text, strlen(text));
}

/* Answers with the id of the line. */
static void answer_sync(int delimited)
{
    static const char reset = (char)RESET;
    const char *id = find(line, "\"id\"");
    size_t digits = 0;

    while (id && *id && (*id < '0' || *id > '9'))
        id++;
    while (id && id[digits] >= '0' && id[digits] <= '9')
        digits++;
    if (delimited)
        send(&reset, 1);
    say("{\"return\": ");
    send(id, digits);
    say("}\n");
}

/* The only program prints `hello` and exits with 3; at the first query, it is still running. */
static const char *status_of_program(void)
{
    asked_for_status = !asked_for_status;
    if (asked_for_status)
        return "{\"return\": {\"exited\": false}}\n";
    return "{\"return\": {\"exited\": true, \"exitcode\": 3, \"out-data\": \"aGVsbG8K\"}}\n";
}

/* Prints the time that the line asks to be set, in nanoseconds since 1970. */
static const char *set_time(void)
{
    const char *at = find(line, "\"time\":");
    uint64_t time = 0;

    for (; at && *at >= '0' && *at <= '9'; at++)
        time = time * 10 + (uint64_t)(*at - '0');
    print("agent: time=%lu\n", time);
    return "{\"return\": {}}\n";
}

static const char *answer_to_line(void)
{
    if (asks_for("guest-set-time"))
        return set_time();
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (asks_for(answers[i].command))
            return answers[i].answer;
    if (asks_for("guest-exec-status"))
        return status_of_program();
    return "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command has not been found\"}}\n";
}

static void answer_badly(const char *answer)
{
    switch (behaviour) {
    case GARBAGE:
        say("}{ \"\\ud800\x01\x80 [[[[ nothing\n");
        break;
    case LATE:
        say(held);
        memcpy(held, answer, strlen(answer) + 1);
        break;
    case CLOSING:
        send(answer, strlen(answer) / 2);
        multiport_open(0);
        multiport_open(1);
        break;
    default:
        break;
    }
}

static void answer(void)
{
    if (behaviour == ENDLESS)
        sending_endlessly = 1;
    else if (behaviour != SILENT && behaviour != GARBAGE && asks_for("guest-sync-delimited"))
        answer_sync(1);
    else if (behaviour != SILENT && behaviour != GARBAGE && asks_for("guest-sync"))
        answer_sync(0);
    else if (behaviour != GOOD)
        answer_badly(answer_to_line());
    else if (asks_for("guest-shutdown"))
        power_off();
    else
        say(answer_to_line());
}

static void take(char byte)
{
    if ((uint8_t)byte == RESET) {
        length = 0;
    } else if (byte != '\n') {
        if (length < LINE_SIZE - 1)
            line[length++] = byte;
    } else {
        line[length] = 0;
        length = 0;
        answer();
    }
}

void agent_start(void)
{
    static const char *const words[] = {
        [SILENT] = "silent", [GARBAGE] = "garbage", [ENDLESS] = "endless", [LATE] = "late", [CLOSING] = "closing",
    };

    for (enum behaviour i = SILENT; i <= CLOSING; i++)
        if (option_is("agent", words[i]))
            behaviour = i;
}

void agent_poll(void)
{
    static const char endless[512] = { [0 ... 511] = 'x' };
    int byte;

    if (!port) {
        port = multiport_find(NAME);
        if (!port)
            return;
        multiport_open(1);
        print("agent: open\n");
    }
    while ((byte = port_read(port)) >= 0)
        take((char)byte);
    while (sending_endlessly && port_write(port, endless, sizeof endless))
        ;
}
