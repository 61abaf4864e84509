/* Leaving the machine, and being asked to. */
#pragma once

__attribute__((noreturn)) void power_off(void);
__attribute__((noreturn)) void power_reboot(void);
__attribute__((noreturn)) void power_crash(void);
__attribute__((noreturn)) void power_panic(void);

/* Makes the power button raise the SCI. */
void power_button_enable(void);

/* The SCI's handler: acknowledges what raised it. */
void power_interrupt(void);

/* Whether the button was pressed. */
int power_button_pressed(void);
