/* Power-off, reset and crashes, and the power button. */
#pragma once

__attribute__((noreturn)) void power_off(void);
__attribute__((noreturn)) void power_reboot(void);
__attribute__((noreturn)) void power_crash(void);
__attribute__((noreturn)) void power_panic(void);

/* Makes the power button raise the SCI. */
void power_button_enable(void);

/* The SCI's handler: acknowledges its cause. */
void power_interrupt(void);

/* Whether the button was pressed. */
int power_button_pressed(void);
