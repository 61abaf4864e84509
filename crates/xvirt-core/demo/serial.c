#include "serial.h"
#include "io.h"

#define COM1            0x3f8
#define DATA            (COM1 + 0)
#define INTERRUPTS      (COM1 + 1)
#define FIFO            (COM1 + 2)
#define MODEM_CONTROL   (COM1 + 4)
#define LINE_STATUS     (COM1 + 5)

#define INTERRUPT_RECEIVED      0x01
#define FIFO_ENABLE             0x01
#define FIFO_SIZE               16
#define MODEM_DTR_RTS_OUT2      0x0b    /* OUT2 enables the interrupt on a PC */
#define STATUS_RECEIVED         0x01
#define STATUS_CAN_SEND         0x20

void serial_start(void)
{
    out8(FIFO, FIFO_ENABLE);
}

void serial_write(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        /* An empty transmitter accepts a whole FIFO; polling before every byte would double the exits to the VMM. */
        while (i % FIFO_SIZE == 0 && !(in8(LINE_STATUS) & STATUS_CAN_SEND))
            cpu_pause();
        out8(DATA, (uint8_t)bytes[i]);
    }
}

void serial_enable_interrupt(void)
{
    out8(MODEM_CONTROL, MODEM_DTR_RTS_OUT2);
    out8(INTERRUPTS, INTERRUPT_RECEIVED);
}

int serial_read(void)
{
    if (!(in8(LINE_STATUS) & STATUS_RECEIVED))
        return -1;
    return in8(DATA);
}
